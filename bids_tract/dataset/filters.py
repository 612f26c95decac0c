"""PyBIDS filters and databases: a second opinion on which images are wanted.

PyBIDS is slow to import and to index, and is asked only where the user asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_tract.dataset.listing import IMAGE_EXTENSIONS, listed
from bids_tract.dataset.sources import Source
from bids_tract.errors import DataError, UsageError
from bids_tract.files.sidecars import read_json
from bids_tract.settings import InputSettings

_PREFIXES = {"subject": "sub-", "session": "ses-"}
# Sections of a filter file, and what they are about.
_SECTIONS = {
    "dwi": {"datatype": "dwi", "suffix": "dwi"},
    "t1w": {"datatype": "anat", "suffix": "T1w"},
}


@dataclass(frozen=True)
class Restriction:
    """What PyBIDS leaves of the diffusion series and T1-weighted images of a dataset.

    Attributes
    ----------
    root : pathlib.Path
        The dataset.
    known, selected : frozenset of str
        The images that PyBIDS knows, and those that pass the filters.
    database, filter_file : str or None
        Where the two come from.

    """

    root: Path
    known: frozenset[str]
    selected: frozenset[str]
    database: str | None
    filter_file: str | None

    def refusal(self, image: Path, source: Source) -> str | None:
        """Why an image of a dataset is left out, or None; other datasets are not restricted."""
        if source.root != self.root:
            return None
        if self.database is not None and str(image) not in self.known:
            return f"not in the database {self.database}; delete that to index the dataset anew"
        if str(image) not in self.selected:
            return f"left out by the filters of {self.filter_file}"
        return None


def restrict(
    source: Source, inputs: InputSettings, participants: Sequence[str]
) -> Restriction | None:
    """Ask PyBIDS which diffusion series and T1-weighted images are wanted.

    Parameters
    ----------
    source : Source
        The dataset.
    inputs : InputSettings
        With a filter file, a database folder, both or none.
    participants : sequence of str
        Without a database, no other participant's folders are touched.

    Returns
    -------
    Restriction or None
        None where the settings name neither filters nor a database.

    Raises
    ------
    UsageError
        The filter file is faulty or contradicts the command line, or the database is another
        dataset's.
    DataError
        PyBIDS cannot read the dataset or the database.

    """
    if inputs.bids_filter_file is None and inputs.bids_database_dir is None:
        return None
    asked = _read_filters(inputs.bids_filter_file)
    _check_sessions(asked["dwi"], inputs)
    layout = _layout(source, inputs.bids_database_dir, participants)
    known: set[str] = set()
    selected: set[str] = set()
    for section, filters in asked.items():
        unknown = sorted(filters.keys() - layout.get_entities().keys())
        if unknown:
            raise UsageError(
                f"{inputs.bids_filter_file}: PyBIDS does not know the entity {listed(unknown)} of "
                f'"{section}"; there are {", ".join(sorted(layout.get_entities()))}'
            )
        images = _SECTIONS[section] | {"extension": list(IMAGE_EXTENSIONS)}
        known.update(layout.get(return_type="filename", **images))
        selected.update(layout.get(return_type="filename", **images | _query(filters)))
    return Restriction(
        root=source.root,
        known=frozenset(known),
        selected=frozenset(selected),
        database=inputs.bids_database_dir,
        filter_file=inputs.bids_filter_file,
    )


def _read_filters(path: str | None) -> dict[str, dict[str, Any]]:
    """The filters of each section as the file has them, without ``sub-`` and ``ses-``."""
    try:
        sections = {} if path is None else read_json(Path(path))
    except DataError as error:
        raise UsageError(f"--bids-filter-file: {error}") from error
    return {name: _plain(sections.get(name, {}), name, path) for name in _SECTIONS}


def _plain(filters: Any, section: str, path: str | None) -> dict[str, Any]:
    if not isinstance(filters, dict):
        raise UsageError(f'{path}: "{section}" is {filters!r}; expected {{"entity": value, ...}}')
    plain = {}
    for key, value in filters.items():
        values = _as_list(value)
        if not values or not all(isinstance(one, str | int | float | None) for one in values):
            raise UsageError(
                f'{path}: "{key}" of "{section}" is {value!r}; expected a text, a number, null, '
                '"*" or a list of such'
            )
        prefix = _PREFIXES.get(key, "")
        bare = [one.removeprefix(prefix) if isinstance(one, str) else one for one in values]
        plain[key] = bare if isinstance(value, list) else bare[0]
    return plain


def _check_sessions(filters: dict[str, Any], inputs: InputSettings) -> None:
    """Sessions of the command line and of the filter file must be the same."""
    wanted = filters.get("session", "*")
    if not inputs.session_label or wanted == "*":
        return
    if set(_as_list(wanted)) != set(inputs.session_label):
        raise UsageError(
            f"--session-label {' '.join(inputs.session_label)} and {inputs.bids_filter_file} "
            f'("session": {wanted!r}) disagree; give the sessions in one of the two'
        )


def _query(filters: dict[str, Any]) -> dict[str, Any]:
    """Filters in the terms of PyBIDS: null is absent, "*" is any."""
    from bids.layout import Query

    terms = {None: Query.NONE, "*": Query.ANY}
    return {
        key: [terms.get(one, one) for one in _as_list(value)] for key, value in filters.items()
    }


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _layout(source: Source, database: str | None, participants: Iterable[str]) -> Any:
    from bids.layout import BIDSLayout, BIDSLayoutIndexer
    from sqlalchemy.exc import SQLAlchemyError

    # A database may be shared with other programs, which count on metadata and on everybody.
    indexer = BIDSLayoutIndexer(
        validate=False,
        index_metadata=database is not None,
        ignore=None if database is not None else _all_but(participants),
    )
    try:
        layout = BIDSLayout(
            source.root,
            validate=False,
            is_derivative=source.is_derivative,
            config=["bids", "derivatives"] if source.is_derivative else ["bids"],
            database_path=None if database is None else Path(database).absolute(),
            indexer=indexer,
        )
    except (OSError, ValueError, SQLAlchemyError) as error:
        where = source.root if database is None else f"{source.root} with {database}"
        raise DataError(f"PyBIDS cannot index {where}: {error}") from error
    if Path(layout.root).resolve() != source.root:
        raise UsageError(
            f"--bids-database-dir {database} is the database of {layout.root}, not of "
            f"{source.root}; name another folder"
        )
    return layout


def _all_but(participants: Iterable[str]) -> list[re.Pattern[str]]:
    """Patterns of all that PyBIDS need not see: paths from the root, with a slash in front."""
    labels = "|".join(re.escape(label) for label in participants)
    return [
        re.compile(rf"^/(?!sub-(?:{labels})(?:/|$))"),
        re.compile(r"^/sub-[^/]+/(?:ses-[^/]+/)?(?!ses-|(?:dwi|anat)(?:/|$))[^/]+"),
    ]
