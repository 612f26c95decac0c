"""Which files belong to an image: the inheritance principle of BIDS.

A file applies to an image when it has the same suffix, lies in the same folder or one above, and
has no entity that the image does not have. PyBIDS 0.22 compares only the entities that both have,
and so gives the b-values of ``acq-A`` to an image without ``acq``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bids_tract.dataset.listing import entries
from bids_tract.errors import DataError
from bids_tract.files.sidecars import read_json
from bids_tract.names import parse_name, split_name


def find_associated(image: Path, root: Path, extension: str) -> Path | None:
    """Find the file of another extension that applies to an image.

    Parameters
    ----------
    image : pathlib.Path
        A participant's image.
    root : pathlib.Path
        The dataset that it lies in.
    extension : str
        ``.bval``, ``.bvec`` or ``.json``.

    Returns
    -------
    pathlib.Path or None
        The one nearest to the image. It may be a link whose content is not here.

    Raises
    ------
    DataError
        Two files of the nearest folder apply, and neither has the image's own name.

    """
    return next(_applicable(image, root, extension), None)


def merged_metadata(image: Path, root: Path) -> dict[str, Any]:
    """Merge all sidecars that apply to an image; where two disagree, the nearer one holds.

    Parameters
    ----------
    image : pathlib.Path
        A participant's image.
    root : pathlib.Path
        The dataset that it lies in.

    Raises
    ------
    DataError
        A sidecar cannot be read, or two of one folder apply.
    MissingInputError
        The content of a sidecar is not here.

    """
    merged: dict[str, Any] = {}
    for sidecar in reversed(list(_applicable(image, root, ".json"))):
        merged |= read_json(sidecar)
    return merged


def _applicable(image: Path, root: Path, extension: str) -> Iterator[Path]:
    """The files that apply, from the image's own folder up to the root, one a folder at most."""
    name = parse_name(image.name)
    if name is None:
        raise DataError(f"{image} does not have a BIDS name (sub-<label>_..._<suffix>)")
    above = len(image.relative_to(root).parents)
    for folder in image.parents[:above]:
        fitting = []
        for path in entries(folder, extension):
            other = split_name(path.name)
            if (
                other is not None
                and (other.suffix, other.extension) == (name.suffix, extension)
                and other.entities.items() <= name.entities.items()
            ):
                fitting.append((len(other.entities), path))
        # A file with the image's own name is the image's, even where sub-01_dwi.bval, which
        # belongs to sub-01_dwi.nii.gz beside it, applies to the letter of the rule.
        own = [path for count, path in fitting if count == len(name.entities)]
        if len(own or fitting) > 1:
            both = " and ".join(str(path) for _, path in fitting)
            raise DataError(
                f"{both} both apply to {image.name}, but at most one of a folder may; rename or "
                "remove one"
            )
        yield from own or [path for _, path in fitting]
