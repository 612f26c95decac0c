"""The group level: in a module of its own, for its memory is to be seen and nothing else's."""

from __future__ import annotations

from pathlib import Path

from benchmarks.measure import Outcome, Work
from bids_tract.report.group import write_group
from tests.report.studies import make_study


def group(folder: Path, scans: int) -> Work:
    """The group level on the sidecars and measures of so many made-up scans."""
    study = folder / f"study-{scans}"
    if not study.exists():
        make_study(study, scans)

    def write() -> Outcome:
        result = write_group(study / "out", study / "bids")
        assert not result.errors
        return Outcome(scans)

    return write
