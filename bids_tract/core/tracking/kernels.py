"""The compiled part of tracking: one loop for all methods, and the functions that it is made of.

Coordinates are voxels, (0, 0, 0) the centre of the first. Directions are numbered as in
`field.SphereTable`: in patches of 16 neighbours, so that a cone touches few cache lines and each
patch is one vector operation. A heading is a direction with a sign: ``v + 1`` or ``-(v + 1)``;
0 is none. Positions are float64, amplitudes float32.

All of it stands in one file: numba's cache looks for changes in the file of the function that is
called only, and would keep serving old code of functions that come from others (``vector.py`` is
the exception: touch this file after changing that one).

Letters in shapes: S seeds, R rows of the amplitude table, D directions (padded), C voxels of the
padded box, M particles.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bids_tract.core.tracking.outcome import EndReason, Fate
from bids_tract.core.tracking.vector import (
    WIDTH,
    cone_max,
    cone_sum,
    lane_equal,
    lane_reaching,
    prefetch,
)
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
# Amplitudes below this are zero, and never followed.
TINY = 1e-30
# Weights of particles below this are nothing.
NO_WEIGHT = 1e-16


class Table(NamedTuple):
    """What is followed: amplitudes of each voxel on the sphere, and the sphere.

    The box of voxels is padded by one on each side with copies of its rim, so that the eight
    corners of any point inside the image exist.
    """

    rows: Float32 | NDArray[np.uint8]  # (R * D,) amplitudes, see `scaled`; the first row is zero
    scaled: bool  # amplitudes are bytes: 255 is the largest of the row
    peaks: Float32  # (R, N, 3) unit vectors, zero where there are fewer; (1, 0, 3) if not needed
    cells: Float32  # (4 * C,) of each padded voxel: row, its largest amplitude, maps of the rule
    strides: NDArray[np.int64]  # (2,) of the padded box; the last is 1
    shape: Float64  # (3,) of the box
    corner: Float64  # (3,) the box's first voxel in the image
    image: Float64  # (3,) shape of the image
    directions: Float32  # (3 * D,) x, then y, then z; zero where padded
    first_patch: NDArray[np.int32]  # (D + 2,) direction -> where its list of patches begins
    patches: NDArray[np.int32]  # first directions of the patches that a cone touches
    world: Float64  # (3, 4) voxel of the box to RAS+ mm


class Rule(NamedTuple):
    """Where streamlines end. Its maps stand in ``Table.cells``: map, mask or grey matter; CSF."""

    kind: int
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
    """Memory of one thread, which walks several streamlines (lanes, G) in turn.

    While one lane steps, the processor fetches what the others will read.
    """

    position: Float64  # (G, 3)
    going: Float64  # (G, 3) direction of the last step (EuDX)
    corners: NDArray[np.int64]  # (G, 8) where the rows of the eight voxels around begin
    highest: Float32  # (G, 8) largest amplitudes of these
    first: Float32  # (G, 8) maps of the rule in these voxels
    second: Float32  # (G, 8)
    weights: Float64  # (G, 8) trilinear
    course: Float64  # (G, 2, max_steps + 3, 3) points of both halves
    headings: NDArray[np.int32]  # (G, 2, max_steps + 3)
    seed: NDArray[np.int64]  # (G,) seed in work, -1 if none
    key: NDArray[np.uint64]  # (G,) its random stream
    draw: NDArray[np.int64]  # (G,) next free number of that
    half: NDArray[np.int64]  # (G,) 0 forward, 1 backward, 2 done and to be written
    last: NDArray[np.int64]  # (G,) number of the last point of this half
    forth: NDArray[np.int64]  # (G,) of the forward half
    forth_state: NDArray[np.int64]  # (G,) and what ended it
    back_state: NDArray[np.int64]  # (G,) what ended the backward half
    heading: NDArray[np.int64]  # (G,)
    cell: NDArray[np.int64]  # (G,) padded voxel of the position
    trials: NDArray[np.int64]  # (G,) of particle filtering in this half
    cone: Float32  # (3,) middle of the cone
    weights32: Float32  # (8,)
    odf: Float32  # (D,) amplitudes in the cone
    parts: Float32  # (D / WIDTH,) sum or maximum of each patch in the cone
    paths: Float64  # (2, M, PFT steps + 1, 3)
    turns: NDArray[np.int32]  # (2, M, PFT steps + 1)
    lengths: NDArray[np.int64]  # (2, M)
    states: NDArray[np.int64]  # (2, M)
    loads: Float64  # (2, M) weights of the particles


# --- Random numbers: the generator of rng.py ---------------------------------------------------


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _mix(z: Any) -> Any:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def stream_key(run_key: Any, number: Any) -> Any:
    """The random stream of a seed."""
    return _mix(np.uint64(run_key) + np.uint64(number) * np.uint64(0x9E3779B97F4A7C15))


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _uniform(key: Any, draw: Any) -> Any:
    bits = _mix(key + np.uint64(draw + 1) * np.uint64(0x9E3779B97F4A7C15))
    return np.float64(bits >> np.uint64(11)) * 2.0**-53


# --- Where a point is --------------------------------------------------------------------------


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _inside(table: Any, p: Any, g: Any) -> Any:
    inside = True
    for a in range(3):
        inside &= p[g, a] >= -0.5 and p[g, a] < table.shape[a] - 0.5
    return inside


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _left_image(table: Any, p: Any, g: Any) -> Any:
    inside = True
    for a in range(3):
        q = p[g, a] + table.corner[a]
        inside &= q >= -0.5 and q < table.image[a] - 0.5
    return not inside


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _locate(table: Any, scratch: Any, g: Any) -> Any:
    """Trilinear weights at the position, which lies inside; the first of its eight voxels."""
    p, w = scratch.position, scratch.weights
    i, j, k = np.floor(p[g, 0]), np.floor(p[g, 1]), np.floor(p[g, 2])
    x, y, z = p[g, 0] - i, p[g, 1] - j, p[g, 2] - k
    u, v, t = 1.0 - x, 1.0 - y, 1.0 - z
    w[g, 0], w[g, 1], w[g, 2], w[g, 3] = u * v * t, u * v * z, u * y * t, u * y * z
    w[g, 4], w[g, 5], w[g, 6], w[g, 7] = x * v * t, x * v * z, x * y * t, x * y * z
    s = table.strides
    return (np.int64(i) + 1) * s[0] + (np.int64(j) + 1) * s[1] + np.int64(k) + 1


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _gather(table: Any, scratch: Any, g: Any, c: Any) -> None:
    """Read what the eight voxels around hold, those that begin at c."""
    cells, n_directions = table.cells, len(scratch.odf)
    for n in range(8):
        m = 4 * (c + (n >> 2) * table.strides[0] + ((n >> 1) & 1) * table.strides[1] + (n & 1))
        scratch.corners[g, n] = np.int64(cells[m]) * n_directions
        scratch.highest[g, n] = cells[m + 1]
        scratch.first[g, n] = cells[m + 2]
        scratch.second[g, n] = cells[m + 3]


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _interpolated(values: Any, weights: Any, g: Any) -> Any:
    """A map at the position."""
    total = 0.0
    for n in range(8):
        total += weights[g, n] * values[g, n]
    return total


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _nearest(p: Any, g: Any) -> Any:
    """Which of the eight voxels around is nearest."""
    nearest = 0
    for a in range(3):
        nearest = 2 * nearest + (p[g, a] - np.floor(p[g, a]) >= 0.5)
    return nearest


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _state(rule: Any, scratch: Any, g: Any, key: Any, draw: Any) -> Any:
    """Whether a streamline goes on at the position; may use the draws `draw` and `draw + 1`."""
    if rule.kind == BY_MAP:
        value = _interpolated(scratch.first, scratch.weights, g)
        return GOING if value > rule.threshold else LEFT_MASK
    if rule.kind == BY_MASK:
        return GOING if scratch.first[g, _nearest(scratch.position, g)] > 0.5 else LEFT_MASK
    gm = _interpolated(scratch.first, scratch.weights, g)
    csf = _interpolated(scratch.second, scratch.weights, g)
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


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _fetch(table: Any, scratch: Any, g: Any, heading: Any) -> None:
    """Ask for the cache lines that the next step from here will read."""
    v, last_line = abs(heading) - 1, -1
    for m in range(table.first_patch[v], table.first_patch[v + 1]):
        place = np.int64(table.patches[m])
        line = (place * table.rows.itemsize) >> 6
        if line != last_line:
            for n in range(8):
                prefetch(table.rows, scratch.corners[g, n] + place)
        last_line = line


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _bound(table: Any, scratch: Any, g: Any, share: Any) -> Any:
    """Amplitudes below this are not followed: a share of the interpolated maxima.

    Sets the weights of the rows as well.
    """
    highest = np.float32(0.0)
    for n in range(8):
        weight = np.float32(scratch.weights[g, n])
        part = weight * scratch.highest[g, n]
        highest += part
        scratch.weights32[n] = part * np.float32(1 / 255) if table.scaled else weight
    return max(np.float32(share) * highest, np.float32(TINY))


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _turned(table: Any, heading: Any, v: Any) -> Any:
    """Direction v with the sign that turns least from a heading."""
    n = len(table.directions) // 3
    d, old = table.directions, abs(heading) - 1
    dot = d[old] * d[v] + d[n + old] * d[n + v] + d[2 * n + old] * d[2 * n + v]
    return v + 1 if (dot >= 0) == (heading > 0) else -(v + 1)


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _highest(
    table: Any, scratch: Any, g: Any, first: Any, last: Any, cos_max: Any, bound: Any
) -> Any:
    """The direction of the highest amplitude in the listed patches; -1 if there is none."""
    best = cone_max(
        table.rows, scratch.corners, 8 * g, scratch.weights32, table.directions,
        len(scratch.odf), scratch.cone, cos_max, bound, table.patches, first, last,
        scratch.odf, scratch.parts,
    )  # fmt: skip
    if best <= 0.0:
        return -1
    m = 0
    while scratch.parts[m] != best:
        m += 1
    return np.int64(table.patches[first + m]) + lane_equal(scratch.odf, m * WIDTH, best)


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _drawn(
    table: Any, scratch: Any, g: Any, first: Any, last: Any, cos_max: Any, bound: Any, u: Any
) -> Any:
    """A direction drawn by amplitude from the listed patches; -1 if all is zero."""
    total = cone_sum(
        table.rows, scratch.corners, 8 * g, scratch.weights32, table.directions,
        len(scratch.odf), scratch.cone, cos_max, bound, table.patches, first, last,
        scratch.odf, scratch.parts,
    )  # fmt: skip
    if total <= 0.0:
        return -1
    left = np.float32(u) * total
    for m in range(last - first):
        part = scratch.parts[m]
        if left < part:
            lane = lane_reaching(scratch.odf, m * WIDTH, left)
            if lane < WIDTH:
                return np.int64(table.patches[first + m]) + lane
        left -= part
    return _last_positive(table, scratch, first, last)


@njit(cache=True, nogil=True, _nrt=False)
def _last_positive(table: Any, scratch: Any, first: Any, last: Any) -> Any:
    """The last direction that could have been drawn: what rounding leaves goes to it."""
    for m in range(last - first - 1, -1, -1):
        for i in range(WIDTH - 1, -1, -1):
            if scratch.odf[m * WIDTH + i] > 0.0:
                return np.int64(table.patches[first + m]) + i
    return -1


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _next_heading(
    table: Any, steps: Any, scratch: Any, g: Any, heading: Any, key: Any, draw: Any
) -> Any:
    """The next heading at the position, 0 if there is none."""
    n, v = len(scratch.odf), abs(heading) - 1
    for a in range(3):
        scratch.cone[a] = table.directions[a * n + v]
    first, last = table.first_patch[v], table.first_patch[v + 1]
    bound = _bound(table, scratch, g, steps.pmf_threshold)
    cos_max = np.float32(steps.cos_max)
    u = 0.0 if steps.method == DET else _uniform(key, draw)
    found = -1
    for _ in range(2):
        if steps.method == DET:
            found = _highest(table, scratch, g, first, last, cos_max, bound)
        else:
            found = _drawn(table, scratch, g, first, last, cos_max, bound, u)
        if found >= 0:
            break
        # The bound was a little high: the maximum of the interpolated ODF is less than the
        # interpolated maxima. It is looked for only here, where it may decide.
        bound = _exact_bound(table, scratch, g, steps.pmf_threshold)
    return 0 if found < 0 else _turned(table, heading, found)


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _all_patches(table: Any) -> Any:
    """Where the list of all patches begins and ends: it comes last."""
    return np.int64(table.first_patch[-2]), np.int64(table.first_patch[-1])


@njit(cache=True, nogil=True, _nrt=False)
def _exact_bound(table: Any, scratch: Any, g: Any, share: Any) -> Any:
    """A share of the interpolated ODF's maximum."""
    first, last = _all_patches(table)
    tiny = np.float32(TINY)
    highest = cone_max(
        table.rows, scratch.corners, 8 * g, scratch.weights32, table.directions,
        len(scratch.odf), scratch.cone, np.float32(-1.0), tiny, table.patches, first, last,
        scratch.odf, scratch.parts,
    )  # fmt: skip
    return max(np.float32(share) * highest, tiny)


