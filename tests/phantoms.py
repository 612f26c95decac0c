"""Small analytic phantoms, the same object on many grids, and a tiny BIDS writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_tract.core.types import Float32, Float64, Gradients, Tissue
from bids_tract.tools.phantom import (
    Bundle,
    Phantom,
    Shape,
    arc,
    half_sphere_directions,
    simulate,
)

BVAL = 2000.0
X, Y, Z = np.eye(3)


@dataclass(frozen=True, eq=False)
class Scene:
    """A scan of a phantom, free of noise unless asked for.

    `data` is (X, Y, Z, N) float32 with white matter without weighting at 1; `affine` goes from
    voxel coordinates to this scene's world mm; `gradients_world` is (N, 3) in this scene's world
    axes with zero rows for b0; `to_reference` goes from this scene's world mm to that of the
    scene it is a copy of.
    """

    name: str
    phantom: Phantom
    data: Float32
    affine: Float64
    bvals: Float64
    gradients_world: Float64
    to_reference: Float64 = field(default_factory=lambda: np.eye(4))

    @property
    def shape(self) -> Shape:
        return self.data.shape[:3]

    @property
    def axes(self) -> Float64:
        """(3, 3): column a is image axis a as a unit vector of the world."""
        axes: Float64 = self.affine[:3, :3] / np.linalg.norm(self.affine[:3, :3], axis=0)
        return axes

    @property
    def gradients(self) -> Gradients:
        """The table in image axes, as the program's core takes it."""
        return Gradients(self.bvals, self.gradients_world @ self.axes, b0_threshold=50.0)

    @property
    def bvecs_fsl(self) -> Float64:
        """(N, 3): image axes, x negated where the determinant is positive (FSL, BIDS)."""
        flip = -1.0 if np.linalg.det(self.affine[:3, :3]) > 0 else 1.0
        return self.gradients.bvecs * [flip, 1.0, 1.0]

    def in_reference(self, points_mm: Float64) -> Float64:
        """World points (P, 3) of this scene in the world of the reference scene."""
        return points_mm @ self.to_reference[:3, :3].T + self.to_reference[:3, 3]


# --- Objects -----------------------------------------------------------------------------------


def straight(direction: Float64 = X, radius_mm: float = 8.0) -> Phantom:
    """One bundle through the origin, longer than every grid here."""
    line = np.outer([-150.0, 150.0], direction)
    return Phantom((Bundle("straight", line, radius_mm),))


def uniform(direction: Float64 = X) -> Phantom:
    """Fibres of one direction everywhere: any two grids hold the same values."""
    return straight(direction, radius_mm=140.0)


def bend(radius_mm: float = 30.0, width_mm: float = 8.0) -> Phantom:
    """130 degrees of a circle in the x-y plane about ``(-radius, -radius, 0) / sqrt(2)``.

    The middle of the arc is the origin, where it runs along ``(-1, 1, 0)``.
    """
    centre = np.array([-radius_mm, -radius_mm, 0.0]) / np.sqrt(2)
    return Phantom((Bundle("bend", arc(centre, radius_mm, X, Y, -20, 110), width_mm),))


def crossing(degrees: float = 90.0, radius_mm: float = 8.0) -> Phantom:
    """Two bundles in the x-y plane that cross at the origin; the first runs along x."""
    angle = np.deg2rad(degrees)
    second = np.cos(angle) * X + np.sin(angle) * Y
    return Phantom(
        (
            Bundle("first", np.outer([-150.0, 150.0], X), radius_mm),
            Bundle("second", np.outer([-150.0, 150.0], second), radius_mm),
        )
    )


# --- Scans of them -----------------------------------------------------------------------------


def centred_affine(shape: Shape, spacing_mm: tuple[float, float, float]) -> Float64:
    """RAS axes, the middle of the grid at the origin."""
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = -np.multiply(spacing_mm, np.subtract(shape, 1)) / 2
    return affine


def gradient_table(
    directions: int = 64, bval: float = BVAL, b0s: int = 1
) -> tuple[Float64, Float64]:
    """b-values (N,) and world directions (N, 3), the b0s first."""
    bvals = np.concatenate([np.zeros(b0s), np.full(directions, bval)])
    return bvals, np.vstack([np.zeros((b0s, 3)), half_sphere_directions(directions)])


def scan(
    phantom: Phantom,
    name: str = "RAS",
    *,
    shape: Shape = (20, 20, 10),
    spacing_mm: tuple[float, float, float] = (2.0, 2.0, 2.0),
    affine: Float64 | None = None,
    directions: int = 64,
    bval: float = BVAL,
    snr: float | None = None,
    seed: int = 0,
) -> Scene:
    """Simulate a phantom on a RAS grid about the origin, or on the grid of `affine`."""
    affine = centred_affine(shape, spacing_mm) if affine is None else affine
    bvals, world = gradient_table(directions, bval)
    data = simulate(phantom, affine, shape, world, bvals, snr=snr, seed=seed)
    return Scene(name, phantom, data, affine, bvals, world)


def exact_copies(scene: Scene) -> list[Scene]:
    """The same samples in other orders and poses: what comes out must be the same in mm.

    The scene itself, flipped and permuted grids (same world), and the whole scene turned about
    two axes and shifted (bring points back with `Scene.in_reference`). Only rounding differs.
    """
    return [
        scene,
        _flipped(scene, "LAS", (0,)),
        _flipped(scene, "LPS", (0, 1)),
        _flipped(scene, "RAI", (2,)),
        _permuted(scene, "ASR", (1, 2, 0)),
        _turned(scene, "oblique"),
        _turned(_flipped(scene, "", (0,)), "oblique-flipped"),
    ]


