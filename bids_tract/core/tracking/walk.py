"""Tracking: seeds go in by blocks, streamlines come out by blocks."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.tracking import kernels
from bids_tract.core.tracking.field import box_of, make_table
from bids_tract.core.tracking.outcome import Block, Fate
from bids_tract.core.tracking.params import TrackParams
from bids_tract.core.tracking.rng import Stream, bits
from bids_tract.core.tracking.seeds import Seeds
from bids_tract.core.tracking.stopping import StopRule, kernel_rule
from bids_tract.core.types import Float32, Float64, SHField, Streamlines

# Seeds between two writes: their streamlines lie in memory together.
BLOCK = 20_000
# Seeds that a thread takes at a time, and streamlines that it walks in turn.
CHUNK = 500
LANES = 8
_METHODS = {
    "det": kernels.DET, "prob": kernels.PROB, "pft": kernels.PFT, "eudx": kernels.EUDX,
}  # fmt: skip
# A streamline of whole steps is not too short or too long for the last bits of a division.
_SLACK = 1e-3


@dataclass(eq=False)
class _Chunk:
    """What a thread has made of its seeds."""

    points: Float32
    begins: NDArray[np.int64]
    counts: NDArray[np.int64]
    fates: NDArray[np.int8]
    ends: NDArray[np.int8]


class Walker:
    """Tracks blocks of seeds through one field with one stop rule.

    Parameters
    ----------
    field : SHField
        What to follow.
    rule : StopRule
        Where to stop; maps have the image's shape.
    params : TrackParams
        How to go.
    affine : (4, 4) float64 array
        Voxel to RAS+ mm of the image.
    n_threads : int
        Threads; they change nothing in the result.
    peaks : (X, Y, Z, 3 N) float32 array, optional
        The field's peaks, which "eudx" follows.

    Raises
    ------
    DataError
        When the field is not finite, or zero everywhere.

    """

    def __init__(
        self,
        field: SHField,
        rule: StopRule,
        params: TrackParams,
        affine: Float64,
        n_threads: int = 1,
        peaks: Float32 | None = None,
    ) -> None:
        self.params, self.n_threads = params, n_threads
        voxel_sizes = np.linalg.norm(affine[:3, :3], axis=0)
        self.rule, maps = kernel_rule(rule, params.step_mm, voxel_sizes)
        self.box = box_of(field)
        self.table, directions = make_table(
            field, self.box, affine,
            max_angle_deg=params.max_angle_deg, rule_maps=maps, peaks=peaks,
            # A maximum is to be found exactly; a draw does not mind rounding.
            dtype=np.uint8 if params.method in ("prob", "pft") else np.float32,
        )  # fmt: skip
        self.steps = _steps(params, directions, voxel_sizes)

    def walk(self, seeds: Float64, first: int) -> Block:
        """Track one block.

        Parameters
        ----------
        seeds : (N, 3) float64 array
            Voxel coordinates of the image.
        first : int
            Number of the first seed.

        Returns
        -------
        Block
            The fate of each seed, and the streamlines kept.

        """
        # Neighbours after each other: what they read is then still at hand.
        nearest = np.rint(seeds).astype(np.int64)
        order = np.lexsort(nearest.T[::-1])
        inside = seeds[order] - self.box.corner
        numbers = first + order
        starts = range(0, len(seeds), CHUNK)
        with ThreadPoolExecutor(self.n_threads) as pool:
            chunks = list(
                pool.map(
                    lambda s: self._chunk(inside[s : s + CHUNK], numbers[s : s + CHUNK]), starts
                )
            )
        return _block(chunks, order, first)

    def _chunk(self, seeds: Float64, numbers: NDArray[np.int64]) -> _Chunk:
        n = len(seeds)
        chunk = _Chunk(
            np.empty((100 * n + self.steps.max_steps + 2, 3), np.float32),
            np.zeros(n, np.int64), np.zeros(n, np.int64),
            np.zeros(n, np.int8), np.zeros((n, 2), np.int8),
        )  # fmt: skip
        scratch = _scratch(self.steps, self.params.particles, self.table)
        begin, used, done = 0, 0, False
        while True:
            begin, used, done = kernels.track_seeds(
                self.table, self.rule, self.steps, scratch, seeds, numbers, begin,
                chunk.points, used, chunk.begins, chunk.counts, chunk.fates, chunk.ends,
            )  # fmt: skip
            if done:
                chunk.points = chunk.points[:used]
                return chunk
            more = np.empty((2 * len(chunk.points), 3), np.float32)
            more[:used] = chunk.points[:used]
            chunk.points = more


def _block(chunks: list[_Chunk], order: NDArray[np.intp], first: int) -> Block:
    """Put chunks together in the order of the seeds."""
    if not chunks:
        return Block(
            first, np.zeros(0, np.int8), Streamlines.from_list([], np.zeros(0, np.int64)),
            np.zeros((0, 2), np.int8),
        )  # fmt: skip
    back = np.argsort(order, kind="stable")
    counts = np.concatenate([chunk.counts for chunk in chunks])
    points = np.concatenate([chunk.points for chunk in chunks])
    used = np.cumsum([0] + [len(chunk.points) for chunk in chunks])
    begins = np.concatenate(
        [chunk.begins + n for chunk, n in zip(chunks, used[:-1], strict=True)]
    )[back]
    counts = counts[back]
    fates = np.concatenate([chunk.fates for chunk in chunks])[back]
    ends = np.concatenate([chunk.ends for chunk in chunks])[back]
    kept = fates == Fate.KEPT
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts[kept])])
    ordered = np.empty_like(points)
    kernels.copy_runs(points, begins[kept], offsets, ordered)
    numbers = first + np.flatnonzero(kept)
    return Block(first, fates, Streamlines(ordered, offsets, numbers), ends[kept])


def _steps(params: TrackParams, directions: Float64, voxel_sizes: Float64) -> kernels.Steps:
    step = params.step_mm / voxel_sizes
    key = bits(params.random_seed, Stream.TRACKER, np.zeros(1, np.int64), 0)[0]
    return kernels.Steps(
        method=_METHODS[params.method],
        advance=directions * step,
        step=step,
        cos_max=float(np.cos(np.deg2rad(params.max_angle_deg))),
        pmf_threshold=params.pmf_threshold,
        min_steps=int(np.ceil(params.min_length_mm / params.step_mm - _SLACK)),
        max_steps=int(np.floor(params.max_length_mm / params.step_mm + _SLACK)),
        run_key=int(key >> np.uint64(1)),  # numba takes it for a signed number
        back_steps=int(np.ceil(params.pft_back_mm / params.step_mm)),
        front_steps=int(np.ceil(params.pft_front_mm / params.step_mm)),
    )


def _scratch(steps: kernels.Steps, particles: int, table: kernels.Table) -> kernels.Scratch:
    n_directions = len(table.directions) // 3
    far = steps.back_steps + steps.front_steps + 2
    whole = np.zeros((10, LANES), np.int64)
    return kernels.Scratch(
        position=np.zeros((LANES, 3)), going=np.zeros((LANES, 3)),
        corners=np.zeros((LANES, 8), np.int64), highest=np.zeros((LANES, 8), np.float32),
        first=np.zeros((LANES, 8), np.float32), second=np.zeros((LANES, 8), np.float32),
        weights=np.zeros((LANES, 8)),
        course=np.zeros((LANES, 2, steps.max_steps + 3, 3)),
        headings=np.zeros((LANES, 2, steps.max_steps + 3), np.int32),
        seed=whole[0] - 1, key=np.zeros(LANES, np.uint64), draw=whole[1], half=whole[2],
        last=whole[3], forth=whole[4], forth_state=whole[5], back_state=whole[6],
        heading=whole[7], cell=whole[8] - 1, trials=whole[9],
        cone=np.zeros(3, np.float32), weights32=np.zeros(8, np.float32),
        odf=np.zeros(n_directions, np.float32), parts=np.zeros(n_directions, np.float32),
        paths=np.zeros((2, particles, far, 3)), turns=np.zeros((2, particles, far), np.int32),
        lengths=np.zeros((2, particles), np.int64), states=np.zeros((2, particles), np.int64),
        loads=np.zeros((2, particles)),
    )  # fmt: skip


def track(walker: Walker, seeds: Seeds) -> Iterator[Block]:
    """Track all seeds, or until enough streamlines are kept.

    Parameters
    ----------
    walker : Walker
        Knows the field, the stop rule and the parameters.
    seeds : Seeds
        Where to start.

    Yields
    ------
    Block
        In the order of the seeds. With ``params.select`` exactly that many streamlines come in
        all, where the seeds suffice.

    """
    wanted = walker.params.select
    kept = 0
    for start in range(0, seeds.count, BLOCK):
        block = walker.walk(seeds.block(start, start + BLOCK), start)
        if wanted is not None and kept + len(block.streamlines) >= wanted:
            yield block.until(wanted - kept)
            return
        kept += len(block.streamlines)
        yield block
