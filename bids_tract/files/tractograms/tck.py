"""MRtrix tractograms (mrtrix.readthedocs.io, "Tracks file format")."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_tract.core.types import Float32, Streamlines
from bids_tract.files.atomic import replacing
from bids_tract.files.tractograms.trx import open_trx

_END = "\nEND\n"


def write_tck(trx_path: Path, target: Path) -> None:
    """Convert a TRX file to TCK, block by block; the format holds points only.

    Raises
    ------
    DataError, MissingInputError
        The TRX file cannot be read.
    OutputError
        The target cannot be written.

    """
    source = open_trx(trx_path)
    with replacing(target) as temporary, temporary.open("wb") as stream:
        stream.write(_header(len(source)))
        for block in source.blocks():
            stream.write(_triplets(block).tobytes())
        stream.write(np.full(3, np.inf, "<f4").tobytes())


def _header(n_streamlines: int) -> bytes:
    """Text that ends with the offset of the data, which counts its own digits."""
    text = f"mrtrix tracks\ndatatype: Float32LE\ncount: {n_streamlines}\nfile: . "
    # Two digits and the end are added; the count keeps the total below 100 bytes.
    return f"{text}{len(text) + len('00') + len(_END)}{_END}".encode()


def _triplets(block: Streamlines) -> Float32:
    """(P + T, 3) float32 array: the points, a row of NaN after each streamline."""
    rows = np.full((len(block.points) + len(block), 3), np.nan, "<f4")
    line_of_point = np.repeat(np.arange(len(block)), np.diff(block.offsets))
    rows[np.arange(len(block.points)) + line_of_point] = block.points
    return rows
