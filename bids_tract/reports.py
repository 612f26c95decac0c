"""The reports of a run: which pages there are, and their making, side by side where CPUs allow."""

from __future__ import annotations

import logging
import multiprocessing
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bids_tract.dataset import Dataset, Scan
from bids_tract.names import run_label
from bids_tract.report.participant import write_report
from bids_tract.report.verdicts import plural

LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Page:
    """One page: a participant, or one session of it."""

    label: str
    scans: tuple[Mapping[str, str], ...]


def _pages(scans: Sequence[Scan], output_dir: Path) -> list[_Page]:
    """A page for each participant and session that has a folder in the output."""
    pages: dict[str, list[Mapping[str, str]]] = {}
    for scan in scans:
        place = {key: scan.entities[key] for key in ("sub", "ses") if key in scan.entities}
        folder = output_dir.joinpath(*(f"{key}-{label}" for key, label in place.items()))
        if folder.is_dir():
            pages.setdefault(run_label(place), []).append(scan.entities)
    return [_Page(label, tuple(entities)) for label, entities in pages.items()]


def _write(
    page: _Page, output_dir: Path, failures: Mapping[str, str], log_dir: Path | None
) -> list[str]:
    """Write one page; what could not be shown. A fault of a report never ends a run."""
    try:
        result = write_report(
            output_dir, page.label, page.scans,
            failures=failures, log_dir=log_dir, command=sys.argv,
        )  # fmt: skip
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
        ``logs/<run>/`` of the run that made them; by default the last one.
    n_processes : int
        How many pages are made at a time.

    Returns
    -------
    list of str
        What could not be shown, in sentences; the pages say so in its place.

    """
    pages = _pages(dataset.scans, output_dir)
    log_dir = log_dir or _last_run(output_dir)
    args = (output_dir, dict(failures), log_dir)
    if n_processes == 1 or len(pages) < 2:
        errors = [error for page in pages for error in _write(page, *args)]
    else:
        context = multiprocessing.get_context("forkserver")
        with ProcessPoolExecutor(min(n_processes, len(pages)), mp_context=context) as pool:
            waiting = [pool.submit(_write, page, *args) for page in pages]
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


def _last_run(output_dir: Path) -> Path | None:
    """The folder of the last run that computed something."""
    runs = sorted(path.parent for path in output_dir.glob("logs/*/CITATION.md"))
    return runs[-1] if runs else None
