"""Head motion and eddy-current distortion of a diffusion series: estimated, then undone once.

Every volume is registered to an image of its own contrast: a b0 volume to the first of them, a
weighted volume to what the other weighted volumes predict for its direction and weighting
(Andersson & Sotiropoulos 2015, doi:10.1016/j.neuroimage.2015.07.067). What such a group of volumes
has in common is then found by what it predicts of the b0. Like contrasts need no mutual
information: least squares on smoothed images, with derivatives, is exacter and faster.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, groupby

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from bids_tract.core.gradients import direction_cosines, find_shells
from bids_tract.core.types import Bool, Float32, Float64, Gradients

Indices = NDArray[np.intp]

# Fewer planes do not fix a rotation out of their own plane.
_FEWEST_PLANES = 8
# The head's radius that turns angles into mm (Power 2012, doi:10.1016/j.neuroimage.2011.10.018).
_RADIUS_MM = 50.0
# Smoothed images hold far less than one number a voxel (3.5 mm: one in 2 mL): so many points see
# it all.
_POINTS = 12_000
# The outline of the head says most about its place: points go this far beyond the mask.
_MARGIN_MM = 7.0
# How signals resemble each other: not at all beyond this angle (Andersson & Sotiropoulos), and by
# the logarithm of b; what noise and motion add, as a share of the variance over directions; the
# mean signal is as good as unknown.
_REACH_RAD = 1.2
_REACH_LN_B = 0.3
_NOISE = 0.2
_MEAN_VARIANCE = 100.0
# Points that the prediction hits better than this share of the median error count alike.
_WEIGHT_FLOOR = 0.5
# Eddy currents stretch and shear by 1 or 2 %; far more is a fit that failed.
_LARGEST_STRAIN = 0.06
# A series in which every volume moves less (root mean square over the head) is left as acquired:
# noise makes 0.2 mm of a still head at 4 mm (b=1000, SNR 20), and interpolation blurs more.
_STILL_VOXELS = 0.1
# A volume of a series lies scattered over the whole file: so many are read in one walk.
_BATCH = 16
_MOST_SHELLS = 10  # more is a grid of b-values: its volumes are laid onto the b0 as one
_FEWEST_FOR_SLOPES = 10  # volumes, to tell what follows the gradient from what does not
# How a group of volumes is laid onto the b0: smoothing round by round, and of the surroundings.
# 1.5 mm alone is stuck a degree off on the simulated head.
_TIE_SIGMAS_MM = (3.5,) * 4 + (1.5,) * 8
_SURROUNDINGS_MM = 8.0

# Stretches and shears: the symmetric 3 x 3 matrices.
_STRAINS = np.array([
    (np.outer(a, b) + np.outer(b, a)) / 2
    for i, a in enumerate(np.eye(3)) for b in np.eye(3)[i:]
])  # fmt: skip


@dataclass(frozen=True, eq=False)
class Motion:
    """Where the head was in each volume of a series.

    Attributes
    ----------
    transforms : (N, 4, 4) float64 array
        RAS+ mm of the reference (the first b0 volume) to RAS+ mm of each volume as acquired:
        where to sample. With eddy currents' stretches and shears.
    rotations : (N, 3, 3) float64 array
        The rotation of each: that of the rigid part (polar decomposition), which turns the head
        and hence the gradient directions.
    parameters : (N, 6) float64 array
        trans_x, trans_y, trans_z (mm, of the middle of the mask) and rot_x, rot_y, rot_z
        (radians, about the fixed axes of the world in this order) of the rigid part.
    framewise_displacement : (N,) float64 array
        mm, on a sphere of 50 mm (Power 2012); NaN for the first volume.
    applied : bool
        Whether data and directions were corrected; False where nothing moved to speak of.
    notes : tuple of str
        What there is to say, as sentences.

    """

    transforms: Float64
    rotations: Float64
    parameters: Float64
    framewise_displacement: Float64
    applied: bool
    notes: tuple[str, ...]


def can_register(shape: tuple[int, ...]) -> str | None:
    """Tell why volumes of this shape cannot be registered; None where they can."""
    if min(shape[:3]) >= _FEWEST_PLANES:
        return None
    size = " x ".join(str(length) for length in shape[:3])
    return (
        f"A grid of {size} voxels is too thin to find head motion; at least {_FEWEST_PLANES} "
        "planes along every axis are needed."
    )


def correct_motion(
    data: Float32,
    gradients: Gradients,
    mask: Bool,
    affine: Float64,
    *,
    eddy: bool,
    n_threads: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[Gradients, Motion]:
    """Undo head motion, and with `eddy` the distortion by eddy currents, in place.

    Each volume is sampled once, by cubic splines: linear interpolation blurs, and by another
    amount in each volume, which the models would take for diffusion. Overshoot below zero is cut
    off; beyond the field of view stands the nearest value, as zeros would make the models fail.
    With `eddy` the signal is scaled by how much a volume was stretched.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        Finite values; may be a memory map larger than memory. Overwritten.
    gradients : Gradients
        Its N volumes, with at least one b0.
    mask : (X, Y, Z) bool array
        Where the brain is, roughly.
    affine : (4, 4) float64 array
        Voxel indices to RAS+ mm.
    eddy : bool
        Whether weighted volumes may be stretched and sheared.
    n_threads : int
        The result is the same for any number.
    progress : callable, optional
        Called with the number of newly corrected volumes.

    Returns
    -------
    gradients : Gradients
        Directions turned back with the head (Leemans & Jones 2009, doi:10.1002/mrm.21890).
    motion : Motion

    """
    frame = _make_frame(mask, np.asarray(affine, np.float64))
    with ThreadPoolExecutor(n_threads) as pool:
        series = _Series(data, frame, pool)
        poses, notes = _estimate(series, gradients, eddy)
        motion = _summarise(poses, frame, notes)
        if motion.applied:
            _resample(series, motion.transforms, progress)
    if not motion.applied:
        if progress is not None:
            progress(len(gradients))
        return gradients, motion
    return turn_back(gradients, motion.rotations, affine), motion


def turn_back(gradients: Gradients, rotations: Float64, affine: Float64) -> Gradients:
    """Directions as the head in its reference position saw them.

    Parameters
    ----------
    gradients : Gradients
        In image axes, as played out by the scanner.
    rotations : (N, 3, 3) float64 array
        How the head had turned in each volume, in world axes.
    affine : (4, 4) float64 array
        Voxel indices to RAS+ mm.

    """
    axes = direction_cosines(affine)
    world = gradients.bvecs @ axes.T
    back = np.einsum("nji,nj->ni", rotations, world)  # the inverse rotation
    bvecs = np.linalg.solve(axes, back.T).T
    length = np.linalg.norm(bvecs, axis=1, keepdims=True)
    bvecs = np.divide(bvecs, length, out=np.zeros_like(bvecs), where=length > 0)
    return replace(gradients, bvecs=bvecs)


# --- Grid, poses and volumes -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Frame:
    """The grid, the points (P, 3; RAS+ mm) that registrations look at, the middle of the mask."""

    affine: Float64
    inverse: Float64
    spacing: Float64
    shape: tuple[int, ...]
    middle: Float64
    points: Float64

    def smooth(self, volume: Float32, sigma_mm: float) -> Float32:
        """Spline coefficients of a smoothed volume, for `_sample`."""
        smoothed = ndimage.gaussian_filter(volume, sigma_mm / self.spacing, mode="nearest")
        coefficients: Float32 = ndimage.spline_filter(smoothed, 3, np.float32, mode="nearest")
        return coefficients

    def to_voxels(self, points: Float64) -> Float64:
        """(3, P) voxel coordinates of (P, 3) points."""
        voxels: Float64 = self.inverse[:3, :3] @ points.T + self.inverse[:3, 3:]
        return voxels


def _make_frame(mask: Bool, affine: Float64) -> _Frame:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    wide = ndimage.distance_transform_edt(~mask, spacing) <= _MARGIN_MM
    chosen = np.argwhere(wide).astype(np.float64)
    if len(chosen) > _POINTS:
        chosen = np.random.default_rng(0).choice(chosen, _POINTS, replace=False)
    return _Frame(
        affine=affine,
        inverse=np.asarray(np.linalg.inv(affine), np.float64),
        spacing=spacing,
        shape=mask.shape,
        middle=_moved(affine, np.argwhere(mask).mean(axis=0)),
        points=_moved(affine, chosen),
    )


def _moved(matrix: Float64, points: Float64) -> Float64:
    moved: Float64 = points @ matrix[:3, :3].T + matrix[:3, 3]
    return moved


@dataclass(frozen=True, eq=False)
class _Pose:
    """How a volume lies: ``p -> c + (1 + strain) (rotation (p - c) + shift)``, RAS+ mm."""

    shift: Float64
    rotation: Float64
    strain: Float64

    def matrix(self, centre: Float64) -> Float64:
        stretch = np.eye(3) + self.strain
        matrix = np.eye(4)
        matrix[:3, :3] = stretch @ self.rotation
        matrix[:3, 3] = centre + stretch @ (self.shift - self.rotation @ centre)
        return matrix


_STILL = _Pose(np.zeros(3), np.eye(3), np.zeros((3, 3)))


@dataclass(frozen=True, eq=False)
class _Series:
    data: Float32
    frame: _Frame
    pool: ThreadPoolExecutor

    def batches(self, volumes: Indices) -> Iterator[tuple[Indices, list[Float32]]]:
        """Copies of some volumes, a few at a time."""
        for start in range(0, len(volumes), _BATCH):
            numbers = volumes[start : start + _BATCH]
            batch = np.empty((len(numbers), *self.frame.shape), np.float32)
            for x, plane in enumerate(self.data):
                batch[:, x] = np.moveaxis(plane[..., numbers], -1, 0)
            yield numbers, list(batch)

    def sample(self, volumes: Indices, poses: list[_Pose], sigma_mm: float) -> Float64:
        """(M, P): smoothed volumes where they show the frame's points."""

        def one(volume: Float32, pose: _Pose) -> Float64:
            where = _moved(pose.matrix(self.frame.middle), self.frame.points)
            return _sample(self.frame.smooth(volume, sigma_mm), self.frame.to_voxels(where))

        rows: list[Float64] = []
        for numbers, batch in self.batches(volumes):
            rows += self.pool.map(one, batch, [poses[number] for number in numbers])
        return np.array(rows)

    def register(
        self,
        volumes: Indices,
        targets: Float64,
        poses: list[_Pose],
        weights: Float64,
        sigma_mm: float,
        strains: Float64,
    ) -> None:
        """Replace the poses of some volumes by those that fit their targets best."""

        def one(volume: Float32, target: Float64, pose: _Pose) -> _Pose:
            smoothed = self.frame.smooth(volume, sigma_mm)
            return _register(smoothed, target, weights, pose, self.frame, strains)

        done = 0
        for numbers, batch in self.batches(volumes):
            aims = targets[done : done + len(numbers)]
            done += len(numbers)
            found = self.pool.map(one, batch, aims, [poses[number] for number in numbers])
            for number, pose in zip(numbers, found, strict=True):
                poses[number] = pose


