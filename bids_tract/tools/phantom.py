"""Simulated heads: bundles of known course, and the images that a scanner would make of them.

A phantom is described in millimetres (RAS+) and in nothing else: gradient directions are given in
world axes, so that any grid, flipped, rotated or anisotropic, is a picture of the same object.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import IntEnum
from functools import cached_property
from typing import TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_matrix
from scipy.spatial import cKDTree

from bids_tract.core.types import Float32, Float64, Tissue

Shape: TypeAlias = tuple[int, int, int]
Indices: TypeAlias = NDArray[np.intp]


class Truth(TypedDict):
    """The ends of bundles: the number of each by name, and the names that belong together."""

    labels: dict[str, int]
    valid_pairs: list[list[str]]


class Matter(IntEnum):
    """What is at a point."""

    AIR = 0
    CSF = 1
    GM = 2
    WM = 3


# At 3 T: along and across a fibre (mm²/s); white matter between the bundles has no direction.
FIBRE_DIFFUSIVITY = (1.7e-3, 0.3e-3)
DIFFUSIVITY = {Matter.CSF: 3e-3, Matter.GM: 0.8e-3, Matter.WM: 0.8e-3}
# Brightness without diffusion weighting and in a T1-weighted picture; white matter is 1.
BRIGHTNESS_B0 = {Matter.CSF: 2.2, Matter.GM: 1.25, Matter.WM: 1.0}
BRIGHTNESS_T1W = {Matter.CSF: 0.25, Matter.GM: 0.65, Matter.WM: 1.0}
# Far below every voxel and radius: the nearest sample of a line gives distance and tangent.
LINE_SPACING_MM = 0.05


@dataclass(frozen=True, eq=False)
class Bundle:
    """A tube of fibres with round ends.

    Attributes
    ----------
    name : str
        What it is called; its ends are ``<name>_start`` and ``<name>_end``.
    control : (K, 3) float64 array
        At least two points (mm) that the centre line, a cubic spline, passes through.
    radius_mm : float
        How far the fibres reach from the centre line.

    """

    name: str
    control: Float64
    radius_mm: float

    @property
    def ends(self) -> tuple[str, str]:
        """The names of both ends."""
        return f"{self.name}_start", f"{self.name}_end"

    @cached_property
    def _spline(self) -> CubicSpline:
        chords = np.linalg.norm(np.diff(self.control, axis=0), axis=1)
        return CubicSpline(np.concatenate([[0.0], np.cumsum(chords)]), self.control)

    @cached_property
    def _sites(self) -> Float64:
        """Where the spline is sampled, about `LINE_SPACING_MM` apart."""
        length = self._spline.x[-1]
        return np.linspace(0.0, length, int(np.ceil(length / LINE_SPACING_MM)) + 1)

    @cached_property
    def line(self) -> Float64:
        """(M, 3) float64 array: the centre line, finely sampled, mm."""
        line: Float64 = self._spline(self._sites)
        return line

    @cached_property
    def tangents(self) -> Float64:
        """(M, 3) float64 array: unit tangents at the points of `line`."""
        slope: Float64 = self._spline(self._sites, 1)
        tangents: Float64 = slope / np.linalg.norm(slope, axis=1, keepdims=True)
        return tangents

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.line)

    def nearest(self, points: Float64, within_mm: float) -> tuple[Indices, Indices]:
        """Which points lie near the centre line, and where along it.

        Parameters
        ----------
        points : (P, 3) float64 array
            Points in the frame of the bundle, mm.
        within_mm : float
            How near.

        Returns
        -------
        which : (Q,) int array
            The points whose distance is at most `within_mm`.
        site : (Q,) int array
            For each the nearest point of `line`.

        """
        low, high = self.line.min(0) - within_mm, self.line.max(0) + within_mm
        candidates = np.flatnonzero(np.all((points >= low) & (points <= high), axis=1))
        distance, site = self._tree.query(points[candidates], distance_upper_bound=within_mm)
        near = np.isfinite(distance)
        return candidates[near], site[near]


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid along the axes: centre and half axes in mm."""

    centre: tuple[float, float, float]
    half_axes: tuple[float, float, float]

    def depth(self, points: Float64) -> Float64:
        """Distance (mm) of (P, 3) points below the surface, negative outside; to first order."""
        squared = np.square(points - np.asarray(self.centre))
        scaled = np.sqrt(squared @ np.power(self.half_axes, -2.0))
        gradient = np.sqrt(squared @ np.power(self.half_axes, -4.0))
        at_centre = gradient == 0
        depth = scaled * (1 - scaled) / np.where(at_centre, 1, gradient)
        return np.where(at_centre, min(self.half_axes), depth)


