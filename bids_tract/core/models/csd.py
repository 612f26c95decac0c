"""Constrained spherical deconvolution (Tournier 2007, doi:10.1016/j.neuroimage.2007.02.016)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dipy.core.geometry import cart2sphere
from dipy.data import small_sphere
from dipy.reconst.shm import real_sh_descoteaux
from numpy.typing import DTypeLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from bids_tract.core.masks import slabs
from bids_tract.core.models.csd_kernels import (
    BLOCK,
    FAILED,
    STRIP,
    TILE,
    Couplings,
    Floats,
    Integers,
    Problem,
    deconvolve,
)
from bids_tract.core.sphere import storage_turn
from bids_tract.core.types import Bool, Float64, Gradients, SHField, Signals
from bids_tract.errors import DataError

LAMBDA = 1.0  # weight of the constraint
TAU = 0.1  # amplitudes below this share of the mean count as negative
CONVERGENCE = 50  # iterations at most
_LOW_ORDER = 4  # of the first guess
# Added to the diagonal where the signals alone do not determine all coefficients (as in DIPY).
_RIDGE = 1e-5
# Higher orders weigh too little in the signal for float32: at order 12 and b = 1000 most normal
# matrices are not positive definite in it.
_HIGHEST_SINGLE_ORDER = 8
_SLAB = 4096


def fit_csd(
    data: Signals,
    gradients: Gradients,
    mask: Bool,
    sh_order: int,
    evals: Float64,
    s0: float,
    progress: Callable[[int], None] | None = None,
    n_threads: int = 1,
    axes: Float64 | None = None,
) -> tuple[SHField, int]:
    """Fit fibre orientation distributions.

    Parameters
    ----------
    data : Signals
        (X, Y, Z, N) float32: b0 volumes and one shell.
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
        Threads at most. The result does not depend on it.
    axes : (3, 3) float64 array, optional
        Directions of the image axes in the world. The directions of the constraint are turned
        with the storage, so that it does not matter how a scan is stored; by default they are
        DIPY's.

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
    turn = storage_turn(np.eye(3) if axes is None else axes)
    problem = _problem(gradients, sh_order, np.asarray(evals, np.float64), float(s0), turn)
    n_coeffs = (sh_order + 1) * (sh_order + 2) // 2
    coeffs = np.zeros((*mask.shape, n_coeffs), np.float32)

    def fit_slab(voxels: tuple[NDArray[np.intp], ...]) -> tuple[int, int]:
        signals = np.ascontiguousarray(data[voxels], np.float32)
        fitted = np.empty((len(signals), n_coeffs), np.float32)
        iterations = np.empty(len(signals), np.int64)
        deconvolve(problem, signals, CONVERGENCE, fitted, iterations)
        coeffs[voxels] = fitted
        return len(signals), int(np.count_nonzero(iterations == FAILED))

    n_failed = n_voxels = 0
    with ThreadPoolExecutor(n_threads) as pool:
        for done, failed in pool.map(fit_slab, slabs(mask, _SLAB)):
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


