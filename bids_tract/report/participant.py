"""The report of a participant or session: one HTML file that needs nothing but itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path

from bids_tract import __version__
from bids_tract.files.atomic import replacing
from bids_tract.names import run_label
from bids_tract.report.checks import checks
from bids_tract.report.document import Section, items, page, problem, prose
from bids_tract.report.measures import measure_scan, tractograms
from bids_tract.report.records import RunRecord, read_run
from bids_tract.report.scan_methods import scan_methods
from bids_tract.report.scan_sections import Parts, Scan, draw, scan_section
from bids_tract.report.verdicts import plural

LOGGER = logging.getLogger(__name__)

# A page can be sent by mail and opens at once (bytes).
PAGE_LIMIT = 5_000_000
# Of these: the viewer's program (1.06 MB), interactive views of all scans together, text and
# charts, and more of these for each tractogram (12 kB measured, with its part of its scan).
_PROGRAM_ROOM, _VIEWS_ROOM, _TEXT_ROOM, _TRACTOGRAM_ROOM = 1_060_000, 1_000_000, 250_000, 15_000


@dataclass(frozen=True)
class ReportResult:
    """What became of a report.

    Attributes
    ----------
    path : pathlib.Path
        The page.
    errors : list of str
        What could not be shown, in sentences; the page says so in its place.

    """

    path: Path
    errors: list[str]


def write_report(
    output_dir: Path,
    label: str,
    scans: Sequence[Mapping[str, str]],
    *,
    failures: Mapping[str, str] | None = None,
    log_dir: Path | None = None,
) -> ReportResult:
    """Write ``<label>.html`` into the output folder, and the pictures beside the maps.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of a run's results; nothing outside of it and `log_dir` is read.
    label : str
        ``sub-01`` or ``sub-01_ses-1``.
    scans : sequence of mapping of str to str
        The entities of each diffusion series, as in `names.output_path`. Those without outputs
        are named with why.
    failures : mapping of str to str, optional
        Why scans were not finished, by `names.run_label`; those of ``status.json`` in `log_dir`
        count as well.
    log_dir : pathlib.Path, optional
        ``logs/<run>/`` of the run that made the outputs.

    Returns
    -------
    ReportResult
        Never fails for what the outputs hold: what is broken becomes a sentence in the page and
        among the errors.

    Raises
    ------
    OutputError
        The page cannot be written.

    """
    run = read_run(log_dir, label)
    why = {**run.failures, **(failures or {})}
    shown = [Scan(one, why.pop(run_label(one), "")) for one in scans]
    parts = Parts(
        output_dir,
        max(0, PAGE_LIMIT - _PROGRAM_ROOM - _VIEWS_ROOM - _text_room(shown, output_dir)),
        _VIEWS_ROOM // max(len(shown), 1),
        errors=[*run.errors],
    )
    _judge(shown, parts)
    for scan in shown:
        draw(scan, parts)
    sections = [
        # The page is called so already where there is one scan without further entities.
        scan_section(scan, parts, "Diffusion series" if scan.label == label else scan.label)
        for scan in shown
    ]
    sections += [
        Section("methods", "Methods", _methods(run, shown, parts)),
        Section("software", "Software and command", _software(run, shown)),
        Section("messages", "Warnings and errors", _messages(run, shown, parts.errors)),
    ]
    scripts, styles = ["page.js"], []
    if any(scan.matrices for scan in shown):
        scripts, styles = ["page.js", "matrix.js"], ["matrix.css"]
    pieces = page(label, _lead(shown, why, parts.errors), sections, parts.data, scripts, styles)
    path = output_dir / f"{label}.html"
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(pieces)
    return ReportResult(path, parts.errors)


def _text_room(scans: Sequence[Scan], output_dir: Path) -> int:
    """Bytes that text and charts may take."""
    n_tractograms = sum(len(tractograms(output_dir, scan.entities)) for scan in scans)
    return _TEXT_ROOM + _TRACTOGRAM_ROOM * n_tractograms


def _judge(scans: Sequence[Scan], parts: Parts) -> None:
    """Measure all scans of the page, then compare them."""
    for scan in scans:
        try:
            scan.measures = measure_scan(parts.output_dir, scan.entities)
        except Exception as error:  # no report is worth a run
            LOGGER.debug("%s: report: measures", scan.label, exc_info=True)
            parts.errors.append(f"{scan.label}: it could not be measured: {error}")
        parts.errors += [f"{scan.label}: {error}" for error in scan.measures.get("Errors", ())]
    for scan in scans:
        others = [one.measures for one in scans if one is not scan]
        scan.checks = checks(scan.measures, others) if scan.has_outputs else []


def _lead(scans: Sequence[Scan], failures: Mapping[str, str], errors: Sequence[str]) -> str:
    """What stands below the heading; failures of what has no part of its own are not hidden."""
    made = time.strftime("%Y-%m-%d %H:%M")
    count = "one diffusion series" if len(scans) == 1 else f"{len(scans)} diffusion series"
    lead = f'<p class="lead">{count.capitalize()}. bids_tract {escape(__version__)}, {made}.</p>'
    said = [f"{name} was not finished: {reason}" for name, reason in failures.items()]
    if errors:
        said.append(f"{plural(len(errors), 'part')} of this report could not be made: see below.")
    return lead + "".join(map(problem, said))


def _methods(run: RunRecord, scans: Sequence[Scan], parts: Parts) -> str:
    html = "<p>The text to cite was not found among the files of the run.</p>"
    if run.citation:
        # The text has headings of its own; the first repeats the title.
        html = prose(run.citation.removeprefix("# Methods"))
    html += "".join(parts.guarded(scan, "what was done", partial(_done, scan)) for scan in scans)
    if run.bibtex:
        html += f"<details><summary>BibTeX</summary><pre>{escape(run.bibtex)}</pre></details>"
    return html


def _done(scan: Scan) -> str:
    told = scan_methods(scan.measures)
    return f"<h4>As it was done for {escape(scan.label)}</h4><p>{escape(told)}</p>" if told else ""


def _software(run: RunRecord, scans: Sequence[Scan]) -> str:
    versions = {str(scan.measures.get("SoftwareVersions", "")) for scan in scans} - {""}
    parts = [f"<p>{escape(one)}</p>" for one in sorted(versions)]
    if run.command:
        parts.append(f"<h4>Command</h4><pre>{escape(run.command)}</pre>")
    if run.settings:
        parts.append(
            f"<details><summary>All settings</summary><pre>{escape(run.settings)}</pre></details>"
        )
    return "".join(parts) or "<p>Not recorded.</p>"


def _messages(run: RunRecord, scans: Sequence[Scan], errors: Sequence[str]) -> str:
    html = "".join(problem(error) for error in errors)
    for scan in scans:
        if notes := scan.measures.get("Notes"):
            html += f"<h4>{escape(scan.label)}</h4>{items(notes)}"
    noted = tuple(note for scan in scans for note in scan.measures.get("Notes", ()))
    if left := [message for message in run.messages if not message.endswith(noted)]:
        html += f"<h4>From the log of the run</h4>{items(left)}"
    return html or "<p>None.</p>"
