"""What a study says of itself: who should be there, what runs said, and covariates."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from bids_tract.errors import BidsTractError
from bids_tract.files.sidecars import read_json
from bids_tract.files.tables import read_table
from bids_tract.names import parse_name, run_label

Item = TypeVar("Item")
Result = TypeVar("Result")
# Folders that are read ahead of what is done with them, and files of a whole study.
_AHEAD, _FILES_AHEAD = 64, 4


@dataclass(frozen=True, slots=True)
class Status:
    """What the latest run said of a scan.

    Attributes
    ----------
    status : str
        ``complete``, ``failed``, or ``unknown`` where no run said.
    reason : str
        Why it failed.

    """

    status: str
    reason: str = ""


class Statuses:
    """What runs said of the scans of a study.

    Parameters
    ----------
    found : mapping of str to Status
        By the labels of the scans.

    """

    def __init__(self, found: Mapping[str, Status]) -> None:
        self._found = found
        self._labels = sorted(found)

    def subs(self) -> set[str]:
        """The participants: ``sub-01``."""
        return {label.split("_", 1)[0] for label in self._labels}

    def of(self, sub: str) -> dict[str, Status]:
        """Those of one participant, by label."""
        start, end = (bisect_left(self._labels, sub + sign) for sign in ("_", "`"))
        labels = [sub, *self._labels[start:end]]  # the sign ` comes next to _
        return {label: self._found[label] for label in labels if label in self._found}


@dataclass
class Covariates:
    """Columns of ``participants.tsv``.

    Attributes
    ----------
    names : list of str
        All columns but ``participant_id``.
    of : dict of str to tuple of str
        Values by participant (``sub-01``), in the order of `names`; the last may be missing.
    described : dict of str to dict
        What ``participants.json`` says of the columns.

    """

    names: list[str] = field(default_factory=list)
    of: dict[str, tuple[str, ...]] = field(default_factory=dict)
    described: dict[str, dict[str, Any]] = field(default_factory=dict)

    def values(self, name: str, subs: Iterable[str]) -> Iterator[str]:
        """A column, for the participants in their order; ``n/a`` where one has no value."""
        place = self.names.index(name)
        for sub in subs:
            row = self.of.get(sub, ())
            yield (row[place] if place < len(row) else "") or "n/a"


def few_at_a_time(
    pool: Executor, read: Callable[[Item], Result], items: Iterable[Item], ahead: int = _AHEAD
) -> Iterator[Result]:
    """What `read` makes of each item, in order, not more than `ahead` of them in memory."""
    left = iter(items)
    while batch := [*islice(left, ahead)]:
        yield from pool.map(read, batch)


def participant_folders(root: Path) -> list[str]:
    """The names ``sub-...`` of the participants' folders."""
    return _folders(root, "sub-") if root.is_dir() else []


def _folders(root: Path, start: str) -> list[str]:
    # A path would keep the parts of its name for long, and there may be many.
    with os.scandir(root) as entries:
        return sorted(one.name for one in entries if one.name.startswith(start) and one.is_dir())


def read_statuses(output_dir: Path, pool: Executor, errors: list[str]) -> Statuses:
    """What the latest run said of each scan.

    Runs come in the order of their folders' names, which begin with the time. What cannot be read
    is a sentence among `errors`.
    """
    found: dict[str, Status] = {}
    once: dict[Status, Status] = {}  # most scans are alike
    paths = sorted((output_dir / "logs").glob("*/status.json"))
    for said in few_at_a_time(pool, _read_or_say, paths, _FILES_AHEAD):
        if isinstance(said, str):
            errors.append(said)
            continue
        for name, one in said.items():
            # Scans stand by their label, files that are no scan by their name.
            parsed = parse_name(name) or parse_name(f"{name}_dwi")
            if parsed is not None and isinstance(one, dict):
                status = Status(str(one.get("Status")), str(one.get("Error", "")))
                found[run_label(parsed.entities)] = once.setdefault(status, status)
    return Statuses(found)


def _read_or_say(path: Path) -> Mapping[str, Any] | str:
    try:
        return read_json(path)
    except BidsTractError as error:
        return str(error)


def read_covariates(bids_dir: Path, errors: list[str]) -> Covariates:
    """The covariates of a dataset; none where there is no ``participants.tsv``."""
    found = Covariates()
    table, description = bids_dir / "participants.tsv", bids_dir / "participants.json"
    once: dict[str, str] = {}  # words that many participants share
    try:
        if table.is_file():
            for row in read_table(table):
                sub = row.pop("participant_id", "")
                if sub:
                    found.names += [name for name in row if name and name not in found.names]
                    words = [row[name] for name in found.names if name in row]
                    found.of[f"sub-{sub.removeprefix('sub-')}"] = tuple(
                        once.setdefault(word, word) for word in words
                    )
        if found.names and description.is_file():
            said = read_json(description)
            found.described = {
                name: said[name] for name in found.names if isinstance(said.get(name), dict)
            }
    except BidsTractError as error:
        errors.append(str(error))
    return found


def missing_places(
    bids_dir: Path,
    participants: Iterable[str],
    covariates: Covariates,
    present: Mapping[str, Sequence[str]],
    pool: Executor,
) -> dict[str, list[str]]:
    """Participants and sessions that nothing is known of, by the reason.

    Parameters
    ----------
    bids_dir : pathlib.Path
        The dataset.
    participants : iterable of str
        Who should be there: ``sub-01``.
    covariates : Covariates
        Who is in ``participants.tsv``.
    present : mapping of str to sequence of str
        The sessions of each participant that something is known of, ``""`` for none.
    pool : concurrent.futures.Executor
        Looks through folders.

    """

    def missing(sub: str) -> list[tuple[str, str]]:
        return [*_missing(bids_dir, sub, sub in covariates.of, present.get(sub, ()))]

    found: defaultdict[str, list[str]] = defaultdict(list)
    for pairs in few_at_a_time(pool, missing, participants):
        for label, reason in pairs:
            found[reason].append(label)
    return dict(found)


def _missing(
    bids_dir: Path, sub: str, listed: bool, present: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """The places of one participant that nothing is known of, each with why."""
    folder = bids_dir / sub
    if not folder.is_dir():
        if not present:
            where = "in participants.tsv, but has no folder" if listed else "has no folder"
            yield sub, f"{where} in the dataset"
        return
    sessions = _folders(folder, "ses-")
    places = {ses: folder / ses for ses in sessions if (folder / ses / "dwi").is_dir()}
    if (folder / "dwi").is_dir():
        places[""] = folder
    if not places and not present:
        yield sub, "has no diffusion data in the dataset"
    for ses in places:
        if ses not in present:
            yield f"{sub}_{ses}".rstrip("_"), "not processed yet (neither results nor a reason)"
