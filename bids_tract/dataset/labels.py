"""What the numbers of an image of tissue labels mean."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from bids_tract.dataset.inheritance import find_associated
from bids_tract.dataset.sources import Source
from bids_tract.errors import DataError
from bids_tract.files.tables import read_table

_NAMES = {"wm": "white matter", "gm": "grey matter", "csf": "CSF"}

# QSIPrep's FreeSurfer2dseg.txt; its older releases store FSL FAST's labels, which are the same but
# have no 4 (pathological tissue, which counts as white matter as in a five-tissue image). sMRIPrep
# turns FAST's labels into those of BIDS.
_SMRIPREP = {"wm": (2,), "gm": (1,), "csf": (3,)}
_OF_PROGRAMS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "qsiprep": {"wm": (3, 4), "gm": (2,), "csf": (1,)},
    "smriprep": _SMRIPREP,
    "fmriprep": _SMRIPREP,
}

# The common image-derived labels of BIDS that say which tissue it is: grey and white matter, CSF,
# lesion, cortical and deep grey matter, brain stem. Lesions count as white matter as above, and
# so does the brain stem, as in MRtrix3's five-tissue images.
_COMMON = {1: "gm", 2: "wm", 3: "csf", 7: "wm", 8: "gm", 9: "gm", 10: "wm"}
_WORDS = {
    "wm": ("wm", "white matter", "lesion", "pathological", "pathological tissue", "brainstem",
           "brain stem"),
    "gm": ("gm", "gray matter", "cgm", "cortical gray matter", "sgm", "scgm", "deep gray matter",
           "subcortical gray matter"),
    "csf": ("csf", "cerebrospinal fluid"),
}  # fmt: skip
_TISSUE_OF_WORD = {word: tissue for tissue, words in _WORDS.items() for word in words}


def tissue_labels(
    image: Path, source: Source
) -> tuple[Mapping[str, tuple[int, ...]], Path | None]:
    """Tell which labels of a segmentation are which tissue.

    A BIDS lookup table that applies to the image (``_dseg.tsv`` with the columns index and name;
    mapping, to the common labels of BIDS, comes before name, abbreviation after it) comes before
    what is known of the program that made the dataset. Nothing else is assumed.

    Parameters
    ----------
    image : pathlib.Path
        A ``_dseg`` image of tissues.
    source : Source
        Its dataset.

    Returns
    -------
    labels : mapping of str to tuple of int
        Those of ``"wm"``, ``"gm"`` and ``"csf"``, at least one each.
    table : pathlib.Path or None
        The lookup table, where it was one.

    Raises
    ------
    DataError, MissingInputError
        There is neither a table nor a known program; or the table cannot be read, or lacks a
        tissue.

    """
    table = find_associated(image, source.root, ".tsv")
    if table is not None:
        return _from_table(table), table
    known = [labels for program, labels in _OF_PROGRAMS.items() if source.made_by(program)]
    if not known or any(labels != known[0] for labels in known):
        programs = " and ".join(source.producers) or "a program that it does not name"
        name = image.name.split(".", 1)[0]
        raise DataError(
            f"{image} holds labels, but nothing says which are white matter, grey matter and CSF: "
            f"{source.name} was made by {programs}; put a table {name}.tsv with the columns index "
            "and name beside it"
        )
    return known[0], None


def _from_table(table: Path) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {"wm": (), "gm": (), "csf": ()}
    for row in read_table(table):
        try:
            label = int(row["index"])
        except (KeyError, ValueError):
            raise DataError(
                f"{table} has a row without a whole number in the column index; expected the "
                "columns index and name, with a tab between"
            ) from None
        tissue = _tissue_of(row)
        if tissue is not None and label != 0:
            found[tissue] += (label,)
    absent = [name for tissue, name in _NAMES.items() if not found[tissue]]
    if absent:
        raise DataError(
            f"{table} names no label for {' and '.join(absent)}; expected a name such as "
            f"{' or '.join(absent)}, or a mapping to the common labels of BIDS"
        )
    return found


def _tissue_of(row: Mapping[str, str]) -> str | None:
    """The tissue that a row of a lookup table is about, None where it is about none."""
    mapping = row.get("mapping", "")
    if mapping.isdecimal():
        return _COMMON.get(int(mapping))
    words = (_plain(row.get(column, "")) for column in ("name", "abbreviation"))
    return next((_TISSUE_OF_WORD[word] for word in words if word in _TISSUE_OF_WORD), None)


def _plain(name: str) -> str:
    return " ".join(re.split(r"[\s_-]+", name.lower().replace("grey", "gray")))