@dataclass(frozen=True)
class Fissure:
    """The gap between the hemispheres: the slab ``|x| <= half_width_mm`` above ``floor_mm``."""

    half_width_mm: float
    floor_mm: float

    def distance(self, points: Float64) -> Float64:
        """Distance (mm) of (P, 3) points from the gap, negative inside."""
        aside = np.abs(points[:, 0]) - self.half_width_mm
        below = self.floor_mm - points[:, 2]
        return np.hypot(np.maximum(aside, 0), np.maximum(below, 0)) + np.minimum(
            np.maximum(aside, below), 0
        )


@dataclass(frozen=True, eq=False)
class Phantom:
    """Bundles in a head, or in white matter without end where there is no `brain`.

    Attributes
    ----------
    bundles : tuple of Bundle
        Where several overlap they share the volume equally. In a head they should run on into
        the cortex, which cuts them off.
    brain : Ellipsoid or None
        The outer surface of the cortex.
    ventricles : tuple of Ellipsoid
        CSF inside the brain.
    fissure : Fissure or None
        The gap between the hemispheres, lined with cortex.
    cortex_mm, rim_mm : float
        Thickness of the cortex, and of the CSF around the brain.
    pose : (4, 4) float64 array
        Rigid transform from the frame of all the above to world mm: how the head lies.

    """

    bundles: tuple[Bundle, ...]
    brain: Ellipsoid | None = None
    ventricles: tuple[Ellipsoid, ...] = ()
    fissure: Fissure | None = None
    cortex_mm: float = 5.0
    rim_mm: float = 4.0
    pose: Float64 = field(default_factory=lambda: np.eye(4))

    def moved(self, transform: Float64) -> Phantom:
        """Return the same object after a (4, 4) rigid motion in world mm."""
        return replace(self, pose=transform @ self.pose)

    def to_object(self, points: Float64) -> Float64:
        """World points (P, 3) in the frame of the bundles, mm."""
        return (points - self.pose[:3, 3]) @ self.pose[:3, :3]

    def matter(self, points: Float64) -> NDArray[np.int8]:
        """Tell what is at (P, 3) points of the frame of the bundles, as `Matter`."""
        found = np.full(len(points), Matter.WM, np.int8)
        if self.brain is None:
            return found
        to_surface = self.brain.depth(points)
        depth = to_surface
        if self.fissure is not None:
            depth = np.minimum(depth, self.fissure.distance(points))
        found[depth < self.cortex_mm] = Matter.GM
        found[depth < 0] = Matter.CSF
        for ventricle in self.ventricles:
            found[ventricle.depth(points) > 0] = Matter.CSF
        found[to_surface < -self.rim_mm] = Matter.AIR
        return found


# --- The objects -------------------------------------------------------------------------------


def arc(
    centre: ArrayLike,
    radius_mm: float,
    first_axis: ArrayLike,
    second_axis: ArrayLike,
    start_deg: float,
    stop_deg: float,
) -> Float64:
    """Control points along a circle: a spline through them is within 1e-4 mm of it.

    Parameters
    ----------
    centre : (3,) array
        mm.
    radius_mm : float
        Radius of the circle.
    first_axis, second_axis : (3,) arrays
        Orthogonal unit vectors: angle 0 lies along the first, 90 degrees along the second.
    start_deg, stop_deg : float
        Where the arc starts and stops.

    Returns
    -------
    (K, 3) float64 array
        Points in mm, at most 5 degrees apart.

    """
    count = int(np.ceil(abs(stop_deg - start_deg) / 5)) + 1
    angles = np.deg2rad(np.linspace(start_deg, stop_deg, max(count, 4)))[:, None]
    first, second = np.asarray(first_axis, float), np.asarray(second_axis, float)
    circle: Float64 = np.cos(angles) * first + np.sin(angles) * second
    return np.asarray(centre, float) + radius_mm * circle


