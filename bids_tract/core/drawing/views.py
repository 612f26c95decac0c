"""Views of whole tractograms: streamlines before a ground, several beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from bids_tract.core.drawing.camera import Camera, extent, fit_camera
from bids_tract.core.drawing.mosaic import mark_scale, mark_sides
from bids_tract.core.drawing.zbuffer import draw_streamlines
from bids_tract.core.types import Float32, Float64, Streamlines

# Of a streamline: thin enough to tell 20,000 of a brain apart, thick enough for the shading.
_WIDTH_MM = 0.4
_MARGIN = 20  # pixels: room for the letters at the sides
_LETTER = 14  # pixels in height, and more in large pictures
_LETTER_SHARE = 50
# What lies in one point fills a picture of this size.
_SMALLEST_MM = 1.0

Ground = Callable[[Camera], Float32]


def cameras_for(
    streamlines: Streamlines, axes: Sequence[Float64], size: int, also: Float32 | None = None
) -> list[Camera]:
    """Cameras of one scale that see all streamlines.

    Parameters
    ----------
    streamlines : Streamlines
    axes : sequence of (3, 3) arrays
        One a view; see `Camera`.
    size : int
        Pixels of the longest side of the largest picture.
    also : (N, 3) float32 array, optional
        Points in RAS+ mm that are to be seen as well.

    """
    corners = []
    for look in axes:
        low, high = extent(streamlines.points, look)
        if also is not None:
            other_low, other_high = extent(also, look)
            low, high = np.minimum(low, other_low), np.maximum(high, other_high)
        corners.append((low, high))
    longest = max(float((high - low)[:2].max()) for low, high in corners)
    scale = max(1, size - 2 * _MARGIN) / max(longest, _SMALLEST_MM)
    return [
        fit_camera(look, low, high, scale, _MARGIN)
        for look, (low, high) in zip(axes, corners, strict=True)
    ]


def draw_views(
    streamlines: Streamlines,
    cameras: Sequence[Camera],
    filling: tuple[float, float, float, float],
    ground: Ground | None = None,
) -> Float32:
    """Draw streamlines from several sides on one sheet, with letters and a scale bar.

    Parameters
    ----------
    streamlines : Streamlines
    cameras : sequence of Camera
        Of one scale.
    filling : four floats
        Red, green, blue and opacity of what is empty, between 0 and 1.
    ground : callable, optional
        Gives what is behind the streamlines, (height, width, 4) float32, for a camera.

    Returns
    -------
    (height, width, 4) float32 array
        Red, green, blue and opacity, between 0 and 1; not premultiplied.

    """
    sizes = [camera.size for camera in cameras]
    places, (width, height) = _arrange(sizes)
    sheet = np.empty((height, width, 4), np.float32)
    sheet[:] = filling
    letter = max(_LETTER, height // _LETTER_SHARE)
    for camera, (left, top) in zip(cameras, places, strict=True):
        part = sheet[top : top + camera.size[1], left : left + camera.size[0]]
        if ground is not None:
            part[:] = ground(camera)
        drawn = draw_streamlines(
            streamlines.points, streamlines.offsets, camera, width_mm=_WIDTH_MM
        )
        _over(part, np.asarray(drawn / 255, np.float32))
        mark_sides(part, camera, vertical=False, letter=letter)
    mark_scale(sheet, cameras[0].scale, letter=letter)
    return sheet


def _over(below: Float32, above: Float32) -> None:
    """Lay a picture over another in place; both (height, width, 4), not premultiplied."""
    cover = above[..., 3:]
    opacity = cover + below[..., 3:] * (1 - cover)
    mixed = cover * above[..., :3] + (1 - cover) * below[..., 3:] * below[..., :3]
    below[..., :3] = np.where(opacity > 0, mixed / np.maximum(opacity, 1e-6), below[..., :3])
    below[..., 3:] = opacity


def _arrange(sizes: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Left and top of each picture, and the size of the sheet.

    They stand in a row, but low ones (of thin stacks) below each other.
    """
    height = max(high for _, high in sizes)
    columns: list[list[tuple[int, int]]] = []
    for wide, high in sizes:
        if columns and sum(h for _, h in columns[-1]) + high <= height:
            columns[-1].append((wide, high))
        else:
            columns.append([(wide, high)])
    places, left = [], 0
    for column in columns:
        broad = max(wide for wide, _ in column)
        top = (height - sum(high for _, high in column)) // 2
        for wide, high in column:
            places.append((left + (broad - wide) // 2, top))
            top += high
        left += broad
    return places, (left, height)
