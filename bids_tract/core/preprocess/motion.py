"""Head motion and eddy-current distortion of a diffusion series: estimated, then undone once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.preprocess.batches import Series
from bids_tract.core.preprocess.displacement import framewise_displacement
from bids_tract.core.preprocess.pose import Frame, Pose, make_frame, moved
from bids_tract.core.preprocess.rounds import estimate_poses
from bids_tract.core.types import Bool, Float32, Float64, Gradients

# Fewer planes do not fix a rotation out of their own plane.
_FEWEST_PLANES = 8
# A series in which every volume moves less (root mean square over the head) is left as acquired:
# noise makes 0.2 mm of a still head at 4 mm (b=1000, SNR 20), and interpolation blurs more.
_STILL_VOXELS = 0.1


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
    frame = make_frame(mask, np.asarray(affine, np.float64))
    with ThreadPoolExecutor(n_threads) as pool:
        series = Series(data, frame, pool)
        poses, notes = estimate_poses(series, gradients, eddy)
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


# --- What comes of it --------------------------------------------------------------------------


def _summarise(poses: list[Pose], frame: Frame, notes: list[str]) -> Motion:
    transforms = np.array([pose.matrix(frame.middle) for pose in poses])
    rotations = np.array([pose.rotation for pose in poses])
    angles = Rotation.from_matrix(rotations).as_euler("xyz")
    parameters = np.hstack([[pose.shift for pose in poses], angles])
    displacement = framewise_displacement(parameters)
    farthest = max(
        float(np.sqrt(np.mean(np.sum((moved(matrix, frame.points) - frame.points) ** 2, axis=1))))
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


def _resample(series: Series, transforms: Float64, progress: Callable[[int], None] | None) -> None:
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
