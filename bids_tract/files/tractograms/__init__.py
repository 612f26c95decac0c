"""Tractograms: TRX is what the program works with; TRK and TCK are converted from it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.streamlines.header import Field
from nibabel.streamlines.tractogram_file import HeaderWarning

from bids_tract.core.types import Streamlines
from bids_tract.errors import DataError
from bids_tract.files.atomic import replacing
from bids_tract.files.present import require_content
from bids_tract.files.tractograms.stream import reading
from bids_tract.files.tractograms.tck import write_tck
from bids_tract.files.tractograms.trk import write_trk
from bids_tract.files.tractograms.trx import open_trx


def copy_trx(trx_path: Path, target: Path) -> None:
    """Copy a TRX file; the copy appears whole or not at all."""
    require_content(trx_path)
    with replacing(target) as temporary:
        shutil.copyfile(trx_path, temporary)


WRITERS: dict[str, Callable[[Path, Path], None]] = {
    ".trx": copy_trx,
    ".trk": write_trk,
    ".tck": write_tck,
}


def write_tractogram(trx_path: Path, target: Path) -> None:
    """Convert a TRX file to the format that the extension of `target` names.

    Raises
    ------
    DataError, MissingInputError
        The TRX file cannot be read.
    OutputError
        The target cannot be written.

    """
    WRITERS[target.suffix](trx_path, target)


def read_streamlines(path: Path) -> Streamlines:
    """Read a TRX, TRK or TCK file whole.

    Returns
    -------
    Streamlines
        RAS+ mm. A streamline's number stands for its seed index where the file has none.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is of another kind, or is cut off.

    """
    if path.suffix == ".trx":
        tractogram = open_trx(path)
        return tractogram.part(0, len(tractogram))
    if path.suffix not in WRITERS:
        raise DataError(f"{path} is not a tractogram; expected .trx, .trk or .tck")
    return _read_with_nibabel(path)


def _read_with_nibabel(path: Path) -> Streamlines:
    require_content(path)
    with reading(path), warnings.catch_warnings():
        warnings.simplefilter("ignore", HeaderWarning)
        header = nib.streamlines.load(path, lazy_load=True).header
        announced = int(header.get("count", header.get(Field.NB_STREAMLINES, 0)))
        tractogram = nib.streamlines.load(path).tractogram  # overwrites the header's count
    lines = tractogram.streamlines
    if announced not in (0, len(lines)):  # 0: the writer did not know
        raise DataError(
            f"{path} announces {announced} streamlines and holds {len(lines)}: it is cut off; "
            "copy or compute it again"
        )
    properties = tractogram.data_per_streamline
    seeds = properties["seed_index"][:, 0] if "seed_index" in properties else range(len(lines))
    return Streamlines.from_list(list(lines), np.asarray(seeds, np.int64))
