"""A picture of a tractogram: ``bids_tract_tools picture TRACTOGRAM OUT.png``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from bids_tract.core.drawing.camera import VIEWS, Camera, look_from
from bids_tract.core.drawing.colours import grey, window_of
from bids_tract.core.drawing.mosaic import box_of
from bids_tract.core.drawing.slices import see
from bids_tract.core.drawing.views import Ground, cameras_for, draw_views
from bids_tract.core.types import Float32, Float64
from bids_tract.errors import DataError, UsageError
from bids_tract.files.atomic import replacing
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map
from bids_tract.files.tractograms.stream import open_tractogram

_FILLINGS = {"black": (0.0, 0.0, 0.0, 1.0), "white": (1.0,) * 4, "transparent": (0.0,) * 4}
_OPAQUE = (".jpg", ".jpeg")
_SUFFIXES = (".png", ".webp", *_OPAQUE)
_SIZES = range(50, 10_001)
_NOT_A_VIEW = f"'{{}}' is not a view; expected {', '.join(VIEWS)} or azimuth:elevation in degrees"
# An image behind streamlines is darker, so that they stand out.
_BRIGHTNESS = 0.7


def make_picture(
    tractogram: Path,
    output: Path,
    *,
    on: Path | None = None,
    views: str = "left,back,top",
    size: int = 1000,
    background: str = "black",
    max_streamlines: int = 20_000,
) -> str:
    """Draw a tractogram.

    Parameters
    ----------
    tractogram : pathlib.Path
        TRX, TRK or TCK; one that is larger than memory is read piece by piece.
    output : pathlib.Path
        The picture, ``.png``, ``.webp`` or ``.jpg``.
    on : pathlib.Path, optional
        A 3-D NIfTI image. Its slice through the middle of the streamlines is shown behind them.
    views : str
        Names of `VIEWS` or ``azimuth:elevation``, with commas between.
    size : int
        Pixels of the longest side of a view.
    background : {"black", "white", "transparent"}
        What is where there is nothing.
    max_streamlines : int
        Of more, so many are drawn, evenly chosen.

    Returns
    -------
    str
        What was drawn, as a sentence.

    Raises
    ------
    UsageError
        A view, a number or the ending of `output` does not make sense.
    DataError, MissingInputError
        A file is not here, cannot be read or holds nothing to draw.
    OutputError
        The picture cannot be written.

    """
    axes = [_axes(view) for view in views.split(",")]
    _check(output, size, background, max_streamlines)
    stream = open_tractogram(tractogram)
    if not stream.count:
        raise DataError(f"{tractogram} holds no streamline: there is nothing to draw")
    streamlines = stream.evenly(max_streamlines)
    filling = _FILLINGS[background]
    if on is None:
        cameras, ground = cameras_for(streamlines, axes, size), None
    else:
        grid = read_grid(on)
        volume = np.nan_to_num(read_map(on, grid), posinf=0.0, neginf=0.0)
        corners = _corners(volume, grid)
        if not _meet(corners, streamlines.points):
            raise DataError(
                f"{on} and {tractogram} lie in different places of the world; give an image of "
                "the space that the tractogram is in"
            )
        cameras = cameras_for(streamlines, axes, size, corners)
        ground = _ground(volume, grid, filling)
    picture = draw_views(streamlines, cameras, filling, ground)
    _save(picture, output)
    drawn = f"{len(streamlines):,} of {stream.count:,} streamlines"
    return f"{output}: {drawn}{', evenly chosen' if len(streamlines) < stream.count else ''}"


def _axes(view: str) -> Float64:
    name = view.strip()
    try:
        azimuth, elevation = VIEWS[name] if name in VIEWS else map(float, name.split(":"))
    except ValueError as error:
        raise UsageError(_NOT_A_VIEW.format(name)) from error
    if not (np.isfinite(azimuth) and np.isfinite(elevation)):
        raise UsageError(_NOT_A_VIEW.format(name))
    return look_from(azimuth, elevation)


def _check(output: Path, size: int, background: str, max_streamlines: int) -> None:
    suffix = output.suffix.lower()
    if suffix not in _SUFFIXES:
        raise UsageError(f"{output} is not a picture's name; expected {', '.join(_SUFFIXES)}")
    if suffix in _OPAQUE and background == "transparent":
        raise UsageError(f"{output} cannot be transparent; write .png or .webp")
    if size not in _SIZES:
        raise UsageError(f"--size is {size}; expected {_SIZES[0]} to {_SIZES[-1]} pixels")
    if max_streamlines < 1:
        raise UsageError(f"--max-streamlines is {max_streamlines}; expected at least 1")


def _corners(volume: Float32, grid: Grid) -> Float32:
    """(8, 3) float32 array: the corners of what is not zero, RAS+ mm."""
    box = box_of(volume > 0, 0)
    ends = np.array(np.meshgrid(*[(low - 0.5, high - 0.5) for low, high in box])).reshape(3, -1)
    return (ends.T @ grid.affine[:3, :3].T + grid.affine[:3, 3]).astype(np.float32)


def _meet(some: Float32, others: Float32) -> bool:
    """Whether the boxes around two clouds of points overlap."""
    others = others[np.isfinite(others).all(axis=1)]
    return bool((some.min(0) <= others.max(0)).all() and (others.min(0) <= some.max(0)).all())


def _ground(volume: Float32, grid: Grid, filling: tuple[float, ...]) -> Ground:
    """What paints the slice of an image, and the background beyond it."""
    window = window_of(volume, volume > 0)
    everywhere = np.ones(volume.shape, np.float32)

    def paint(camera: Camera) -> Float32:
        picture = np.empty((*camera.size[::-1], 4), np.float32)
        picture[:] = filling
        inside = see(everywhere, grid.affine, camera, order=0) > 0
        picture[inside, :3] = _BRIGHTNESS * grey(see(volume, grid.affine, camera), window)[inside]
        picture[inside, 3] = 1
        return picture

    return paint


def _save(picture: Float32, output: Path) -> None:
    pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    if (pixels[..., 3] == 255).all():
        pixels = pixels[..., :3]
    with replacing(output) as temporary:
        Image.fromarray(pixels).save(temporary)