def _problem(
    gradients: Gradients, sh_order: int, evals: Float64, s0: float, turn: Float64
) -> Problem:
    single = sh_order <= _HIGHEST_SINGLE_ORDER
    floats: DTypeLike = np.float32 if single else np.float64
    vertices = small_sphere.vertices @ turn
    basis, orders = _harmonics(vertices, sh_order)
    n_coeffs = len(orders)
    design, mean_response = _design(gradients, orders, evals, s0)
    squared = design.T @ design
    try:
        unconstrained = cho_solve(cho_factor(squared), design.T)
    except LinAlgError:
        squared += _RIDGE * np.eye(n_coeffs)
        unconstrained = cho_solve(cho_factor(squared), design.T)
    # MRtrix and DIPY scale the constraint to the numbers of coefficients and directions. All
    # squares are divided by the square of its weight, which leaves `basis` as it is.
    weight = LAMBDA * n_coeffs * mean_response / (np.sqrt(2) * len(vertices))
    packed = np.zeros(_nowhere(n_coeffs) + 1, floats)
    packed[: _entry(n_coeffs, 0)] = (squared / weight**2)[np.tril_indices(n_coeffs)]
    products, scale = _products(vertices, sh_order, np.int32 if single else np.int64)
    couplings = _couplings(sh_order)
    return Problem(
        start=np.concatenate(
            [_in_blocks(design.T / weight**2, floats), _in_blocks(unconstrained, floats)]
        ),
        basis=_in_blocks(basis, floats),
        n_directions=len(vertices),
        n_low=min((_LOW_ORDER + 1) * (_LOW_ORDER + 2) // 2, n_coeffs),
        tau=TAU * float(basis[0, 0]),
        squared=packed,
        products=products,
        couplings=couplings._replace(weights=np.asarray(couplings.weights / scale, floats)),
    )


def _design(
    gradients: Gradients, orders: NDArray[np.int64], evals: Float64, s0: float
) -> tuple[Float64, float]:
    """(N, K) coefficients to signals, zero for b0 volumes; and what it multiplies order 0 by."""
    weighted = ~gradients.is_b0 & np.any(gradients.bvecs != 0, axis=1)
    bvecs, bvals = gradients.bvecs[weighted], gradients.bvals[weighted]
    harmonics, _ = _harmonics(bvecs, int(orders.max()))
    # The response is the signal of a fibre along z; what a fibre elsewhere gives follows from
    # one factor for each order.
    response = s0 * np.exp(-bvals * (bvecs**2 @ evals[::-1]))
    fitted = np.linalg.lstsq(harmonics, response, rcond=None)[0]
    pole, _ = _harmonics(np.array([[0.0, 0.0, 1.0]]), int(orders.max()))
    zonal = np.array([_cosine(n, 0) for n in orders])
    factors = fitted[zonal] / pole[0, zonal]
    design = np.zeros((len(gradients), len(orders)))
    design[weighted] = harmonics * factors
    return design, float(factors[0])


def _harmonics(directions: Float64, sh_order: int) -> tuple[Float64, NDArray[np.int64]]:
    """(D, K) harmonics at (D, 3) directions, and the (K,) orders."""
    _, theta, phi = cart2sphere(*directions.T)
    values, _, orders = real_sh_descoteaux(sh_order, theta, phi, legacy=True)
    return np.asarray(values), np.asarray(orders)


def _cosine(order: int, m: int) -> int:
    """Where cos(m phi) of an order stands in the legacy basis."""
    return order * (order + 1) // 2 - m


def _sine(order: int, m: int) -> int:
    return order * (order + 1) // 2 + m


def _entry(row: int, column: int) -> int:
    """Where an entry of a symmetric matrix stands in its packed lower triangle."""
    row, column = max(row, column), min(row, column)
    return row * (row + 1) // 2 + column


def _nowhere(n_coeffs: int) -> int:
    """Behind the padded triangle: for entries that do not exist."""
    return _entry(-(-n_coeffs // TILE) * TILE, 0)


def _in_blocks(matrix: Float64, floats: DTypeLike) -> Floats:
    """(R, C) -> (R8 / 8, C, 8): eight rows side by side."""
    rows, columns = matrix.shape
    padded = np.zeros((-(-rows // BLOCK) * BLOCK, columns), floats)
    padded[:rows] = matrix
    return np.ascontiguousarray(padded.reshape(-1, BLOCK, columns).transpose(0, 2, 1))


def _pairs(sh_order: int) -> list[tuple[int, int]]:
    """(order, m) of the pairs (cosine, sine) up to the double order."""
    top = 2 * sh_order
    return [(n, m) for m in range(top + 1) for n in range(m + m % 2, top + 1, 2)]


def _products(
    vertices: Float64, sh_order: int, integers: type[np.integer]
) -> tuple[Integers, float]:
    """`Problem.products`, and what they are multiplied by to be integers."""
    pairs = _pairs(sh_order)
    values, _ = _harmonics(vertices, 2 * sh_order)
    table = np.zeros((len(vertices), -(-2 * len(pairs) // STRIP) * STRIP))
    for i, (n, m) in enumerate(pairs):
        table[:, 2 * i] = values[:, _cosine(n, m)]
        if m > 0:
            table[:, 2 * i + 1] = values[:, _sine(n, m)]
    # The largest power of two with which the sum over any set of directions fits. Intermediate
    # sums may wrap around.
    largest = max(np.maximum(table, 0).sum(axis=0).max(), np.maximum(-table, 0).sum(axis=0).max())
    scale = 2.0 ** np.floor(np.log2(np.iinfo(integers).max / largest))
    plus = np.rint(table * scale).astype(integers)
    both = np.stack([-plus, plus], axis=1).reshape(2 * len(vertices), -1, STRIP)
    return np.ascontiguousarray(both.transpose(1, 0, 2)), float(scale)


def _couplings(sh_order: int) -> Couplings:
    nodes, node_weights = _quadrature(4 * sh_order)
    values, _ = _harmonics(nodes, 2 * sh_order)
    weighted = values * node_weights[:, None]
    place = {pair: 2 * i for i, pair in enumerate(_pairs(sh_order))}
    nowhere = _nowhere((sh_order + 1) * (sh_order + 2) // 2)
    harmonics = [(n, m) for n in range(0, sh_order + 1, 2) for m in range(n + 1)]
    groups = []
    for n1, m1 in harmonics:
        for n2, m2 in harmonics:
            if (m1, n1) < (m2, n2):
                continue
            product = values[:, _cosine(n1, m1)] * values[:, _cosine(n2, m2)]
            sums = []
            # With m2 = 0 both azimuths are the same: all goes to the first.
            for m in (m1 + m2, m1 - m2) if m2 else (m1,):
                terms = list(range(max(abs(n1 - n2), m + m % 2), n1 + n2 + 1, 2))
                sums.append(
                    (place[terms[0], m], product @ weighted[:, [_cosine(n, m) for n in terms]])
                )
            if not m2:
                sums.append((0, np.zeros(0)))
            entries = (
                _entry(_cosine(n1, m1), _cosine(n2, m2)),
                _entry(_sine(n1, m1), _sine(n2, m2)) if m2 else nowhere,
                _entry(_sine(n1, m1), _cosine(n2, m2)) if m1 else nowhere,
                _entry(_cosine(n1, m1), _sine(n2, m2)) if m2 else nowhere,
            )
            groups.append((sums, entries))
    # Loops of the same length one after the other: the processor guesses their ends.
    groups.sort(key=lambda group: [len(weights) for _, weights in group[0]])
    return Couplings(
        terms=np.array([[len(weights) for _, weights in sums] for sums, _ in groups], np.int32),
        pairs=np.array([[first for first, _ in sums] for sums, _ in groups], np.int32),
        entries=np.array([entries for _, entries in groups], np.int32),
        weights=np.concatenate([weights for sums, _ in groups for _, weights in sums]),
    )


def _quadrature(degree: int) -> tuple[Float64, Float64]:
    """Nodes (Q, 3) on the sphere and weights (Q,) that integrate polynomials up to `degree`."""
    z, weights = np.polynomial.legendre.leggauss(degree // 2 + 1)
    phi = np.arange(degree + 1) * (2 * np.pi / (degree + 1))
    radius = np.sqrt(1 - z**2)
    x, y = np.outer(radius, np.cos(phi)), np.outer(radius, np.sin(phi))
    nodes = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], axis=-1).reshape(-1, 3)
    return nodes, np.repeat(weights, len(phi)) * (2 * np.pi / len(phi))
