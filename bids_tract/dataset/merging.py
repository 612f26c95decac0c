"""Several runs of one acquisition as one scan."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bids_tract.dataset.listing import listed
from bids_tract.dataset.types import Scan, Skipped
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid
from bids_tract.names import run_label, split_name

# Sidecars round the readout time. A thousandth of it shifts no voxel by more than a thousandth of
# its distortion.
_SAME_READOUT = 1e-3


def merge(scans: Sequence[Scan], skipped: Iterable[Skipped]) -> list[Scan]:
    """Make one scan of the raw runs whose names differ by ``run`` only.

    Merged are runs on one grid with the same phase encoding: its direction and the readout time
    are the same, or known of none. Preprocessed series are never merged; nor are runs beside a
    scan of the merged name, without ``run``, or where two sets of runs would get one name.

    Parameters
    ----------
    scans : sequence of Scan
        All scans.
    skipped : iterable of Skipped
        Images that are not worked on, of which notes name those that are runs as well.

    Returns
    -------
    list of Scan
        A merged scan stands where the first of its runs stood. Runs that are not merged with
        others of their name have a note with the reason.

    """
    groups: dict[tuple[Path, str], list[Scan]] = defaultdict(list)
    for scan in scans:
        if "run" in scan.entities:
            groups[scan.dataset_root, _label_of_merged(scan.entities)].append(scan)
    taken = {scan.label for scan in scans}
    unusable = _runs_among(skipped)
    after: dict[Path, Scan | None] = {}
    for (_, label), runs in groups.items():
        runs.sort(key=_number)
        left_out = unusable[label] if not runs[0].preprocessed else []
        if len(runs) + len(left_out) > 1:
            after |= _merged(runs, left_out, is_taken=label in taken)
    result = (after.get(scan.dwi, scan) for scan in scans)
    return [scan for scan in result if scan is not None]


def _label_of_merged(entities: Any) -> str:
    return run_label({key: label for key, label in entities.items() if key != "run"})


def _number(scan: Scan) -> tuple[int, str]:
    label = scan.entities["run"]
    return int(label) if label.isdecimal() else 0, label


def _runs_among(skipped: Iterable[Skipped]) -> dict[str, list[str]]:
    """The names of runs that cannot be used, by the label of the scan they would be part of."""
    found: dict[str, list[str]] = defaultdict(list)
    for one in skipped:
        name = split_name(one.path.name)
        if name is not None and name.suffix == "dwi" and "run" in name.entities:
            found[_label_of_merged(name.entities)].append(one.path.name)
    return found


# --- Which runs --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Run:
    """A run with its grid, or with what is wrong with that."""

    scan: Scan
    grid: Grid | None
    fault: str = ""

    def difference(self, other: _Run) -> str | None:
        """Why another run cannot be merged with this one, or None."""
        if self.grid is None or other.grid is None:
            return other.fault or self.fault
        first, second = self.scan, other.scan
        key = "PhaseEncodingDirection"
        one, two = first.metadata.get(key), second.metadata.get(key)
        if one != two:
            return f"its {key} is {two or 'unknown'}, not {one or 'unknown'}"
        key = "TotalReadoutTime"
        one, two = first.metadata.get(key), second.metadata.get(key)
        if not _is_same_number(one, two):
            return f"its {key} is {two or 'unknown'}, not {one or 'unknown'}"
        if first.convention != second.convention:
            return f"its directions are in {second.convention} axes, not in {first.convention}"
        if self.grid.shape != other.grid.shape:
            return f"its shape is {other.grid.shape}, not {self.grid.shape}"
        if not self.grid.matches(other.grid):
            return f"its corners lie up to {self.grid.distance(other.grid):.3g} mm elsewhere"
        return None


def _is_same_number(one: Any, two: Any) -> bool:
    try:
        return math.isclose(one, two, rel_tol=_SAME_READOUT)
    except TypeError:  # unknown, or no number
        return bool(one == two)


def _with_grid(scan: Scan) -> _Run:
    try:
        return _Run(scan, read_grid(scan.dwi))
    except (DataError, MissingInputError) as error:
        return _Run(scan, None, str(error))


def _sets_of_alike(runs: Iterable[_Run]) -> list[list[_Run]]:
    sets: list[list[_Run]] = []
    for run in runs:
        alike = next((found for found in sets if found[0].difference(run) is None), None)
        if alike is None:
            sets.append([run])
        else:
            alike.append(run)
    return sets


# --- What becomes of them ----------------------------------------------------------------------


def _merged(
    runs: Sequence[Scan], left_out: Sequence[str], *, is_taken: bool
) -> dict[Path, Scan | None]:
    """What becomes of runs, by their images: None of those that are in another's scan."""
    if runs[0].preprocessed:
        return _apart(runs, "not merged: preprocessed series are used as they are")
    if is_taken:
        return _apart(runs, "not merged: there is a series of the same name without run-, too")
    if len(runs) == 1:
        return _apart(runs, f"not merged: no other run can be used ({listed(left_out)})")
    sets = _sets_of_alike(map(_with_grid, runs))
    largest = max(sets, key=len)
    first = largest[0]
    others = [run for one in sets if one is not largest for run in one]
    reasons = {run.scan.dwi: first.difference(run) for run in others}
    if sum(len(one) > 1 for one in sets) > 1:
        why = "; ".join(f"{run.scan.dwi.name}: {reasons[run.scan.dwi]}" for run in others)
        return _apart(
            runs,
            f"not merged: the runs are of several kinds, which would get one name ({why}, unlike "
            f"{first.scan.dwi.name}); tell them apart by dir- or acq- in their names",
        )
    after: dict[Path, Scan | None] = {}
    for run in others:
        reason = f"not merged with {first.scan.dwi.name}: {reasons[run.scan.dwi]}"
        after |= _apart([run.scan], reason)
    if len(largest) > 1:
        after |= {run.scan.dwi: None for run in largest}
        without = [*(run.scan.dwi.name for run in others), *left_out]
        after[first.scan.dwi] = _one_scan([run.scan for run in largest], without)
    return after


def _apart(runs: Iterable[Scan], note: str) -> dict[Path, Scan | None]:
    return {run.dwi: replace(run, notes=(*run.notes, note)) for run in runs}


def _one_scan(runs: Sequence[Scan], without: Sequence[str]) -> Scan:
    """The merged scan."""
    first = runs[0]
    note = f"merged from {listed(run.dwi.name for run in runs)}"
    if without:
        note += f"; without {listed(without)}"
    return replace(
        first,
        shape=(*first.shape[:3], sum(run.shape[3] for run in runs)),
        entities={key: label for key, label in first.entities.items() if key != "run"},
        metadata={
            key: value
            for key, value in first.metadata.items()
            if all(key in run.metadata and run.metadata[key] == value for run in runs)
        },
        notes=tuple(dict.fromkeys([note, *(line for run in runs for line in run.notes)])),
        runs=tuple(runs),
    )