@njit(cache=True, nogil=True, _nrt=False)
def _first_heading(table: Any, scratch: Any, g: Any) -> Any:
    """The highest direction of the whole sphere at the position, 0 if the ODF is empty."""
    bound = _bound(table, scratch, g, 0.0)
    first, last = _all_patches(table)
    return _highest(table, scratch, g, first, last, np.float32(-1.0), bound) + 1


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _follow_peaks(table: Any, steps: Any, scratch: Any, g: Any) -> Any:
    """EuDX: turn `going` to the weighted mean of the nearest peaks of the voxels around."""
    n_directions, going = len(scratch.odf), scratch.going
    x, y, z, weight = 0.0, 0.0, 0.0, 0.0
    for n in range(8):
        row = scratch.corners[g, n] // n_directions
        best, nearest = 0.0, -1
        for k in range(table.peaks.shape[1]):
            dot = 0.0
            for a in range(3):
                dot += going[g, a] * table.peaks[row, k, a]
            if abs(dot) > abs(best):
                best, nearest = dot, k
        if nearest >= 0 and abs(best) >= steps.cos_max:
            w = scratch.weights[g, n] if best > 0 else -scratch.weights[g, n]
            x += w * table.peaks[row, nearest, 0]
            y += w * table.peaks[row, nearest, 1]
            z += w * table.peaks[row, nearest, 2]
            weight += scratch.weights[g, n]
    norm = np.sqrt(x * x + y * y + z * z)
    if weight < MIN_PEAK_WEIGHT or norm <= 0.0:
        return False
    going[g, 0], going[g, 1], going[g, 2] = x / norm, y / norm, z / norm
    return True


