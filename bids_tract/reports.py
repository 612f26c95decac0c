"""The reports of a run: which pages there are, and their making, side by side where CPUs allow."""

from __future__ import annotations

import logging
import multiprocessing
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bids_tract.dataset import Dataset, Scan
from bids_tract.errors import BidsTractError
from bids_tract.files.sidecars import read_json
from bids_tract.names import run_label
from bids_tract.report.participant import write_report
from bids_tract.report.records import is_about
from bids_tract.report.verdicts import plural

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Page:
    """One page: a participant, or one session of it."""

    label: str
    scans: tuple[Mapping[str, str], ...]

    def own(self, failures: Mapping[str, str]) -> dict[str, str]:
        """Those of the participant."""
        return {name: why for name, why in failures.items() if is_about(name, self.label)}

    def last_of(self, runs: Mapping[str, Path]) -> Path | None:
        """The last of the runs by label that had to do with a scan of the page."""
        found = [runs[label] for label in map(run_label, self.scans) if label in runs]
        return max(found, default=None)


def _pages(scans: Sequence[Scan], output_dir: Path, known: Collection[str]) -> list[_Page]:
    """A page for each participant and session with a folder in the output, or a known scan."""
    found: dict[str, list[Mapping[str, str]]] = {}
    for scan in scans:
        place = {key: scan.entities[key] for key in ("sub", "ses") if key in scan.entities}
        found.setdefault(run_label(place), []).append(scan.entities)
    pages = []
    for label, entities in found.items():
        is_known = any(run_label(one) in known for one in entities)
        if is_known or output_dir.joinpath(*label.split("_")).is_dir():
            pages.append(_Page(label, tuple(entities)))
        else:
            LOGGER.warning(
                "%s has no results, so no report: it was not processed yet, or its results were "
                "removed from %s", label, output_dir,
            )  # fmt: skip
    return pages


def _write(
    page: _Page, output_dir: Path, failures: Mapping[str, str], log_dir: Path | None
) -> list[str]:
    """Write one page; what could not be shown. A fault of a report never ends a run."""
    try:
        result = write_report(
            output_dir, page.label, page.scans, failures=failures, log_dir=log_dir
        )
    except Exception as error:
        return [f"{page.label}: the report could not be made ({type(error).__name__}: {error})"]
    return [f"{page.label}: {error}" for error in result.errors]


def write_reports(
    dataset: Dataset,
    output_dir: Path,
    *,
    failures: Mapping[str, str],
    log_dir: Path | None,
    n_processes: int,
) -> list[str]:
    """Write the reports of the participants.

    Parameters
    ----------
    dataset : Dataset
        Whose scans.
    output_dir : Path
        The folder of the results.
    failures : mapping of str to str
        Why scans were not finished, by `names.run_label`.
    log_dir : Path or None
        ``logs/<run>/`` of the run that made them; by default the last one that had to do with the
        participant.
    n_processes : int
        How many pages are made at a time.

    Returns
    -------
    list of str
        What could not be shown, in sentences; the pages say so in its place.

    """
    runs = _last_runs(output_dir) if log_dir is None else {}
    pages = _pages(dataset.scans, output_dir, {*failures, *runs})
    work = [
        (page, output_dir, page.own(failures), log_dir or page.last_of(runs)) for page in pages
    ]
    if n_processes == 1 or len(pages) < 2:
        errors = [error for one in work for error in _write(*one)]
    else:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(min(n_processes, len(pages)), mp_context=context) as pool:
            waiting = [pool.submit(_write, *one) for one in work]
            errors = []
            for page, future in zip(pages, waiting, strict=True):
                try:
                    errors += future.result()
                except Exception as error:  # a worker that was killed takes its page along
                    errors.append(f"{page.label}: the report could not be made ({error})")
    for sentence in errors:
        LOGGER.error("report of %s", sentence)
    LOGGER.info("%s written: %s", plural(len(pages), "report"), output_dir / "sub-*.html")
    return errors


def _last_runs(output_dir: Path) -> dict[str, Path]:
    """The folder of the last run that had to do with a scan, by its label."""
    found: dict[str, Path] = {}
    for path in sorted(output_dir.glob("logs/*/status.json")):
        try:
            found |= dict.fromkeys(read_json(path), path.parent)
        except BidsTractError as error:
            LOGGER.warning("it is not known which scans the run was about: %s", error)
    return found
