"""Where a picture is taken from, and which pixel a point falls on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numba import njit

from bids_tract.core.types import Float32, Float64

# Azimuth and elevation in degrees. From the back and from the top, left is on the left.
VIEWS: Mapping[str, tuple[float, float]] = {
    "front": (0, 0),
    "left": (90, 0),
    "back": (180, 0),
    "right": (270, 0),
    "top": (180, 90),
    "bottom": (0, -90),
}
# A side of the picture is named where it lies within 25 degrees of a direction of the body.
_COS_NAMED = 0.9


@dataclass(frozen=True, eq=False)
class Camera:
    """A look at the world without perspective.

    Attributes
    ----------
    axes : (3, 3) float64 array
        Rows are unit vectors in RAS+: to the right of the picture, up, and towards the viewer.
    centre : (3,) float64 array
        The point in RAS+ mm that is seen at the middle of the picture.
    scale : float
        Pixels per mm.
    size : (int, int)
        Width and height in pixels.

    """

    axes: Float64
    centre: Float64
    scale: float
    size: tuple[int, int]

    @property
    def matrix(self) -> Float64:
        """(3, 4) float64 array: RAS+ mm to column, row and depth, all in pixels.

        Whole numbers are the centres of pixels, row 0 is at the top, and depth grows towards
        the viewer from zero in the plane through the centre.
        """
        width, height = self.size
        turned = self.scale * self.axes * [[1], [-1], [1]]
        middle = [(width - 1) / 2, (height - 1) / 2, 0]
        return np.column_stack([turned, middle - turned @ self.centre])

    def project(self, points: Float64) -> Float64:
        """Columns, rows and depths (N, 3) of points (N, 3) in RAS+ mm; see `matrix`."""
        matrix = self.matrix
        return np.asarray(points @ matrix[:, :3].T + matrix[:, 3])

    def plane(self) -> Float64:
        """(height, width, 3) float64 array: where pixels lie in the plane through the centre."""
        width, height = self.size
        right = (np.arange(width) - (width - 1) / 2) / self.scale
        up = -(np.arange(height) - (height - 1) / 2) / self.scale
        return self.centre + right[None, :, None] * self.axes[0] + up[:, None, None] * self.axes[1]

    def finer(self, factor: int) -> Camera:
        """The same picture with each pixel split into `factor` x `factor`."""
        width, height = self.size
        return Camera(
            self.axes, self.centre, factor * self.scale, (factor * width, factor * height)
        )

    def sides(self) -> tuple[str, str, str, str]:
        """What lies on the left, on the right, at the top and at the bottom: letters of LRPAIS.

        Empty for a side that lies in between.
        """
        right, up = _letters(self.axes[0]), _letters(self.axes[1])
        return right[0], right[1], up[1], up[0]


def look_from(azimuth: float, elevation: float) -> Float64:
    """The axes of a camera (see `Camera`) that looks from a direction.

    Parameters
    ----------
    azimuth : float
        Degrees: 0 from the front, 90 from the left, 180 from the back, 270 from the right.
    elevation : float
        Degrees above the horizon.

    """
    a, e = np.deg2rad([azimuth, elevation])
    level = np.array([-np.sin(a), np.cos(a), 0.0])
    vertical = np.array([0.0, 0.0, 1.0])
    towards = np.cos(e) * level + np.sin(e) * vertical
    up = np.cos(e) * vertical - np.sin(e) * level
    # Rounded so that a quarter turn is exact.
    return np.asarray(np.round([np.cross(up, towards), up, towards], 12)) + 0.0


def fit_camera(axes: Float64, low: Float64, high: Float64, scale: float, margin: float) -> Camera:
    """A camera that has everything between two corners in the picture, in its middle.

    Parameters
    ----------
    axes : (3, 3) float64 array
        See `Camera`.
    low, high : (3,) float64 arrays
        The corners in mm along these axes; see `extent`.
    scale : float
        Pixels per mm.
    margin : float
        Free pixels on every side.

    """
    width, height = (int(np.ceil(scale * side + 2 * margin)) for side in (high - low)[:2])
    return Camera(
        axes, np.asarray((low + high) / 2 @ axes), scale, (max(width, 1), max(height, 1))
    )


def extent(points: Float32, axes: Float64) -> tuple[Float64, Float64]:
    """Corners (3,) of what points (N, 3) in RAS+ mm fill along the axes of a camera, in mm.

    Points that are not finite are left out; of none, both corners are 0.
    """
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    _extend(points, axes, low, high)
    return (low, high) if np.isfinite(low).all() else (np.zeros(3), np.zeros(3))


@njit(cache=True, nogil=True, error_model="numpy")
def _extend(points: Float32, axes: Float64, low: Float64, high: Float64) -> None:
    """Move corners outwards until they hold all points."""
    for n in range(len(points)):
        x, y, z = float(points[n, 0]), float(points[n, 1]), float(points[n, 2])
        if np.isfinite(x + y + z):
            for k in range(3):
                along = axes[k, 0] * x + axes[k, 1] * y + axes[k, 2] * z
                low[k], high[k] = min(low[k], along), max(high[k], along)


def _letters(direction: Float64) -> tuple[str, str]:
    """The names of the two ends of a direction in RAS+."""
    axis = int(np.argmax(np.abs(direction)))
    if abs(direction[axis]) < _COS_NAMED:
        return "", ""
    negative, positive = ("LR", "PA", "IS")[axis]
    return (negative, positive) if direction[axis] > 0 else (positive, negative)
