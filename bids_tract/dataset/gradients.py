"""Which gradient files belong to a series, and along which axes their directions are."""

from __future__ import annotations

from pathlib import Path

from bids_tract.dataset.inheritance import find_associated
from bids_tract.dataset.series import Series
from bids_tract.dataset.sources import Source
from bids_tract.dataset.types import Convention
from bids_tract.errors import MissingInputError
from bids_tract.files.present import require_content
from bids_tract.settings import BvecConvention


def find_gradients(series: Series) -> tuple[Path, Path | None, Path | None]:
    """Find the gradient files of a series.

    Parameters
    ----------
    series : Series
        The series.

    Returns
    -------
    bval : pathlib.Path
        The b-values.
    bvec : pathlib.Path or None
        The directions, None where there is only a table.
    b_table : pathlib.Path or None
        QSIPrep's table beside the image.

    Raises
    ------
    MissingInputError
        There are no b-values or no directions, or their content is not here.
    DataError
        Two files apply equally well.

    """
    image, root = series.path, series.source.root
    stem = image.name.split(".", 1)[0]
    bval = find_associated(image, root, ".bval")
    bvec = find_associated(image, root, ".bvec")
    table = image.with_name(f"{stem}.b")
    b_table = table if table.is_file() else None
    if bval is None or (bvec is None and b_table is None):
        what, extension = ("b-values", ".bval") if bval is None else ("directions", ".bvec")
        raise MissingInputError(
            f"{image} has no {what}: there is no {stem}{extension} beside it, and none in the "
            f"folders above up to {root} that applies; put the file beside the image"
        )
    for path in (bval, bvec):
        if path is not None:
            require_content(path)
    return bval, bvec, b_table


def choose_convention(
    asked: BvecConvention, source: Source, bvec: Path | None
) -> tuple[Convention, str]:
    """Tell along which axes the directions of a series are.

    Parameters
    ----------
    asked : {"auto", "fsl", "voxel", "world"}
        The setting; auto decides by the program that made the dataset.
    source : Source
        The dataset.
    bvec : pathlib.Path or None
        The directions; None where only a table has them, which is in world axes.

    Returns
    -------
    convention : {"fsl", "voxel", "world"}
        The axes.
    reason : str
        Why these.

    """
    if bvec is None:
        return "world", "there is no bvec file, only a .b table, which is in world axes"
    if asked != "auto":
        return asked, f"--bvec-convention {asked}"
    if source.made_by("qsiprep"):
        return (
            "voxel",
            f"{source.name} was made by QSIPrep, whose bvec files follow the voxel axes",
        )
    return "fsl", "BIDS bvec files follow FSL's convention"
