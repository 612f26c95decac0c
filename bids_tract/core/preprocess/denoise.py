"""Noise: taken out of a series by what its volumes have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from dipy.denoise.localpca import mppca

from bids_tract.core.preprocess.processes import in_order
from bids_tract.core.types import Bool, Float32, Float64, Gradients

# Patches of 5 x 5 x 5 voxels, as in the paper. In the simulated head, patches of 3 x 3 x 3
# estimate the noise worse (7 % off with 33 volumes; 4 % with these).
_RADIUS = 2
# Patches are computed again where tiles meet: for 16 planes of 48 x 48 voxels, 1.5 times as many.
# Such a tile of 300 volumes takes 90 MB, and DIPY three times that while it works on it.
_PLANES = 16
_WIDTH = 48
# Signals of one small region vary in up to seven ways (a tensor and the b0); as many again leave
# enough of pure noise to know it by. In the simulated head (SNR 18, b=1000, where less varies) the
# error falls by a factor of 2.4 with 12 volumes, 3.0 with 21, 3.6 with 33.
_FEWEST_VOLUMES = 12


def enough_volumes(n_volumes: int) -> bool:
    """Whether a series has enough volumes to tell signal from noise by what they share."""
    return n_volumes >= _FEWEST_VOLUMES


# --- Marchenko-Pastur PCA ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Tile:
    """A part of a series with what surrounds it.

    Attributes
    ----------
    place : three slices
        The voxels to be denoised, in the image.
    inner : three slices
        The same voxels within `data` and `mask`.
    data : (A, B, C, N) float32 array
        As acquired, with all patches that reach the voxels to be denoised.
    mask : (A, B, C) bool array
        Where patches are centred.
    radii : (int, int, int)
        Of the patches, in voxels.

    """

    place: tuple[slice, ...]
    inner: tuple[slice, ...]
    data: Float32
    mask: Bool
    radii: tuple[int, ...]


def denoise_mppca(
    data: Float32,
    mask: Bool,
    *,
    n_threads: int,
    progress: Callable[[int], None] | None = None,
) -> Float32:
    """Denoise by Marchenko-Pastur PCA, in place.

    Veraart 2016 (doi:10.1016/j.neuroimage.2016.08.016), as DIPY does it; the tiles in which the
    series is walked do not show. No patch reaches beyond the image: voxels at its border belong
    to the patches of their neighbours, and those that no patch reaches keep their values.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        Finite within the mask and two patches around it. May be a memory map: some twenty planes
        are held at a time. Voxels outside the mask keep their values.
    mask : (X, Y, Z) bool array
    n_threads : int
        Worker processes at most; with 1, none is started. (Threads would wait for each other:
        it is a loop over voxels in Python.) The result does not depend on it.
    progress : callable, optional
        Called with the number of voxels done since the last call.

    Returns
    -------
    (X, Y, Z) float32 array
        The standard deviation of the noise; zero outside the mask and where no patch reaches.

    """
    sigma = np.zeros(mask.shape, np.float32)
    for tile, (signals, noise) in in_order(_denoise_tile, _tiles(data, mask), n_threads):
        inside = mask[tile.place]
        reached = inside & np.isfinite(noise)
        data[tile.place][reached] = signals[reached]
        sigma[tile.place][reached] = noise[reached]
        if progress is not None:
            progress(int(np.count_nonzero(inside)))
    return sigma


def _tiles(data: Float32, mask: Bool) -> Iterator[_Tile]:
    """Cut a series into tiles; those already taken may be overwritten meanwhile."""
    shape = mask.shape
    radii = tuple(min(_RADIUS, (size - 1) // 2) for size in shape)
    planes, first = np.asarray(data[:0]), 0  # as acquired; the number of the first of them
    for x in range(0, shape[0], _PLANES):
        outer, last = _around(x, _PLANES, shape[0], radii[0])[0], first + len(planes)
        planes = np.concatenate([planes[outer.start - first :], data[last : outer.stop]])
        first = outer.start
        for y, z in product(range(0, shape[1], _WIDTH), range(0, shape[2], _WIDTH)):
            spans = [
                _around(start, size, end, radius)
                for start, size, end, radius in zip(
                    (x, y, z), (_PLANES, _WIDTH, _WIDTH), shape, radii, strict=True
                )
            ]
            whole, place, inner = zip(*spans, strict=True)
            if np.any(mask[place]):
                yield _Tile(place, inner, planes[:, *whole[1:]], mask[whole], radii)


def _around(start: int, size: int, end: int, radius: int) -> tuple[slice, slice, slice]:
    """A range with its patches and all that lies in them; the range; the range within the first.

    A voxel belongs to patches centred up to one radius away, which reach as far again.
    """
    stop = min(start + size, end)
    low = max(start - 2 * radius, 0)
    return (
        slice(low, min(stop + 2 * radius, end)),
        slice(start, stop),
        slice(start - low, stop - low),
    )


def _denoise_tile(tile: _Tile) -> tuple[Float32, Float32]:
    """Signals and noise of the inner voxels of a tile; NaN where no patch reaches."""
    with np.errstate(invalid="ignore"):  # 0 / 0 there
        signals, noise = mppca(
            tile.data,
            mask=tile.mask,
            patch_radius=np.array(tile.radii),
            return_sigma=True,
            suppress_warning=True,  # of more volumes than voxels in a patch: it copes
        )
    return signals[tile.inner], noise[tile.inner]


# --- Patch2Self --------------------------------------------------------------------------------


def denoise_patch2self(data: Float32, gradients: Gradients) -> None:
    """Denoise by Patch2Self, in place: each volume becomes what the others predict of it.

    Fadnavis 2020 (arXiv:2011.01355) with linear regression on single voxels, DIPY's version 1. All
    regressions follow from one covariance matrix, so that the series need not be held in memory,
    and scikit-learn is not needed. (DIPY's version 3 draws random numbers.) Weighted volumes are
    predicted from weighted ones, b0 volumes from b0 volumes; a single b0 volume stays as it is.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        Finite. May be a memory map: it is walked three times, plane by plane.
    gradients : Gradients
        Its N volumes.

    """
    mean = sum((plane.mean(axis=(0, 1), dtype=np.float64) for plane in data), np.zeros(1))
    mean = mean / len(data)
    products = np.zeros((len(gradients), len(gradients)))
    for plane in data:
        signals = plane.reshape(-1, len(gradients)) - mean
        products += signals.T @ signals
    weights = np.zeros_like(products)
    for group in (gradients.is_b0, ~gradients.is_b0):
        volumes = np.flatnonzero(group)
        here = np.ix_(volumes, volumes)
        weights[here] = _regressions(products[here])
    for plane in data:
        signals = plane.reshape(-1, len(gradients)) - mean
        predicted = signals @ weights + mean
        plane[...] = np.maximum(predicted, 0.0).reshape(plane.shape)


def _regressions(products: Float64) -> Float64:
    """(M, M) weights by which the centred volumes predict each: a column for each volume.

    The regression of one variable on all others stands in the inverse of the matrix of products.
    """
    if len(products) == 1:
        return np.ones((1, 1))
    inverse = np.linalg.pinv(products, hermitian=True)
    diagonal = np.diag(inverse).copy()
    weights = -inverse / np.where(diagonal > 0, diagonal, 1.0)
    np.fill_diagonal(weights, 0.0)
    return np.asarray(weights)
