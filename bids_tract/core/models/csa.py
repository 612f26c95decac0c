"""The constant solid angle ODF (Aganj 2010, doi:10.1002/mrm.22365)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dipy.core.geometry import cart2sphere
from dipy.reconst.shm import real_sh_descoteaux
from numba import njit
from numpy.typing import NDArray
from scipy.special import eval_legendre

from bids_tract.core.masks import slabs
from bids_tract.core.types import Bool, Float32, Float64, Gradients, SHField, Signals

SMOOTH = 0.006  # Laplace-Beltrami regularisation: Descoteaux 2007, doi:10.1002/mrm.21277
_MEAN = 0.5 / np.sqrt(np.pi)  # first coefficient of a distribution whose integral is one
_LOWEST_SIGNAL = np.float32(1e-5)
# Attenuations are kept between these, where log(-log(.)) exists.
_LOWEST, _HIGHEST = np.float32(0.001), np.float32(0.999)
_SLAB = 1024  # signals and logarithms stay in the cache


def fit_csa(
    data: Signals,
    gradients: Gradients,
    mask: Bool,
    sh_order: int,
    progress: Callable[[int], None] | None = None,
    n_threads: int = 1,
) -> tuple[SHField, Float32]:
    """Fit the ODF and its generalised fractional anisotropy.

    Parameters
    ----------
    data : Signals
        (X, Y, Z, N) float32: b0 volumes and one shell.
    gradients : Gradients
        Its N volumes.
    mask : (X, Y, Z) bool array
    sh_order : int
        Highest harmonic order; see `core.gradients.resolve_order`.
    progress : callable, optional
        Called with the number of voxels done since the last call.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    field : SHField
    gfa : (X, Y, Z) float32 array
        0 to 1. Both are zero outside the mask and where the signal is not finite.

    """
    operator = _operator(gradients, sh_order)
    coeffs = np.zeros((*mask.shape, operator.shape[1]), np.float32)
    gfa = np.zeros(mask.shape, np.float32)

    def fit(voxels: tuple[NDArray[np.intp], ...]) -> int:
        signals = np.ascontiguousarray(data[voxels], np.float32)
        finite = np.all(np.isfinite(signals), axis=1)
        logs = _logarithms(signals, gradients.is_b0)
        coeffs[voxels], gfa[voxels] = _transform(logs, finite, operator)
        return len(signals)

    with ThreadPoolExecutor(n_threads) as pool:
        for done in pool.map(fit, slabs(mask, _SLAB)):
            if progress is not None:
                progress(done)
    return SHField(coeffs), gfa


def _operator(gradients: Gradients, sh_order: int) -> Float32:
    """The matrix (M, K) that turns log(-log(attenuation)) of M directions into coefficients.

    Fits regularised harmonics; then Laplace-Beltrami and Funk-Radon transforms, which only scale
    them. The first coefficient, which is constant, is left out as zero.
    """
    _, theta, phi = cart2sphere(*gradients.bvecs[~gradients.is_b0].T)
    basis, _, order = real_sh_descoteaux(sh_order, theta[:, None], phi[:, None], legacy=True)
    laplace = -order * (order + 1.0)
    penalty = np.diag(SMOOTH * laplace**2)
    fit: Float64 = np.linalg.solve(basis.T @ basis + penalty, basis.T)
    scale = laplace * eval_legendre(order, 0.0) / (8 * np.pi)
    return np.ascontiguousarray((scale[:, None] * fit).T, np.float32)


def _logarithms(signals: Float32, is_b0: Bool) -> Float32:
    """log(-log(attenuation)) (n, M) of signals (n, N); not finite where they are not."""
    signals = np.maximum(signals, _LOWEST_SIGNAL)
    # Copies with volumes fastest, whatever the number of voxels: the order of sums hangs on it.
    b0, weighted = np.compress(is_b0, signals, axis=1), np.compress(~is_b0, signals, axis=1)
    with np.errstate(all="ignore"):  # of voxels that are not finite
        values = np.divide(weighted, np.mean(b0, axis=1, keepdims=True), out=weighted)
        np.clip(values, _LOWEST, _HIGHEST, out=values)
        np.log(values, out=values)
        np.negative(values, out=values)
        return np.log(values, out=values)


# Not a product by BLAS, whose rounding may depend on the number of rows and on threads.
@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _transform(logs: Float32, finite: Bool, operator: Float32) -> tuple[Float32, Float32]:
    """Coefficients (n, K) and GFA (n,) of `logs` (n, M), zero where not `finite` (n,)."""
    n_voxels, n_coeffs = len(logs), operator.shape[1]
    coeffs = np.zeros((n_voxels, n_coeffs), np.float32)
    gfa = np.zeros(n_voxels, np.float32)
    for voxel in np.flatnonzero(finite):
        odf = coeffs[voxel]
        for direction in range(len(operator)):
            value = logs[voxel, direction]
            for k in range(n_coeffs):
                odf[k] += value * operator[direction, k]
        odf[0] = 0.0
        power = np.float32(0.0)
        for k in range(n_coeffs):
            power += odf[k] * odf[k]
        odf[0] = _MEAN
        gfa[voxel] = np.sqrt(power / (power + np.float32(_MEAN * _MEAN)))
    return coeffs, gfa
