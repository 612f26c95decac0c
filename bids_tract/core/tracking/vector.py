"""One vector operation: the amplitudes of a patch of directions, within a cone.

Numba leaves the loop below scalar, because it cannot know that the arrays do not overlap. Written
in LLVM's own terms it becomes a handful of instructions on any processor, and takes a seventh of
the time. `patch_in_plain_words` is what it computes.
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


def patch_in_plain_words(
    rows: Float32,
    corners: Any,
    lane: int,
    weights: Float32,
    directions: Float32,
    heading: Float32,
    cos_max: float,
    bound: float,
    first: int,
    out: Float32,
    place: int,
) -> tuple[float, float]:
    """What `patch_sum` and `patch_max` compute, one direction after the other.

    Parameters
    ----------
    rows : (R * D,) float32 array
        Amplitudes of each voxel, one row after the other.
    corners : (8 * G,) int64 array
        Where the rows of the eight voxels around begin, for each of G lanes.
    lane : int
        Where those of this lane begin in `corners`.
    weights : (8,) float32 array
        Their weights.
    directions : (3 * D,) float32 array
        x of all directions, then y, then z.
    heading : (3,) float32 array
        The middle of the cone.
    cos_max : float
        Cosine of the cone's half angle; a direction and its opposite count as one.
    bound : float
        Smaller amplitudes are set to zero.
    first : int
        The patch's first direction.
    out : (D,) float32 array
        Gets the amplitudes from `place` on.
    place : int

    Returns
    -------
    total, highest : float
        Sum and maximum of what was written.

    """
    n = len(directions) // 3
    x, y, z = directions[:n], directions[n : 2 * n], directions[2 * n :]
    for i in range(first, first + WIDTH):
        amplitude = sum(weights[k] * rows[corners[lane + k] + i] for k in range(8))
        cosine = abs(x[i] * heading[0] + y[i] * heading[1] + z[i] * heading[2])
        inside = cosine >= cos_max and amplitude >= bound
        out[place + i - first] = amplitude if inside else 0.0
    written = out[place : place + WIDTH]
    return float(np.sum(written)), float(np.max(written))


class _Lanes:
    """Builds vector code."""

    def __init__(self, builder: Any) -> None:
        self.builder = builder

    def load(self, pointer: Any, index: Any) -> Any:
        address = self.builder.gep(pointer, [index])
        value = self.builder.load(self.builder.bitcast(address, _LANES.as_pointer()))
        value.align = 4
        return value

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


def _patch_code(context: Any, builder: Any, signature: Any, args: Any, *, highest: bool) -> Any:
    def data(k: int) -> Any:
        return context.make_array(signature.args[k])(context, builder, args[k]).data

    rows, corners, weights, directions, heading, out = (data(k) for k in (0, 1, 3, 4, 6, 10))
    lane, n_directions, cos_max, bound, first, place = (args[k] for k in (2, 5, 7, 8, 9, 11))
    lanes = _Lanes(builder)

    def number(pointer: Any, k: int) -> Any:
        return builder.load(builder.gep(pointer, [ir.Constant(_INT, k)]))

    def corner(k: int) -> Any:
        return builder.load(builder.gep(corners, [builder.add(lane, ir.Constant(_INT, k))]))

    amplitude = lanes.weighted_sum(
        [
            (
                lanes.spread(number(weights, k)),
                lanes.load(rows, builder.add(corner(k), first)),
            )
            for k in range(8)
        ]
    )
    cosine = lanes.weighted_sum(
        [
            (
                lanes.spread(number(heading, a)),
                lanes.load(
                    directions,
                    builder.add(builder.mul(n_directions, ir.Constant(_INT, a)), first),
                ),
            )
            for a in range(3)
        ]
    )
    absolute = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(_LANES, [_LANES]), f"llvm.fabs.v{WIDTH}f32"
    )
    inside = builder.and_(
        builder.fcmp_ordered(">=", builder.call(absolute, [cosine]), lanes.spread(cos_max)),
        builder.fcmp_ordered(">=", amplitude, lanes.spread(bound)),
    )
    kept = builder.select(inside, amplitude, ir.Constant(_LANES, [0.0] * WIDTH))
    lanes.store(kept, out, place)
    if not highest:
        return lanes.reduce(kept, builder.fadd)

    def larger(a: Any, b: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", a, b), a, b)

    return lanes.reduce(kept, larger)


def _signature(array_types: tuple[Any, ...]) -> Any:
    rows, corners, weights, directions, heading, out = array_types
    return types.float32(
        rows, corners, types.int64, weights, directions, types.int64, heading, types.float32, types.float32,
        types.int64, out, types.int64,
    )  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def patch_sum(
    typing_context: Any, rows: Any, corners: Any, lane: Any, weights: Any, directions: Any,
    n_directions: Any, heading: Any, cos_max: Any, bound: Any, first: Any, out: Any, place: Any,
) -> Any:  # fmt: skip
    """Write the amplitudes of a patch; return their sum. See `patch_in_plain_words`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _patch_code(context, builder, signature, args, highest=False)

    return _signature((rows, corners, weights, directions, heading, out)), code


@intrinsic  # type: ignore[untyped-decorator]
def patch_max(
    typing_context: Any, rows: Any, corners: Any, lane: Any, weights: Any, directions: Any,
    n_directions: Any, heading: Any, cos_max: Any, bound: Any, first: Any, out: Any, place: Any,
) -> Any:  # fmt: skip
    """Write the amplitudes of a patch; return their maximum. See `patch_in_plain_words`."""

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _patch_code(context, builder, signature, args, highest=True)

    return _signature((rows, corners, weights, directions, heading, out)), code


@intrinsic  # type: ignore[untyped-decorator]
def prefetch(typing_context: Any, values: Any, index: Any) -> Any:  # noqa: ARG001
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
