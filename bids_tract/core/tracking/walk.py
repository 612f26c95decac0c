"""Tracking: seeds go in by blocks, streamlines come out by blocks. DIPY takes the steps.

What DIPY 1.12 would do otherwise, and what is done about it here:

- Its generators start from a sum of the seed's coordinates, so that seeds on a grid share a few
  dozen random streams: seeds are moved by up to a hundredth of a voxel, so that the sums differ.
- Too long streamlines vanish without a trace: they are counted as rejected.
- `pft_tracking` accepts peaks and then fails: it is given the ODF.
- Positions come back in float64: they are stored in float32.
- A NaN in the ODF ends the whole process: the field is checked first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from dipy.core.sphere import HemiSphere
from dipy.reconst.shm import sh_to_sf_matrix
from dipy.tracking.tracker import deterministic_tracking, pft_tracking, probabilistic_tracking
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.sphere import storage_sphere
from bids_tract.core.tracking.outcome import Block, EndReason, Fate
from bids_tract.core.tracking.params import TrackParams
from bids_tract.core.tracking.rng import Stream, bits, uniform
from bids_tract.core.tracking.seeds import Seeds
from bids_tract.core.tracking.stopping import (
    MapStop,
    MaskStop,
    StopRule,
    TissueStop,
    continues,
    criterion,
    inside,
    interpolate,
)
from bids_tract.core.types import Bool, Float64, SHField, Streamlines, Tissue
from bids_tract.errors import DataError

BLOCK = 5000
# Farther than one voxel from any voxel with a non-zero ODF there is no direction to follow.
MARGIN = 2


@dataclass(frozen=True, eq=False)
class OdfField:
    """ODF amplitudes on a sphere, in a box that holds all non-zero voxels.

    Attributes
    ----------
    amplitudes : (X, Y, Z, V) float64 array
        Never negative.
    sphere : HemiSphere
        The V directions, in image axes.
    corner : (3,) int array
        The box's first voxel in the image.
    shape : tuple of int
        Shape of the whole image.

    """

    amplitudes: Float64
    sphere: HemiSphere
    corner: NDArray[np.intp]
    shape: tuple[int, ...]

    def crop(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """The part of an image map that lies in the box."""
        box = tuple(
            slice(c, c + n) for c, n in zip(self.corner, self.amplitudes.shape, strict=False)
        )
        return np.ascontiguousarray(values[box])


def odf_field(field: SHField, affine: Float64) -> OdfField:
    """Amplitudes of an SH field on the tracking sphere.

    Parameters
    ----------
    field : SHField
    affine : (4, 4) float64 array
        Voxel to RAS+ mm.

    Raises
    ------
    DataError
        When the field is empty or not finite (DIPY's tracker would end the process).

    """
    if not np.isfinite(field.coeffs).all():
        raise DataError("the orientation field holds NaN or infinity; fit the model again")
    filled = np.argwhere(np.any(field.coeffs, axis=-1))
    if len(filled) == 0:
        raise DataError("the orientation field is zero everywhere: there is nothing to follow")
    shape = field.coeffs.shape[:3]
    corner = np.maximum(filled.min(axis=0) - MARGIN, 0)
    end = np.minimum(filled.max(axis=0) + MARGIN + 1, shape)
    box = field.coeffs[tuple(slice(a, b) for a, b in zip(corner, end, strict=True))]
    sphere = storage_sphere(direction_cosines(affine))
    basis = sh_to_sf_matrix(
        sphere, sh_order_max=field.lmax, basis_type="descoteaux07", legacy=True,
        return_inv=False,
    )  # fmt: skip
    amplitudes = np.empty((*box.shape[:3], basis.shape[1]))
    for i in range(len(box)):  # plane by plane: no second copy of the whole field
        np.maximum(box[i] @ basis, 0.0, out=amplitudes[i])
    return OdfField(amplitudes, sphere, corner, shape)


def first_directions(field: OdfField, points: Float64) -> tuple[Float64, Bool]:
    """The ODF's maximum at points (N, 3), given in voxel coordinates of the box.

    Returns
    -------
    directions : (N, 3) float64 array
        Unit vectors.
    found : (N,) bool array
        False where the interpolated ODF is zero.

    """
    amplitudes = field.amplitudes
    low = np.floor(points).astype(np.intp)
    weight_high = points - low
    odf = np.zeros((len(points), amplitudes.shape[-1]))
    top = np.array(amplitudes.shape[:3]) - 1
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod(np.where(corner, weight_high, 1 - weight_high), axis=1)
        i, j, k = np.clip(low + corner, 0, top).T
        odf += weight[:, None] * amplitudes[i, j, k]
    best = np.argmax(odf, axis=1)
    return field.sphere.vertices[best], odf[np.arange(len(odf)), best] > 0


def _jitter(seeds: Float64, first: int, run_seed: int) -> Float64:
    """Move seeds by up to 0.01 voxel, so that DIPY gives each its own random numbers."""
    number = np.arange(first, first + len(seeds), dtype=np.int64)
    draws = [uniform(run_seed, Stream.SEED_JITTER, number, d) for d in range(3)]
    return seeds + 0.02 * (np.stack(draws, axis=1) - 0.5)


def _dipy_seed(run_seed: int) -> int:
    """A multiplier for DIPY's sum of coordinates: large, yet far from the end of its integers."""
    return 500_000 + int(bits(run_seed, Stream.TRACKER, np.zeros(1, np.int64), 0)[0] % 500_000)


class Walker:
    """Tracks blocks of seeds through one field with one stop rule.

    Parameters
    ----------
    field : OdfField
        What to follow.
    rule : StopRule
        Where to stop; maps have the image's shape.
    params : TrackParams
        How to go.
    affine : (4, 4) float64 array
        Voxel to RAS+ mm of the image.
    n_threads : int
        Threads for deterministic and probabilistic tracking.

    """

    def __init__(
        self,
        field: OdfField,
        rule: StopRule,
        params: TrackParams,
        affine: Float64,
        n_threads: int,
    ) -> None:
        self.field, self.params, self.n_threads = field, params, n_threads
        self.affine = affine.astype(np.float64).copy()
        self.affine[:3, 3] += affine[:3, :3] @ field.corner
        self.voxel_sizes = np.linalg.norm(affine[:3, :3], axis=0)
        self.rule = _crop_rule(rule, field)
        self.criterion = criterion(self.rule, params.step_mm, self.voxel_sizes)

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
        if self.params.method != "det":
            seeds = _jitter(seeds, first, self.params.random_seed)
        points = seeds - self.field.corner
        fates = np.full(len(seeds), Fate.KEPT, dtype=np.int8)
        if not isinstance(self.rule, TissueStop):
            going = continues(self.rule, points) & inside(points, self._box())
            fates[~going] = Fate.SEED_STOPPED
        directions, found = first_directions(self.field, points)
        fates[(fates == Fate.KEPT) & ~found] = Fate.SEED_NO_DIRECTION
        lines = self._track(points, directions, np.flatnonzero(fates == Fate.KEPT), fates)
        kept = {n: line for n, line in lines.items() if fates[n] == Fate.KEPT}
        ends = self._end_reasons(list(kept.values()))
        if isinstance(self.rule, TissueStop):
            valid = ~np.any(ends == EndReason.NO_DIRECTION, axis=1)
            fates[np.fromiter(kept, np.intp, len(kept))[~valid]] = Fate.INVALID_END
            kept = {n: line for n, line in kept.items() if fates[n] == Fate.KEPT}
            ends = ends[valid]
        world = [
            (line @ self.affine[:3, :3].T + self.affine[:3, 3]).astype(np.float32)
            for line in kept.values()
        ]
        number = first + np.fromiter(kept, np.int64, len(kept))
        return Block(first, fates, Streamlines.from_list(world, number), ends)

    def _box(self) -> tuple[int, ...]:
        return self.field.amplitudes.shape[:3]

    def _track(
        self,
        points: Float64,
        directions: Float64,
        chosen: NDArray[np.intp],
        fates: NDArray[np.int8],
    ) -> dict[int, Float64]:
        """Streamlines of the chosen seeds in voxel coordinates of the box, by seed.

        Writes the fate of the seeds whose streamline is missing, too short or too long.
        """
        lines: dict[int, Float64] = {}
        for n, line in self._dipy(points[chosen], directions[chosen]):
            line = line[inside(line, self._box())]  # DIPY may keep the point that left the image
            steps = np.linalg.norm(np.diff(line, axis=0) * self.voxel_sizes, axis=1)
            # A streamline of whole steps is not shorter for the last bits of their sum.
            length, slack = float(steps.sum()), 1e-3 * self.params.step_mm
            if len(line) < 2 or length < self.params.min_length_mm - slack:
                fates[chosen[n]] = Fate.TOO_SHORT
            elif length > self.params.max_length_mm + slack:
                fates[chosen[n]] = Fate.TOO_LONG
            lines[int(chosen[n])] = line
        missing = np.setdiff1d(chosen, np.fromiter(lines, np.intp, len(lines)))
        # With tissue maps DIPY drops what has no valid end; otherwise only what is too long.
        tissue = isinstance(self.rule, TissueStop)
        fates[missing] = Fate.INVALID_END if tissue else Fate.TOO_LONG
        return dict(sorted(lines.items()))

    def _dipy(self, points: Float64, directions: Float64) -> Iterator[tuple[int, Float64]]:
        """Number of the seed and streamline, in voxel coordinates of the box."""
        if len(points) == 0:
            return
        world = points @ self.affine[:3, :3].T + self.affine[:3, 3]
        params = self.params
        common = {
            # Twice the largest length: what is too long is to be seen and counted.
            "sf": self.field.amplitudes, "sphere": self.field.sphere, "min_len": 0,
            "max_len": 2 * params.max_length_mm + 4 * params.step_mm,
            "step_size": params.step_mm, "max_angle": params.max_angle_deg,
            "pmf_threshold": params.pmf_threshold,
            "return_all": not isinstance(self.rule, TissueStop),
            "random_seed": _dipy_seed(params.random_seed), "save_seeds": True,
        }  # fmt: skip
        if params.method == "pft":
            found = pft_tracking(
                world, self.criterion, self.affine, seed_directions=directions[:, None, :],
                max_cross=1, pft_back_tracking_dist=params.pft_back_mm,
                pft_front_tracking_dist=params.pft_front_mm, particle_count=params.particles,
                **common,
            )  # fmt: skip
        else:
            tracker = deterministic_tracking if params.method == "det" else probabilistic_tracking
            found = tracker(
                world, self.criterion, self.affine, seed_directions=directions,
                nbr_threads=self.n_threads, **common,
            )  # fmt: skip
        nearest = cKDTree(world)
        inverse = np.linalg.inv(self.affine)
        for line, seed in found:
            # The seed has been to voxel space and back: its last bits may differ.
            _, n = nearest.query(seed)
            yield int(n), np.asarray(line) @ inverse[:3, :3].T + inverse[:3, 3]

    def _end_reasons(self, lines: list[Float64]) -> NDArray[np.int8]:
        """Why each end is where it is, judged by one more step straight on: (T, 2) int8."""
        tips = np.array([line[[0, -1]] for line in lines]).reshape(-1, 3)
        beyond = 2 * tips - np.array([line[[1, -2]] for line in lines]).reshape(-1, 3)
        reasons = np.full(len(tips), EndReason.NO_DIRECTION, dtype=np.int8)
        if isinstance(self.rule, TissueStop):
            reasons[interpolate(self.rule.tissue.gm, tips) > 0] = EndReason.GREY_MATTER
        else:
            reasons[~continues(self.rule, beyond)] = EndReason.LEFT_MASK
        reasons[~inside(beyond + self.field.corner, self.field.shape)] = EndReason.LEFT_IMAGE
        return reasons.reshape(-1, 2)


def _crop_rule(rule: StopRule, field: OdfField) -> StopRule:
    if isinstance(rule, MapStop):
        return MapStop(field.crop(rule.values), rule.threshold)  # type: ignore[arg-type]
    if isinstance(rule, MaskStop):
        return MaskStop(field.crop(rule.mask))  # type: ignore[arg-type]
    maps = (field.crop(m) for m in (rule.tissue.wm, rule.tissue.gm, rule.tissue.csf))
    return TissueStop(Tissue(*maps), rule.rule)  # type: ignore[arg-type]


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
