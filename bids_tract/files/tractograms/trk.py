"""TrackVis tractograms (trackvis.org/docs/?subsect=fileformat), version 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import aff2axcodes
from nibabel.streamlines.trk import header_2_dtype
from numpy.typing import NDArray

from bids_tract.core.types import Float64, Streamlines
from bids_tract.files.atomic import replacing
from bids_tract.files.grids import Grid
from bids_tract.files.tractograms.trx import open_trx

_PROPERTIES = (b"seed_index", b"length_mm")


def write_trk(trx_path: Path, target: Path) -> None:
    """Convert a TRX file to TRK, block by block.

    Each streamline has its seed index and its length (mm) as properties. TRK stores these as
    float32, so that seed indexes beyond 2**24 are rounded.

    Raises
    ------
    DataError, MissingInputError
        The TRX file cannot be read.
    OutputError
        The target cannot be written.

    """
    source = open_trx(trx_path)
    header = _header(source.grid, len(source))
    to_trackvis = _ras_to_trackvis(header)
    with replacing(target) as temporary, temporary.open("wb") as stream:
        stream.write(header.tobytes())
        for block in source.blocks():
            stream.write(_records(block, to_trackvis).tobytes())


def _header(grid: Grid, n_streamlines: int) -> NDArray[Any]:
    """The 1000 bytes at the beginning, as a record."""
    header = np.zeros((), header_2_dtype.newbyteorder("<"))
    header["magic_number"] = b"TRACK"
    header["dimensions"] = grid.shape
    header["voxel_sizes"] = grid.voxel_sizes
    if n_streamlines:  # nibabel cannot read properties of no streamlines
        header["nb_properties_per_streamline"] = len(_PROPERTIES)
        header["property_name"][: len(_PROPERTIES)] = _PROPERTIES
    header["voxel_to_rasmm"] = grid.affine
    header["voxel_order"] = "".join(aff2axcodes(grid.affine)).encode()
    header["nb_streamlines"] = n_streamlines
    header["version"] = 2
    header["hdr_size"] = header_2_dtype.itemsize
    return header


def _ras_to_trackvis(header: NDArray[Any]) -> Float64:
    """(4, 4) affine from RAS+ mm to TrackVis: mm along the image axes from the volume's corner.

    From the header's own float32 values, since these are what a reader goes back by.
    """
    affine = np.linalg.inv(header["voxel_to_rasmm"].astype(np.float64))
    affine[:3, 3] += 0.5
    return np.diag([*header["voxel_sizes"].astype(np.float64), 1.0]) @ affine


def _records(block: Streamlines, to_trackvis: Float64) -> NDArray[np.int32]:
    """A block as TRK stores it: for each streamline its count, its points, its properties."""
    counts = np.diff(block.offsets)
    words_beside = 1 + len(_PROPERTIES)  # that each streamline has with its points
    starts = 3 * block.offsets[:-1] + words_beside * np.arange(len(block))
    properties = starts + 1 + 3 * counts
    words = np.empty(3 * len(block.points) + words_beside * len(block), "<i4")
    floats = words.view("<f4")
    words[starts] = counts
    floats[properties] = block.seed_index
    floats[properties + 1] = block.lengths_mm
    is_point = np.ones(len(words), bool)
    is_point[np.concatenate([starts, properties, properties + 1])] = False
    points = block.points @ to_trackvis[:3, :3].T + to_trackvis[:3, 3]
    floats[is_point] = points.ravel()
    return words
