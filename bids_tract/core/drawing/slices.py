"""What a camera sees of volumes in the plane through its centre."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from bids_tract.core.drawing.camera import Camera
from bids_tract.core.types import Float32, Float64

# The edge voxels reach half a voxel beyond their centres.
_EDGE = 0.5 + 1e-6


@dataclass(frozen=True, eq=False)
class Upright:
    """An image with its axes in the order and the sense of the world's: no voxel changes.

    Attributes
    ----------
    shape : (int, int, int)
        Voxels from left to right, from back to front, from bottom to top, nearly.
    affine : (4, 4) float64 array
        Voxel index of `bring`'s result to RAS+ mm.
    order : (int, int, int)
        Which axis of the image is nearest to each of the world's.
    flipped : (bool, bool, bool)
        Which of them then run against it.

    """

    shape: tuple[int, int, int]
    affine: Float64
    order: tuple[int, int, int]
    flipped: tuple[bool, bool, bool]

    @classmethod
    def of(cls, shape: tuple[int, int, int], affine: Float64) -> Upright:
        """How to bring an image with this affine upright."""
        sizes = np.linalg.norm(affine[:3, :3], axis=0)
        cosines = affine[:3, :3] / sizes
        _, order = optimize.linear_sum_assignment(-np.abs(cosines))
        columns = affine[:, [*order, 3]].copy()
        lengths = [shape[axis] for axis in order]
        flipped = [bool(cosines[world, axis] < 0) for world, axis in enumerate(order)]
        for axis in np.flatnonzero(flipped):
            columns[:, 3] += columns[:, axis] * (lengths[axis] - 1)
            columns[:, axis] *= -1
        return cls(
            (lengths[0], lengths[1], lengths[2]), columns,
            (int(order[0]), int(order[1]), int(order[2])), (flipped[0], flipped[1], flipped[2]),
        )  # fmt: skip

    def bring(self, data: NDArray[Any]) -> NDArray[Any]:
        """A view of an image (X, Y, Z) or (X, Y, Z, K) with its axes upright."""
        turned = np.transpose(data, (*self.order, *range(3, data.ndim)))
        return np.flip(turned, axis=tuple(np.flatnonzero(self.flipped)))

    @property
    def voxel_sizes(self) -> Float64:
        """(3,) float64 array: mm along each axis."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))

    @property
    def axes(self) -> Float64:
        """(3, 3) float64 array: rows are where the image's axes point to in RAS+."""
        return np.asarray((self.affine[:3, :3] / self.voxel_sizes).T)

    @property
    def tilt(self) -> float:
        """The largest angle between an axis and the world's, in degrees."""
        return float(np.degrees(np.arccos(np.clip(np.diag(self.axes), -1, 1))).max())


def see(volume: Float32, affine: Float64, camera: Camera, order: int = 1) -> Float32:
    """Values of a volume in the plane through the camera's centre.

    Parameters
    ----------
    volume : (X, Y, Z) or (X, Y, Z, K) float32 array
        Finite.
    affine : (4, 4) float64 array
        Voxel index to RAS+ mm.
    camera : Camera
    order : {0, 1}
        Nearest voxel, or linear interpolation.

    Returns
    -------
    (height, width) or (height, width, K) float32 array
        0 beyond the volume.

    """
    to_voxel = np.linalg.inv(affine)
    voxels = np.moveaxis(camera.plane() @ to_voxel[:3, :3].T + to_voxel[:3, 3], -1, 0)
    lengths = np.reshape(volume.shape[:3], (3, 1, 1))
    inside = np.all((voxels >= -_EDGE) & (voxels <= lengths - 1 + _EDGE), axis=0)
    channels = volume.reshape(*volume.shape[:3], -1)
    seen = np.empty((*inside.shape, channels.shape[-1]), np.float32)
    for k in range(channels.shape[-1]):
        seen[..., k] = ndimage.map_coordinates(
            channels[..., k], voxels, order=order, mode="nearest"
        )
    seen[~inside] = 0
    return seen.reshape(*inside.shape, *volume.shape[3:])


def outline(values: Float32, level: float, width: float, *, inside: bool = False) -> Float32:
    """How much of each pixel a line along a level covers, between 0 and 1.

    Parameters
    ----------
    values : (H, W) float32 array
        Such as `see` gives of a mask.
    level : float
        Where the line runs.
    width : float
        Of the line, in pixels.
    inside : bool
        Keep the line where values are above the level, so that it leaves room for another's.

    """
    slope = np.hypot(*np.gradient(values))
    with np.errstate(divide="ignore", invalid="ignore"):
        above = (values - level) / slope
    distance = np.abs(above - width / 2 if inside else above)
    cover = np.clip(width / 2 + 0.5 - distance, 0, 1)
    return np.where(slope > 0, cover, 0).astype(np.float32)
