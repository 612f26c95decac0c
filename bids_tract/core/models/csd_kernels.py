"""The compiled part of constrained spherical deconvolution.

Eight voxels lie side by side: an array (R, 8) holds R numbers of each, and a row of it is one
vector of the processor with a *lane* for each voxel. Numba leaves loops over such rows mostly
scalar, because it cannot know that arrays do not overlap; so the few vector operations are given
to LLVM in its own terms, and the rest is plain numba on top of them. A lane whose voxel is done
takes the next one: slow voxels do not hold up the others, and no lane sees another.

The normal matrix of a voxel is P + sum of b b' over its small directions. The product of two
harmonics up to order L is a sum of a few harmonics up to order 2 L, so the matrix follows from the
sums of those over the small directions (see `Couplings`), and a direction that enters or leaves
the set changes 153 sums instead of 1035 entries. The sums are integers: adding and taking away
leave no trace.

Letters in shapes: V voxels, N volumes, D directions, K coefficients (45 at order 8), T entries of
a packed lower triangle, H harmonics up to the double order in pairs (162), G groups of four
entries of the matrix. ``K8`` is K rounded up to a multiple of 8, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model
from numpy.typing import NDArray

from bids_tract.core.types import Float32, Float64

# What is computed in: float32 with int32, or float64 with int64.
Floats = Float32 | Float64
Integers = NDArray[np.int32] | NDArray[np.int64]

LANES = 8  # float32 values in a vector of AVX2; two vectors of SSE or NEON do as well
BLOCK = 8  # rows of a matrix that are multiplied together
TILE = 3  # rows and columns of the triangle that are eliminated together: 45 = 15 * 3
STRIP = 3 * LANES  # sums that are kept in registers together
FAILED = -1
_FREE = -1


class Couplings(NamedTuple):
    """How products of two harmonics are sums of others.

    With m >= n >= 0, c(m) = cos(m phi) and s(m) = sin(m phi):

        c(m) c(n), s(m) s(n) = (c(m - n) + c(m + n)) / 2, (c(m - n) - c(m + n)) / 2
        s(m) c(n), c(m) s(n) = (s(m + n) + s(m - n)) / 2, (s(m + n) - s(m - n)) / 2

    so a group of four entries of the normal matrix shares four sums over orders: of cosine and
    sine, with the same weights, of m + n and of m - n. The harmonics of the double order lie in
    pairs (cosine, sine), the orders of one m one after the other.
    """

    terms: NDArray[np.int32]  # (G, 2) orders of m + n and of m - n
    pairs: NDArray[np.int32]  # (G, 2) where their first pair lies
    entries: NDArray[np.int32]  # (G, 4) packed entries cc, ss, sc, cs; the last of T where none
    weights: Floats  # of all groups, one after the other


class Problem(NamedTuple):
    """What all voxels share. Squares are divided by the square of the constraint's weight."""

    start: Floats  # (2 * K8 / 8, N, 8) X' and the unconstrained solution, in blocks of rows
    basis: Floats  # (D8 / 8, K, 8) the harmonics at the directions, in blocks of rows
    n_directions: int
    n_low: int  # coefficients of the first guess
    tau: float  # an amplitude below tau times the first coefficient of the first guess is small
    squared: Floats  # (T3 + 1,) P = X'X, packed; zero in what pads it
    products: Integers  # (H24 / 24, 2 * D, 24) minus and plus the harmonics at each
    couplings: Couplings


# --- Vector operations -------------------------------------------------------------------------

_ELEMENTS = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.int64: ir.IntType(64),
}
_INDEX = ir.IntType(32)
# One instruction where the processor has it. Nothing else is left to the compiler's discretion.
_FUSED = ("contract",)


class _Lanes(types.Type):
    """Numba's type of a vector."""

    def __init__(self, element: Any) -> None:
        super().__init__(name=f"{element} x {LANES}")
        self.vector = ir.VectorType(_ELEMENTS[element], LANES)


