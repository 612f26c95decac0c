"""The work: a simulated whole brain or a real scan, written to a folder that all programs read.

Run in a process of its own, so that what it takes of memory is nobody's.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from dipy.core.geometry import cart2sphere
from dipy.reconst.shm import convert_sh_descoteaux_tournier, real_sh_tournier, sh_to_sf
from numpy.typing import NDArray

from bids_tract.core.gradients import choose_shell, make_gradients, resolve_order
from bids_tract.core.masks import brain_mask
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.response import estimate_response
from bids_tract.core.models.tensor import fit_tensor
from bids_tract.core.sphere import tracking_sphere
from bids_tract.core.types import Bool, Float32, Float64, Gradients, Tissue
from bids_tract.files.gradients import read_bvals, read_bvecs
from bids_tract.tools import phantom

B = 1000.0
N_B0, N_DIRECTIONS = 4, 64
SNR = 25.0
FIELD_OF_VIEW_MM = np.array([126.0, 144.0, 108.0])  # holds the phantom's head
# White-matter voxels: about 100,000 at 1.7 mm.
WHITE = 0.3
SPACING_MM = {"simulated": 1.7, "quick": 5.0, "toy": 10.0}
# Above this FA a voxel of a real scan counts as white matter.
FA_WHITE = 0.3
PMF_THRESHOLD = 0.1
_FIELDS = ("data", "bvals", "bvecs", "mask", "coeffs", "wm", "gm", "csf")


@dataclass(frozen=True, eq=False)
class Scene:
    """What all programs work on.

    Attributes
    ----------
    data : (X, Y, Z, N) float32 array
        b0 volumes and one shell.
    gradients : Gradients
    mask : (X, Y, Z) bool array
        White matter: the voxels to fit, to seed and to stay in.
    coeffs : (X, Y, Z, K) float32 array
        FODs of the white matter and, where `tissue` is known, of the grey matter.
    tissue : Tissue or None
        Fractions, where known.
    facts : dict
        ``name``, ``spacing`` (3 sizes in mm), ``order`` (of CSD), ``csa_order``, ``evals`` and
        ``s0`` of the response, ``cutoff`` (for MRtrix), ``n_voxels`` of the mask.

    """

    data: Float32
    gradients: Gradients
    mask: Bool
    coeffs: Float32
    tissue: Tissue | None
    facts: dict[str, Any]

    @property
    def affine(self) -> Float64:
        """(4, 4) float64 array: image axes are world axes, so that all programs share a frame."""
        return np.diag([*self.facts["spacing"], 1.0])


def load(folder: Path) -> Scene:
    """Open what `build` wrote; arrays are maps of the files."""
    facts = json.loads((folder / "scene.json").read_text())
    arrays = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r")
        for name in _FIELDS
        if (folder / f"{name}.npy").exists()
    }
    tissue = (
        Tissue(*(np.array(arrays[name]) for name in ("wm", "gm", "csf")))
        if "wm" in arrays
        else None
    )
    return Scene(
        data=arrays["data"],
        gradients=Gradients(np.array(arrays["bvals"]), np.array(arrays["bvecs"]), 50.0),
        mask=np.array(arrays["mask"]),
        coeffs=arrays["coeffs"],
        tissue=tissue,
        facts=facts,
    )


def build(name: str, folder: Path, source: Path | None = None) -> None:
    """Make a scene and write it.

    Parameters
    ----------
    name : str
        A key of `SPACING_MM`, or any name for a real scan.
    folder : pathlib.Path
        Where to; made here. ``scene.json`` is written last and tells that all is there.
    source : pathlib.Path, optional
        The diffusion series of a real scan, ``.nii.gz``, with ``.bval`` and ``.bvec`` beside it.

    """
    folder.mkdir(parents=True, exist_ok=True)
    scene = _simulated(name) if source is None else _real(name, source)
    arrays: dict[str, NDArray[Any]] = {
        "data": scene.data, "bvals": scene.gradients.bvals, "bvecs": scene.gradients.bvecs,
        "mask": scene.mask, "coeffs": scene.coeffs,
    }  # fmt: skip
    if scene.tissue is not None:
        arrays |= {"wm": scene.tissue.wm, "gm": scene.tissue.gm, "csf": scene.tissue.csf}
    for field, values in arrays.items():
        np.save(folder / f"{field}.npy", values)
    _write_for_mrtrix(scene, folder)
    facts = {**scene.facts, "n_voxels": int(scene.mask.sum()), "cutoff": _cutoff(scene)}
    (folder / "scene.json").write_text(json.dumps(facts, indent=1))


def _simulated(name: str) -> Scene:
    spacing = np.full(3, SPACING_MM[name])
    x, y, z = (int(n) for n in np.ceil(FIELD_OF_VIEW_MM / spacing))
    shape = (x, y, z)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(shape) - 1) * spacing / 2
    bvals = np.repeat([0.0, B], [N_B0, N_DIRECTIONS])
    bvecs = np.vstack([np.zeros((N_B0, 3)), phantom.half_sphere_directions(N_DIRECTIONS)])
    head = phantom.head()
    data = phantom.simulate(head, affine, shape, bvecs, bvals, snr=SNR, seed=1)
    tissue = phantom.tissue_fractions(head, affine, shape)
    gradients = Gradients(bvals, bvecs, 50.0)
    along, across = phantom.FIBRE_DIFFUSIVITY
    evals, order = np.array([along, across, across]), 8
    field, _ = fit_csd(data, gradients, tissue.wm + tissue.gm > WHITE, order, evals, 1.0)
    facts = {
        "name": name, "spacing": spacing.tolist(), "order": order, "csa_order": 6,
        "evals": evals.tolist(), "s0": 1.0,
    }  # fmt: skip
    return Scene(data, gradients, tissue.wm > WHITE, field.coeffs, tissue, facts)


def _real(name: str, source: Path) -> Scene:
    image = nib.load(source)
    data, affine = image.get_fdata(dtype=np.float32), image.affine
    stem = source.with_name(source.name.removesuffix(".nii.gz"))
    bvals = read_bvals(stem.with_suffix(".bval"), data.shape[3])
    bvecs = read_bvecs(stem.with_suffix(".bvec"), data.shape[3])
    gradients, _ = make_gradients(bvals, bvecs, affine, convention="fsl", b0_threshold=50.0)
    brain, _ = brain_mask(data, gradients)
    volumes, shell, _ = choose_shell(gradients, None)
    gradients = gradients.select(volumes)
    # Whole numbers: where there is none, the least that a logarithm takes.
    data = np.ascontiguousarray(np.maximum(data[..., volumes], 1.0))
    fa = fit_tensor(data, gradients, brain, rotation=np.eye(3)).fa
    response, _ = estimate_response(data, gradients, brain, fa)
    order, _ = resolve_order(None, 8, shell.n_unique)
    csa_order, _ = resolve_order(None, 6, shell.n_unique)
    field, _ = fit_csd(data, gradients, brain, order, response.evals, response.s0)
    facts = {
        "name": name, "spacing": np.linalg.norm(affine[:3, :3], axis=0).tolist(), "order": order,
        "csa_order": csa_order, "evals": response.evals.tolist(), "s0": response.s0,
    }  # fmt: skip
    return Scene(data, gradients, brain & (fa > FA_WHITE), field.coeffs, None, facts)


def _cutoff(scene: Scene) -> float:
    """The amplitude that MRtrix stops below: our share of the maximum, of a typical maximum."""
    coeffs = scene.coeffs[scene.mask][:: max(1, int(scene.mask.sum()) // 5000)]
    amplitudes = sh_to_sf(
        coeffs, tracking_sphere(), sh_order_max=scene.facts["order"], legacy=True
    )
    return float(PMF_THRESHOLD * np.median(amplitudes.max(axis=1)))


def _write_for_mrtrix(scene: Scene, folder: Path) -> None:
    for name, values in (
        ("dwi", scene.data),
        ("fod", convert_sh_descoteaux_tournier(scene.coeffs)),
        ("mask", scene.mask.astype(np.uint8)),
    ):
        nib.save(nib.Nifti1Image(values, scene.affine), folder / f"{name}.nii")
    table = np.column_stack([scene.gradients.bvecs, scene.gradients.bvals])
    np.savetxt(folder / "gradients.b", table)
    np.savetxt(folder / "response.txt", _zonal(scene)[None])


def _zonal(scene: Scene) -> Float64:
    """The response as MRtrix takes it: zonal harmonics of the signal of a fibre along z."""
    height = np.linspace(-1, 1, 201)
    directions = np.column_stack([np.sqrt(1 - height**2), np.zeros_like(height), height])
    evals = np.array(scene.facts["evals"])
    b = float(scene.gradients.bvals[~scene.gradients.is_b0].mean())
    signal = scene.facts["s0"] * np.exp(-b * (directions**2 @ evals[[1, 2, 0]]))
    _, theta, phi = cart2sphere(*directions.T)
    harmonics, m, _ = real_sh_tournier(scene.facts["order"], theta, phi, legacy=False)
    zonal: Float64 = np.linalg.lstsq(harmonics[:, m == 0], signal, rcond=None)[0]
    return zonal


if __name__ == "__main__":
    build(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
