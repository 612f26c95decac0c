"""What a study says of itself: who should be there, what runs said, and covariates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bids_tract.errors import BidsTractError
from bids_tract.files.sidecars import read_json
from bids_tract.files.tables import read_table
from bids_tract.names import parse_name, run_label


@dataclass(frozen=True)
class Status:
    """What the latest run said of a scan.

    Attributes
    ----------
    entities : mapping of str to str
        The scan.
    status : str
        ``complete`` or ``failed``.
    reason : str
        Why it failed.

    """

    entities: Mapping[str, str]
    status: str
    reason: str = ""


@dataclass
class Covariates:
    """Columns of ``participants.tsv``.

    Attributes
    ----------
    names : list of str
        All columns but ``participant_id``.
    of : dict of str to dict of str to str
        Values by participant (``sub-01``) and column.
    described : dict of str to dict
        What ``participants.json`` says of the columns.

    """

    names: list[str] = field(default_factory=list)
    of: dict[str, dict[str, str]] = field(default_factory=dict)
    described: dict[str, dict[str, Any]] = field(default_factory=dict)


def participant_folders(root: Path) -> list[str]:
    """The names ``sub-...`` of the participants' folders."""
    return _folders(root, "sub-") if root.is_dir() else []


def _folders(root: Path, start: str) -> list[str]:
    return sorted(path.name for path in root.glob(f"{start}*") if path.is_dir())


def read_statuses(
    output_dir: Path, pool: Executor, errors: list[str]
) -> dict[str, dict[str, Status]]:
    """What the latest run said of each scan, by participant and label.

    Runs come in the order of their folders' names, which begin with the time. What cannot be read
    is a sentence among `errors`.
    """
    found: defaultdict[str, dict[str, Status]] = defaultdict(dict)
    paths = sorted((output_dir / "logs").glob("*/status.json"))
    for said in pool.map(_read_or_say, paths):
        if isinstance(said, str):
            errors.append(said)
            continue
        for name, one in said.items():
            # Scans stand by their label, files that are no scan by their name.
            parsed = parse_name(name) or parse_name(f"{name}_dwi")
            if parsed is None or not isinstance(one, dict):
                continue
            status = Status(parsed.entities, str(one.get("Status")), str(one.get("Error", "")))
            found[f"sub-{parsed.entities['sub']}"][run_label(parsed.entities)] = status
    return dict(found)


def _read_or_say(path: Path) -> Mapping[str, Any] | str:
    try:
        return read_json(path)
    except BidsTractError as error:
        return str(error)


def read_covariates(bids_dir: Path, errors: list[str]) -> Covariates:
    """The covariates of a dataset; none where there is no ``participants.tsv``."""
    found = Covariates()
    table, description = bids_dir / "participants.tsv", bids_dir / "participants.json"
    try:
        if table.is_file():
            for row in read_table(table):
                sub = row.pop("participant_id", "")
                if sub:
                    found.of[f"sub-{sub.removeprefix('sub-')}"] = row
                    found.names += [name for name in row if name and name not in found.names]
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
    for pairs in pool.map(missing, participants):
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
