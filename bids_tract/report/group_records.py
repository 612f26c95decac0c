"""What a study says of itself: who should be there, what runs said, and covariates."""

from __future__ import annotations

import os
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from bids_tract.errors import BidsTractError, DataError
from bids_tract.files.sidecars import read_json
from bids_tract.files.tables import read_rows
from bids_tract.names import parse_name, run_label

Item = TypeVar("Item")
Result = TypeVar("Result")
# Folders that are read ahead of what is done with them, and files of a whole study.
_AHEAD, _FILES_AHEAD = 64, 4
_LABEL = re.compile(r"[A-Za-z0-9+]+")
_FEW = 5  # names in a sentence


@dataclass(frozen=True, slots=True)
class Status:
    """What the latest run said of a scan.

    Attributes
    ----------
    status : str
        ``complete``, ``failed``, ``running`` where the run did not say more, or ``unknown`` where
        no run said.
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


def shortened(words: Collection[str]) -> str:
    """Words for a sentence, the first few of them."""
    more = f" and {len(words) - _FEW:,} more" if len(words) > _FEW else ""
    return ", ".join(islice(words, _FEW)) + more


def labelled_folders(root: Path, key: str) -> list[str]:
    """The names ``sub-...`` of folders, for the key ``sub``; none where `root` is no folder."""
    if not root.is_dir():
        return []
    # A path would keep the parts of its name for long, and there may be many.
    with os.scandir(root) as entries:
        return sorted(one.name for one in entries if _is_label(one.name, key) and one.is_dir())


def _is_label(name: str, key: str) -> bool:
    start = f"{key}-"
    return name.startswith(start) and _LABEL.fullmatch(name, len(start)) is not None


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


def read_covariates(bids_dir: Path, known: Container[str], errors: list[str]) -> Covariates:
    """The covariates of a dataset; none where there is no ``participants.tsv``.

    Parameters
    ----------
    bids_dir : pathlib.Path
        The dataset.
    known : container of str
        Participants of whom something is known otherwise: ``sub-01``.
    errors : list of str
        Takes what is wrong with the table, in sentences; what can be understood is read.

    """
    found = Covariates()
    table, description = bids_dir / "participants.tsv", bids_dir / "participants.json"
    try:
        if table.is_file():
            _read_participants(table, known, found, errors)
        if found.names and description.is_file():
            said = read_json(description)
            found.described = {
                name: said[name] for name in found.names if isinstance(said.get(name), dict)
            }
    except BidsTractError as error:
        errors.append(str(error))
    return found


_FAULTS = {
    "columns": "has more than one column {}; the first of each counts: rename the others",
    "quotes": "has quotes around {}, and was read without them; save it without quotes",
    "labels": "has ids that are no labels ({}), whose rows were left out; write them as the "
    "folders are called: sub-<letters and digits>",
    "rows": "has more than one row of {}; the first of each counts: remove the others",
    "nobody": "has ids without sub- for which there is no folder ({}); write them as the folders "
    "are called, with sub- and all zeros",
}


def _read_participants(
    table: Path, known: Container[str], found: Covariates, errors: list[str]
) -> None:
    """Read the rows of ``participants.tsv``."""
    rows = read_rows(table)
    header = next(rows, [])
    names = [*map(_bare, header)]
    places: dict[str, int] = {}
    for place, name in enumerate(names):
        places.setdefault(name, place)
    own = _place_of_ids(table, names)
    places.pop("", None)
    del places["participant_id"]
    found.names = [*places]
    faults: defaultdict[str, list[str]] = defaultdict(list)
    faults["columns"] = [name for name, count in Counter(names).items() if name and count > 1]
    faults["quotes"] = ["the names of the columns"] if names != header else []
    once: dict[str, str] = {}  # words that many participants share
    for row in rows:
        name = row[own] if own < len(row) else ""
        label = _bare(name)
        if label != name:
            faults["quotes"].append(label)
        cells = [*map(_bare, row)] if faults["quotes"] else row
        sub = f"sub-{label.removeprefix('sub-')}"
        if not _is_label(sub, "sub"):
            faults["labels"].append(f"'{label}'")
        elif sub in found.of:
            faults["rows"].append(sub)
        else:
            words = (cells[place] for place in places.values() if place < len(cells))
            found.of[sub] = tuple(once.setdefault(word, word) for word in words)
            if sub != label and sub not in known:
                faults["nobody"].append(label)
    for fault, sentence in _FAULTS.items():
        if found_in := dict.fromkeys(faults[fault]):
            errors.append(f"{table} {sentence.format(shortened(found_in))}")


def _place_of_ids(table: Path, names: Sequence[str]) -> int:
    """Which column has the participants."""
    if "participant_id" in names:
        return names.index("participant_id")
    if len(names) == 1 and "," in names[0]:
        raise DataError(
            f"{table} has commas between its columns, and no covariate was read; save it with "
            "tabs between them"
        )
    raise DataError(
        f"{table} has no column participant_id (its columns: {shortened(names)}), and no "
        "covariate was read; name the column of the participants so, with tabs between columns"
    )


def _bare(word: str) -> str:
    """A word without the quotes around it."""
    return word[1:-1].strip() if len(word) > 1 and word[0] == word[-1] == '"' else word


def missing_places(
    bids_dir: Path,
    participants: Iterable[str],
    covariates: Covariates,
    present: Mapping[str, Sequence[str]],
    pool: Executor,
    sessions: Collection[str] = (),
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
    sessions : collection of str
        Labels of the sessions that are asked for; all, and what lies in none, by default.

    """

    def missing(sub: str) -> list[tuple[str, str]]:
        return [*_missing(bids_dir, sub, sub in covariates.of, present.get(sub, ()), sessions)]

    found: defaultdict[str, list[str]] = defaultdict(list)
    for pairs in few_at_a_time(pool, missing, participants):
        for label, reason in pairs:
            found[reason].append(label)
    return dict(found)


def _missing(
    bids_dir: Path, sub: str, listed: bool, present: Sequence[str], asked: Collection[str]
) -> Iterator[tuple[str, str]]:
    """The places of one participant that nothing is known of, each with why."""
    folder = bids_dir / sub
    if not folder.is_dir():
        if not present:
            where = "in participants.tsv, but has no folder" if listed else "has no folder"
            yield sub, f"{where} in the dataset"
        return
    names = sorted(f"ses-{ses}" for ses in asked) or [*labelled_folders(folder, "ses"), ""]
    places = [name for name in names if (folder / name / "dwi").is_dir()]
    if not places and not present:
        where = f"{shortened(names)} of the dataset" if asked else "the dataset"
        yield sub, f"has no diffusion data in {where}"
    for ses in places:
        if ses not in present:
            yield f"{sub}_{ses}".rstrip("_"), "not processed yet (neither results nor a reason)"