def head() -> Phantom:
    """Make a small head with two hemispheres, seven bundles, cortex, CSF and ventricles.

    A commissural arc joins the tops of both hemispheres. In each hemisphere a vertical tract
    crosses an association bundle that runs from front to back at 90 degrees, and a second
    association bundle runs from the front backwards, bends down and returns to the temporal pole.
    """
    mirror = np.array([-1.0, 1.0, 1.0])
    bend = arc((39, -8, -2), 14, (0, 0, 1), (0, -1, 0), 0, 180)
    front = np.array([[0.0, 68, 0], [0, 51, 0], [0, 34, 0], [0, 17, 0]])
    right = [
        Bundle("projection_right", np.array([[22.0, -16, -50], [22, -16, 52]]), 7),
        Bundle("association_right", np.array([[22.0, -70, 12], [22, 70, 12]]), 6),
        Bundle("arcuate_right", np.vstack([bend[0] + front, bend, bend[-1] + front[::-1]]), 6),
    ]
    left = [
        Bundle(b.name.replace("right", "left"), b.control * mirror, b.radius_mm) for b in right
    ]
    commissure = Bundle(
        "commissure",
        np.array([[-30.0, 14, 56], [-28, 14, 42], [-24, 14, 22], [-14, 14, 8], [0, 14, 4],
                  [14, 14, 8], [24, 14, 22], [28, 14, 42], [30, 14, 56]]),
        8,
    )  # fmt: skip
    return Phantom(
        bundles=(commissure, *left, *right),
        brain=Ellipsoid((0, 0, 0), (54, 66, 48)),
        ventricles=tuple(Ellipsoid((x, -16, -6), (4.5, 18, 5)) for x in (-8, 8)),
        fissure=Fissure(half_width_mm=1.5, floor_mm=20.0),
    )


def half_sphere_directions(count: int) -> Float64:
    """Evenly spread unit vectors (count, 3) with z > 0: a Fibonacci spiral."""
    number = np.arange(count)
    height = (number + 0.5) / count
    angle = number * np.pi * (3 - np.sqrt(5))
    ring = np.sqrt(1 - height**2)
    return np.column_stack([ring * np.cos(angle), ring * np.sin(angle), height])


# --- The pictures ------------------------------------------------------------------------------