@njit(cache=True, nogil=True, _nrt=False)
def _first_peak(table: Any, scratch: Any, g: Any) -> Any:
    """Set `going` to the highest peak of the nearest voxel; False if it has none."""
    row = scratch.corners[g, _nearest(scratch.position, g)] // len(scratch.odf)
    if table.peaks.shape[1] == 0:
        return False
    norm = 0.0
    for a in range(3):
        scratch.going[g, a] = table.peaks[row, 0, a]
        norm += scratch.going[g, a] ** 2
    return norm > 0.5


# --- One step ------------------------------------------------------------------------------------


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _arrive(table: Any, scratch: Any, g: Any) -> None:
    """Read what surrounds a position inside the box."""
    cell = _locate(table, scratch, g)
    if cell != scratch.cell[g]:
        _gather(table, scratch, g, cell)
        scratch.cell[g] = cell


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _advance(table: Any, steps: Any, scratch: Any, g: Any, key: Any) -> Any:
    """Move a lane's position by one step; False where there is no direction."""
    p = scratch.position
    if steps.method == EUDX:
        if not _follow_peaks(table, steps, scratch, g):
            return False
        for a in range(3):
            p[g, a] += scratch.going[g, a] * steps.step[a]
        return True
    heading = _next_heading(table, steps, scratch, g, scratch.heading[g], key, scratch.draw[g])
    scratch.draw[g] += 1
    if heading == 0:
        return False
    scratch.heading[g] = heading
    sign = 1.0 if heading > 0 else -1.0
    for a in range(3):
        p[g, a] += sign * steps.advance[abs(heading) - 1, a]
    return True


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _step(table: Any, rule: Any, steps: Any, scratch: Any, g: Any, limit: Any) -> Any:
    """One step of a lane: GOING, or what ends this half."""
    p, half, key = scratch.position, scratch.half[g], scratch.key[g]
    state = LOST
    if _advance(table, steps, scratch, g, key):
        if not _inside(table, p, g):
            return LEFT_IMAGE if _left_image(table, p, g) else LOST
        _arrive(table, scratch, g)
        state = _state(rule, scratch, g, key, scratch.draw[g])
        scratch.draw[g] += 2
        if state == LEFT_MASK:
            return state
        n = scratch.last[g] + 1
        scratch.last[g] = n
        scratch.headings[g, half, n] = scratch.heading[g]
        for a in range(3):
            scratch.course[g, half, n, a] = p[g, a]
    if state != GOING and state != GREY:  # in CSF, or no way on
        if steps.method != PFT or scratch.trials[g] == MAX_TRIALS or scratch.last[g] == 0:
            return state
        scratch.trials[g] += 1
        state = _filter(table, rule, steps, scratch, g, limit)
        if state == GOING:
            n = scratch.last[g]
            scratch.heading[g] = scratch.headings[g, half, n]
            for a in range(3):
                p[g, a] = scratch.course[g, half, n, a]
            _arrive(table, scratch, g)
    if state == GOING:
        if scratch.last[g] > limit:
            return TOO_FAR
        if steps.method != EUDX:
            _fetch(table, scratch, g, scratch.heading[g])
    return state


