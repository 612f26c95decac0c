"""What a run leaves of one scan, small and known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bids_tract.core.types import Streamlines
from bids_tract.files.grids import Grid
from bids_tract.files.images import write_map
from bids_tract.files.sidecars import read_json, write_json
from bids_tract.files.tractograms.trx import TrxWriter
from bids_tract.names import output_path, sidecar_path

SCAN = {"sub": "01", "dir": "AP"}
TRACT = {"track": "prob", "desc": "csd"}
# A head of 4 mm voxels in RAS+; world (0, 0, 0) is its middle.
GRID = Grid(
    (42, 50, 38),
    np.array([[4, 0, 0, -82], [0, 4, 0, -98], [0, 0, 4, -74], [0, 0, 0, 1]], np.float64),
)
HALF_AXES_MM = (66.0, 82.0, 60.0)  # 1,360 ml
LENGTH_MM = 60.0


def coordinates() -> np.ndarray:
    """(X, Y, Z, 3) world coordinates of the voxels."""
    voxels = np.stack(np.indices(GRID.shape), axis=-1)
    return voxels @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]


def brain() -> np.ndarray:
    return ((coordinates() / HALF_AXES_MM) ** 2).sum(-1) <= 1


def white() -> np.ndarray:
    return ((coordinates() / HALF_AXES_MM) ** 2).sum(-1) <= 0.5


def lines(count: int) -> Streamlines:
    """Straight streamlines of 60 mm from back to front, spread over the middle of the brain."""
    rng = np.random.default_rng(3)
    starts = rng.uniform((-40, -30, -30), (40, -30, 30), (count, 3))
    steps = np.linspace(0, LENGTH_MM, 61)[:, None] * [0, 1, 0]
    return Streamlines.from_list([start + steps for start in starts], np.arange(count))


def counts(kept: int, attempts: int) -> dict[str, Any]:
    rejected = attempts - kept
    return {
        "Attempts": attempts,
        "Kept": kept,
        "Rejected": {"SEED_STOPPED": rejected // 3, "TOO_SHORT": rejected - rejected // 3},
        "Ends": {"LEFT_MASK": 2 * kept},
    }


def tract_sidecar(kept: int, attempts: int) -> dict[str, Any]:
    return {
        "Digest": "track",
        "Count": kept,
        "Counts": counts(kept, attempts),
        "StreamlineAcceptanceCriteria": {"MinimumLength": 20.0, "MaximumLength": 300.0},
        "WallTime": 12.0,
        "PeakMemoryGB": 0.5,
    }


MASK_SIDECAR = {
    "Digest": "prepare",
    "Notes": ["12 voxels were <odd> & set to zero."],
    "SoftwareVersions": "bids_tract 0.1.0, numpy 2.0",
    "WallTime": 3.0,
    "Gradients": {"B0Volumes": 4, "Shells": [{"b": 2000.0, "Volumes": 64, "Directions": 64}]},
    "GradientCheck": {
        "Verdict": "right",
        "Reason": "the table as given makes fibres the most coherent",
        "Applied": False,
        "Best": "i,j,k",
        "Scores": [{"Axes": "i,j,k", "Score": 0.5}, {"Axes": "j,i,k", "Score": 0.4}],
    },
}
FOD_SIDECAR = {
    "Digest": "csd",
    "Model": {"Parameters": {"Shell": 2000.0}},
    "ResponseFunction": {
        "Type": "eigen",
        "Coefficients": [0.0015, 0.0003, 0.0003, 900.0],
        "Source": "FA > 0.7 in the centre",
        "Voxels": 400,
    },
    "OrientationEncoding": {"SphericalHarmonicsDegree": 8},
}


def path_of(root: Path, kind: str, scan: Mapping[str, str] = SCAN) -> Path:
    given = TRACT if kind == "tractogram" else {}
    return root / output_path(kind, scan, **given)


def make_outputs(
    root: Path, scan: Mapping[str, str] = SCAN, *, kept: int = 300, attempts: int = 500
) -> Path:
    """Write the maps, the tractogram and the sidecars of one scan; returns `root`."""
    rng = np.random.default_rng(1)
    mask, seeds = brain(), white()
    b0 = np.where(mask, 1000.0, 20.0) + rng.normal(0, 10, GRID.shape)
    fa = np.where(seeds, 0.6, 0.1) * mask
    colours = np.zeros((*GRID.shape, 3))
    colours[..., 1] = fa
    for kind, values, said in (
        ("brain_mask", mask, MASK_SIDECAR),
        ("dwiref", b0, {"Digest": "prepare"}),
        ("tensor_fa", fa, {"Digest": "tensor", "WallTime": 1.5}),
        ("tensor_md", 0.0008 * mask, {"Digest": "tensor", "WallTime": 1.5}),
        ("tensor_colfa", colours, {"Digest": "tensor"}),
        ("seed_mask", seeds, {"Digest": "masks"}),
        ("stop_mask", seeds, {"Digest": "masks", "Rule": "threshold", "Threshold": 0.2}),
        ("wm_probseg", seeds.astype(float), {"Volume": 480.0, "TissueSource": "T1w"}),
        ("gm_probseg", (mask & ~seeds).astype(float), {"Volume": 880.0}),
        ("csf_probseg", 0.0 * mask, {"Volume": 100.0}),
    ):
        path = path_of(root, kind, scan)
        write_map(path, values, GRID)
        write_json(sidecar_path(path), said)
    write_json(sidecar_path(path_of(root, "csd_fod", scan)), FOD_SIDECAR)
    write_tract(root, lines(kept), scan)
    write_json(sidecar_path(path_of(root, "tractogram", scan)), tract_sidecar(kept, attempts))
    return root


def write_tract(root: Path, streamlines: Streamlines, scan: Mapping[str, str] = SCAN) -> None:
    with TrxWriter(path_of(root, "tractogram", scan), GRID) as writer:
        writer.append(streamlines)


def change(root: Path, kind: str, scan: Mapping[str, str] = SCAN, **said: Any) -> None:
    """Change keys of a sidecar."""
    path = sidecar_path(path_of(root, kind, scan))
    write_json(path, read_json(path) | said)


def replace_map(root: Path, kind: str, values: np.ndarray, scan: Mapping[str, str] = SCAN) -> None:
    """Another map of the same kind, with a sidecar that says so, as a new run would leave it."""
    write_map(path_of(root, kind, scan), values, GRID)
    change(root, kind, scan, Digest=f"other {np.sum(values)}")


LOG = """\
2026-11-21 01:30:38,100 INFO bids_tract.app sub-01_dir-AP: begun
2026-11-21 01:30:38,376 WARNING bids_tract.app sub-01_dir-AP: prepare: 12 voxels are <odd>
2026-11-21 01:30:39,376 WARNING bids_tract.app sub-010_dir-AP: about another
2026-11-21 01:30:39,376 ERROR bids_tract.app the disk is slow
"""


def make_logs(root: Path) -> Path:
    """The folder that a run leaves; returns it."""
    folder = root / "logs" / "20261121T013037-49b60f"
    folder.mkdir(parents=True)
    (folder / "run.log").write_text(LOG)
    (folder / "settings.toml").write_text("# bids_tract in out participant\n[model]\na = 1\n")
    (folder / "CITATION.md").write_text(
        "# Methods\n\nMade with <care>.\n\n# References\n\n- Aganj (2010). A <b>.\n"
        "  doi:10.1002/mrm.22365\n- Other.\n"
    )
    (folder / "CITATION.bib").write_text("@article{aganj, title = {<b>}}\n")
    status = {
        "sub-01_dir-AP": {"Status": "complete"},
        "sub-01_dir-PA_dwi.nii.gz": {"Status": "failed", "Error": "no <bval>", "ExitCode": 66},
        "sub-010_dir-AP": {"Status": "failed", "Error": "of another", "ExitCode": 65},
    }
    (folder / "status.json").write_text(json.dumps(status))
    return folder