@register_model(_Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, lanes: Any) -> None:
        super().__init__(manager, lanes, lanes.vector)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, place: Any) -> Any:
    """To the element at `place`, counted from 0 in C order; never from the end."""
    assert array_type.layout == "C"
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [place])


def _row_pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    place = builder.mul(row, ir.Constant(row.type, LANES))
    first = _pointer(context, builder, array_type, array, place)
    return builder.bitcast(first, _Lanes(array_type.dtype).vector.as_pointer())


@intrinsic
def _load(_typing: Any, array: Any, row: Any) -> Any:
    """Elements ``8 * row`` to ``8 * row + 7`` of an array."""
    assert isinstance(row, types.Integer)
    align = array.dtype.bitwidth // 8

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_row_pointer(context, builder, signature.args[0], *args), align=align)

    return _Lanes(array.dtype)(array, types.intp), code


@intrinsic
def _store(_typing: Any, array: Any, row: Any, vector: Any) -> Any:
    assert isinstance(row, types.Integer) and vector == _Lanes(array.dtype)
    align = array.dtype.bitwidth // 8

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        array, row, vector = args
        pointer = _row_pointer(context, builder, signature.args[0], array, row)
        builder.store(vector, pointer, align=align)
        return context.get_dummy_value()

    return types.void(array, types.intp, vector), code


@intrinsic
def _every(_typing: Any, array: Any, place: Any) -> Any:
    """In all lanes the same number: element `place` of an array."""
    assert isinstance(place, types.Integer)
    lanes = _Lanes(array.dtype)

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = builder.load(_pointer(context, builder, signature.args[0], *args))
        nothing = ir.Constant(lanes.vector, ir.Undefined)
        one = builder.insert_element(nothing, number, ir.Constant(_INDEX, 0))
        zeros = ir.Constant(ir.VectorType(_INDEX, LANES), [0] * LANES)
        return builder.shuffle_vector(one, nothing, zeros)

    return lanes(array, types.intp), code


@intrinsic
def _zero_like(_typing: Any, array: Any) -> Any:
    """Zeros of an array's type."""
    lanes = _Lanes(array.dtype)
    zeros = ir.Constant(lanes.vector, [0.0] * LANES)
    return _operation(lanes, [array], lambda _builder, _array: zeros)


@intrinsic
def _as_floats(_typing: Any, array: Any, integers: Any) -> Any:
    """Integers as numbers of an array's type."""
    lanes = _Lanes(array.dtype)
    return _operation(
        lanes, [array, integers], lambda builder, _array, a: builder.sitofp(a, lanes.vector)
    )


