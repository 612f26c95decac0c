"""The compiled part of tracking: one loop for all methods, and the functions that it is made of.

Coordinates are voxels, (0, 0, 0) the centre of the first. Directions are numbered as in
`field.SphereTable`: in patches of 16 neighbours, so that a cone touches few cache lines and each
patch is one vector operation. A heading is a direction with a sign: ``v + 1`` or ``-(v + 1)``;
0 is none. Positions are float64, amplitudes float32.

Letters in shapes: S seeds, R rows of the amplitude table, D directions (padded), C voxels of the
padded box, M particles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bids_tract.core.tracking.outcome import EndReason, Fate
from bids_tract.core.tracking.vector import WIDTH, patch_max, patch_sum
from bids_tract.core.types import Float32, Float64

# Numba takes module globals as constants.
DET, PROB, PFT, EUDX = 0, 1, 2, 3
BY_MAP, BY_MASK, BY_CMC, BY_ACT = 0, 1, 2, 3
GOING, LEFT_IMAGE, LEFT_MASK, GREY, CSF, LOST, TOO_FAR = 0, 1, 2, 3, 4, 5, 6
KEPT = int(Fate.KEPT)
SEED_STOPPED = int(Fate.SEED_STOPPED)
SEED_NO_DIRECTION = int(Fate.SEED_NO_DIRECTION)
TOO_SHORT = int(Fate.TOO_SHORT)
TOO_LONG = int(Fate.TOO_LONG)
INVALID_END = int(Fate.INVALID_END)
# State at the end of a walk -> EndReason of a kept streamline.
REASON_OF = np.array(
    [0, EndReason.LEFT_IMAGE, EndReason.LEFT_MASK, EndReason.GREY_MATTER, 0,
     EndReason.NO_DIRECTION, 0],
    dtype=np.int8,
)  # fmt: skip
# Particle filtering is tried so often in one half of a streamline (as DIPY does).
MAX_TRIALS = 20
# Peaks in fewer than half of the surrounding voxels (by weight) are not followed (EuDX).
MIN_PEAK_WEIGHT = 0.5
# Weights of particles below this are nothing.
NO_WEIGHT = 1e-16


class Table(NamedTuple):
    """What is followed: amplitudes of each voxel on the sphere, and the sphere.

    The box of voxels is padded by one on each side with copies of its rim, so that the eight
    corners of any point inside the image exist.
    """

    rows: Float32  # (R * D,) amplitudes; the first row is zero
    highest: Float32  # (R,) largest amplitude of each row
    peaks: Float32  # (R, N, 3) unit vectors, zero where there are fewer; (1, 0, 3) if not needed
    cells: NDArray[np.int32]  # (C,) padded voxel -> row
    strides: NDArray[np.int64]  # (2,) of the padded box; the last is 1
    shape: Float64  # (3,) of the box
    corner: Float64  # (3,) the box's first voxel in the image
    image: Float64  # (3,) shape of the image
    directions: Float32  # (3 * D,) x, then y, then z; zero where padded
    first_patch: NDArray[np.int32]  # (D + 1,) direction -> where its list of patches begins
    patches: NDArray[np.int32]  # first directions of the patches that a cone touches
    world: Float64  # (3, 4) voxel of the box to RAS+ mm


class Rule(NamedTuple):
    """Where streamlines end; the maps are on the padded box."""

    kind: int
    first: Float32  # (C,) map, mask or grey matter
    second: Float32  # (C,) CSF
    threshold: float
    power: float  # CMC: step over mean voxel size


class Steps(NamedTuple):
    """How streamlines advance."""

    method: int
    advance: Float64  # (D, 3) one step along each direction, in voxels
    step: Float64  # (3,) one step along each axis, in voxels
    cos_max: float  # of the largest turn
    pmf_threshold: float
    min_steps: int
    max_steps: int
    run_key: int  # of the random numbers
    back_steps: int
    front_steps: int


class Scratch(NamedTuple):
    """Memory of one thread."""

    position: Float64  # (3,)
    going: Float64  # (3,) direction of the last step (EuDX)
    heading: Float32  # (3,) middle of the cone
    corners: NDArray[np.int64]  # (8,) where the rows of the eight voxels around begin
    weights: Float64  # (8,) trilinear
    weights32: Float32  # (8,)
    odf: Float32  # (D,) amplitudes in the cone
    sums: Float32  # (D / WIDTH,) of the patches in the cone
    course: Float64  # (2, max_steps + 2, 3) points of both halves
    headings: NDArray[np.int32]  # (2, max_steps + 2)
    paths: Float64  # (2, M, PFT steps + 1, 3)
    turns: NDArray[np.int32]  # (2, M, PFT steps + 1)
    lengths: NDArray[np.int64]  # (2, M)
    states: NDArray[np.int64]  # (2, M)
    loads: Float64  # (2, M) weights of the particles


# --- Random numbers: the generator of rng.py ---------------------------------------------------


@njit(cache=True, nogil=True)
def _mix(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True)
def stream_key(run_key: Any, number: Any) -> Any:
    """The random stream of a seed."""
    return _mix(np.uint64(run_key) + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15))


@njit(cache=True, nogil=True)
def _uniform(key: Any, draw: Any) -> Any:
    bits = _mix(key + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


# --- Where a point is --------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _inside(table: Any, p: Any) -> Any:
    for a in range(3):
        if not (p[a] >= -0.5 and p[a] < table.shape[a] - 0.5):
            return False
    return True


@njit(cache=True, nogil=True)
def _left_image(table: Any, p: Any) -> Any:
    for a in range(3):
        q = p[a] + table.corner[a]
        if not (q >= -0.5 and q < table.image[a] - 0.5):
            return True
    return False


@njit(cache=True, nogil=True)
def _locate(table: Any, scratch: Any) -> Any:
    """Trilinear weights at the position, which lies inside; the first of its eight voxels."""
    p, w = scratch.position, scratch.weights
    i, j, k = np.floor(p[0]), np.floor(p[1]), np.floor(p[2])
    x, y, z = p[0] - i, p[1] - j, p[2] - k
    u, v = 1.0 - x, 1.0 - y
    w[0], w[1] = u * v * (1.0 - z), u * v * z
    w[2], w[3] = u * y * (1.0 - z), u * y * z
    w[4], w[5] = x * v * (1.0 - z), x * v * z
    w[6], w[7] = x * y * (1.0 - z), x * y * z
    s = table.strides
    return (np.int64(i) + 1) * s[0] + (np.int64(j) + 1) * s[1] + np.int64(k) + 1


@njit(cache=True, nogil=True)
def _around(table: Any, c: Any, n: Any) -> Any:
    """The n-th of the eight voxels that begin at c."""
    return c + (n >> 2) * table.strides[0] + ((n >> 1) & 1) * table.strides[1] + (n & 1)


@njit(cache=True, nogil=True)
def _at(values: Any, table: Any, c: Any, w: Any) -> Any:
    """A map, interpolated."""
    total = 0.0
    for n in range(8):
        total += w[n] * values[_around(table, c, n)]
    return total


@njit(cache=True, nogil=True)
def _nearest(table: Any, p: Any) -> Any:
    s = table.strides
    i, j, k = np.floor(p[0] + 0.5), np.floor(p[1] + 0.5), np.floor(p[2] + 0.5)
    return (np.int64(i) + 1) * s[0] + (np.int64(j) + 1) * s[1] + np.int64(k) + 1


@njit(cache=True, nogil=True)
def _state(table: Any, rule: Any, scratch: Any, c: Any, key: Any, draw: Any) -> Any:
    """Whether a streamline goes on at the position; may use the draws `draw` and `draw + 1`."""
    if rule.kind == BY_MAP:
        value = _at(rule.first, table, c, scratch.weights)
        return GOING if value > rule.threshold else LEFT_MASK
    if rule.kind == BY_MASK:
        return GOING if rule.first[_nearest(table, scratch.position)] > 0.5 else LEFT_MASK
    gm = _at(rule.first, table, c, scratch.weights)
    csf = _at(rule.second, table, c, scratch.weights)
    if rule.kind == BY_ACT:
        if gm > 0.5:
            return GREY
        return CSF if csf > 0.5 else GOING
    if gm + csf <= 0.0:
        return GOING
    rest = max(0.0, 1.0 - gm - csf)
    if _uniform(key, draw) < (rest / (rest + gm + csf)) ** rule.power:
        return GOING
    return GREY if _uniform(key, draw + 1) < gm / (gm + csf) else CSF


# --- Which way on ------------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _gather(table: Any, scratch: Any, c: Any) -> None:
    """Find the rows of the eight voxels around."""
    n_directions = len(scratch.odf)
    for n in range(8):
        scratch.corners[n] = np.int64(table.cells[_around(table, c, n)]) * n_directions


@njit(cache=True, nogil=True)
def _bound(table: Any, scratch: Any, share: Any) -> Any:
    """Amplitudes below this are not followed: a share of the interpolated maxima."""
    n_directions = len(scratch.odf)
    highest = np.float32(0.0)
    for n in range(8):
        scratch.weights32[n] = np.float32(scratch.weights[n])
        highest += scratch.weights32[n] * table.highest[scratch.corners[n] // n_directions]
    # Zero is never followed, whatever the share.
    return max(np.float32(share) * highest, np.float32(1e-30))


@njit(cache=True, nogil=True)
def _turned(table: Any, heading: Any, v: Any) -> Any:
    """Direction v with the sign that turns least from a heading."""
    n = len(table.directions) // 3
    d, old = table.directions, abs(heading) - 1
    dot = d[old] * d[v] + d[n + old] * d[n + v] + d[2 * n + old] * d[2 * n + v]
    return v + 1 if (dot >= 0) == (heading > 0) else -(v + 1)


@njit(cache=True, nogil=True)
def _highest(table: Any, scratch: Any, first: Any, last: Any, cos_max: Any, bound: Any) -> Any:
    """The direction of the highest amplitude in the listed patches; -1 if there is none."""
    n = len(scratch.odf)
    best, where = np.float32(0.0), -1
    for m in range(first, last):
        o = np.int64(table.patches[m])
        high = patch_max(
            table.rows, scratch.corners, scratch.weights32, table.directions, n, scratch.heading,
            cos_max, bound, o, scratch.odf, 0,
        )  # fmt: skip
        if high > best:
            best = high
            for i in range(WIDTH):
                if scratch.odf[i] == high:
                    where = o + i
                    break
    return where


@njit(cache=True, nogil=True)
def _drawn(
    table: Any, scratch: Any, first: Any, last: Any, cos_max: Any, bound: Any, u: Any
) -> Any:
    """A direction drawn by amplitude from the listed patches; -1 if all is zero."""
    n = len(scratch.odf)
    total = np.float32(0.0)
    for m in range(first, last):
        part = patch_sum(
            table.rows, scratch.corners, scratch.weights32, table.directions, n, scratch.heading,
            cos_max, bound, np.int64(table.patches[m]), scratch.odf, (m - first) * WIDTH,
        )  # fmt: skip
        scratch.sums[m - first] = part
        total += part
    if total <= 0.0:
        return -1
    left = np.float32(u) * total
    for m in range(last - first):
        if left < scratch.sums[m] or m == last - first - 1:
            where = -1
            for i in range(WIDTH):
                amplitude = scratch.odf[m * WIDTH + i]
                if amplitude > 0.0:
                    where = np.int64(table.patches[first + m]) + i
                    if left < amplitude:
                        break
                    left -= amplitude
            if where >= 0:
                return where
        left -= scratch.sums[m]
    return _last_positive(table, scratch, first, last)


@njit(cache=True, nogil=True)
def _last_positive(table: Any, scratch: Any, first: Any, last: Any) -> Any:
    """The last direction that could have been drawn: what rounding leaves goes to it."""
    for m in range(last - first - 1, -1, -1):
        for i in range(WIDTH - 1, -1, -1):
            if scratch.odf[m * WIDTH + i] > 0.0:
                return np.int64(table.patches[first + m]) + i
    return -1


@njit(cache=True, nogil=True)
def _next_heading(table: Any, steps: Any, scratch: Any, heading: Any, key: Any, draw: Any) -> Any:
    """The next heading at the position, 0 if there is none."""
    n, v = len(scratch.odf), abs(heading) - 1
    for a in range(3):
        scratch.heading[a] = table.directions[a * n + v]
    first, last = table.first_patch[v], table.first_patch[v + 1]
    bound = _bound(table, scratch, steps.pmf_threshold)
    cos_max = np.float32(steps.cos_max)
    if steps.method == DET:
        found = _highest(table, scratch, first, last, cos_max, bound)
    else:
        found = _drawn(table, scratch, first, last, cos_max, bound, _uniform(key, draw))
    return 0 if found < 0 else _turned(table, heading, found)


@njit(cache=True, nogil=True)
def _first_heading(table: Any, scratch: Any) -> Any:
    """The highest direction of the whole sphere at the position, 0 if the ODF is empty."""
    _bound(table, scratch, 0.0)
    n = len(scratch.odf)
    best, where = np.float32(0.0), -1
    for o in range(0, n, WIDTH):
        high = patch_max(
            table.rows, scratch.corners, scratch.weights32, table.directions, n, scratch.heading,
            np.float32(-1.0), np.float32(1e-30), o, scratch.odf, 0,
        )  # fmt: skip
        if high > best:
            best = high
            for i in range(WIDTH):
                if scratch.odf[i] == high:
                    where = o + i
                    break
    return where + 1


@njit(cache=True, nogil=True)
def _follow_peaks(table: Any, steps: Any, scratch: Any) -> Any:
    """EuDX: turn `going` to the weighted mean of the nearest peaks of the voxels around."""
    n_directions, going = len(scratch.odf), scratch.going
    x, y, z, weight = 0.0, 0.0, 0.0, 0.0
    for n in range(8):
        row = scratch.corners[n] // n_directions
        best, nearest = 0.0, -1
        for k in range(table.peaks.shape[1]):
            dot = 0.0
            for a in range(3):
                dot += going[a] * table.peaks[row, k, a]
            if abs(dot) > abs(best):
                best, nearest = dot, k
        if nearest >= 0 and abs(best) >= steps.cos_max:
            w = scratch.weights[n] if best > 0 else -scratch.weights[n]
            x += w * table.peaks[row, nearest, 0]
            y += w * table.peaks[row, nearest, 1]
            z += w * table.peaks[row, nearest, 2]
            weight += scratch.weights[n]
    norm = np.sqrt(x * x + y * y + z * z)
    if weight < MIN_PEAK_WEIGHT or norm <= 0.0:
        return False
    going[0], going[1], going[2] = x / norm, y / norm, z / norm
    return True


@njit(cache=True, nogil=True)
def _first_peak(table: Any, scratch: Any) -> Any:
    """Set `going` to the highest peak of the nearest voxel; False if it has none."""
    row = table.cells[_nearest(table, scratch.position)]
    if table.peaks.shape[1] == 0:
        return False
    norm = 0.0
    for a in range(3):
        scratch.going[a] = table.peaks[row, 0, a]
        norm += scratch.going[a] ** 2
    return norm > 0.5


# --- One half of a streamline ------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _walk(
    table: Any, rule: Any, steps: Any, scratch: Any, half: Any, heading: Any, limit: Any,
    key: Any, draw: Any,
) -> Any:  # fmt: skip
    """Walk from ``course[half, 0]`` until something ends it.

    Returns the number of the last point, the state that ended the walk and the next free draw.
    """
    course, headings, p = scratch.course, scratch.headings, scratch.position
    n, trials, last_cell = 0, 0, -1
    headings[half, 0] = heading
    for a in range(3):
        p[a] = course[half, 0, a]
    cell = _locate(table, scratch)
    while True:
        if cell != last_cell:
            _gather(table, scratch, cell)
            last_cell = cell
        state = LOST
        if steps.method == EUDX:
            if _follow_peaks(table, steps, scratch):
                state = GOING
                for a in range(3):
                    p[a] += scratch.going[a] * steps.step[a]
        else:
            turned = _next_heading(table, steps, scratch, heading, key, draw)
            draw += 1
            if turned != 0:
                state, heading = GOING, turned
                sign = 1.0 if heading > 0 else -1.0
                for a in range(3):
                    p[a] += sign * steps.advance[abs(heading) - 1, a]
        if state == GOING:
            if not _inside(table, p):
                return n, LEFT_IMAGE if _left_image(table, p) else LOST, draw
            cell = _locate(table, scratch)
            state = _state(table, rule, scratch, cell, key, draw)
            draw += 2
            if state == LEFT_MASK:
                return n, state, draw
            n += 1
            headings[half, n] = heading
            for a in range(3):
                course[half, n, a] = p[a]
        if state == GREY:
            return n, state, draw
        if state != GOING:  # in CSF, or no way on
            if steps.method != PFT or trials == MAX_TRIALS or n == 0:
                return n, state, draw
            trials += 1
            n, state, draw = _filter(table, rule, steps, scratch, half, n, limit, key, draw)
            if state != GOING:
                return n, state, draw
            heading, last_cell = headings[half, n], -1
            for a in range(3):
                p[a] = course[half, n, a]
            cell = _locate(table, scratch)
        if n > limit:
            return n, TOO_FAR, draw


# --- Particle filtering ------------------------------------------------------------------------


@njit(cache=True, nogil=True)
def _filter(
    table: Any, rule: Any, steps: Any, scratch: Any, half: Any, n: Any, limit: Any,
    key: Any, draw: Any,
) -> Any:  # fmt: skip
    """Go back, send particles forward, and go on with one of them.

    Girard et al. 2014, doi:10.1016/j.neuroimage.2014.04.074. Returns the number of the last
    point, the state there and the next free draw.
    """
    paths, turns, lengths = scratch.paths, scratch.turns, scratch.lengths
    states, loads = scratch.states, scratch.loads
    count = loads.shape[1]
    start = n - min(n, steps.back_steps)
    distance = n - start + max(0, min(steps.front_steps, limit + 1 - n))
    for q in range(count):
        for a in range(3):
            paths[0, q, 0, a] = scratch.course[half, start, a]
        turns[0, q, 0] = scratch.headings[half, start]
        lengths[0, q], states[0, q], loads[0, q] = 0, GOING, 1.0 / count
    for s in range(distance):
        total = 0.0
        for q in range(count):
            if states[0, q] == GOING:
                draw = _move_particle(table, rule, steps, scratch, q, s, key, draw)
            total += loads[0, q]
        if total <= 0.0:
            return start, LOST, draw
        squares = 0.0
        for q in range(count):
            loads[0, q] /= total
            squares += loads[0, q] ** 2
        if 1.0 / squares < count / 10:
            draw = _resample(scratch, s + 1, key, draw)
    chosen = _weighted_choice(loads, 0, _uniform(key, draw))
    draw += 1
    for s in range(1, lengths[0, chosen] + 1):
        for a in range(3):
            scratch.course[half, start + s, a] = paths[0, chosen, s, a]
        scratch.headings[half, start + s] = turns[0, chosen, s]
    return start + lengths[0, chosen], states[0, chosen], draw


@njit(cache=True, nogil=True)
def _move_particle(
    table: Any, rule: Any, steps: Any, scratch: Any, q: Any, s: Any, key: Any, draw: Any
) -> Any:
    """One step of one particle; the next free draw."""
    paths, p = scratch.paths, scratch.position
    for a in range(3):
        p[a] = paths[0, q, s, a]
    _gather(table, scratch, _locate(table, scratch))
    heading = _next_heading(table, steps, scratch, scratch.turns[0, q, s], key, draw)
    if heading == 0:
        scratch.states[0, q], scratch.loads[0, q] = LOST, 0.0
        return draw + 1
    sign = 1.0 if heading > 0 else -1.0
    for a in range(3):
        p[a] += sign * steps.advance[abs(heading) - 1, a]
    if not _inside(table, p):
        left = _left_image(table, p)
        scratch.states[0, q] = LEFT_IMAGE if left else LOST
        scratch.loads[0, q] *= 1.0 if left else 0.0
        return draw + 1
    cell = _locate(table, scratch)
    state = _state(table, rule, scratch, cell, key, draw + 1)
    load = scratch.loads[0, q] * (1.0 - _at(rule.second, table, cell, scratch.weights))
    load = load if load > NO_WEIGHT else 0.0
    if state == CSF and load > 0.0:
        state = GOING  # its weight has paid for it
    for a in range(3):
        paths[0, q, s + 1, a] = p[a]
    scratch.turns[0, q, s + 1] = heading
    scratch.lengths[0, q], scratch.states[0, q], scratch.loads[0, q] = s + 1, state, load
    return draw + 3


@njit(cache=True, nogil=True)
def _weighted_choice(loads: Any, row: Any, u: Any) -> Any:
    """A particle drawn by weight; the weights add up to one."""
    chosen = 0
    for q in range(loads.shape[1]):
        if loads[row, q] > 0.0:
            chosen = q
            if u < loads[row, q]:
                break
            u -= loads[row, q]
    return chosen


@njit(cache=True, nogil=True)
def _resample(scratch: Any, n_points: Any, key: Any, draw: Any) -> Any:
    """Replace the particles by as many drawn from them by weight; the next free draw."""
    paths, turns, lengths = scratch.paths, scratch.turns, scratch.lengths
    states, loads = scratch.states, scratch.loads
    count = loads.shape[1]
    paths[1, :, :n_points], turns[1, :, :n_points] = paths[0, :, :n_points], turns[0, :, :n_points]
    lengths[1], states[1], loads[1] = lengths[0], states[0], loads[0]
    for q in range(count):
        from_q = _weighted_choice(loads, 1, _uniform(key, draw + q))
        paths[0, q, :n_points] = paths[1, from_q, :n_points]
        turns[0, q, :n_points] = turns[1, from_q, :n_points]
        lengths[0, q], states[0, q] = lengths[1, from_q], states[1, from_q]
        loads[0, q] = 1.0 / count
    return draw + count


# --- Seeds in, streamlines out -----------------------------------------------------------------


@njit(cache=True, nogil=True)
def _start(table: Any, rule: Any, steps: Any, scratch: Any, seed: Any, key: Any) -> Any:
    """Whether a seed can be tracked (KEPT) or why not, and its first heading."""
    for a in range(3):
        scratch.position[a] = seed[a]
    if not _inside(table, scratch.position):
        return SEED_NO_DIRECTION, 0
    cell = _locate(table, scratch)
    by_tissue = rule.kind == BY_CMC or rule.kind == BY_ACT
    if not by_tissue and _state(table, rule, scratch, cell, key, 0) != GOING:
        return SEED_STOPPED, 0
    _gather(table, scratch, cell)
    if steps.method == EUDX:
        return (KEPT, 0) if _first_peak(table, scratch) else (SEED_NO_DIRECTION, 0)
    heading = _first_heading(table, scratch)
    return (KEPT, heading) if heading != 0 else (SEED_NO_DIRECTION, 0)


@njit(cache=True, nogil=True)
def _both_halves(
    table: Any, rule: Any, steps: Any, scratch: Any, seed: Any, heading: Any, key: Any
) -> Any:
    """Walk both ways from a seed: points of each half, states at their ends, and the fate."""
    for half in range(2):
        for a in range(3):
            scratch.course[half, 0, a] = seed[a]
    by_tissue = rule.kind == BY_CMC or rule.kind == BY_ACT
    going = (scratch.going[0], scratch.going[1], scratch.going[2])
    forth, state, draw = _walk(
        table, rule, steps, scratch, 0, heading, steps.max_steps, key, 0
    )
    if state == TOO_FAR:
        return forth, 0, state, state, TOO_LONG
    if by_tissue and state != GREY and state != LEFT_IMAGE:
        return forth, 0, state, state, INVALID_END
    # The other way begins opposite to the first step.
    back_heading = -scratch.headings[0, 1] if forth > 0 else -heading
    for a in range(3):
        scratch.going[a] = -going[a]
    if steps.method == EUDX and forth > 0:
        for a in range(3):
            step = scratch.course[0, 1, a] - scratch.course[0, 0, a]
            scratch.going[a] = -step / steps.step[a]
    back, back_state, _ = _walk(
        table, rule, steps, scratch, 1, back_heading, steps.max_steps - forth, key, draw
    )
    if back_state == TOO_FAR:
        return forth, back, state, back_state, TOO_LONG
    if by_tissue and back_state != GREY and back_state != LEFT_IMAGE:
        return forth, back, state, back_state, INVALID_END
    n_steps = forth + back
    if n_steps == 0 or n_steps < steps.min_steps:
        return forth, back, state, back_state, TOO_SHORT
    if n_steps > steps.max_steps:
        return forth, back, state, back_state, TOO_LONG
    return forth, back, state, back_state, KEPT


@njit(cache=True, nogil=True)
def track_seeds(
    table: Any, rule: Any, steps: Any, scratch: Any,
    seeds: Any, numbers: Any, begin: Any,
    points: Any, used: Any, counts: Any, fates: Any, ends: Any,
) -> Any:  # fmt: skip
    """Track seeds from `begin` on, until all are done or the points do not fit any more.

    Parameters
    ----------
    table, rule, steps, scratch
        What to follow, where to stop, how to go, and memory.
    seeds : (S, 3) float64 array
        Voxels of the box.
    numbers : (S,) int64 array
        Number of each seed in the run.
    begin : int
        The first seed to do.
    points : (P, 3) float32 array
        Out: the streamlines, one after the other, RAS+ mm.
    used : int
        How many of these are taken.
    counts : (S,) int64 array
        Out: points of each seed's streamline.
    fates : (S,) int8 array
        Out: see `Fate`.
    ends : (S, 2) int8 array
        Out: see `EndReason`, for those kept.

    Returns
    -------
    next_seed, used : int

    """
    for s in range(begin, len(seeds)):
        key = stream_key(steps.run_key, numbers[s])
        fate, heading = _start(table, rule, steps, scratch, seeds[s], key)
        if fate == KEPT:
            forth, back, state, back_state, fate = _both_halves(
                table, rule, steps, scratch, seeds[s], heading, key
            )
            if fate == KEPT:
                n = forth + back + 1
                if used + n > len(points):
                    return s, used
                _write(table, scratch, forth, back, points, used)
                used += n
                counts[s] = n
                ends[s, 0], ends[s, 1] = REASON_OF[back_state], REASON_OF[state]
        fates[s] = fate
    return len(seeds), used


@njit(cache=True, nogil=True)
def _write(table: Any, scratch: Any, forth: Any, back: Any, points: Any, used: Any) -> None:
    """Both halves as one streamline in mm: the backward one turned round, then the forward one."""
    world, course = table.world, scratch.course
    for i in range(forth + back + 1):
        half, j = (1, back - i) if i < back else (0, i - back)
        x, y, z = course[half, j, 0], course[half, j, 1], course[half, j, 2]
        for a in range(3):
            mm = world[a, 0] * x + world[a, 1] * y + world[a, 2] * z + world[a, 3]
            points[used + i, a] = np.float32(mm)


@njit(cache=True, nogil=True)
def copy_runs(points: Any, begins: Any, offsets: Any, out: Any) -> None:
    """Copy runs of points: run t begins at ``begins[t]`` and goes to ``offsets[t]``."""
    for t in range(len(begins)):
        for i in range(offsets[t + 1] - offsets[t]):
            for a in range(3):
                out[offsets[t] + i, a] = points[begins[t] + i, a]
