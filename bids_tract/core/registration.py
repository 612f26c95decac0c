"""Where the T1-weighted image lies in the frame of the diffusion series: a rigid motion."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from dipy.align.imaffine import MutualInformationMetric
from dipy.align.transforms import RigidTransform3D
from numpy.typing import ArrayLike
from scipy import ndimage
from scipy.optimize import minimize

from bids_tract.core.types import Bool, Float32, Float64
from bids_tract.errors import DataError

# Mutual information in nats, and the pose that has it.
_Scored: TypeAlias = tuple[float, Float64]
_RIGID = RigidTransform3D()

# The least quality of a registration that counts; see `Registration.quality`. Measured, right: a
# human T1w (skull on, 3 T) and either phase encoding 1.92 to 2.35 on five grids, displaced or not;
# 1.95 inverted, 1.80 at an SNR of 3, 1.88 with a mask that is 6 mm too large; simulated heads 3.4
# to 4.4. Wrong: 1.59 mirrored left to right, 1.56 a human T1w on a simulated head, 1.44 a bottle,
# at most 1.35 upside down, turned by 90 degrees, in a false peak, noise smoothed or not, shuffled.
LEAST_QUALITY = 1.65
# Coarse to fine. The last is that of the fixed image, where that is coarser.
_LEVELS_MM = (8.0, 5.0, 2.0)
# How many poses are refined at each level: those with the most information of the level before.
_REFINED = (16, 4, 2)
# Poses that place the brain nearer than this to each other (at its corners) are one and the same:
# the candidates, and what was refined at the level before.
_APART_MM = (15.0, 4.0, 2.0)
_AGREEING_MM = 8.0  # of the coarsest level: one voxel
# The spacing of the poses tried first. The information has many peaks: of a human T1w displaced by
# 15 mm and 10 degrees, steps of 20 degrees and 25 mm missed the right one, and so did a coarsest
# level of 12 mm.
_TURN_DEG = 15.0
_SHIFT_MM = 15.0
# How far copies of the T1w are displaced to see what agreement is worth.
_DISPLACED_MM = 10.0
# DIPY's default. Brightness beyond these percentiles (vessels, fat, spikes) is clipped, so that
# the bins serve the brain.
_BINS = 32
_CLIPPED = (0.5, 99.5)
# A turn by one radian moves what lies at this distance by as much: it makes the optimiser's
# steps in angle and in mm alike. About the radius of a brain.
_RADIUS_MM = 60.0
_UNITS = np.array([1 / _RADIUS_MM] * 3 + [1.0] * 3)
_MOST_EVALUATIONS = 100  # of a refinement; 10 to 60 are usual
_FWHM = 2.355  # in standard deviations
# Share of the brain that the T1w must show; of the few voxels where volumes touch at their corners
# the information can be anything.
_COVERED = 0.5
# Relative: a last step of 0.1 mm changes the information by about ten times as much.
_TOLERANCE = 1e-6
_FLAT = 1e-4  # less contrast than this share of the largest value is rounding, not an image


@dataclass(frozen=True, eq=False)
class Registration:
    """A rigid registration and what speaks for it.

    Attributes
    ----------
    matrix : (4, 4) float64 array
        RAS+ mm of the fixed image (DWI) to RAS+ mm of the moving image (T1w): where to sample the
        T1w for a point of the DWI.
    quality : float
        Mutual information of the two images within the brain mask, over the mean of what it is
        when the T1w is displaced by 10 mm to the left, right, front, back, top and bottom. 1
        where there is nothing to align, 2 in a good registration; at least `LEAST_QUALITY`.
    information : float
        The mutual information itself, in nats.
    starts : int
        How many poses were compared to start from.
    refined : int
        How many of them were refined.
    agreeing : int
        How many of these led, at the coarsest level, to the pose that was refined further and
        chosen in the end.

    """

    matrix: Float64
    quality: float
    information: float
    starts: int
    refined: int
    agreeing: int


def register_rigid(
    fixed: Float32,
    fixed_affine: Float64,
    fixed_mask: Bool,
    moving: Float32,
    moving_affine: Float64,
    *,
    moving_mask: Bool | None = None,
    n_threads: int = 1,
) -> Registration:
    """Find the rigid motion between a diffusion series and a T1-weighted image.

    Mattes' mutual information (DIPY's `MutualInformationMetric`) within the brain mask, from
    coarse to fine. The search begins at the headers' word, with the centres of mass and with the
    centres of the volumes on each other, each turned and shifted about; the best are refined. The
    result is the same for any number of threads.

    The mean diffusion-weighted volume is what to register with: as in a T1w, white matter is
    bright, grey matter less and CSF dark. In a b0 they hardly differ but for CSF, where the
    distortions of the series are large, and the result can be far off.

    Parameters
    ----------
    fixed : (X, Y, Z) float32 array
        The mean of the diffusion-weighted volumes (no b0).
    fixed_affine : (4, 4) float64 array
        Its voxel coordinates to RAS+ mm.
    fixed_mask : (X, Y, Z) bool array
        Brain.
    moving : (X', Y', Z') float32 array
        The T1w, with or without skull, on any grid.
    moving_affine : (4, 4) float64 array
        Its voxel coordinates to RAS+ mm.
    moving_mask : (X', Y', Z') bool array, optional
        What of the T1w counts; the rest is taken as dark.
    n_threads : int
        Poses are refined side by side.

    Raises
    ------
    DataError
        An image or the mask is empty, or the images do not agree: the quality is below
        `LEAST_QUALITY`.

    References
    ----------
    Mattes et al. 2003, IEEE Trans. Med. Imaging 22:120-128, doi:10.1109/TMI.2003.809072.

    """
    image = _fixed_image(fixed, fixed_affine, fixed_mask)
    centre = _shift(image.affine[:3] @ (*ndimage.center_of_mass(image.mask), 1))
    levels = _levels(
        image.seen_from(centre),
        _moving_image(moving, moving_affine, moving_mask).seen_from(centre),
    )
    candidates = _best_first(list(_candidates(levels[0])))
    ends = [candidates]
    with ThreadPoolExecutor(n_threads) as pool:
        for level, apart, most in zip(levels, _APART_MM, _REFINED, strict=True):
            poses = _distinct(level, ends[-1], apart, most)
            ends.append(_best_first(list(pool.map(level.refine, poses))))
    information, pose = ends[-1][0]
    quality = information / levels[-1].displaced(pose) if information > 0 else 0.0
    if not quality >= LEAST_QUALITY:
        raise DataError(
            "the T1w and the diffusion series do not match: where they agree best, their mutual "
            f"information is {quality:.2f} times that of a T1w displaced by {_DISPLACED_MM:g} mm; "
            f"expected at least {LEAST_QUALITY} times. See whether both show the brain of the "
            "same person, in the orientation that their headers say"
        )
    return Registration(
        matrix=centre @ pose @ np.linalg.inv(centre),
        quality=quality,
        information=information,
        starts=len(candidates),
        refined=len(ends[1]),
        agreeing=sum(levels[0].apart(end, pose) <= _AGREEING_MM for _, end in ends[1]),
    )


@dataclass(frozen=True, eq=False)
class _Image:
    """A volume, its mask and where its voxels lie (RAS+ mm)."""

    values: Float32
    mask: Bool
    affine: Float64

    @property
    def sizes(self) -> Float64:
        """(3,) float64 array: the voxel's sizes in mm."""
        sizes: Float64 = np.linalg.norm(self.affine[:3, :3], axis=0)
        return sizes

    def seen_from(self, frame: Float64) -> _Image:
        """The same in another frame, which `frame` takes to the world."""
        return replace(self, affine=np.linalg.inv(frame) @ self.affine)

    def around_mask(self) -> _Image:
        """The part that smoothing within the mask needs."""
        margin = np.ceil(_LEVELS_MM[0] / self.sizes).astype(int)
        places = np.argwhere(self.mask)
        low = np.maximum(places.min(axis=0) - margin, 0)
        high = places.max(axis=0) + margin + 1
        part = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        return _Image(self.values[part], self.mask[part], self.affine @ _shift(low))

    def at(self, mm: float, now_mm: float) -> _Image:
        """The image at a coarser resolution than it has now: smoothed, fewer voxels."""
        sigma = np.sqrt(np.maximum(mm**2 - np.maximum(self.sizes, now_mm) ** 2, 0)) / _FWHM
        values = ndimage.gaussian_filter(self.values, sigma / self.sizes, mode="nearest")
        steps = np.maximum(1, np.round(mm / self.sizes)).astype(int)
        kept = tuple(slice(None, None, step) for step in steps)
        return _Image(values[kept], self.mask[kept], self.affine @ np.diag([*steps, 1.0]))


class _Level:
    """Both images at one resolution, in a frame whose origin is the centre of the brain.

    A pose is a (4, 4) matrix that takes points of the fixed image to points of the moving one.
    """

    def __init__(self, fixed: _Image, moving: _Image) -> None:
        self.fixed, self.moving = fixed, moving
        corners = np.array(list(itertools.product(*((0, n - 1) for n in fixed.mask.shape))))
        brain = np.argwhere(fixed.mask).T
        self._brain = fixed.affine @ np.vstack([brain, np.ones(brain.shape[1])])
        self._corners = np.column_stack([corners, np.ones(len(corners))]) @ fixed.affine.T

    def metric(self, pose: Float64) -> MutualInformationMetric:
        """The negative mutual information of motions that follow `pose`."""
        metric = MutualInformationMetric(nbins=_BINS)
        metric.setup(
            _RIGID,
            self.fixed.values,
            self.moving.values,
            static_grid2world=self.fixed.affine,
            moving_grid2world=self.moving.affine,
            starting_affine=pose,
            static_mask=self.fixed.mask,
        )
        return metric

    def refine(self, pose: Float64) -> _Scored:
        """Climb from a pose to the nearest peak of the information."""
        metric = self.metric(pose)

        def loss(motion: Float64) -> tuple[float, Float64]:
            value, gradient = metric.distance_and_gradient(motion * _UNITS)
            return value, gradient * _UNITS

        found = minimize(
            loss, np.zeros(6), jac=True, method="L-BFGS-B",
            options={"maxfun": _MOST_EVALUATIONS, "ftol": _TOLERANCE},
        )  # fmt: skip
        end = _RIGID.param_to_matrix(found.x * _UNITS) @ pose
        return (-float(found.fun) if self.covers(end) else 0.0), end

    def covers(self, pose: Float64) -> bool:
        """Whether the moving image shows enough of the brain."""
        voxels = np.linalg.inv(self.moving.affine) @ pose @ self._brain
        last = np.reshape(self.moving.values.shape, (3, 1)) - 1
        inside = np.all((voxels[:3] >= 0) & (voxels[:3] <= last), axis=0)
        return bool(np.mean(inside) >= _COVERED)

    def displaced(self, pose: Float64) -> float:
        """The mean information of displaced copies of the moving image."""
        metric = self.metric(pose)
        shifts = _DISPLACED_MM * np.vstack([np.eye(3), -np.eye(3)])
        return -float(np.mean([metric.distance(np.array([0, 0, 0, *s])) for s in shifts]))

    def apart(self, one: Float64, other: Float64) -> float:
        """How far apart two poses place a corner of the brain's box, at most, in mm."""
        return float(np.linalg.norm(self._corners @ (one - other)[:3].T, axis=1).max())


def _candidates(level: _Level) -> Iterator[_Scored]:
    """Poses to start from: turned and shifted about three guesses."""
    moving = level.moving
    centres = (ndimage.center_of_mass(moving.values), (np.array(moving.values.shape) - 1) / 2)
    guesses = [np.zeros(3), *(moving.affine[:3] @ (*centre, 1) for centre in centres)]
    around = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    turns, shifts = np.deg2rad(_TURN_DEG) * around, _SHIFT_MM * around
    metric = level.metric(np.eye(4))
    for guess, turn, shift in itertools.product(guesses, turns, shifts):
        motion = np.concatenate([turn, guess + shift])
        pose = _RIGID.param_to_matrix(motion)
        if level.covers(pose):
            yield -float(metric.distance(motion)), pose


def _best_first(scored: list[_Scored]) -> list[_Scored]:
    return sorted(scored, key=lambda one: -one[0])


def _distinct(level: _Level, scored: list[_Scored], apart_mm: float, most: int) -> list[Float64]:
    """The best poses, without those that are nearly the same as a better one."""
    chosen: list[Float64] = []
    for _, pose in scored:
        if all(level.apart(pose, other) > apart_mm for other in chosen):
            chosen.append(pose)
        if len(chosen) == most:
            break
    return chosen


def _levels(fixed: _Image, moving: _Image) -> list[_Level]:
    """The images at each resolution, coarse first; each made of the next finer one."""
    finest = max(_LEVELS_MM[-1], float(np.prod(fixed.sizes) ** (1 / 3)))
    levels, now_mm = [], 0.0
    for mm in (max(finest, mm) for mm in reversed(_LEVELS_MM)):
        fixed, moving = fixed.at(mm, now_mm), moving.at(mm, now_mm)
        levels.append(_Level(fixed, moving))
        now_mm = mm
    return levels[::-1]


def _fixed_image(values: Float32, affine: Float64, mask: Bool) -> _Image:
    if not np.any(mask):
        raise DataError("the brain mask of the diffusion series is empty; give another mask")
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    bounds = np.percentile(values[mask], _CLIPPED)
    return _Image(
        _scaled(values, bounds, "mean diffusion-weighted volume"), mask, affine
    ).around_mask()


def _moving_image(values: Float32, affine: Float64, mask: Bool | None) -> _Image:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    inside = np.ones(values.shape, bool) if mask is None else mask
    low = np.percentile(values, _CLIPPED[0])
    values = np.where(inside, values, low)
    bright = values[values > low]
    high = np.percentile(bright, _CLIPPED[1]) if len(bright) else low
    return _Image(_scaled(values, (low, high), "T1w"), inside, affine)


def _scaled(values: Float32, bounds: ArrayLike, name: str) -> Float32:
    """Clip to a range and bring it to 0 to 1; 0 is also what lies outside of an image."""
    low, high = np.asarray(bounds, np.float64)
    if not high - low > _FLAT * max(abs(low), abs(high)):
        raise DataError(f"the {name} is {low:g} everywhere; expected a brain: give another image")
    scaled: Float32 = ((np.clip(values, low, high) - low) / (high - low)).astype(np.float32)
    return scaled


def _shift(by: ArrayLike) -> Float64:
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix
