"""Vector operations: the amplitudes of the directions within a cone.

Numba leaves such a loop scalar, because it cannot know that the arrays do not overlap. Written
in LLVM's own terms it becomes a handful of instructions on any processor, and takes a seventh of
the time. `cone_in_plain_words` is what it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from bids_tract.core.types import Float32

WIDTH = 16  # float32 values in a cache line of 64 bytes

_FLOAT = ir.FloatType()
_INT = ir.IntType(64)
_LANES = ir.VectorType(_FLOAT, WIDTH)


def cone_in_plain_words(
    rows: Float32,
    corners: Any,
    lane: int,
    weights: Float32,
    directions: Float32,
    cone: Float32,
    cos_max: float,
    bound: float,
    patches: Any,
    odf: Float32,
    parts: Float32,
    combine: Callable[[Any], Any] = np.sum,
) -> float:
    """What `cone_sum` and `cone_max` compute, one direction after the other.

    Parameters
    ----------
    rows : (R * D,) float32 or uint8 array
        Amplitudes of each voxel, one row after the other.
    corners : (8 * G,) int64 array
        Where the rows of the eight voxels around begin, for each of G lanes.
    lane : int
        Where those of this lane begin in `corners`.
    weights : (8,) float32 array
        Their weights.
    directions : (3 * D,) float32 array
        x of all directions, then y, then z.
    cone : (3,) float32 array
        The middle of the cone.
    cos_max : float
        Cosine of the cone's half angle; a direction and its opposite count as one.
    bound : float
        Smaller amplitudes are set to zero.
    patches : (N,) int32 array
        The first direction of each patch (the kernels take `first` and `last` of a longer list).
    odf : (N * WIDTH,) float32 array
        Out: the amplitudes.
    parts : (N,) float32 array
        Out: sum or maximum of each patch.
    combine : callable
        ``np.sum`` or ``np.max``.

    Returns
    -------
    float
        Sum or maximum of all.

    """
    n = len(directions) // 3
    x, y, z = directions[:n], directions[n : 2 * n], directions[2 * n :]
    for m, first in enumerate(patches):
        for i in range(WIDTH):
            d = first + i
            amplitude = sum(weights[k] * rows[corners[lane + k] + d] for k in range(8))
            cosine = abs(x[d] * cone[0] + y[d] * cone[1] + z[d] * cone[2])
            inside = cosine >= cos_max and amplitude >= bound
            odf[m * WIDTH + i] = amplitude if inside else 0.0
        parts[m] = combine(odf[m * WIDTH : (m + 1) * WIDTH])
    return float(combine(parts[: len(patches)]))


class _Lanes:
    """Builds vector code."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def load(self, pointer: Any, index: Any) -> Any:
        """`WIDTH` numbers; bytes become floats."""
        number = pointer.type.pointee
        kind = ir.VectorType(number, WIDTH)
        address = self.builder.gep(pointer, [index])
        value = self.builder.load(self.builder.bitcast(address, kind.as_pointer()))
        value.align = 4
        if number == _FLOAT:
            return value
        return self.builder.uitofp(value, _LANES)

    def store(self, value: Any, pointer: Any, index: Any) -> None:
        address = self.builder.gep(pointer, [index])
        stored = self.builder.store(value, self.builder.bitcast(address, _LANES.as_pointer()))
        stored.align = 4

    def spread(self, scalar: Any) -> Any:
        """The same number in all lanes."""
        nothing = ir.Constant(_LANES, ir.Undefined)
        zero = ir.Constant(ir.IntType(32), 0)
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        one = self.builder.insert_element(nothing, scalar, zero)
        return self.builder.shuffle_vector(one, nothing, zeros)

    def weighted_sum(self, pairs: list[tuple[Any, Any]]) -> Any:
        (a, b), *rest = pairs
        total = self.builder.fmul(a, b)
        for a, b in rest:  # "contract": one instruction where the processor has it
            product = self.builder.fmul(a, b, flags=("contract",))
            total = self.builder.fadd(product, total, flags=("contract",))
        return total

    def reduce(self, value: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """Combine halves until one number is left: the same order on every processor."""
        n = WIDTH
        while n > 1:
            n //= 2
            kind = ir.VectorType(ir.IntType(32), n)
            low = ir.Constant(kind, list(range(n)))
            high = ir.Constant(kind, list(range(n, 2 * n)))
            value = combine(
                self.builder.shuffle_vector(value, value, low),
                self.builder.shuffle_vector(value, value, high),
            )
        return self.builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def _cone_code(context: Any, builder: Any, signature: Any, args: Any, *, highest: bool) -> Any:
    def data(k: int) -> Any:
        return context.make_array(signature.args[k])(context, builder, args[k]).data

    rows, corners, weights, directions, cone = (data(k) for k in (0, 1, 3, 4, 6))
    patches, odf, parts = (data(k) for k in (9, 12, 13))
    lane, n_directions, cos_max, bound, begin, end = (args[k] for k in (2, 5, 7, 8, 10, 11))
    lanes = _Lanes(builder)

    def number(pointer: Any, k: int) -> Any:
        return builder.load(builder.gep(pointer, [ir.Constant(_INT, k)]))

    def corner(k: int) -> Any:
        return builder.load(builder.gep(corners, [builder.add(lane, ir.Constant(_INT, k))]))

    def larger(a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    # Read once, before anything is written: they stay in registers.
    row_starts = [corner(k) for k in range(8)]
    shares = [lanes.spread(number(weights, k)) for k in range(8)]
    middle = [lanes.spread(number(cone, a)) for a in range(3)]
    widest, lowest = lanes.spread(cos_max), lanes.spread(bound)
    absolute = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_LANES, [_LANES]), f"llvm.fabs.v{WIDTH}f32"
    )
    combine = larger if highest else builder.fadd
    total = cgutils.alloca_once_value(builder, ir.Constant(_FLOAT, 0.0))
    with cgutils.for_range(builder, builder.sub(end, begin), intp=_INT) as loop:
        listed = builder.load(builder.gep(patches, [builder.add(begin, loop.index)]))
        first = builder.sext(listed, _INT)
        amplitude = lanes.weighted_sum(
            [
                (share, lanes.load(rows, builder.add(start, first)))
                for share, start in zip(shares, row_starts, strict=True)
            ]
        )
        cosine = lanes.weighted_sum(
            [
                (
                    middle[a],
                    lanes.load(
                        directions,
                        builder.add(builder.mul(n_directions, ir.Constant(_INT, a)), first),
                    ),
                )
                for a in range(3)
            ]
        )
        inside = builder.and_(
            builder.fcmp_ordered(">=", builder.call(absolute, [cosine]), widest),
            builder.fcmp_ordered(">=", amplitude, lowest),
        )
        kept = builder.select(inside, amplitude, ir.Constant(_LANES, [0.0] * WIDTH))
        lanes.store(kept, odf, builder.mul(loop.index, ir.Constant(_INT, WIDTH)))
        part = lanes.reduce(kept, combine)
        builder.store(part, builder.gep(parts, [loop.index]))
        builder.store(combine(builder.load(total), part), total)
    return builder.load(total)


def _cone_signature(*given: Any) -> Any:
    rows, corners, weights, directions, cone, patches, odf, parts = given
    return types.float32(
        rows, corners, types.int64, weights, directions, types.int64, cone, types.float32,
        types.float32, patches, types.int64, types.int64, odf, parts,
    )  # fmt: skip


@intrinsic
def cone_sum(
    typing_context: Any, rows: Any, corners: Any, lane: Any, weights: Any, directions: Any,
    n_directions: Any, cone: Any, cos_max: Any, bound: Any, patches: Any, first: Any, last: Any,
    odf: Any, parts: Any,
) -> Any:  # fmt: skip
    """Amplitudes in a cone, patch by patch, and their sum. See `cone_in_plain_words`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _cone_code(context, builder, signature, args, highest=False)

    return _cone_signature(rows, corners, weights, directions, cone, patches, odf, parts), code


@intrinsic
def cone_max(
    typing_context: Any, rows: Any, corners: Any, lane: Any, weights: Any, directions: Any,
    n_directions: Any, cone: Any, cos_max: Any, bound: Any, patches: Any, first: Any, last: Any,
    odf: Any, parts: Any,
) -> Any:  # fmt: skip
    """Amplitudes in a cone, patch by patch, and their maximum. See `cone_in_plain_words`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _cone_code(context, builder, signature, args, highest=True)

    return _cone_signature(rows, corners, weights, directions, cone, patches, odf, parts), code


def _first_lane(builder: Any, mask: Any) -> Any:
    """The first lane that is set, `WIDTH` if none is."""
    bits = ir.IntType(WIDTH)
    count = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(bits, [bits, ir.IntType(1)]), f"llvm.cttz.i{WIDTH}"
    )
    lane = builder.call(count, [builder.bitcast(mask, bits), ir.Constant(ir.IntType(1), 0)])
    return builder.zext(lane, _INT)


@intrinsic
def lane_reaching(typing_context: Any, odf: Any, place: Any, left: Any) -> Any:
    """The first of `WIDTH` amplitudes from `place` on whose running sum exceeds `left`.

    `WIDTH` if none does.
    """

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        lanes = _Lanes(builder)
        running = lanes.load(data, args[1])
        zeros = ir.Constant(_LANES, [0.0] * WIDTH)
        shift = 1
        while shift < WIDTH:
            # Lanes of zeros first, then those of the sum: moved up by `shift`.
            order = [i if i < shift else WIDTH + i - shift for i in range(WIDTH)]
            places = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), order)
            running = builder.fadd(running, builder.shuffle_vector(zeros, running, places))
            shift *= 2
        return _first_lane(builder, builder.fcmp_ordered(">", running, lanes.spread(args[2])))

    return types.int64(odf, types.int64, types.float32), code


@intrinsic
def lane_equal(typing_context: Any, odf: Any, place: Any, value: Any) -> Any:
    """The first of `WIDTH` amplitudes from `place` on that equals `value`, `WIDTH` if none."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        lanes = _Lanes(builder)
        same = builder.fcmp_ordered("==", lanes.load(data, args[1]), lanes.spread(args[2]))
        return _first_lane(builder, same)

    return types.int64(odf, types.int64, types.float32), code


@intrinsic
def prefetch(typing_context: Any, values: Any, index: Any) -> Any:
    """Ask for the cache line of ``values[index]``, without waiting for it."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        byte = ir.IntType(8).as_pointer()
        address = builder.bitcast(builder.gep(data, [args[1]]), byte)
        flag = ir.IntType(32)
        function = cgutils.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]),
            "llvm.prefetch.p0",
        )
        # To read, keep in all caches, data.
        builder.call(function, [address, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(values, types.int64), code
