"""Where the head lies in one volume, fitted to the values that the volume should show.

These are of the volume's own contrast (see `preprocess.likeness`), and like contrasts need no
mutual information: least squares on smoothed images, with derivatives, is exacter and faster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

from bids_tract.core.types import Bool, Float32, Float64

# The head's radius that turns angles into mm (Power 2012, doi:10.1016/j.neuroimage.2011.10.018).
HEAD_RADIUS_MM = 50.0
# Smoothed images hold far less than one number a voxel (3.5 mm: one in 2 mL): so many points see
# it all.
_POINTS = 12_000
# The outline of the head says most about its place: points go this far beyond the mask.
_MARGIN_MM = 7.0

# Stretches and shears: the symmetric 3 x 3 matrices.
STRAINS = np.array([
    (np.outer(a, b) + np.outer(b, a)) / 2
    for i, a in enumerate(np.eye(3)) for b in np.eye(3)[i:]
])  # fmt: skip
NO_STRAINS = np.zeros((0, 3, 3))


@dataclass(frozen=True, eq=False)
class Frame:
    """The grid, the points (P, 3; RAS+ mm) that registrations look at, the middle of the mask."""

    affine: Float64
    inverse: Float64
    spacing: Float64
    shape: tuple[int, ...]
    middle: Float64
    points: Float64

    def smooth(self, volume: Float32, sigma_mm: float) -> Float32:
        """Spline coefficients of a smoothed volume, for `sample`."""
        smoothed = ndimage.gaussian_filter(volume, sigma_mm / self.spacing, mode="nearest")
        coefficients: Float32 = ndimage.spline_filter(smoothed, 3, np.float32, mode="nearest")
        return coefficients

    def to_voxels(self, points: Float64) -> Float64:
        """(3, P) voxel coordinates of (P, 3) points."""
        voxels: Float64 = self.inverse[:3, :3] @ points.T + self.inverse[:3, 3:]
        return voxels


def make_frame(mask: Bool, affine: Float64) -> Frame:
    """Choose the points that registrations look at: those of a mask, and some way around it."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    wide = ndimage.distance_transform_edt(~mask, spacing) <= _MARGIN_MM
    chosen = np.argwhere(wide).astype(np.float64)
    if len(chosen) > _POINTS:
        chosen = np.random.default_rng(0).choice(chosen, _POINTS, replace=False)
    return Frame(
        affine=affine,
        inverse=np.asarray(np.linalg.inv(affine), np.float64),
        spacing=spacing,
        shape=mask.shape,
        middle=moved(affine, np.argwhere(mask).mean(axis=0)),
        points=moved(affine, chosen),
    )


def moved(matrix: Float64, points: Float64) -> Float64:
    """Where a (4, 4) matrix takes points (P, 3), or one (3,)."""
    places: Float64 = points @ matrix[:3, :3].T + matrix[:3, 3]
    return places


@dataclass(frozen=True, eq=False)
class Pose:
    """How a volume lies: ``p -> c + (1 + strain) (rotation (p - c) + shift)``, RAS+ mm."""

    shift: Float64
    rotation: Float64
    strain: Float64

    def matrix(self, centre: Float64) -> Float64:
        """(4, 4): the same, about a centre `c`."""
        stretch = np.eye(3) + self.strain
        matrix = np.eye(4)
        matrix[:3, :3] = stretch @ self.rotation
        matrix[:3, 3] = centre + stretch @ (self.shift - self.rotation @ centre)
        return matrix


STILL = Pose(np.zeros(3), np.eye(3), np.zeros((3, 3)))


def sample(coefficients: Float32, voxels: Float64) -> Float64:
    """Values (P,) of an image at voxel coordinates (3, P), by cubic splines.

    Linear interpolation smooths by how far a point lies from the voxels: on a 4 mm grid it made
    the errors of rotations 1.7 times as large.
    """
    values: Float64 = ndimage.map_coordinates(
        coefficients, voxels, np.float64, 3, mode="nearest", prefilter=False
    )
    return values


def register(
    image: Float32,
    target: Float64,
    weights: Float64,
    start: Pose,
    frame: Frame,
    strains: Float64,
) -> Pose:
    """Fit pose and brightness of an image to the values of a target at the frame's points.

    All parameters but the brightness are in mm, at the head's radius. Points that lie outside
    the image at the start are left out.

    Parameters
    ----------
    image : (X, Y, Z) float32 array
        Spline coefficients, as `Frame.smooth` gives them.
    target, weights : (P,) float64 arrays
        What the image should show at the frame's points, and how much each of them counts.
    start : Pose
        Where the search begins.
    frame : Frame
    strains : (K, 3, 3) float64 array
        The stretches and shears that are searched: `STRAINS` or `NO_STRAINS`.

    """
    where = frame.to_voxels(moved(start.matrix(frame.middle), frame.points))
    inside = np.all((where >= 0) & (np.array(frame.shape) - 1 >= where.T).T, axis=0)
    weights, target = weights[inside], target[inside] / np.std(target)
    image = image / np.float32(np.std(image))
    slopes = [np.gradient(image, axis=axis) for axis in range(3)]
    arms = (frame.points[inside] - frame.middle) @ start.rotation.T

    def pose_of(x: Float64) -> Pose:
        turn = Rotation.from_rotvec(x[4:7] / HEAD_RADIUS_MM).as_matrix()
        strain = np.tensordot(x[7:] / HEAD_RADIUS_MM, strains, 1)
        return Pose(x[1:4], turn @ start.rotation, strain)

    def place(x: Float64) -> tuple[Float64, Float64, Float64, Float64]:
        """Arms after rotation, after the shift, the stretch, and where all that leads."""
        turned = arms @ Rotation.from_rotvec(x[4:7] / HEAD_RADIUS_MM).as_matrix().T
        shifted = turned + x[1:4]
        stretch = np.eye(3) + np.tensordot(x[7:] / HEAD_RADIUS_MM, strains, 1)
        return turned, shifted, stretch, frame.to_voxels(shifted @ stretch.T + frame.middle)

    def residual(x: Float64) -> Float64:
        return np.asarray(weights * (sample(image, place(x)[-1]) - x[0] * target))

    def jacobian(x: Float64) -> Float64:
        turned, shifted, stretch, voxels = place(x)
        slope = np.stack([sample(along, voxels) for along in slopes], axis=1)
        slope = slope @ frame.inverse[:3, :3]
        rigid = slope @ stretch
        columns = [
            -target[:, None],
            rigid,
            np.cross(turned, rigid) / HEAD_RADIUS_MM,
            np.einsum("pi,kij,pj->pk", slope, strains, shifted) / HEAD_RADIUS_MM,
        ]
        return np.asarray(weights[:, None] * np.hstack(columns))

    x0 = np.zeros(7 + len(strains))
    x0[1:4] = start.shift
    if len(strains):
        squares = np.sum(strains**2, axis=(1, 2))
        x0[7:] = HEAD_RADIUS_MM * np.einsum("kij,ij->k", strains, start.strain) / squares
    # The brightness that fits best at the start; its residual there is the weighted image.
    seen, aim = residual(x0), weights * target
    x0[0] = float(seen @ aim / (aim @ aim))
    return pose_of(least_squares(residual, x0, jac=jacobian, xtol=1e-5, max_nfev=25).x)
