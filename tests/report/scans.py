"""A small made scan as its saved maps, on any grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.types import Streamlines
from bids_tract.files.grids import Grid
from bids_tract.files.images import write_map
from bids_tract.files.tractograms.trx import TrxWriter
from bids_tract.report.streamlines import measure_tractogram, write_density

# The head is an ellipsoid around this point; a bundle goes through it from left to right.
CENTRE = np.array([4.0, -6.0, 10.0])
RADII = np.array([34.0, 42.0, 30.0])

_LAS = np.diag([-3.0, 3.0, 4.0, 1.0])
_LAS[:3, 3] = CENTRE + np.array([42, -48, -40])
_ASR = np.eye(4)
_ASR[:3, :3] = np.array([[0.0, 0.2, 0.98], [0.98, -0.2, 0.04], [0.2, 0.96, -0.2]])
_ASR[:3, :3] = np.linalg.qr(_ASR[:3, :3])[0]
_ASR[:3, :3] *= np.sign(np.sum(_ASR[:3, :3] * [[0, 0, 1], [1, 0, 0], [0, 1, 0]], axis=0))
_ASR[:3, :3] *= [4.0, 3.0, 3.0]
_ASR[:3, 3] = CENTRE - _ASR[:3, :3] @ [13, 12, 14]
GRIDS = {"LAS": Grid((28, 32, 20), _LAS), "oblique ASR": Grid((27, 25, 29), _ASR)}

ENTITIES = {
    "dwiref": "dwiref", "brain_mask": "desc-brain_mask", "seed_mask": "desc-seed_mask",
    "stop_mask": "desc-stop_mask", "wm_probseg": "label-WM_probseg",
    "gm_probseg": "label-GM_probseg", "csf_probseg": "label-CSF_probseg",
    "tensor_fa": "model-tensor_param-fa_dwimap", "tensor_colfa": "model-tensor_param-colfa_dwimap",
    "csa_gfa": "model-csa_param-gfa_dwimap", "csd_peaks": "model-csd_param-peaks_dwimap",
}  # fmt: skip


def places(grid: Grid) -> np.ndarray:
    """(X, Y, Z, 3) array: voxel centres in RAS+ mm."""
    voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
    return voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def make_scan(folder: Path, grid: Grid) -> dict[str, Path]:
    """Write all maps; the fibres of the inner head run from left to right and 30 degrees up."""
    away = np.linalg.norm((places(grid) - CENTRE) / RADII, axis=-1)
    brain, white, fluid = away < 1, away < 0.6, away > 0.85
    direction = np.array([np.cos(np.pi / 6), 0, np.sin(np.pi / 6)])
    in_image = np.linalg.solve(direction_cosines(grid.affine), direction)
    peaks = np.zeros((*grid.shape, 6), np.float32)
    peaks[white, :3] = 0.8 * in_image
    colours = white[..., None] * np.float32(0.7 * np.abs(direction))
    maps = {
        "dwiref": np.where(brain, 500 + 400 * fluid, 20.0), "brain_mask": brain,
        "seed_mask": white, "stop_mask": white, "wm_probseg": white * 1.0,
        "gm_probseg": brain & ~white & ~fluid, "csf_probseg": brain & fluid,
        "tensor_fa": 0.7 * white, "tensor_colfa": colours, "csa_gfa": 0.6 * white,
        "csd_peaks": peaks,
    }  # fmt: skip
    files = {}
    for key, values in maps.items():
        files[key] = folder / f"sub-01_dir-AP_{ENTITIES[key]}.nii.gz"
        write_map(files[key], np.asarray(values, np.float32), grid)
    return files


def make_tractogram(folder: Path, grid: Grid, n: int = 30) -> Path:
    """Write straight streamlines from left to right, 40 mm long, and their density."""
    rng = np.random.default_rng(5)
    lines = [
        (
            CENTRE
            + rng.uniform(-4, 4, 3) * [0, 1, 1]
            + np.linspace(-20, 20, 41)[:, None] * [1, 0, 0]
        )
        for _ in range(n)
    ]
    path = folder / "sub-01_dir-AP_track-prob_desc-csd_tractogram.trx"
    streamlines = Streamlines.from_list([line.astype(np.float32) for line in lines], np.arange(n))
    with TrxWriter(path, grid) as writer:
        writer.append(streamlines)
    _, counts = measure_tractogram(path, grid, None)
    write_density(folder, path, counts, grid, streamlines=n, more={})
    return path
