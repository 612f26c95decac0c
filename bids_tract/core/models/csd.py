"""Constrained spherical deconvolution (Tournier 2007, doi:10.1016/j.neuroimage.2007.02.016)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dipy.core.geometry import cart2sphere
from dipy.data import small_sphere
from dipy.reconst.shm import real_sh_descoteaux
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from bids_tract.core.masks import slabs
from bids_tract.core.models.csd_kernels import (
    BLOCK,
    FAILED,
    LANES,
    STRIP,
    TILE,
    Couplings,
    Problem,
    deconvolve,
)
from bids_tract.core.types import Bool, Float32, Float64, Gradients, SHField
from bids_tract.errors import DataError

LAMBDA = 1.0  # weight of the constraint
TAU = 0.1  # amplitudes below this share of the mean count as negative
CONVERGENCE = 50  # iterations at most
_LOW_ORDER = 4  # of the first guess
# Added to a normal matrix that is not positive definite (as DIPY does).
_RIDGE = 1e-5
_SLAB = 4096


def fit_csd(
    data: Float32,
    gradients: Gradients,
    mask: Bool,
    sh_order: int,
    evals: Float64,
    s0: float,
    progress: Callable[[int], None] | None = None,
    n_threads: int = 1,
) -> tuple[SHField, int]:
    """Fit fibre orientation distributions.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        b0 volumes and one shell; may be a memory map.
    gradients : Gradients
        Its N volumes.
    mask : (X, Y, Z) bool array
    sh_order : int
        Highest harmonic order; see `core.gradients.resolve_order`.
    evals : (3,) float64 array
        Eigenvalues of the response in mm²/s.
    s0 : float
        Its b0 signal.
    progress : callable, optional
        Called with the number of voxels done since the last call.
    n_threads : int
        Threads at most; the result does not depend on it.

    Returns
    -------
    field : SHField
        Zero outside the mask and in voxels whose fit is not finite.
    n_failed : int
        The number of the latter.

    Raises
    ------
    DataError
        When more than half of the voxels fail.

    """
    problem = _problem(gradients, sh_order, np.asarray(evals, np.float64), float(s0))
    n_coeffs = (sh_order + 1) * (sh_order + 2) // 2
    coeffs = np.zeros((*mask.shape, n_coeffs), np.float32)

    def fit(voxels: tuple[NDArray[np.intp], ...]) -> tuple[int, int]:
        signals = np.ascontiguousarray(data[voxels], np.float32)
        fitted = np.empty((len(signals), n_coeffs), np.float32)
        rounds = np.empty(len(signals), np.int64)
        deconvolve(problem, signals, CONVERGENCE, fitted, rounds)
        coeffs[voxels] = fitted
        return len(signals), int(np.count_nonzero(rounds == FAILED))

    n_failed = n_voxels = 0
    with ThreadPoolExecutor(n_threads) as pool:
        for done, failed in pool.map(fit, slabs(mask, _SLAB)):
            n_voxels += done
            n_failed += failed
            if progress is not None:
                progress(done)
    if n_failed > n_voxels / 2:
        raise DataError(
            f"deconvolution failed in {n_failed} of {n_voxels} voxels; check the image and the "
            "response"
        )
    return SHField(coeffs), n_failed


# --- What all voxels share ---------------------------------------------------------------------


def _problem(gradients: Gradients, sh_order: int, evals: Float64, s0: float) -> Problem:
    weighted = ~gradients.is_b0 & np.any(gradients.bvecs != 0, axis=1)
    bvecs, bvals = gradients.bvecs[weighted], gradients.bvals[weighted]
    sampled, orders, _ = _harmonics(bvecs, sh_order)
    zonal = _zonal_response(sampled, orders, s0 * np.exp(-bvals * (bvecs**2 @ evals[::-1])))
    design = np.zeros((len(gradients), len(orders)))  # coefficients to signals; zero for b0
    design[weighted] = sampled * zonal[orders // 2]

    vertices = small_sphere.vertices
    basis, _, _ = _harmonics(vertices, sh_order)
    # The constraint's weight takes the numbers of coefficients and of directions into account
    # (Tournier 2007 in MRtrix's scaling). All is divided by its square, which leaves `basis` bare.
    weight = LAMBDA * len(orders) * zonal[0] / np.sqrt(len(vertices) * 2 * len(vertices))
    squared = design.T @ design
    try:
        unconstrained = cho_solve(cho_factor(squared), design.T)
    except LinAlgError:
        squared += _RIDGE * np.eye(len(orders))
        unconstrained = cho_solve(cho_factor(squared), design.T)
    products, couplings = _couplings(sh_order, vertices)
    size = couplings.entries.max() + 1
    packed = np.zeros(size)
    packed[: len(orders) * (len(orders) + 1) // 2] = (squared / weight**2)[np.tril_indices(len(orders))]
    return Problem(
        start=np.concatenate([_in_blocks(design.T / weight**2), _in_blocks(unconstrained)]),
        basis=_in_blocks(basis),
        n_directions=len(vertices),
        n_low=min((_LOW_ORDER + 1) * (_LOW_ORDER + 2) // 2, len(orders)),
        tau=TAU * basis[0, 0],
        squared=packed.astype(np.float32),
        products=products,
        couplings=couplings,
    )


def _harmonics(directions: Float64, sh_order: int) -> tuple[Float64, NDArray[np.int64], NDArray[np.int64]]:
    """(D, K) values at (D, 3) directions, and (K,) orders and azimuthal numbers."""
    _, theta, phi = cart2sphere(*directions.T)
    values, m, orders = real_sh_descoteaux(sh_order, theta, phi, legacy=True)
    return np.asarray(values), np.asarray(orders), np.asarray(m)


def _zonal_response(sampled: Float64, orders: NDArray[np.int64], signal: Float64) -> Float64:
    """What a fibre along z multiplies each even order by, from its signal."""
    fitted = np.linalg.lstsq(sampled, signal, rcond=None)[0]
    pole, pole_orders, m = _harmonics(np.array([[0.0, 0.0, 1.0]]), int(orders.max()))
    return np.asarray((fitted / pole[0])[m == 0])


def _in_blocks(matrix: Float64) -> Float32:
    """(R, C) -> (R8 / 8, C, 8): the layout that `csd_kernels` multiplies by."""
    rows, columns = matrix.shape
    padded = np.zeros((-(-rows // BLOCK) * BLOCK, columns), np.float32)
    padded[:rows] = matrix
    return np.ascontiguousarray(padded.reshape(-1, BLOCK, columns).transpose(0, 2, 1))


def _couplings(sh_order: int, vertices: Float64) -> tuple[Float32, Couplings]:
    top = 2 * sh_order
    # Exact for polynomials of degree 4 * sh_order: Gauss in z, uniform in phi.
    z, z_weights = np.polynomial.legendre.leggauss(top + 1)
    n_phi = 2 * top + 1
    phi = np.arange(n_phi) * (2 * np.pi / n_phi)
    radius = np.sqrt(1 - z**2)
    nodes = np.stack(
        [np.outer(radius, np.cos(phi)), np.outer(radius, np.sin(phi)), np.repeat(z[:, None], n_phi, 1)], -1
    ).reshape(-1, 3)
    values, orders, m = _harmonics(nodes, top)
    integral = np.repeat(z_weights, n_phi)[:, None] * (2 * np.pi / n_phi) * values  # (nodes, H)
    # In the legacy basis the cosines carry the negative numbers.
    place = {(int(l), int(k)): i for i, (l, k) in enumerate(zip(orders, m, strict=True))}
    n_coeffs = (sh_order + 1) * (sh_order + 2) // 2
    padded = -(-n_coeffs // TILE) * TILE
    nowhere = padded * (padded + 1) // 2

    pairs = {}
    columns = []
    for k in range(top + 1):
        for l in range(k + k % 2, top + 1, 2):
            pairs[l, k] = len(columns)
            columns += [place[l, -k], place[l, k] if k else -1]
    at_vertices, _, _ = _harmonics(vertices, top)
    width = STRIP
    products = np.zeros((len(vertices), -(-len(columns) // width) * width), np.int32)
    for i, c in enumerate(columns):
        if c >= 0:
            products[:, i] = np.rint(at_vertices[:, c] * 2.0**25)

    def entry(a, b):
        i, j = max(a, b), min(a, b)
        return i * (i + 1) // 2 + j

    half = [(l, k) for l in range(0, sh_order + 1, 2) for k in range(l + 1)]
    groups = []
    for l1, m1 in half:
        for l2, m2 in half:
            if (m1, l1) < (m2, l2):
                continue
            c1, s1, c2, s2 = place[l1, -m1], place[l1, m1], place[l2, -m2], place[l2, m2]
            product = values[:, c1] * values[:, c2]
            parts = []
            for k in (m1 + m2, m1 - m2) if m2 else (m1,):
                ls = range(max(abs(l1 - l2), k + k % 2), l1 + l2 + 1, 2)
                parts.append((pairs[ls[0], k], [product @ integral[:, place[l, -k]] for l in ls]))
            if not m2:
                parts.append((0, []))
            e = (entry(c1, c2), entry(s1, s2) if m2 else nowhere, entry(s1, c2) if m1 else nowhere,
                 entry(c1, s2) if m2 else nowhere)
            groups.append(((len(parts[0][1]), len(parts[1][1])), (parts[0][0], parts[1][0]), e, parts[0][1] + parts[1][1]))
    groups.sort(key=lambda g: g[0])
    terms, sums, entries, weights = zip(*groups, strict=True)
    products = np.stack([-products, products], 1)
    products = np.ascontiguousarray(products.reshape(2 * len(vertices), -1, width).transpose(1, 0, 2))
    return products, Couplings(np.array(terms, np.int32), np.array(sums, np.int32), np.array(entries, np.int32), (np.concatenate(weights) / 2.0**25).astype(np.float32))
