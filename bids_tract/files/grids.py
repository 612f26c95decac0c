"""Where the voxels of an image lie."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.errors import DataError

_SHEAR_TOLERANCE = 1e-3  # cosine between two image axes
_RESAMPLE = "resample it to an orthogonal grid first (for example `mrgrid IN regrid OUT`)"


@dataclass(frozen=True, eq=False)
class Grid:
    """Where the voxels of an image lie.

    Attributes
    ----------
    shape : (int, int, int)
        Number of voxels along each image axis.
    affine : (4, 4) float64 array
        From voxel coordinates, (0, 0, 0) the centre of the first voxel, to RAS+ mm.

    Raises
    ------
    DataError
        The grid has no voxels, or its affine is not finite, singular or sheared.

    """

    shape: tuple[int, int, int]
    affine: Float64

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(n) for n in self.shape))
        object.__setattr__(self, "affine", np.array(self.affine, dtype=np.float64))
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise DataError(f"a shape of {self.shape} holds no volume; expected three axes")
        if self.affine.shape != (4, 4) or not np.isfinite(self.affine).all():
            raise DataError("the affine is not a finite 4 x 4 matrix")
        sizes = self.voxel_sizes
        if sizes.min() <= 0 or abs(np.linalg.det(self.affine[:3, :3] / sizes)) < 1e-6:
            raise DataError("the affine is singular: it gives voxels no volume; write a valid one")
        axes = self.affine[:3, :3] / sizes
        shear = float(np.abs(axes.T @ axes - np.eye(3)).max())
        if shear > _SHEAR_TOLERANCE:
            angle = math.degrees(math.asin(min(shear, 1.0)))
            raise DataError(f"the image axes are sheared by {angle:.2g} degrees; {_RESAMPLE}")

    @property
    def voxel_sizes(self) -> Float64:
        """(3,) float64 array: the size of a voxel along each image axis, in mm."""
        sizes: Float64 = np.linalg.norm(self.affine[:3, :3], axis=0)
        return sizes

    def matches(self, other: Grid, tol: float = 1e-3) -> bool:
        """Whether both grids have the same voxels: shapes equal, affines to within `tol`."""
        return self.shape == other.shape and np.allclose(
            self.affine, other.affine, rtol=0, atol=tol
        )

    def distance(self, other: Grid) -> float:
        """How far a corner of this volume moves, at most, under the other affine, in mm."""
        return corner_distance(self.shape, self.affine, other.affine)


def corner_distance(shape: tuple[int, int, int], one: Float64, other: Float64) -> float:
    """How far apart two affines place a corner of a volume, at most, in mm."""
    corners = np.array(list(itertools.product(*((0, n - 1) for n in shape))))
    homogeneous = np.column_stack([corners, np.ones(len(corners))])
    return float(np.linalg.norm((homogeneous @ (one - other).T)[:, :3], axis=1).max())