# --- Particle filtering ------------------------------------------------------------------------


@njit(cache=True, nogil=True, _nrt=False)
def _filter(table: Any, rule: Any, steps: Any, scratch: Any, g: Any, limit: Any) -> Any:
    """Go back, send particles forward, and go on with one of them; the state where it ends.

    Girard et al. 2014, doi:10.1016/j.neuroimage.2014.04.074.
    """
    paths, turns, lengths = scratch.paths, scratch.turns, scratch.lengths
    states, loads, half, key = scratch.states, scratch.loads, scratch.half[g], scratch.key[g]
    count, n = loads.shape[1], scratch.last[g]
    start = n - min(n, steps.back_steps)
    distance = n - start + max(0, min(steps.front_steps, limit + 1 - n))
    scratch.last[g] = start
    for q in range(count):
        for a in range(3):
            paths[0, q, 0, a] = scratch.course[g, half, start, a]
        turns[0, q, 0] = scratch.headings[g, half, start]
        lengths[0, q], states[0, q], loads[0, q] = 0, GOING, 1.0 / count
    for s in range(distance):
        total = 0.0
        for q in range(count):
            if states[0, q] == GOING:
                _move_particle(table, rule, steps, scratch, g, q, s)
            total += loads[0, q]
        if total <= 0.0:
            return LOST
        squares = 0.0
        for q in range(count):
            loads[0, q] /= total
            squares += loads[0, q] ** 2
        if 1.0 / squares < count / 10:
            _resample(scratch, s + 2, key, scratch.draw[g])
            scratch.draw[g] += count
    chosen = _weighted_choice(loads, 0, _uniform(key, scratch.draw[g]))
    scratch.draw[g] += 1
    for s in range(1, lengths[0, chosen] + 1):
        for a in range(3):
            scratch.course[g, half, start + s, a] = paths[0, chosen, s, a]
        scratch.headings[g, half, start + s] = turns[0, chosen, s]
    scratch.last[g] = start + lengths[0, chosen]
    return states[0, chosen]


