"""Volumes brought to another grid, with one interpolation."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_tract.core.types import Bool, Float32, Float64
from bids_tract.files.grids import Grid


def resample_array(
    values: NDArray[Any],
    affine: Float64,
    grid: Grid,
    *,
    order: int = 1,
    transform: Float64 | None = None,
) -> Float32:
    """Bring a volume to another grid, with one interpolation.

    Values are interpolated (trilinear for `order` 1, nearest for 0, which suits labels). Where
    the volume is finer than the grid, an interpolated voxel is the mean over
    ceil(grid step / volume's voxel) points along each of its axes, so that nothing between the
    voxel centres is lost. Outside of the volume, and where it is not finite, values are 0.

    Parameters
    ----------
    values : (X', Y', Z') array
        The volume.
    affine : (4, 4) float64 array
        Its voxel coordinates to RAS+ mm.
    grid : Grid
        Where the result lies.
    order : {0, 1}
        Order of interpolation.
    transform : (4, 4) float64 array, optional
        RAS+ mm of the grid to RAS+ mm of the volume: where to sample the volume for a point of
        the grid. By default both lie in the same space.

    Returns
    -------
    (X, Y, Z) float32 array

    """
    source = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    to_world = grid.affine if transform is None else transform @ grid.affine
    return _resample_volume(source, np.linalg.inv(affine) @ to_world, grid.shape, order)


def _resample_volume(
    source: NDArray[Any], to_source: Float64, shape: tuple[int, int, int], order: int
) -> Float32:
    """A volume at the voxels of a grid, whose coordinates `to_source` takes to its own."""
    steps = np.linalg.norm(to_source[:3, :3], axis=0)  # of the grid, in voxels of the source
    counts = [1 if order == 0 else max(1, math.ceil(step - 1e-3)) for step in steps]
    total = np.zeros(shape)
    for place in itertools.product(*map(range, counts)):
        within = [(i + 0.5) / n - 0.5 for i, n in zip(place, counts, strict=True)]
        offset = to_source[:3, :3] @ within + to_source[:3, 3]
        sampled = ndimage.affine_transform(
            source, to_source[:3, :3], offset, shape, order=order, mode="nearest"
        )
        sampled[~_inside(source.shape, to_source[:3, :3], offset, shape)] = 0
        total += sampled
    return (total / math.prod(counts)).astype(np.float32)


def _inside(
    source_shape: tuple[int, ...], matrix: Float64, offset: Float64, shape: tuple[int, int, int]
) -> Bool:
    """Which points of a grid lie in a voxel of the source."""
    i, j, k = np.ogrid[: shape[0], : shape[1], : shape[2]]
    inside = np.ones(shape, bool)
    for row, shift, length in zip(matrix, offset, source_shape, strict=True):
        coordinate = row[0] * i + row[1] * j + row[2] * k + shift
        inside &= (coordinate >= -0.5 - 1e-6) & (coordinate <= length - 0.5 + 1e-6)
    return inside
