"""Which participants and sessions are looked at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bids_tract.dataset.listing import Place, entries, listed
from bids_tract.errors import NothingSelectedError

_LABEL = r"[A-Za-z0-9+]+"


def select_participants(root: Path, asked: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Select participants by their folders.

    Parameters
    ----------
    root : pathlib.Path
        The dataset.
    asked : sequence of str
        Labels; all participants where there are none.

    Returns
    -------
    labels : tuple of str
        The participants, in order.
    notes : list of str
        Folders that look like participants' and are not.

    Raises
    ------
    NothingSelectedError
        There are no participants, or one that was asked for is not there.

    """
    present, notes = _labels(root, "sub")
    if not present:
        raise NothingSelectedError(
            f"{root} has no participants; their folders are called sub-<letters and digits>"
            + "".join(f" ({note})" for note in notes)
        )
    absent = [label for label in asked if label not in present]
    if absent:
        raise NothingSelectedError(
            f"{root} has no participant {listed(absent)}; there are {listed(present)}"
        )
    return tuple(label for label in present if not asked or label in asked), notes


def select_places(
    root: Path, participants: Sequence[str], asked: Sequence[str]
) -> tuple[list[Place], list[str]]:
    """Select the sessions of participants by their folders.

    Parameters
    ----------
    root : pathlib.Path
        The dataset.
    participants : sequence of str
        Their labels.
    asked : sequence of str
        Labels of sessions; all, and what lies in none, where there are none.

    Returns
    -------
    places : list of Place
        The sessions, in order.
    notes : list of str
        Participants without a session that was asked for, and faulty names of folders.

    Raises
    ------
    NothingSelectedError
        No participant has a session that was asked for.

    """
    places: list[Place] = []
    notes: list[str] = []
    sessions: dict[str, list[str]] = {}
    for sub in participants:
        sessions[sub], faulty = _labels(Place(sub).folder(root), "ses")
        notes += faulty
        if not asked:
            places.append(Place(sub))
        places += [Place(sub, ses) for ses in sessions[sub] if not asked or ses in asked]
    for ses in asked:
        without = [sub for sub in participants if ses not in sessions[sub]]
        if len(without) == len(participants):
            present = sorted(set().union(*sessions.values()))
            raise NothingSelectedError(
                f"{root} has no session {ses} for {listed(f'sub-{sub}' for sub in participants)}; "
                + (f"there are {listed(present)}" if present else "it has no sessions")
            )
        if without:
            notes.append(f"no session {ses}: {listed(f'sub-{sub}' for sub in without)}")
    return places, notes


def _labels(folder: Path, key: str) -> tuple[list[str], list[str]]:
    """The labels of the ``key-`` folders in a folder, and a note on names that nearly are such."""
    names = [path.name for path in entries(folder) if path.is_dir()]
    right = [name for name in names if re.fullmatch(f"{key}-{_LABEL}", name)]
    alike = [name for name in names if re.match(rf"{key}([-_ ]|\d)", name, re.IGNORECASE)]
    wrong = [name for name in alike if name not in right]
    notes = [
        f"left out {listed(wrong)} in {folder}: folders are called {key}-<letters and digits>"
    ]
    return [name.removeprefix(f"{key}-") for name in right], notes if wrong else []