@njit(cache=True, nogil=True, _nrt=False, forceinline=True)
def _move_particle(
    table: Any, rule: Any, steps: Any, scratch: Any, g: Any, q: Any, s: Any
) -> None:
    """One step of one particle."""
    paths, p, key, draw = scratch.paths, scratch.position, scratch.key[g], scratch.draw[g]
    scratch.draw[g] += 3
    for a in range(3):
        p[g, a] = paths[0, q, s, a]
    _arrive(table, scratch, g)
    heading = _next_heading(table, steps, scratch, g, scratch.turns[0, q, s], key, draw)
    if heading == 0:
        scratch.states[0, q], scratch.loads[0, q] = LOST, 0.0
        return
    sign = 1.0 if heading > 0 else -1.0
    for a in range(3):
        p[g, a] += sign * steps.advance[abs(heading) - 1, a]
    if not _inside(table, p, g):
        left = _left_image(table, p, g)
        scratch.states[0, q] = LEFT_IMAGE if left else LOST
        scratch.loads[0, q] *= 1.0 if left else 0.0
        return
    _arrive(table, scratch, g)
    state = _state(rule, scratch, g, key, draw + 1)
    load = scratch.loads[0, q] * (1.0 - _interpolated(scratch.second, scratch.weights, g))
    load = load if load > NO_WEIGHT else 0.0
    if state == CSF and load > 0.0:
        state = GOING  # its weight has paid for it
    for a in range(3):
        paths[0, q, s + 1, a] = p[g, a]
    scratch.turns[0, q, s + 1] = heading
    scratch.lengths[0, q], scratch.states[0, q], scratch.loads[0, q] = s + 1, state, load