def _operation(result: Any, arguments: list[Any], build: Callable[..., Any]) -> Any:
    def code(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return build(builder, *args)

    return result(*arguments), code


@intrinsic
def _count(_typing: Any, a: Any, b: Any) -> Any:
    """``a + b`` of integers."""
    return _operation(a, [a, b], lambda builder, a, b: builder.add(a, b))


@intrinsic
def _plus(_typing: Any, a: Any, b: Any) -> Any:
    return _operation(a, [a, b], lambda builder, a, b: builder.fadd(a, b))


@intrinsic
def _minus(_typing: Any, a: Any, b: Any) -> Any:
    return _operation(a, [a, b], lambda builder, a, b: builder.fsub(a, b))


@intrinsic
def _times(_typing: Any, a: Any, b: Any) -> Any:
    return _operation(a, [a, b], lambda builder, a, b: builder.fmul(a, b))


@intrinsic
def _add(_typing: Any, c: Any, a: Any, b: Any) -> Any:
    """``c + a * b``."""

    def build(builder: Any, c: Any, a: Any, b: Any) -> Any:
        return builder.fadd(c, builder.fmul(a, b, flags=_FUSED), flags=_FUSED)

    return _operation(c, [c, a, b], build)


@intrinsic
def _take(_typing: Any, c: Any, a: Any, b: Any) -> Any:
    """``c - a * b``."""

    def build(builder: Any, c: Any, a: Any, b: Any) -> Any:
        return builder.fsub(c, builder.fmul(a, b, flags=_FUSED), flags=_FUSED)

    return _operation(c, [c, a, b], build)


@intrinsic
def _inverse_root(_typing: Any, a: Any) -> Any:
    """``1 / sqrt(a)``; NaN below zero."""

    def build(builder: Any, a: Any) -> Any:
        name = f"llvm.sqrt.v{LANES}{a.type.element.intrinsic_name}"
        kind = ir.FunctionType(a.type, [a.type])
        root = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.fdiv(ir.Constant(a.type, [1.0] * LANES), builder.call(root, [a]))

    return _operation(a, [a], build)


@intrinsic
def _below(_typing: Any, a: Any, b: Any) -> Any:
    """Bit l: whether a < b in lane l; never where one is NaN."""

    def build(builder: Any, a: Any, b: Any) -> Any:
        return builder.bitcast(builder.fcmp_ordered("<", a, b), ir.IntType(LANES))

    return _operation(types.uint8, [a, b], build)


@njit
def _load3(array: Any, row: Any) -> Any:
    return _load(array, row), _load(array, row + 1), _load(array, row + 2)


@njit
def _store3(array: Any, row: Any, a: Any, b: Any, c: Any) -> Any:
    _store(array, row, a)
    _store(array, row + 1, b)
    _store(array, row + 2, c)


# --- Linear algebra of eight voxels ------------------------------------------------------------


@njit
def _multiply(blocks: Any, n_columns: Any, vectors: Any, first: Any, out: Any) -> Any:
    """Matrix in blocks (R / 8, C, 8) by rows of vectors from `first` on -> out (R, 8)."""
    for block in range(blocks.shape[0]):
        a = b = c = d = e = f = g = h = _zero_like(out)
        for k in range(n_columns):
            x = _load(vectors, first + k)
            place = (block * blocks.shape[1] + k) * BLOCK
            a = _add(a, _every(blocks, place), x)
            b = _add(b, _every(blocks, place + 1), x)
            c = _add(c, _every(blocks, place + 2), x)
            d = _add(d, _every(blocks, place + 3), x)
            e = _add(e, _every(blocks, place + 4), x)
            f = _add(f, _every(blocks, place + 5), x)
            g = _add(g, _every(blocks, place + 6), x)
            h = _add(h, _every(blocks, place + 7), x)
        row = block * BLOCK
        _store3(out, row, a, b, c)
        _store3(out, row + 3, d, e, f)
        _store(out, row + 6, g)
        _store(out, row + 7, h)


@njit
def _couple(sums: Any, pair: Any, weights: Any, first: Any, n: Any) -> Any:
    """The weighted sums of n cosines and of n sines."""
    cosine = sine = _zero_like(sums)
    for k in range(n):
        weight = _every(weights, first + k)
        cosine = _add(cosine, weight, _load(sums, pair + 2 * k))
        sine = _add(sine, weight, _load(sums, pair + 2 * k + 1))
    return cosine, sine


@njit
def _build(squared: Any, couplings: Any, sums: Any, matrix: Any) -> Any:
    """P + sum of b b', from the sums of harmonics (H24, 8) -> packed triangles (T3 + 1, 8)."""
    terms, pairs, entries, weights = couplings
    first = 0
    for group in range(terms.shape[0]):
        n = terms[group, 0]
        cos_sum, sin_sum = _couple(sums, pairs[group, 0], weights, first, n)
        first += n
        n = terms[group, 1]
        cos_difference, sin_difference = _couple(sums, pairs[group, 1], weights, first, n)
        first += n
        cc, ss, sc, cs = (
            entries[group, 0], entries[group, 1], entries[group, 2], entries[group, 3],
        )  # fmt: skip
        _store(matrix, cc, _plus(_every(squared, cc), _plus(cos_difference, cos_sum)))
        _store(matrix, ss, _plus(_every(squared, ss), _minus(cos_difference, cos_sum)))
        _store(matrix, sc, _plus(_every(squared, sc), _plus(sin_sum, sin_difference)))
        _store(matrix, cs, _plus(_every(squared, cs), _minus(sin_sum, sin_difference)))


@njit
def _first_of(row: Any) -> Any:
    """Where a row of a packed lower triangle begins."""
    return row * (row + 1) // 2


@njit
def _factor(matrix: Any, inverse: Any) -> Any:
    """Cholesky factors in place of packed triangles; NaN where one is not positive definite.

    `inverse` (K3, 8) gets the reciprocals of their diagonals; what is on the diagonals of
    `matrix` stays.
    """
    for i in range(0, inverse.shape[0], TILE):
        i0, i1, i2 = _first_of(i), _first_of(i + 1), _first_of(i + 2)
        for j in range(0, i, TILE):
            j0, j1, j2 = _first_of(j), _first_of(j + 1), _first_of(j + 2)
            a00, a01, a02 = _load3(matrix, i0 + j)
            a10, a11, a12 = _load3(matrix, i1 + j)
            a20, a21, a22 = _load3(matrix, i2 + j)
            for k in range(j):
                x0, x1, x2 = _load(matrix, i0 + k), _load(matrix, i1 + k), _load(matrix, i2 + k)
                y = _load(matrix, j0 + k)
                a00, a10, a20 = _take(a00, x0, y), _take(a10, x1, y), _take(a20, x2, y)
                y = _load(matrix, j1 + k)
                a01, a11, a21 = _take(a01, x0, y), _take(a11, x1, y), _take(a21, x2, y)
                y = _load(matrix, j2 + k)
                a02, a12, a22 = _take(a02, x0, y), _take(a12, x1, y), _take(a22, x2, y)
            scale = _load(inverse, j)
            a00, a10, a20 = _times(a00, scale), _times(a10, scale), _times(a20, scale)
            scale, y = _load(inverse, j + 1), _load(matrix, j1 + j)
            a01 = _times(_take(a01, a00, y), scale)
            a11 = _times(_take(a11, a10, y), scale)
            a21 = _times(_take(a21, a20, y), scale)
            scale, y, z = _load(inverse, j + 2), _load(matrix, j2 + j), _load(matrix, j2 + j + 1)
            a02 = _times(_take(_take(a02, a00, y), a01, z), scale)
            a12 = _times(_take(_take(a12, a10, y), a11, z), scale)
            a22 = _times(_take(_take(a22, a20, y), a21, z), scale)
            _store3(matrix, i0 + j, a00, a01, a02)
            _store3(matrix, i1 + j, a10, a11, a12)
            _store3(matrix, i2 + j, a20, a21, a22)
        a00 = _load(matrix, i0 + i)
        a10, a11 = _load(matrix, i1 + i), _load(matrix, i1 + i + 1)
        a20, a21, a22 = _load3(matrix, i2 + i)
        for k in range(i):
            x0, x1, x2 = _load(matrix, i0 + k), _load(matrix, i1 + k), _load(matrix, i2 + k)
            a00, a10, a20 = _take(a00, x0, x0), _take(a10, x1, x0), _take(a20, x2, x0)
            a11, a21, a22 = _take(a11, x1, x1), _take(a21, x2, x1), _take(a22, x2, x2)
        scale0 = _inverse_root(a00)
        a10, a20 = _times(a10, scale0), _times(a20, scale0)
        scale1 = _inverse_root(_take(a11, a10, a10))
        a21 = _times(_take(a21, a20, a10), scale1)
        scale2 = _inverse_root(_take(_take(a22, a20, a20), a21, a21))
        _store3(inverse, i, scale0, scale1, scale2)
        _store(matrix, i1 + i, a10)
        _store(matrix, i2 + i, a20)
        _store(matrix, i2 + i + 1, a21)


@njit
def _solve(matrix: Any, inverse: Any, right: Any, out: Any) -> Any:
    """Solve L L' out = right (K3, 8), given what `_factor` left."""
    for i in range(0, inverse.shape[0], TILE):
        i0, i1, i2 = _first_of(i), _first_of(i + 1), _first_of(i + 2)
        a0, a1, a2 = _load3(right, i)
        for k in range(i):
            x = _load(out, k)
            a0 = _take(a0, _load(matrix, i0 + k), x)
            a1 = _take(a1, _load(matrix, i1 + k), x)
            a2 = _take(a2, _load(matrix, i2 + k), x)
        a0 = _times(a0, _load(inverse, i))
        a1 = _times(_take(a1, _load(matrix, i1 + i), a0), _load(inverse, i + 1))
        a2 = _take(_take(a2, _load(matrix, i2 + i), a0), _load(matrix, i2 + i + 1), a1)
        _store3(out, i, a0, a1, _times(a2, _load(inverse, i + 2)))
    for i in range(inverse.shape[0] - TILE, -1, -TILE):
        i0, i1, i2 = _first_of(i), _first_of(i + 1), _first_of(i + 2)
        a0, a1, a2 = _load3(out, i)
        a2 = _times(a2, _load(inverse, i + 2))
        a1 = _times(_take(a1, _load(matrix, i2 + i + 1), a2), _load(inverse, i + 1))
        a0 = _take(_take(a0, _load(matrix, i2 + i), a2), _load(matrix, i1 + i), a1)
        a0 = _times(a0, _load(inverse, i))
        _store3(out, i, a0, a1, a2)
        for k in range(i):
            x = _take(_load(out, k), _load(matrix, i0 + k), a0)
            x = _take(x, _load(matrix, i1 + k), a1)
            _store(out, k, _take(x, _load(matrix, i2 + k), a2))


# --- The set of small directions ---------------------------------------------------------------


@njit
def _compare(amplitudes: Any, limits: Any, small: Any, different: Any, touched: Any) -> Any:
    """Find the small directions and what changed: bit l of (D,) arrays for lane l.

    Returns how many directions changed in any lane; `touched` begins with them.
    """
    limit = _load(limits, 0)
    # Unsigned, so that numba does not look whether to count from the end.
    n = np.uint64(0)
    for d in range(small.shape[0]):
        now = _below(_load(amplitudes, d), limit)
        different[d] = now ^ small[d]
        small[d] = now
        # Written in any case and counted if it changed: no branch to guess. So in `_list`.
        touched[n] = d
        n += np.uint64(different[d] != 0)
    return n


@njit
def _list(small: Any, different: Any, touched: Any, n_touched: Any, lane: Any, rows: Any) -> Any:
    """List the rows of `Problem.products` that a lane must add; returns how many."""
    n = np.uint64(0)
    for k in range(n_touched):
        d = np.uint64(touched[k])
        rows[n] = 2 * d + ((small[d] >> lane) & 1)
        n += np.uint64((different[d] >> lane) & 1)
    return n


@njit
def _update(products: Any, rows: Any, n_rows: Any, totals: Any, turned: Any, sums: Any) -> Any:
    """Add the listed rows to the totals (8, H24) of the lanes; turn these into sums (H24, 8)."""
    n_strips, n_products = products.shape[:2]
    vectors = STRIP // LANES
    for strip in range(n_strips):
        for lane in range(LANES):
            place = (lane * n_strips + strip) * vectors
            a, b, c = _load3(totals, place)
            for k in range(n_rows[lane]):
                x, y, z = _load3(products, (strip * n_products + rows[lane, k]) * vectors)
                a, b, c = _count(a, x), _count(b, y), _count(c, z)
            _store3(totals, place, a, b, c)
            _store3(
                turned, place, _as_floats(turned, a), _as_floats(turned, b), _as_floats(turned, c)
            )
    for h in range(sums.shape[0]):
        for lane in range(LANES):
            sums[h, lane] = turned[lane, h]


# --- The voxels --------------------------------------------------------------------------------


class _Waiting(NamedTuple):
    """Eight voxels before their first iteration."""

    columns: Floats  # (N, 8) signals
    begin: Floats  # (2 * K8, 8) X' y, then the unconstrained solution
    limits: Floats  # (8,) amplitudes below are small
    small: NDArray[np.uint8]  # (D,) small directions: bit l for voxel l


class _Running(NamedTuple):
    """The voxels in the lanes."""

    owner: NDArray[np.int64]  # (8,) voxel or _FREE
    limits: Floats  # (8,)
    small: NDArray[np.uint8]  # (D,)
    different: NDArray[np.uint8]  # (D,)
    touched: NDArray[np.int64]  # (D + 1,)
    rows: NDArray[np.int64]  # (8, D + 1) rows of products to add
    n_rows: NDArray[np.int64]  # (8,)
    totals: Integers  # (8, H24)
    turned: Floats  # (8, H24)
    sums: Floats  # (H24, 8)
    matrix: Floats  # (T3 + 1, 8)
    inverse: Floats  # (K3, 8)
    right: Floats  # (K8, 8) X' y
    fitted: Floats  # (K8, 8)
    amplitudes: Floats  # (D8, 8)


@njit
def _make_waiting(problem: Any, n_volumes: Any) -> Any:
    return _Waiting(
        np.empty((n_volumes, LANES), problem.basis.dtype),
        np.empty((problem.start.shape[0] * BLOCK, LANES), problem.basis.dtype),
        np.empty(LANES, problem.basis.dtype),
        np.empty(problem.n_directions, np.uint8),
    )


@njit
def _make_running(problem: Any, n_coeffs: Any) -> Any:
    n_directions = problem.n_directions
    n_sums = problem.products.shape[0] * STRIP
    rounded = problem.start.shape[0] * BLOCK // 2
    padded = (n_coeffs + TILE - 1) // TILE * TILE
    matrix = np.zeros((_first_of(padded) + 1, LANES), problem.basis.dtype)
    for k in range(n_coeffs, padded):  # what pads the triangle are rows of the unit matrix
        matrix[_first_of(k) + k] = 1
    return _Running(
        np.full(LANES, _FREE, np.int64),
        np.zeros(LANES, problem.basis.dtype),
        np.zeros(n_directions, np.uint8),
        np.zeros(n_directions, np.uint8),
        np.arange(n_directions + 1),
        np.zeros((LANES, n_directions + 1), np.int64),
        np.zeros(LANES, np.int64),
        np.zeros((LANES, n_sums), problem.products.dtype),
        np.zeros((LANES, n_sums), problem.basis.dtype),
        np.zeros((n_sums, LANES), problem.basis.dtype),
        matrix,
        np.zeros((padded, LANES), problem.basis.dtype),
        np.zeros((rounded, LANES), problem.basis.dtype),
        np.zeros((rounded, LANES), problem.basis.dtype),
        np.zeros((problem.basis.shape[0] * BLOCK, LANES), problem.basis.dtype),
    )


@njit
def _prepare(problem: Any, signals: Any, first: Any, waiting: Any, amplitudes: Any) -> Any:
    """Fill `waiting` with the voxels from `first` on.

    The low orders of the unconstrained solution say which directions are small; where they find
    none, all orders do.
    """
    columns, begin, limits, small = waiting
    for lane in range(LANES):
        voxel = min(first + lane, signals.shape[0] - 1)
        for n in range(signals.shape[1]):
            columns[n, lane] = signals[voxel, n]
    _multiply(problem.start, columns.shape[0], columns, 0, begin)
    solution = begin.shape[0] // 2
    for lane in range(LANES):
        limits[lane] = problem.tau * begin[solution, lane]
    limit = _load(limits, 0)
    _multiply(problem.basis, problem.n_low, begin, solution, amplitudes)
    found = np.uint8(0)
    for d in range(small.shape[0]):
        small[d] = _below(_load(amplitudes, d), limit)
        found |= small[d]
    if found != (1 << LANES) - 1:
        _multiply(problem.basis, problem.basis.shape[1], begin, solution, amplitudes)
        for d in range(small.shape[0]):
            small[d] |= _below(_load(amplitudes, d), limit) & ~found


@njit
def _write(vectors: Any, first: Any, lane: Any, coeffs: Any) -> Any:
    """Write the K rows from `first` on of one lane; False, and zeros, where one is not finite."""
    for k in range(coeffs.shape[0]):
        coeffs[k] = vectors[first + k, lane]
    if np.all(np.isfinite(coeffs)):
        return True
    coeffs[:] = 0
    return False


@njit
def _enter(waiting: Any, place: Any, running: Any, lane: Any) -> Any:
    """Put the voxel at `place` of those that wait into a lane; returns its small directions."""
    running.limits[lane] = waiting.limits[place]
    for k in range(running.right.shape[0]):
        running.right[k, lane] = waiting.begin[k, place]
    # From no small directions to the first ones.
    running.totals[lane] = 0
    others = ~np.uint8(1 << lane)
    for d in range(waiting.small.shape[0]):
        running.different[d] = ((waiting.small[d] >> place) & 1) << lane
        running.small[d] = (running.small[d] & others) | running.different[d]
        running.touched[d] = d
    n = _list(
        running.small, running.different, running.touched, running.different.shape[0], lane,
        running.rows[lane],
    )  # fmt: skip
    running.n_rows[lane] = n
    return n


@njit
def _iterate(problem: Any, running: Any) -> Any:
    """One iteration of every lane."""
    _update(
        problem.products, running.rows, running.n_rows, running.totals, running.turned,
        running.sums,
    )  # fmt: skip
    _build(problem.squared, problem.couplings, running.sums, running.matrix)
    _factor(running.matrix, running.inverse)
    _solve(running.matrix, running.inverse, running.right, running.fitted)
    _multiply(problem.basis, problem.basis.shape[1], running.fitted, 0, running.amplitudes)
    n_touched = _compare(
        running.amplitudes, running.limits, running.small, running.different, running.touched
    )
    for lane in range(LANES):
        running.n_rows[lane] = _list(
            running.small, running.different, running.touched, n_touched, lane,
            running.rows[lane],
        )  # fmt: skip


@njit(nogil=True, cache=True)
def deconvolve(problem: Any, signals: Any, limit: Any, coeffs: Any, iterations: Any) -> Any:
    """Deconvolve voxels; the result of one does not depend on the others.

    Parameters
    ----------
    problem : Problem
    signals : (V, N) float32 array
    limit : int
        Iterations at most.
    coeffs : (V, K) float32 array
        Gets the coefficients; zeros where the fit is not finite.
    iterations : (V,) int64 array
        Gets their number; FAILED where the fit is not finite.

    """
    n_voxels, n_coeffs = coeffs.shape
    waiting = _make_waiting(problem, signals.shape[1])
    running = _make_running(problem, n_coeffs)
    solution = waiting.begin.shape[0] // 2
    next_voxel = 0
    while True:
        for lane in range(LANES):
            voxel = running.owner[lane]
            if voxel != _FREE:
                iterations[voxel] += 1
                if (
                    running.n_rows[lane] > 0
                    and iterations[voxel] < limit
                    and np.isfinite(running.fitted[0, lane])  # NaN where the factor is
                ):
                    continue
                if not _write(running.fitted, 0, lane, coeffs[voxel]):
                    iterations[voxel] = FAILED
                running.owner[lane] = _FREE
            while running.owner[lane] == _FREE and next_voxel < n_voxels:
                place = next_voxel % LANES
                if place == 0:
                    _prepare(problem, signals, next_voxel, waiting, running.amplitudes)
                iterations[next_voxel] = 0
                if _enter(waiting, place, running, lane) > 0:
                    running.owner[lane] = next_voxel
                elif not _write(waiting.begin, solution, place, coeffs[next_voxel]):
                    iterations[next_voxel] = FAILED
                next_voxel += 1
        if np.all(running.owner == _FREE):
            return
        _iterate(problem, running)