def _sample(coefficients: Float32, voxels: Float64) -> Float64:
    """Cubic splines: linear interpolation smooths by how far a point lies from the voxels.

    On a 4 mm grid it made the errors of rotations 1.7 times as large.
    """
    values: Float64 = ndimage.map_coordinates(
        coefficients, voxels, np.float64, 3, mode="nearest", prefilter=False
    )
    return values


# --- One volume to its target ------------------------------------------------------------------


def _register(
    image: Float32,
    target: Float64,
    weights: Float64,
    start: _Pose,
    frame: _Frame,
    strains: Float64,
) -> _Pose:
    """Fit pose and brightness of an image to the values of a target at the frame's points.

    All parameters but the brightness are in mm, at the head's radius. Points that lie outside
    the image at the start are left out.
    """
    where = frame.to_voxels(_moved(start.matrix(frame.middle), frame.points))
    inside = np.all((where >= 0) & (np.array(frame.shape) - 1 >= where.T).T, axis=0)
    weights, target = weights[inside], target[inside] / np.std(target)
    image = image / np.float32(np.std(image))
    slopes = [np.gradient(image, axis=axis) for axis in range(3)]
    arms = (frame.points[inside] - frame.middle) @ start.rotation.T

    def pose_of(x: Float64) -> _Pose:
        turn = Rotation.from_rotvec(x[4:7] / _RADIUS_MM).as_matrix()
        strain = np.tensordot(x[7:] / _RADIUS_MM, strains, 1)
        return _Pose(x[1:4], turn @ start.rotation, strain)

    def place(x: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Arms after rotation, after the shift, the stretch, and where all that leads."""
        turned = arms @ Rotation.from_rotvec(x[4:7] / _RADIUS_MM).as_matrix().T
        shifted = turned + x[1:4]
        stretch = np.eye(3) + np.tensordot(x[7:] / _RADIUS_MM, strains, 1)
        return turned, shifted, stretch, frame.to_voxels(shifted @ stretch.T + frame.middle)

    def residual(x: Float64) -> Float64:
        return np.asarray(weights * (_sample(image, place(x)[-1]) - x[0] * target))

    def jacobian(x: Float64) -> Float64:
        turned, shifted, stretch, voxels = place(x)
        slope = np.stack([_sample(along, voxels) for along in slopes], axis=1)
        slope = slope @ frame.inverse[:3, :3]
        rigid = slope @ stretch
        columns = [
            -target[:, None],
            rigid,
            np.cross(turned, rigid) / _RADIUS_MM,
            np.einsum("pi,kij,pj->pk", slope, strains, shifted) / _RADIUS_MM,
        ]
        return np.asarray(weights[:, None] * np.hstack(columns))

    x0 = np.zeros(7 + len(strains))
    x0[1:4] = start.shift
    if len(strains):
        squares = np.sum(strains**2, axis=(1, 2))
        x0[7:] = _RADIUS_MM * np.einsum("kij,ij->k", strains, start.strain) / squares
    # The brightness that fits best at the start; its residual there is the weighted image.
    seen, aim = residual(x0), weights * target
    x0[0] = float(seen @ aim / (aim @ aim))
    return pose_of(least_squares(residual, x0, jac=jacobian, xtol=1e-5, max_nfev=25).x)


# --- All volumes -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Round:
    """One pass over the weighted volumes: how smooth, and to what.

    The mean of similar b is a poor likeness of each, but draws all to one place in a single pass;
    the prediction is a good likeness, but lags where neighbours moved together.
    """

    sigma_mm: float
    predict: bool
    eddy: bool


_ROUNDS = (
    _Round(8.0, predict=False, eddy=False),
    _Round(5.0, predict=False, eddy=False),
    _Round(5.0, predict=True, eddy=False),
    _Round(3.5, predict=True, eddy=True),
    _Round(3.5, predict=True, eddy=True),
    _Round(3.5, predict=True, eddy=True),
)
_B0_SIGMAS_MM = (8.0, 3.5)
_NO_STRAINS = np.zeros((0, 3, 3))


def _estimate(series: _Series, gradients: Gradients, eddy: bool) -> tuple[list[_Pose], list[str]]:
    poses = [_STILL] * len(gradients)
    b0s, weighted = np.flatnonzero(gradients.is_b0), np.flatnonzero(~gradients.is_b0)
    alike = np.ones(len(series.frame.points))
    for sigma in _B0_SIGMAS_MM:
        first = series.sample(b0s[:1], poses, sigma)
        targets = np.repeat(first, len(b0s) - 1, axis=0)
        series.register(b0s[1:], targets, poses, alike, sigma, _NO_STRAINS)
    if len(weighted) < 2:
        return poses, ["One weighted volume alone has nothing to be registered to."]
    table = gradients.select(weighted)
    predict, mean = _prediction(table), _mean_of_others(table)
    for step in _ROUNDS:
        samples = series.sample(weighted, poses, step.sigma_mm)
        targets = (predict if step.predict else mean) @ samples
        strains = _STRAINS if eddy and step.eddy else _NO_STRAINS
        weights = _weights(samples, targets)
        series.register(weighted, targets, poses, weights, step.sigma_mm, strains)
    failed = np.array([v for v in weighted if np.abs(poses[v].strain).max() > _LARGEST_STRAIN])
    notes = []
    if len(failed):
        for volume in failed:
            poses[volume] = replace(poses[volume], strain=_STILL.strain)
        rows = np.searchsorted(weighted, failed)
        series.register(failed, targets[rows], poses, weights, step.sigma_mm, _NO_STRAINS)
        notes.append(
            f"In {len(failed)} volumes no credible distortion by eddy currents was found: they "
            "were corrected for head motion only."
        )
    shells = find_shells(gradients)
    groups = [np.array(shell.volumes) for shell in shells]
    for group in groups if len(groups) <= _MOST_SHELLS else [weighted]:
        if eddy:
            _centre_strains(
                poses, group, gradients.bvecs @ direction_cosines(series.frame.affine).T
            )
        _lay_on_b0(series, poses, group, b0s)
    return poses, notes


def _likeness_in_b(table: Gradients) -> Float64:
    log_b = np.log(table.bvals)
    return np.asarray(np.exp(-0.5 * np.square((log_b[:, None] - log_b) / _REACH_LN_B)))


def _mean_of_others(table: Gradients) -> Float64:
    """(N, N): row i weighs the other volumes by how near their b is; each sums to 1."""
    near = _likeness_in_b(table)
    np.fill_diagonal(near, 0.0)
    near += 1e-12 * (1 - np.eye(len(near)))  # a b-value far from all others
    return np.asarray(near / near.sum(axis=1, keepdims=True))


def _prediction(table: Gradients) -> Float64:
    """(N, N): row i predicts volume i from the others, as a Gaussian process does."""
    cosine = np.abs(np.clip(table.bvecs @ table.bvecs.T, -1, 1))
    angle = np.minimum(np.arccos(cosine) / _REACH_RAD, 1.0)
    spherical = 1 - 1.5 * angle + 0.5 * angle**3
    covariance = (_MEAN_VARIANCE + spherical) * _likeness_in_b(table)
    inverse = np.linalg.inv(covariance + _NOISE * np.eye(len(table)))
    return np.asarray(np.eye(len(table)) - inverse / np.diag(inverse)[:, None])


def _weights(samples: Float64, targets: Float64) -> Float64:
    """Count points by how well they are predicted: those in fibres hardly are, outlines are."""
    error = np.sqrt(np.mean(np.square(samples - targets), axis=0))
    weights = 1 / np.hypot(error, _WEIGHT_FLOOR * np.median(error))
    return _unit_mean(weights)


def _unit_mean(weights: Float64) -> Float64:
    return np.asarray(weights / np.sqrt(np.mean(np.square(weights))))


def _centre_strains(poses: list[_Pose], group: Indices, world: Float64) -> None:
    """Take out the strain that volumes share, which registering them to each other leaves open.

    Eddy currents reverse with the gradient: what does not is not theirs.
    """
    strains = np.array([poses[volume].strain for volume in group])
    columns = [np.ones((len(group), 1))]
    if len(group) >= _FEWEST_FOR_SLOPES:
        columns.append(world[group])
    fit = np.linalg.lstsq(np.hstack(columns), strains.reshape(len(group), 9), rcond=None)[0]
    for volume in group:
        poses[volume] = replace(poses[volume], strain=poses[volume].strain - fit[0].reshape(3, 3))


def _lay_on_b0(series: _Series, poses: list[_Pose], group: Indices, b0s: Indices) -> None:
    """Move the volumes of a group together, so that the b0 fits what they predict of it.

    The b0's signal is fitted as a cubic polynomial of the mean signal of the group, of its
    standard deviation over directions and of the mean of the surroundings; the b0 is registered
    to that, and both are repeated. Ill-predicted points (CSF, which the group does not see)
    count less. On a human scan the shift found is that of DIPY's mutual information to 0.3 mm.
    """
    frame = series.frame
    wide = series.sample(group, poses, _SURROUNDINGS_MM).mean(axis=0)
    (_, (volume,)) = next(series.batches(b0s[:1]))
    pose, weights = _STILL, np.ones(len(wide))
    for sigma, rounds in groupby(_TIE_SIGMAS_MM):
        design = _b0_terms(series.sample(group, poses, sigma), wide)
        b0 = frame.smooth(volume, sigma)
        for _ in rounds:
            where = _moved(pose.matrix(frame.middle), frame.points)
            seen = _sample(b0, frame.to_voxels(where))
            fit = np.linalg.lstsq(weights[:, None] * design, weights * seen, rcond=None)[0]
            error = np.abs(seen - design @ fit)
            weights = _unit_mean(1 / np.hypot(error, np.median(error)))
            pose = _register(b0, design @ fit, weights, pose, frame, _NO_STRAINS)
    back = pose.rotation.T  # the b0 is the reference: it is the group that moves
    for number in group:
        old = poses[number]
        shift = old.shift - old.rotation @ back @ pose.shift
        poses[number] = replace(old, shift=shift, rotation=old.rotation @ back)


def _b0_terms(fine: Float64, wide: Float64) -> Float64:
    """(P, K): the terms of a cubic polynomial of mean, standard deviation and surroundings."""
    traits = [trait / trait.std() for trait in (fine.mean(axis=0), fine.std(axis=0), wide)]
    terms = [np.ones_like(wide)]
    for degree in (1, 2, 3):
        terms += [np.prod(c, axis=0) for c in combinations_with_replacement(traits, degree)]
    return np.stack(terms, axis=1)


# --- What comes of it --------------------------------------------------------------------------


def _summarise(poses: list[_Pose], frame: _Frame, notes: list[str]) -> Motion:
    transforms = np.array([pose.matrix(frame.middle) for pose in poses])
    rotations = np.array([pose.rotation for pose in poses])
    angles = Rotation.from_matrix(rotations).as_euler("xyz")
    parameters = np.hstack([[pose.shift for pose in poses], angles])
    steps = np.abs(np.diff(parameters, axis=0))
    displacement = np.full(len(poses), np.nan)
    displacement[1:] = steps[:, :3].sum(axis=1) + _RADIUS_MM * steps[:, 3:].sum(axis=1)
    farthest = max(
        float(np.sqrt(np.mean(np.sum((_moved(matrix, frame.points) - frame.points) ** 2, axis=1))))
        for matrix in transforms
    )
    applied = farthest > _STILL_VOXELS * float(frame.spacing.min())
    if not applied:
        notes = [
            *notes,
            f"No volume moved by more than {farthest:.2f} mm (root mean square over the head), "
            "less than a tenth of a voxel: the series was left as acquired.",
        ]
    return Motion(transforms, rotations, parameters, displacement, applied, tuple(notes))


def _resample(
    series: _Series, transforms: Float64, progress: Callable[[int], None] | None
) -> None:
    frame = series.frame

    def one(volume: Float32, transform: Float64) -> Float32:
        if np.array_equal(transform, np.eye(4)):  # the reference
            return volume
        matrix = frame.inverse @ transform @ frame.affine
        moved = ndimage.affine_transform(volume, matrix, order=3, mode="nearest")
        return np.asarray(np.maximum(moved, 0) * np.float32(np.linalg.det(transform[:3, :3])))

    for numbers, batch in series.batches(np.arange(len(transforms))):
        done = np.array(list(series.pool.map(one, batch, transforms[numbers])))
        for x, plane in enumerate(series.data):
            plane[..., numbers] = np.moveaxis(done[:, x], 0, -1)
        if progress is not None:
            progress(len(numbers))