@njit(cache=True, nogil=True, _nrt=False)
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


@njit(cache=True, nogil=True, _nrt=False)
def _copy_particle(scratch: Any, row: Any, q: Any, to_row: Any, to_q: Any, n_points: Any) -> None:
    for s in range(n_points):
        scratch.turns[to_row, to_q, s] = scratch.turns[row, q, s]
        for a in range(3):
            scratch.paths[to_row, to_q, s, a] = scratch.paths[row, q, s, a]
    scratch.lengths[to_row, to_q] = scratch.lengths[row, q]
    scratch.states[to_row, to_q] = scratch.states[row, q]


@njit(cache=True, nogil=True, _nrt=False)
def _resample(scratch: Any, n_points: Any, key: Any, draw: Any) -> None:
    """Replace the particles by as many drawn from them by weight."""
    loads = scratch.loads
    count = loads.shape[1]
    for q in range(count):
        _copy_particle(scratch, 0, q, 1, q, n_points)
        loads[1, q] = loads[0, q]
    for q in range(count):
        chosen = _weighted_choice(loads, 1, _uniform(key, draw + q))
        _copy_particle(scratch, 1, chosen, 0, q, n_points)
        loads[0, q] = 1.0 / count


# --- Seeds in, streamlines out -------------------------------------------------------------------


@njit(cache=True, nogil=True, _nrt=False)
def _start(table: Any, rule: Any, steps: Any, scratch: Any, g: Any, seeds: Any, s: Any) -> Any:
    """Put a lane on a seed, ready for its first step; KEPT, or why it cannot be tracked."""
    for a in range(3):
        scratch.position[g, a] = seeds[s, a]
    if not _inside(table, scratch.position, g):
        return SEED_NO_DIRECTION
    _arrive(table, scratch, g)
    by_tissue = rule.kind == BY_CMC or rule.kind == BY_ACT
    if not by_tissue and _state(rule, scratch, g, scratch.key[g], 0) != GOING:
        return SEED_STOPPED
    heading = 0
    if steps.method == EUDX:
        if not _first_peak(table, scratch, g):
            return SEED_NO_DIRECTION
    else:
        heading = _first_heading(table, scratch, g)
        if heading == 0:
            return SEED_NO_DIRECTION
    scratch.half[g], scratch.last[g], scratch.trials[g], scratch.draw[g] = 0, 0, 0, 0
    scratch.heading[g] = heading
    for half in range(2):
        scratch.headings[g, half, 0] = heading
        for a in range(3):
            scratch.course[g, half, 0, a] = seeds[s, a]
    if steps.method != EUDX:
        _fetch(table, scratch, g, heading)
    return KEPT


@njit(cache=True, nogil=True, _nrt=False)
def _turn_back(table: Any, steps: Any, scratch: Any, g: Any) -> None:
    """Put a lane back on its seed, facing away from its first step."""
    forth = scratch.last[g]
    scratch.forth[g] = forth
    scratch.half[g], scratch.last[g], scratch.trials[g] = 1, 0, 0
    heading = scratch.headings[g, 0, 1] if forth > 0 else scratch.headings[g, 0, 0]
    scratch.heading[g] = -heading
    scratch.headings[g, 1, 0] = -heading
    for a in range(3):
        if steps.method == EUDX and forth > 0:
            step = scratch.course[g, 0, 1, a] - scratch.course[g, 0, 0, a]
            scratch.going[g, a] = -step / steps.step[a]
        else:
            scratch.going[g, a] = -scratch.going[g, a]
        scratch.position[g, a] = scratch.course[g, 0, 0, a]
    _arrive(table, scratch, g)
    if steps.method != EUDX:
        _fetch(table, scratch, g, scratch.heading[g])


