"""Streamlines as shaded tubes, the nearer before the farther.

Each piece of a streamline is a cylinder with round ends. A pixel keeps what is nearest to the
viewer; between equals, what was drawn first. One thread draws a picture, so that it is the same
wherever it is drawn.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import ndimage

from bids_tract.core.drawing.camera import Camera
from bids_tract.core.types import Float32, Float64

UInt8 = NDArray[np.uint8]

_SPLIT = 2  # a pixel is drawn as 2 x 2, which makes edges smooth
# Points closer than this are left out, in drawn pixels: what is lost is not seen, and half of the
# time is saved.
_SHORTEST = 4.0
_RIM = 0.4  # brightness of the edge of a tube relative to its middle
_FARTHEST = 0.6  # brightness of the farthest relative to the nearest
# What lies deeper than its surroundings is darker (Luft 2006, doi:10.1145/1141911.1142016):
# surroundings as a share of the picture's side; darkest for a pit of this share of the depth.
_AROUND = 0.02
_PIT = 0.12
_DARKEST = 0.75
# Depth as a share of the picture's side, at least: flat things have no dark pits.
_SHALLOWEST = 0.5


def draw_streamlines(
    points: Float32,
    offsets: NDArray[np.int64],
    camera: Camera,
    *,
    width_mm: float,
    slab_mm: float = np.inf,
    shaded: bool = True,
) -> UInt8:
    """Draw streamlines in the colours of their directions.

    Red is left-right, green front-back, blue up-down: the absolute components of the unit
    tangent in RAS+.

    Parameters
    ----------
    points : (P, 3) float32 array
        RAS+ mm. Pieces with a point that is not finite are left out.
    offsets : (T + 1,) int64 array
        Streamline t owns ``points[offsets[t]:offsets[t + 1]]``.
    camera : Camera
    width_mm : float
        Thickness of a streamline; at least one pixel is drawn.
    slab_mm : float
        Only what lies within half of this before and behind the camera's centre is drawn.
    shaded : bool
        Darken what lies farther away or deeper than its surroundings.

    Returns
    -------
    (height, width, 4) uint8 array
        Red, green, blue and opacity; not premultiplied.

    """
    fine = camera.finer(_SPLIT)
    width, height = fine.size
    depth = np.full((height, width), -np.inf, np.float32)
    colours = np.zeros((height, width, 3), np.uint8)
    radius = max(width_mm * fine.scale, _SPLIT) / 2
    order = _nearest_first(points, offsets, camera)
    _draw(points, offsets, order, fine.matrix, radius, slab_mm * fine.scale / 2, depth, colours)
    picture, nearest = _merge(depth, colours)
    if shaded:
        picture[..., :3] *= _brightness(nearest)[..., None]
    return np.asarray(np.rint(picture), np.uint8)


def _nearest_first(
    points: Float32, offsets: NDArray[np.int64], camera: Camera
) -> NDArray[np.int64]:
    """Numbers of the streamlines that have a piece, by the depth of their middle point."""
    begins, ends = offsets[:-1], offsets[1:]
    drawn = np.flatnonzero(ends - begins > 1)
    with np.errstate(invalid="ignore"):  # points that are not finite come last
        depths = points[(begins[drawn] + ends[drawn]) // 2] @ camera.axes[2]
    return drawn[np.argsort(-depths, kind="stable")]


def _brightness(depth: Float32) -> Float32:
    """(height, width) float32 array of factors; 1 where nothing was drawn."""
    drawn = np.isfinite(depth)
    if not drawn.any():
        return np.ones(depth.shape, np.float32)
    high = float(depth[drawn].max())
    span = max(high - float(depth[drawn].min()), _SHALLOWEST * _SPLIT * max(depth.shape))
    relative = np.where(drawn, 1 + (depth - high) / span, 0).astype(np.float32)
    around = max(3, int(_AROUND * max(depth.shape)))
    share = ndimage.uniform_filter(drawn.astype(np.float32), around, mode="constant")
    mean = ndimage.uniform_filter(relative, around, mode="constant") / np.maximum(share, 1e-3)
    # A few thin lines in front take away little light.
    pit = np.clip((mean - relative) / _PIT, 0, 1) * _DARKEST * np.clip(share, 0, 1)
    factors = (_FARTHEST + (1 - _FARTHEST) * relative) * (1 - pit)
    return np.where(drawn, factors, 1).astype(np.float32)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw(
    points: Float32, offsets: NDArray[np.int64], order: NDArray[np.int64], matrix: Float64,
    radius: float, reach: float, depth: Float32, colours: UInt8,
) -> None:  # fmt: skip
    """Draw streamlines in the given order into `depth` and `colours`; lengths in drawn pixels."""
    for line in order:
        last = offsets[line + 1] - 1
        start = offsets[line]
        x0, y0, z0 = _project(matrix, points[start])
        for n in range(start + 1, last + 1):
            x1, y1, z1 = _project(matrix, points[n])
            length = (x1 - x0) ** 2 + (y1 - y0) ** 2 + (z1 - z0) ** 2
            if length < _SHORTEST**2 and n < last:
                continue
            beyond = min(z0, z1) > reach or max(z0, z1) < -reach
            if length > 0 and np.isfinite(length) and not beyond:
                red, green, blue = _colour(points[start], points[n])
                _tube(
                    x0, y0, z0, x1, y1, z1, red, green, blue, radius, reach, depth, colours
                )  # fmt: skip
            start, x0, y0, z0 = n, x1, y1, z1


@njit(cache=True, nogil=True, error_model="numpy")
def _project(matrix: Float64, point: Float32) -> tuple[float, float, float]:
    px, py, pz = float(point[0]), float(point[1]), float(point[2])
    return (
        matrix[0, 0] * px + matrix[0, 1] * py + matrix[0, 2] * pz + matrix[0, 3],
        matrix[1, 0] * px + matrix[1, 1] * py + matrix[1, 2] * pz + matrix[1, 3],
        matrix[2, 0] * px + matrix[2, 1] * py + matrix[2, 2] * pz + matrix[2, 3],
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _colour(start: Float32, end: Float32) -> tuple[float, float, float]:
    """Absolute components of the direction, 0 to 255."""
    dx, dy, dz = abs(end[0] - start[0]), abs(end[1] - start[1]), abs(end[2] - start[2])
    factor = 255.0 / np.sqrt(dx * dx + dy * dy + dz * dz)
    return dx * factor, dy * factor, dz * factor


@njit(cache=True, nogil=True, error_model="numpy")
def _tube(
    x0: float, y0: float, z0: float, x1: float, y1: float, z1: float,
    red: float, green: float, blue: float, radius: float, reach: float,
    depth: Float32, colours: UInt8,
) -> None:  # fmt: skip
    """Draw one piece; pixels beyond `reach` of depth 0 stay as they are."""
    height, width = depth.shape
    # Cut to the picture before numbers become integers, which far ones do not fit.
    left = int(np.ceil(min(max(min(x0, x1) - radius, 0.0), float(width))))
    right = int(np.floor(max(min(max(x0, x1) + radius, width - 1.0), -1.0)))
    top = int(np.ceil(min(max(min(y0, y1) - radius, 0.0), float(height))))
    bottom = int(np.floor(max(min(max(y0, y1) + radius, height - 1.0), -1.0)))
    dx, dy, dz = x1 - x0, y1 - y0, z1 - z0
    square = dx * dx + dy * dy
    inverse = 1.0 / square if square > 0 else 0.0
    radius_square = radius * radius
    nearest = max(z0, z1) + radius
    for y in range(top, bottom + 1):
        for x in range(left, right + 1):
            if nearest <= depth[y, x]:  # most are hidden: the nearer streamlines came first
                continue
            ex, ey = x - x0, y - y0
            along = min(max((ex * dx + ey * dy) * inverse, 0.0), 1.0)
            ex -= along * dx
            ey -= along * dy
            room = radius_square - ex * ex - ey * ey
            if room < 0:
                continue
            axis = z0 + along * dz
            z = axis + np.sqrt(room)
            if z <= depth[y, x] or abs(axis) > reach:
                continue
            depth[y, x] = z
            shade = _RIM + (1 - _RIM) * np.sqrt(room) / radius
            colours[y, x, 0] = np.uint8(red * shade)
            colours[y, x, 1] = np.uint8(green * shade)
            colours[y, x, 2] = np.uint8(blue * shade)


@njit(cache=True, nogil=True, error_model="numpy")
def _merge(depth: Float32, colours: UInt8) -> tuple[Float32, Float32]:
    """Drawn pixels to those of the picture: mean colour, opacity (0 to 255); nearest depth."""
    height, width = depth.shape[0] // _SPLIT, depth.shape[1] // _SPLIT
    picture = np.zeros((height, width, 4), np.float32)
    nearest = np.full((height, width), -np.inf, np.float32)
    for y in range(height):
        for x in range(width):
            count = 0
            for v in range(_SPLIT * y, _SPLIT * (y + 1)):
                for u in range(_SPLIT * x, _SPLIT * (x + 1)):
                    if depth[v, u] > -np.inf:
                        count += 1
                        nearest[y, x] = max(nearest[y, x], depth[v, u])
                        for k in range(3):
                            picture[y, x, k] += colours[v, u, k]
            if count:
                picture[y, x, :3] /= count
                picture[y, x, 3] = 255.0 * count / _SPLIT**2
    return picture, nearest
