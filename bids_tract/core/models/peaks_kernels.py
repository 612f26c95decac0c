"""The compiled part of the search for peaks.

Letters in shapes: n voxels, K coefficients, V directions of the sphere, W = V rounded up for
the vector unit. An even function of order L is also a homogeneous polynomial of degree L in
(x, y, z), with as many coefficients: that form has derivatives everywhere on the sphere.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bids_tract.core.types import Float32, Float64

LANES = 16  # float32 values in a vector; W is a multiple of it
BLOCK = 4  # coefficients added in one pass over the directions; K of `sampling` is a multiple
_MAX_STEPS = 12  # two to three are the rule
_LONGEST_STEP = 0.1  # radians: about the distance of neighbours on the sphere
_CONVERGED = 2e-3  # radians; a step about squares the error: 0.002 degrees are left

Vector: TypeAlias = tuple[float, float, float]
Second: TypeAlias = tuple[float, float, float, float, float, float]  # xx, xy, xz, yy, yz, zz


class Search(NamedTuple):
    """The sphere and what to look for on it."""

    sampling: Float32  # (K rounded up, W): coefficients to amplitudes; direction 0 fills the end
    vertices: Float64  # (V, 3) unit vectors
    neighbours: NDArray[np.int64]  # (V, most neighbours), the end of a row filled with itself
    to_polynomial: Float64  # (K, K): harmonics to monomials, sorted as in `_second_derivatives`
    order: int
    relative_threshold: float
    cos_separation: float
    refine: bool


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def find_in_voxels(coeffs: Float32, search: Search, peaks: Float32) -> None:
    """Fill `peaks` (n, n_peaks, 3), zero before, with those of `coeffs` (n, K)."""
    n_vertices, width = len(search.vertices), search.sampling.shape[1]
    padded = np.zeros(len(search.sampling), np.float32)
    amplitudes = np.empty(width, np.float32)
    lanes = np.empty((2, LANES), np.float32)
    candidates = np.empty(n_vertices + 1, np.int64)
    values = np.empty(n_vertices, np.float64)
    directions = np.empty((n_vertices, 3), np.float64)
    polynomial = np.empty(coeffs.shape[1], np.float64)
    powers = np.empty((3, 3, search.order + 1), np.float64)
    for voxel in range(len(coeffs)):
        padded[: coeffs.shape[1]] = coeffs[voxel]
        _sample(padded, search.sampling, amplitudes)
        lowest, highest = _range(amplitudes, lanes)
        if not (highest > 0 and np.isfinite(highest)):
            continue
        base = max(lowest, 0.0)
        threshold = min(base + search.relative_threshold * (highest - base), highest)
        count = _above(amplitudes, n_vertices, threshold, candidates)
        count = _keep_maxima(amplitudes, search.neighbours, candidates, count)
        if search.refine and count:
            _multiply(search.to_polynomial, coeffs[voxel], polynomial)
        for n in range(count):
            vertex = candidates[n]
            values[n] = amplitudes[vertex]
            directions[n] = search.vertices[vertex]
            if search.refine:
                values[n] = _climb(polynomial, search.order, values[n], directions[n], powers)
        _sort(values, directions, count)
        _separate(values, directions, count, search.cos_separation, peaks[voxel])


# --- On the sphere's vertices --------------------------------------------------------------------


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _sample(coeffs: Float32, sampling: Float32, amplitudes: Float32) -> None:
    """Amplitudes (W,) of the function with `coeffs` (K rounded up,)."""
    amplitudes[:] = 0.0
    for k in range(0, len(coeffs), BLOCK):
        c0, c1, c2, c3 = coeffs[k], coeffs[k + 1], coeffs[k + 2], coeffs[k + 3]
        s0, s1, s2, s3 = sampling[k], sampling[k + 1], sampling[k + 2], sampling[k + 3]
        for j in range(len(amplitudes)):
            amplitudes[j] += c0 * s0[j] + c1 * s1[j] + c2 * s2[j] + c3 * s3[j]


@njit(cache=True, nogil=True, error_model="numpy")
def _range(amplitudes: Float32, lanes: Float32) -> tuple[float, float]:
    """The lowest and the highest; infinity and minus infinity where all are NaN.

    Lane by lane in `lanes` (2, LANES), for a plain loop over floats stays a loop of single steps.
    """
    low, high = lanes[0], lanes[1]
    low[:], high[:] = np.inf, -np.inf
    for start in range(0, len(amplitudes), LANES):
        for lane in range(LANES):
            value = amplitudes[start + lane]
            low[lane] = value if value < low[lane] else low[lane]
            high[lane] = value if value > high[lane] else high[lane]
    return float(low.min()), float(high.max())


@njit(cache=True, nogil=True, error_model="numpy")
def _above(
    amplitudes: Float32, n_vertices: int, threshold: float, candidates: NDArray[np.int64]
) -> int:
    """List the vertices at or above a threshold; returns how many."""
    count = 0
    for vertex in range(n_vertices):  # without a branch, which would be guessed wrong
        candidates[count] = vertex
        count += amplitudes[vertex] >= threshold
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _keep_maxima(
    amplitudes: Float32, neighbours: NDArray[np.int64], candidates: NDArray[np.int64], count: int
) -> int:
    """Keep those at or above all neighbours and above at least one; returns how many."""
    kept = 0
    for n in range(count):
        vertex = candidates[n]
        highest = lowest = amplitudes[vertex]
        for number in range(neighbours.shape[1]):
            value = amplitudes[neighbours[vertex, number]]
            highest = value if value > highest else highest
            lowest = value if value < lowest else lowest
        candidates[kept] = vertex
        kept += (amplitudes[vertex] >= highest) & (amplitudes[vertex] > lowest)
    return kept


@njit(cache=True, nogil=True, error_model="numpy")
def _sort(values: Float64, directions: Float64, count: int) -> None:
    """Bring `values` and `directions` into falling order; equal ones stay as they are."""
    for n in range(1, count):
        value, x, y, z = values[n], directions[n, 0], directions[n, 1], directions[n, 2]
        hole = n
        while hole > 0 and value > values[hole - 1]:
            values[hole] = values[hole - 1]
            directions[hole] = directions[hole - 1]
            hole -= 1
        values[hole] = value
        directions[hole, 0], directions[hole, 1], directions[hole, 2] = x, y, z


@njit(cache=True, nogil=True, error_model="numpy")
def _separate(
    values: Float64, directions: Float64, count: int, cos_separation: float, peaks: Float32
) -> None:
    """Write the first that are far from all before them to `peaks` (n_peaks, 3)."""
    kept = 0
    for n in range(count):
        if kept == len(peaks):
            return
        alone = True
        for other in range(kept):
            cosine = 0.0
            for axis in range(3):
                cosine += directions[n, axis] * directions[other, axis]
            alone &= abs(cosine) <= cos_separation
        if alone:
            directions[kept] = directions[n]
            peaks[kept] = directions[n] * values[n]
            kept += 1


# --- Off the vertices ----------------------------------------------------------------------------


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _multiply(matrix: Float64, vector: Float32, out: Float64) -> None:
    """Write the product (K,) of the row `vector` (K,) and `matrix` (K, K)."""
    out[:] = 0.0
    for k in range(len(vector)):
        for j in range(len(out)):
            out[j] += matrix[k, j] * vector[k]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _climb(
    polynomial: Float64, order: int, value: float, direction: Float64, powers: Float64
) -> float:
    """Move `direction` (3,) uphill to a maximum; returns the amplitude there.

    Where none that is at least as high as `value` is reached, nothing changes.
    """
    x, y, z = direction[0], direction[1], direction[2]
    for _ in range(_MAX_STEPS):
        second = _second_derivatives(polynomial, order, x, y, z, powers)
        height, step, summit = _newton(second, order, (x, y, z))
        length = np.sqrt(_dot(step, step))
        arrived = summit and length < _CONVERGED
        scale = _LONGEST_STEP / length if length > _LONGEST_STEP or not summit else 1.0
        x, y, z = x + scale * step[0], y + scale * step[1], z + scale * step[2]
        norm = np.sqrt(_dot((x, y, z), (x, y, z)))
        x, y, z = x / norm, y / norm, z / norm
        if arrived and height >= value:
            direction[0], direction[1], direction[2] = x, y, z
            return height
        if arrived:
            return value
    return value


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _newton(second: Second, order: int, at: Vector) -> tuple[float, Vector, bool]:
    """The step in the tangent plane at the unit vector `at`.

    Returns the amplitude after it, the step, and whether it leads to a maximum. If not (on a
    ridge, on the side of a saddle) the step only points uphill.
    """
    # Euler: the second derivatives of a homogeneous function hold the first and itself.
    gx, gy, gz = _apply(second, at)
    gradient = (gx / (order - 1), gy / (order - 1), gz / (order - 1))
    outward = _dot(gradient, at)
    # Two unit vectors across (Duff et al. 2017, JCGT 6:1).
    x, y, z = at
    sign = np.copysign(1.0, z)
    a = -1.0 / (sign + z)
    u = (1.0 + sign * x * x * a, sign * x * y * a, -sign * x)
    v = (x * y * a, sign + y * y * a, -y)
    gu, gv = _dot(gradient, u), _dot(gradient, v)
    along_u, along_v = _apply(second, u), _apply(second, v)
    uu, vv = _dot(along_u, u) - outward, _dot(along_v, v) - outward
    uv = _dot(along_u, v)
    determinant = uu * vv - uv * uv
    summit = uu < 0 and determinant > 0
    if summit:
        su, sv = (uv * gv - vv * gu) / determinant, (uv * gu - uu * gv) / determinant
    else:
        su, sv = gu, gv
    step = (su * u[0] + sv * v[0], su * u[1] + sv * v[1], su * u[2] + sv * v[2])
    return outward / order + 0.5 * (gu * su + gv * sv), step, summit


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _dot(a: Vector, b: Vector) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _apply(second: Second, vector: Vector) -> Vector:
    """The product of a symmetric matrix and a vector."""
    xx, xy, xz, yy, yz, zz = second
    x, y, z = vector
    return xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _second_derivatives(
    polynomial: Float64, order: int, x: float, y: float, z: float, powers: Float64
) -> Second:
    """Return xx, xy, xz, yy, yz, zz of sum c[n] x**i y**j z**(order - i - j).

    Terms with i rising, then j. `powers` (3, 3, order + 1) is room to work: derivative, axis,
    exponent.
    """
    for axis, base in enumerate((x, y, z)):
        p, first, second = 1.0, 0.0, 0.0
        for exponent in range(order + 1):
            powers[0, axis, exponent] = p
            powers[1, axis, exponent] = first
            powers[2, axis, exponent] = second
            second = second * base + 2.0 * first
            first = first * base + p
            p *= base
    fxx = fxy = fxz = fyy = fyz = fzz = 0.0
    n = 0
    for i in range(order + 1):
        s = sy = sz = syy = syz = szz = 0.0
        rest = order - i
        for j in range(rest + 1):
            c = polynomial[n]
            y0, y1, y2 = c * powers[0, 1, j], c * powers[1, 1, j], c * powers[2, 1, j]
            z0, z1, z2 = powers[0, 2, rest - j], powers[1, 2, rest - j], powers[2, 2, rest - j]
            s += y0 * z0
            sy += y1 * z0
            sz += y0 * z1
            syy += y2 * z0
            syz += y1 * z1
            szz += y0 * z2
            n += 1
        x0, x1, x2 = powers[0, 0, i], powers[1, 0, i], powers[2, 0, i]
        fxx += x2 * s
        fxy += x1 * sy
        fxz += x1 * sz
        fyy += x0 * syy
        fyz += x0 * syz
        fzz += x0 * szz
    return fxx, fxy, fxz, fyy, fyz, fzz