def simulate(
    phantom: Phantom,
    affine: Float64,
    shape: Shape,
    gradients_world: Float64,
    bvals: Float64,
    snr: float | None = None,
    seed: int = 0,
    per_axis: int = 2,
) -> Float32:
    """Diffusion-weighted images of a phantom: one tensor a fibre, partial volumes, Rician noise.

    Parameters
    ----------
    phantom : Phantom
        The object.
    affine : (4, 4) float64 array
        From voxel coordinates to world mm.
    shape : tuple of three ints
        The grid.
    gradients_world : (N, 3) float64 array
        Unit directions in WORLD axes; anything where b is 0.
    bvals : (N,) float64 array
        s/mm².
    snr : float, optional
        Signal of white matter without weighting over the noise's standard deviation; none for no
        noise.
    seed : int
        Of the noise.
    per_axis : int
        How many points a voxel is sampled at along each axis.

    Returns
    -------
    (X, Y, Z, N) float32 array
        White matter without diffusion weighting is 1.

    """
    points = phantom.to_object(_sample_points(affine, shape, per_axis))
    matter = phantom.matter(points)
    samples = per_axis**3
    bvals = np.asarray(bvals, np.float32)
    directions = (gradients_world @ phantom.pose[:3, :3]).astype(np.float32)
    inside, tangents = _fibres(phantom, points, matter)
    shares = np.bincount(inside, minlength=len(points))

    without_direction = np.where(shares > 0, Matter.AIR, matter)
    signal = np.zeros((len(points) // samples, len(bvals)), np.float32)
    for kind, diffusivity in DIFFUSIVITY.items():
        fraction = _fraction(without_direction == kind, samples)
        decay = BRIGHTNESS_B0[kind] * np.exp(-bvals * np.float32(diffusivity))
        signal += fraction[:, None] * decay

    along, across = (np.float32(value) for value in FIBRE_DIFFUSIVITY)
    cosines = tangents.astype(np.float32) @ directions.T
    fibres = np.exp(-bvals * (across + (along - across) * cosines**2))
    weights = (1 / (samples * shares[inside])).astype(np.float32)
    average = csr_matrix(
        (weights, (inside // samples, np.arange(len(inside)))), shape=(len(signal), len(inside))
    )
    signal += np.float32(BRIGHTNESS_B0[Matter.WM]) * (average @ fibres)
    image = signal.reshape(*shape, len(bvals))
    return image if snr is None else _rician(image, 1 / snr, seed)


def tissue_fractions(phantom: Phantom, affine: Float64, shape: Shape, per_axis: int = 2) -> Tissue:
    """How much of each voxel is white matter, grey matter and CSF; the sum is 1 in the head."""
    points = phantom.to_object(_sample_points(affine, shape, per_axis))
    matter = phantom.matter(points)
    wm, gm, csf = (
        _fraction(matter == kind, per_axis**3).reshape(shape)
        for kind in (Matter.WM, Matter.GM, Matter.CSF)
    )
    return Tissue(wm, gm, csf)


def t1w(tissue: Tissue, snr: float | None = None, seed: int = 0) -> Float32:
    """Make a T1-weighted picture (X, Y, Z) of tissue fractions; white matter is 1."""
    image = (
        BRIGHTNESS_T1W[Matter.WM] * tissue.wm
        + BRIGHTNESS_T1W[Matter.GM] * tissue.gm
        + BRIGHTNESS_T1W[Matter.CSF] * tissue.csf
    ).astype(np.float32)
    return image if snr is None else _rician(image, 1 / snr, seed)


def end_labels(
    phantom: Phantom,
    affine: Float64,
    shape: Shape,
    depth_mm: float = 6.0,
    margin_mm: float = 2.0,
) -> tuple[NDArray[np.int16], Truth]:
    """Where the bundles end, and which ends belong together.

    Parameters
    ----------
    phantom, affine, shape
        As in `simulate`.
    depth_mm : float
        How far an end region reaches back from where the centre line leaves the white matter.
    margin_mm : float
        How far it reaches beyond the bundle's radius.

    Returns
    -------
    labels : (X, Y, Z) int16 array
        0 where nothing ends.
    truth : dict
        ``labels``: the name of each end with its number; ``valid_pairs``: the two names of each
        bundle.

    """
    points = phantom.to_object(_sample_points(affine, shape, 1))
    tissue = np.isin(phantom.matter(points), (Matter.GM, Matter.WM))
    labels = np.zeros(len(points), np.int16)
    back = round(depth_mm / LINE_SPACING_MM)
    names = [name for bundle in phantom.bundles for name in bundle.ends]
    for number, bundle in enumerate(phantom.bundles):
        white = np.flatnonzero(phantom.matter(bundle.line) == Matter.WM)
        which, site = bundle.nearest(points, bundle.radius_mm + margin_mm)
        for end, there in enumerate((site < white[0] + back, site > white[-1] - back)):
            region = which[there]
            labels[region[tissue[region]]] = 2 * number + end + 1
    truth: Truth = {
        "labels": {name: value for value, name in enumerate(names, start=1)},
        "valid_pairs": [list(bundle.ends) for bundle in phantom.bundles],
    }
    return labels.reshape(shape), truth


def _sample_points(affine: Float64, shape: Shape, per_axis: int) -> Float64:
    """World points, `per_axis`³ in each voxel, those of a voxel one after the other."""
    inner = (np.arange(per_axis) + 0.5) / per_axis - 0.5
    offsets = np.stack(np.meshgrid(inner, inner, inner, indexing="ij"), -1).reshape(1, -1, 3)
    voxels = np.moveaxis(np.indices(shape), 0, -1).reshape(-1, 1, 3)
    points: Float64 = (voxels + offsets).reshape(-1, 3) @ affine[:3, :3].T + affine[:3, 3]
    return points


def _fibres(
    phantom: Phantom, points: Float64, matter: NDArray[np.int8]
) -> tuple[Indices, Float64]:
    """Find the points in bundles, once for each bundle that covers them, and the tangents."""
    inside, tangents = [np.zeros(0, int)], [np.zeros((0, 3))]
    for bundle in phantom.bundles:
        which, site = bundle.nearest(points, bundle.radius_mm)
        white = matter[which] == Matter.WM
        inside.append(which[white])
        tangents.append(bundle.tangents[site[white]])
    return np.concatenate(inside), np.concatenate(tangents)


def _fraction(there: NDArray[np.bool_], samples: int) -> Float32:
    fraction: Float32 = there.reshape(-1, samples).mean(axis=1, dtype=np.float32)
    return fraction


def _rician(signal: Float32, sigma: float, seed: int) -> Float32:
    noise = np.random.default_rng(seed).standard_normal((2, *signal.shape), np.float32)
    magnitude: Float32 = np.hypot(signal + sigma * noise[0], sigma * noise[1])
    return magnitude
