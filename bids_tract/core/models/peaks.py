"""Peaks: the local maxima of orientation functions."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from dipy.core.geometry import cart2sphere
from dipy.reconst.shm import real_sh_descoteaux
from numpy.typing import NDArray

from bids_tract.core.masks import slabs
from bids_tract.core.models.peaks_kernels import BLOCK, LANES, Search, find_in_voxels
from bids_tract.core.sphere import tracking_sphere
from bids_tract.core.types import Bool, Float32, Float64, SHField

# (relative threshold, separation in degrees): FODs are sharp, ODFs of solid angle are not.
CSD_PEAKS = (0.5, 25.0)
CSA_PEAKS = (0.8, 45.0)
_SLAB = 4096


def find_peaks(
    field: SHField,
    mask: Bool,
    *,
    relative_threshold: float,
    min_separation_deg: float,
    n_peaks: int = 5,
    refine: bool = True,
    progress: Callable[[int], None] | None = None,
    n_threads: int = 1,
) -> Float32:
    """Find the highest peaks of each voxel.

    Maxima are found on the tracking sphere, as DIPY's `peak_directions` finds them, and moved
    from there to the maxima of the function itself.

    Parameters
    ----------
    field : SHField
    mask : (X, Y, Z) bool array
    relative_threshold : float
        Peaks below this share of the highest (above the minimum) on the sphere are dropped.
    min_separation_deg : float
        Of two peaks closer than this, the higher is kept.
    n_peaks : int
        At most so many.
    refine : bool
        Whether to leave the directions of the sphere.
    progress : callable, optional
        Called with the number of voxels done since the last call.
    n_threads : int
        The result does not depend on it.

    Returns
    -------
    (X, Y, Z, 3 * n_peaks) float32 array
        Unit directions in image axes times the amplitude, the highest first; zero where none.

    """
    search = _search(field.lmax, relative_threshold, min_separation_deg, refine)
    peaks = np.zeros((*mask.shape, n_peaks, 3), np.float32)

    def find(voxels: tuple[NDArray[np.intp], ...]) -> int:
        coeffs = np.ascontiguousarray(field.coeffs[voxels], np.float32)
        found = np.zeros((len(coeffs), n_peaks, 3), np.float32)
        find_in_voxels(coeffs, search, found)
        peaks[voxels] = found
        return len(coeffs)

    with ThreadPoolExecutor(n_threads) as pool:
        for done in pool.map(find, slabs(mask, _SLAB)):
            if progress is not None:
                progress(done)
    return peaks.reshape(*mask.shape, 3 * n_peaks)


def _search(order: int, relative: float, separation_deg: float, refine: bool) -> Search:
    sphere = tracking_sphere()
    vertices = np.ascontiguousarray(sphere.vertices, np.float64)
    harmonics = _harmonics(order, vertices)
    n_vertices, n_coeffs = harmonics.shape
    sampling = np.zeros((-(-n_coeffs // BLOCK) * BLOCK, -(-n_vertices // LANES) * LANES))
    sampling[:n_coeffs] = harmonics[:1].T
    sampling[:n_coeffs, :n_vertices] = harmonics.T
    return Search(
        sampling=sampling.astype(np.float32),
        vertices=vertices,
        neighbours=_neighbours(sphere.edges, n_vertices),
        to_polynomial=_to_polynomial(harmonics, _monomials(order, vertices)),
        order=order,
        relative_threshold=float(relative),
        cos_separation=float(np.cos(np.deg2rad(separation_deg))),
        refine=refine,
    )


def _harmonics(order: int, directions: Float64) -> Float64:
    """The basis functions (V, K) along directions (V, 3)."""
    _, theta, phi = cart2sphere(*directions.T)
    basis, _, _ = real_sh_descoteaux(order, theta[:, None], phi[:, None], legacy=True)
    return np.asarray(basis, np.float64)


def _monomials(order: int, directions: Float64) -> Float64:
    """All products (V, K) of `order` coordinates of directions (V, 3), in the kernels' order."""
    exponents = np.array(
        [(i, j, order - i - j) for i in range(order + 1) for j in range(order - i + 1)]
    )
    return np.asarray(np.prod(directions[:, None] ** exponents, axis=-1), np.float64)


def _to_polynomial(harmonics: Float64, monomials: Float64) -> Float64:
    """The matrix (K, K), one row a harmonic, that turns sums of harmonics into polynomials."""
    # The normal equations are sound: the condition number of the monomials is 150 for order 8,
    # 4000 for order 12. einsum, for a BLAS would wake threads that spin for longer than all this.
    gram = np.einsum("vk,vl->kl", monomials, monomials)
    return np.linalg.solve(gram, np.einsum("vk,vl->kl", monomials, harmonics)).T.copy()


def _neighbours(edges: NDArray[np.uint16], n_vertices: int) -> NDArray[np.int64]:
    """The neighbours of each vertex, shorter rows filled with the vertex itself."""
    lists: list[list[int]] = [[] for _ in range(n_vertices)]
    for one, other in edges:
        lists[one].append(int(other))
        lists[other].append(int(one))
    most = max(map(len, lists))
    return np.array([row + [vertex] * (most - len(row)) for vertex, row in enumerate(lists)])