def same_region(phantom: Phantom) -> list[Scene]:
    """The same 40 x 40 x 24 mm sampled at 2 x 2 x 2, 2 x 2 x 3 and 2.5 x 2 x 2 mm.

    For `uniform` all hold the same values, and deterministic streamlines agree to rounding. For
    `bend` a voxel holds the mean over its directions: streamlines near its middle agree to 0.1 mm.
    """
    return [
        scan(phantom, "isotropic", shape=(20, 20, 12)),
        scan(phantom, "thick", shape=(20, 20, 8), spacing_mm=(2.0, 2.0, 3.0)),
        scan(phantom, "long", shape=(16, 20, 12), spacing_mm=(2.5, 2.0, 2.0)),
    ]


def _flipped(scene: Scene, name: str, axes: tuple[int, ...]) -> Scene:
    voxels = np.eye(4)
    for axis in axes:
        voxels[axis, axis] = -1
        voxels[axis, 3] = scene.shape[axis] - 1
    data = np.ascontiguousarray(np.flip(scene.data, axes))
    return replace(scene, name=name, data=data, affine=scene.affine @ voxels)


def _permuted(scene: Scene, name: str, order: tuple[int, int, int]) -> Scene:
    data = np.ascontiguousarray(scene.data.transpose(*order, 3))
    return replace(scene, name=name, data=data, affine=scene.affine[:, [*order, 3]])


def _turned(scene: Scene, name: str) -> Scene:
    motion = rigid(20.0, 35.0, shift_mm=(7.0, -4.0, 11.0))
    back = np.asarray(np.linalg.inv(motion), np.float64)
    return replace(
        scene,
        name=name,
        phantom=scene.phantom.moved(motion),
        affine=motion @ scene.affine,
        gradients_world=scene.gradients_world @ motion[:3, :3].T,
        to_reference=back,
    )


def rigid(
    about_x_deg: float, about_z_deg: float, shift_mm: tuple[float, float, float] = (0, 0, 0)
) -> Float64:
    """(4, 4): a turn about x, then about z, then a shift."""
    (cx, cz), (sx, sz) = (f(np.deg2rad([about_x_deg, about_z_deg])) for f in (np.cos, np.sin))
    motion = np.eye(4)
    motion[:3, :3] = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]]) @ np.array(
        [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
    )
    motion[:3, 3] = shift_mm
    return motion


# --- On disk -----------------------------------------------------------------------------------


def write_bids(
    folder: Path,
    scene: Scene,
    *,
    subject: str = "01",
    session: str | None = None,
    entities: str = "",
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Add a scan to a raw BIDS dataset (made when absent); returns the path of the image.

    `entities` stands between session and suffix, for instance ``acq-a_dir-AP``.
    """
    _write_description(folder, {"Name": "test", "BIDSVersion": "1.10.0", "DatasetType": "raw"})
    (folder / "README").write_text("A test.\n")
    place, stem = _place(folder, subject, session, "dwi")
    stem = "_".join(filter(None, [stem, entities, "dwi"]))
    image = place / f"{stem}.nii.gz"
    write_nifti(image, scene.data, scene.affine)
    np.savetxt(place / f"{stem}.bval", scene.bvals[None], fmt="%g")
    np.savetxt(place / f"{stem}.bvec", scene.bvecs_fsl.T, fmt="%.9f")
    (place / f"{stem}.json").write_text(json.dumps(dict(metadata or {})))
    return image


def write_tissue(
    folder: Path,
    tissue: Tissue,
    affine: Float64,
    *,
    subject: str = "01",
    session: str | None = None,
) -> Path:
    """Add WM, GM and CSF maps on the grid of a scan to a derivative dataset; returns `folder`."""
    _write_description(
        folder,
        {
            "Name": "tissue", "BIDSVersion": "1.10.0", "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "simulation"}],
        },
    )  # fmt: skip
    place, stem = _place(folder, subject, session, "dwi")
    for label, fraction in (("WM", tissue.wm), ("GM", tissue.gm), ("CSF", tissue.csf)):
        path = place / f"{stem}_space-dwi_label-{label}_probseg.nii.gz"
        write_nifti(path, fraction, affine)
        sidecar = path.with_name(path.name.replace(".nii.gz", ".json"))
        sidecar.write_text(json.dumps({"SpatialReference": "the grid of the diffusion scan"}))
    return folder


def write_nifti(path: Path, data: np.ndarray, affine: Float64) -> None:
    """A NIfTI image whose qform and sform both are the scanner's frame."""
    image = nib.Nifti1Image(data, affine)
    image.set_qform(affine, code=1)
    image.set_sform(affine, code=1)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)


def _place(folder: Path, subject: str, session: str | None, datatype: str) -> tuple[Path, str]:
    parts = [f"sub-{subject}"] + ([f"ses-{session}"] if session else [])
    place = folder.joinpath(*parts, datatype)
    place.mkdir(parents=True, exist_ok=True)
    return place, "_".join(parts)


def _write_description(folder: Path, description: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset_description.json").write_text(json.dumps(description))