@njit(cache=True, nogil=True, _nrt=False)
def _end_half(table: Any, rule: Any, steps: Any, scratch: Any, g: Any, state: Any) -> Any:
    """What follows from the end of a half: KEPT while the streamline may be kept, or its fate.

    After the forward half the lane is turned back; after the other one it waits to be written.
    """
    if state == TOO_FAR:
        return TOO_LONG
    by_tissue = rule.kind == BY_CMC or rule.kind == BY_ACT
    if by_tissue and state != GREY and state != LEFT_IMAGE:
        return INVALID_END
    if scratch.half[g] == 0:
        scratch.forth_state[g] = state
        _turn_back(table, steps, scratch, g)
        return KEPT
    scratch.back_state[g] = state
    n_steps = scratch.forth[g] + scratch.last[g]
    if n_steps == 0 or n_steps < steps.min_steps:
        return TOO_SHORT
    if n_steps > steps.max_steps:
        return TOO_LONG
    scratch.half[g] = 2
    return KEPT


@njit(cache=True, nogil=True, _nrt=False)
def track_seeds(
    table: Any, rule: Any, steps: Any, scratch: Any,
    seeds: Any, numbers: Any, begin: Any,
    points: Any, used: Any, begins: Any, counts: Any, fates: Any, ends: Any,
) -> Any:  # fmt: skip
    """Track seeds from `begin` on, until all are done or the points do not fit any more.

    Called again with more room and what it returned, it goes on where it stopped: the lanes keep
    their state in `scratch`.

    Parameters
    ----------
    table, rule, steps, scratch
        What to follow, where to stop, how to go, and memory.
    seeds : (S, 3) float64 array
        Voxels of the box.
    numbers : (S,) int64 array
        Number of each seed in the run.
    begin : int
        The first seed that no lane has taken.
    points : (P, 3) float32 array
        Out: the streamlines, in the order in which they were finished, RAS+ mm.
    used : int
        How many of these are taken.
    begins, counts : (S,) int64 array
        Out: first point and number of points of each seed's streamline.
    fates : (S,) int8 array
        Out: see `Fate`.
    ends : (S, 2) int8 array
        Out: see `EndReason`, for those kept.

    Returns
    -------
    begin, used : int
    done : bool

    """
    lanes = len(scratch.seed)
    while True:
        busy = False
        for g in range(lanes):
            while scratch.seed[g] < 0 and begin < len(seeds):
                scratch.key[g] = stream_key(steps.run_key, numbers[begin])
                fates[begin] = _start(table, rule, steps, scratch, g, seeds, begin)
                if fates[begin] == KEPT:
                    scratch.seed[g] = begin
                begin += 1
            s = scratch.seed[g]
            if s < 0:
                continue
            busy = True
            if scratch.half[g] < 2:
                taken = scratch.forth[g] if scratch.half[g] == 1 else 0
                state = _step(table, rule, steps, scratch, g, steps.max_steps - taken)
                if state == GOING:
                    continue
                fates[s] = _end_half(table, rule, steps, scratch, g, state)
                if fates[s] != KEPT:
                    scratch.seed[g] = -1
            if scratch.half[g] == 2 and fates[s] == KEPT:
                n = scratch.forth[g] + scratch.last[g] + 1
                if used + n > len(points):
                    return begin, used, False
                _write(table, scratch, g, points, used)
                begins[s], counts[s] = used, n
                used += n
                ends[s, 0] = REASON_OF[scratch.back_state[g]]
                ends[s, 1] = REASON_OF[scratch.forth_state[g]]
                scratch.seed[g] = -1
        if not busy:
            return begin, used, True


@njit(cache=True, nogil=True, _nrt=False)
def _write(table: Any, scratch: Any, g: Any, points: Any, used: Any) -> None:
    """Both halves as one streamline in mm: the backward one turned round, then the forward one."""
    world, course = table.world, scratch.course
    forth, back = scratch.forth[g], scratch.last[g]
    for i in range(forth + back + 1):
        half, j = (1, back - i) if i < back else (0, i - back)
        x, y, z = course[g, half, j, 0], course[g, half, j, 1], course[g, half, j, 2]
        for a in range(3):
            mm = world[a, 0] * x + world[a, 1] * y + world[a, 2] * z + world[a, 3]
            points[used + i, a] = np.float32(mm)


@njit(cache=True, nogil=True, _nrt=False)
def copy_runs(points: Any, begins: Any, offsets: Any, out: Any) -> None:
    """Copy runs of points: run t begins at ``begins[t]`` and goes to ``offsets[t]``."""
    for t in range(len(begins)):
        for i in range(offsets[t + 1] - offsets[t]):
            for a in range(3):
                out[offsets[t] + i, a] = points[begins[t] + i, a]
