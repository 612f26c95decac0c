"""What the interactive view shows: a small copy of an image, and some streamlines, simplified."""

from __future__ import annotations

import io
import json
import math
import tempfile
import zipfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from dipy.tracking.streamlinespeed import compress_streamlines
from numpy.typing import NDArray

from bids_tract.core.types import Float32
from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map, write_map
from bids_tract.files.tractograms.stream import even_numbers, open_tractogram

# At most so many voxels along an axis: a megabyte unpacked, a few hundred kB in the page.
_VOXELS = 100
_FEWEST_VOXELS = 16  # fewer show no head
# Streamlines keep points where leaving them out would move the line by more (mm): not seen at a
# voxel of 1 mm; 5,000 streamlines of a brain take 0.8 MB.
_TOLERANCE_MM = 0.2
_STREAMLINES = 4000
# The brightest voxels (fluid) may be cut off.
_BRIGHTEST_PERCENT = 99.5
_IMAGES = (("dwiref", "mean b0"), ("tensor_fa", "FA"), ("csa_gfa", "GFA"))


@dataclass(frozen=True)
class View:
    """What one interactive view holds.

    Attributes
    ----------
    volume : bytes
        A ``.nii.gz`` of unsigned bytes.
    streamlines : bytes
        A TRX file with 16-bit points.
    image : str
        What the volume is: "mean b0".
    shown, total : int
        Streamlines here, and in the tractogram.

    """

    volume: bytes
    streamlines: bytes
    image: str
    shown: int
    total: int


def make_view(maps: Mapping[str, Path], tractogram: Path, room: int) -> View:
    """Put a view together.

    Parameters
    ----------
    maps : mapping of str to pathlib.Path
        The maps of the scan by kind; the mean b0 is shown, else FA or GFA.
    tractogram : pathlib.Path
        Whose streamlines are shown.
    room : int
        Bytes that the view may take in the page, about; fewer streamlines are shown to keep to it.

    Raises
    ------
    DataError, MissingInputError
        There is no image, or a file cannot be read.

    """
    kind, image = next(((k, name) for k, name in _IMAGES if k in maps), ("", ""))
    if not kind:
        raise DataError("there is no image (mean b0, FA or GFA) to show the streamlines on")
    grid = read_grid(maps[kind])
    room = room * 3 // 4  # base64 takes four bytes for three
    volume = _volume(read_map(maps[kind], grid), grid, room // 2)
    stream = open_tractogram(tractogram)
    if not stream.count:
        raise DataError(f"{tractogram} holds no streamline")
    lines = stream.evenly(_STREAMLINES)
    simple: list[Float32] = compress_streamlines(
        [lines[i] for i in range(len(lines))], _TOLERANCE_MM, max_segment_length=math.inf
    )
    packed = pack_trx(simple, grid)
    left = room - len(volume)
    if len(packed) > left:
        # A twentieth less: the lengths of streamlines differ.
        wanted = int(0.95 * len(simple) * left / len(packed))
        simple = [simple[i] for i in even_numbers(len(simple), max(1, wanted))]
        packed = pack_trx(simple, grid)
    return View(volume, packed, image, len(simple), stream.count)


def _volume(values: Float32, grid: Grid, room: int) -> bytes:
    """A map as an image of 8 bits, from black to the brightest, coarse enough for its room."""
    present = values[values > 0]
    bright = float(np.percentile(present, _BRIGHTEST_PERCENT)) if present.size else 1.0
    grey = 255 * np.clip(np.nan_to_num(values) / bright, 0.0, 1.0)
    coarsest = max(values.shape) // _FEWEST_VOXELS
    for step in range(math.ceil(max(values.shape) / _VOXELS), max(coarsest, 1) + 1):
        small, placed = _shrunk(grey.astype(np.float32), grid, step)
        packed = _packed(np.rint(small).astype(np.uint8), placed)
        if len(packed) <= room:
            break
    return packed


def _packed(values: NDArray[np.uint8], grid: Grid) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii.gz"
        write_map(path, values, grid, dtype=np.uint8)
        return path.read_bytes()


def _shrunk(values: Float32, grid: Grid, step: int) -> tuple[Float32, Grid]:
    """Means over cubes of `step` voxels; what does not fill a cube at the far ends is left out."""
    steps = [min(step, length) for length in values.shape]
    shape = tuple(length // by for length, by in zip(values.shape, steps, strict=True))
    trimmed = values[tuple(slice(0, n * by) for n, by in zip(shape, steps, strict=True))]
    cubes = trimmed.reshape(shape[0], steps[0], shape[1], steps[1], shape[2], steps[2])
    to_old = np.diag([*map(float, steps), 1.0])
    to_old[:3, 3] = [(by - 1) / 2 for by in steps]  # the centre of the first cube
    return cubes.mean(axis=(1, 3, 5), dtype=np.float32), Grid(shape, grid.affine @ to_old)


def pack_trx(lines: list[Float32], grid: Grid) -> bytes:
    """Streamlines as a TRX file in memory, points in 16 bits (0.06 mm at 128 mm)."""
    counts = [len(line) for line in lines]
    points = np.concatenate(lines).astype("<f2")
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype("<u4")
    header = {
        "DIMENSIONS": [int(length) for length in grid.shape],
        "VOXEL_TO_RASMM": grid.affine.tolist(),
        "NB_VERTICES": len(points),
        "NB_STREAMLINES": len(lines),
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (
            ("header.json", json.dumps(header).encode()),
            ("positions.3.float16", points.tobytes()),
            ("offsets.uint32", offsets.tobytes()),
        ):
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))  # equal content, equal bytes
            member.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(member, content)
    return packed.getvalue()


def packed_niivue() -> str:
    """The viewer's program, gzip in base64."""
    packed = files("bids_tract.report").joinpath("page", "niivue.umd.js.gz").read_bytes()
    return b64encode(packed).decode("ascii")
