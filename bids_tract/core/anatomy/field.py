"""The uneven brightness that coils give an image, as a smooth field over the brain."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.polynomial import legendre

from bids_tract.core.types import Bool, Float32, Float64

# Blocks of this size hold the sums that a field is fitted to: far below what it can follow.
_BLOCK_MM = 4.0
# Keeps the coefficients that nothing speaks for small; as a share of the weights.
_RIDGE = 1e-4
# White matter before anything is known: the weight of what is darker than the level, against 1
# for what is brighter; and the brightness (logarithm) that is none of the brain's.
_DARKER_COUNTS = 0.02
_LEAST, _MOST = float(np.log(0.3)), float(np.log(1.5))
_ROUNDS = 12


class FieldFit:
    """Weighted least squares of a polynomial in three dimensions to values at voxels.

    Legendre polynomials on the box of the voxels. The sums over blocks of 4 mm are what is
    fitted, so that a fit costs little more than to add up the voxels.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        The voxels, in C order V of them.
    voxel_sizes : (3,) float64 array
        mm.
    order : int
        The highest total order.

    """

    def __init__(self, mask: Bool, voxel_sizes: Float64, order: int) -> None:
        self._mask = mask
        self._powers = [
            p for p in itertools.product(range(order + 1), repeat=3) if sum(p) <= order
        ]
        voxels = np.nonzero(mask)
        per_block = np.maximum(1, np.round(_BLOCK_MM / voxel_sizes)).astype(int)
        blocks = [axis // size for axis, size in zip(voxels, per_block, strict=True)]
        shape = [int(axis.max()) + 1 for axis in blocks]
        _, self._block = np.unique(np.ravel_multi_index(blocks, shape), return_inverse=True)
        count = np.bincount(self._block)
        self._polynomials, sites = [], []
        for axis, length in zip(voxels, mask.shape, strict=True):
            low, high = int(axis.min()), int(axis.max())
            scale = 2.0 / max(high - low, 1)
            whole = (np.arange(length) - low) * scale - 1
            self._polynomials.append(legendre.legvander(whole, order))
            means = (np.bincount(self._block, axis) / count - low) * scale - 1
            sites.append(legendre.legvander(means, order))
        self._basis = np.stack(
            [sites[0][:, i] * sites[1][:, j] * sites[2][:, k] for i, j, k in self._powers], axis=1
        )

    def __call__(self, values: Float32, weights: Float32) -> Float32:
        """Fit values at the voxels, and return the field there.

        Parameters
        ----------
        values, weights : (V,) float32 arrays
            Weights at or above zero, not all of them zero.

        """
        share = np.bincount(self._block, weights)
        sums = np.bincount(self._block, weights * values)
        normal = (self._basis * share[:, None]).T @ self._basis
        ridge = np.full(len(normal), _RIDGE * np.sum(share))
        ridge[0] = 1e-12  # the mean is free
        coeffs = np.linalg.solve(normal + np.diag(ridge), self._basis.T @ sums)
        x, y, z = self._polynomials
        cube = np.zeros((x.shape[1],) * 3)
        cube[tuple(np.transpose(self._powers))] = coeffs
        field = np.einsum("xi,yj,zk,ijk->xyz", x, y, z, cube, optimize=True)
        return field[self._mask].astype(np.float32)


def white_level(values: Float32, fit: FieldFit, weights: Float32) -> Float32:
    """How bright white matter is about each voxel, roughly, with nothing known yet.

    An upper envelope: what is brighter than the field counts more in its fit than what is
    darker, and what is much brighter or darker, as fat and air are, does not count.

    Parameters
    ----------
    values : (V,) float32 array
        The logarithm of the brightness.
    fit : FieldFit
        Over these voxels.
    weights : (V,) float32 array
        What counts at all.

    Returns
    -------
    (V,) float32 array
        The logarithm.

    """
    level = np.full_like(values, np.median(values[weights > 0]))
    for _ in range(_ROUNDS):
        over = values - level
        pull = np.where(over > 0, np.float32(1.0), np.float32(_DARKER_COUNTS))
        counting = weights * pull * ((over > _LEAST) & (over < _MOST))
        if not np.any(counting):
            break
        level = fit(values, counting)
    return level
