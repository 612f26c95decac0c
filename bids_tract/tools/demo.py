"""A small BIDS dataset with known truth, and a run of the program on it."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from bids_tract.core.types import Float64
from bids_tract.errors import BidsTractError, OutputError
from bids_tract.files.atomic import writing_in
from bids_tract.files.gradients import write_bvals, write_bvecs
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_map, write_map
from bids_tract.files.sidecars import bids_uri, read_json, write_json
from bids_tract.files.tractograms import read_streamlines
from bids_tract.tools.phantom import (
    Phantom,
    Shape,
    end_labels,
    half_sphere_directions,
    head,
    simulate,
    t1w,
    tissue_fractions,
)
from bids_tract.tools.score import score_ends

NAME = "Simulated head of the bids_tract demonstration"
# What a run is asked for, after the three positional arguments. These heads lay still and their
# images do not ring: there is nothing to correct.
OPTIONS = ("--preprocessed", "--model", "csd", "--tracking", "prob", "pft")
DWI_MM, DWI_SHAPE = 3.0, (42, 50, 38)
T1W_MM, T1W_SHAPE = 2.0, (63, 75, 57)
BVAL, DIRECTIONS, DIRECTIONS_PER_B0 = 2000.0, 64, 16
SNR = 30.0
WHITE_MATTER = 1000  # signal without weighting, as a scanner's integers

_README = """\
Two simulated participants, made by `bids_tract_tools demo`; nobody was scanned.

The head has two hemispheres with cortex, ventricles and seven bundles: a commissure between the
hemispheres and, in each, a projection that crosses an association bundle at 90 degrees and an
arcuate bundle. sub-01 has two sessions with the head in another place; the images of sub-02 are
oblique and stored in another orientation.

derivatives/phantom holds the truth: tissue fractions, and where each bundle ends.
"""


@dataclass(frozen=True)
class _Visit:
    """One scan: whose, how the image axes lie in the world, and how the head lies in it."""

    subject: str
    session: str | None
    axes: Float64
    head_turn_deg: tuple[float, float, float]
    head_shift_mm: tuple[float, float, float]

    @property
    def stem(self) -> str:
        return f"sub-{self.subject}" + (f"_ses-{self.session}" if self.session else "")

    def path(self, root: Path, datatype: str, rest: str) -> Path:
        """The file ``<stem>_<rest>`` in its folder of the dataset `root`."""
        return root.joinpath(*self.stem.split("_"), datatype, f"{self.stem}_{rest}")

    @property
    def pose(self) -> Float64:
        """(4, 4): from the frame of the head to world mm."""
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("xyz", self.head_turn_deg, degrees=True).as_matrix()
        pose[:3, 3] = self.head_shift_mm
        return pose


_LAS = np.diag([-1.0, 1.0, 1.0])
_OBLIQUE_RAS = Rotation.from_euler("xz", [8.0, -5.0], degrees=True).as_matrix()
_VISITS = (
    _Visit("01", "1", _LAS, (0, 0, 0), (0, 0, 0)),
    _Visit("01", "2", _LAS, (3, -1, 2), (1.5, -2, 1)),
    _Visit("02", None, _OBLIQUE_RAS, (2, 1, -2), (-1, 1, 0.5)),
)


# --- Writing -----------------------------------------------------------------------------------


def write_demo(folder: Path, seed: int = 1) -> None:
    """Write the dataset: raw images, and the truth as a derivative in ``derivatives/phantom``.

    The same seed gives the same bytes.

    Parameters
    ----------
    folder : pathlib.Path
        The dataset; made when absent.
    seed : int
        Of the noise.

    Raises
    ------
    OutputError
        The folder cannot be written.

    """
    with writing_in(folder):
        _write_root(folder)
        for number, visit in enumerate(_VISITS):
            phantom = head().moved(visit.pose)
            _write_dwi(folder, visit, phantom, seed=seed + 2 * number)
            _write_t1w(folder, visit, phantom, seed=seed + 2 * number + 1)
            _write_truth(folder, visit, phantom)


def _write_root(folder: Path) -> None:
    description = {
        "BIDSVersion": "1.10.0",
        "License": "CC0",
        "Authors": ["The bids_tract developers"],
    }
    made_by = {"GeneratedBy": [{"Name": "bids_tract_tools demo"}]}
    raw = {"Name": NAME, "DatasetType": "raw", **description, **made_by}
    write_json(folder / "dataset_description.json", raw)
    truth = {"Name": f"{NAME}: truth", "DatasetType": "derivative", **description, **made_by}
    links = {"SourceDatasets": [{"URL": "../.."}], "DatasetLinks": {"raw": "../.."}}
    write_json(_truth_folder(folder) / "dataset_description.json", truth | links)
    _write_text(folder / "README.md", _README)
    _write_text(_truth_folder(folder) / "README.md", _README)
    _write_text(folder / "participants.tsv", "participant_id\nsub-01\nsub-02\n")
    about = {"Description": "Both participants are simulated"}
    write_json(folder / "participants.json", {"participant_id": about})


def _write_dwi(folder: Path, visit: _Visit, phantom: Phantom, seed: int) -> None:
    grid = _grid(visit.axes, DWI_MM, DWI_SHAPE)
    bvals, world = _gradient_table()
    signal = simulate(phantom, grid.affine, grid.shape, world, bvals, snr=SNR, seed=seed)
    write_map(
        visit.path(folder, "dwi", "dwi.nii.gz"),
        np.rint(WHITE_MATTER * signal),
        grid,
        dtype=np.int16,
    )
    write_bvals(visit.path(folder, "dwi", "dwi.bval"), bvals)
    write_bvecs(visit.path(folder, "dwi", "dwi.bvec"), _fsl_bvecs(world, visit.axes))
    write_json(
        visit.path(folder, "dwi", "dwi.json"),
        {
            "Manufacturer": "Simulation",
            "MagneticFieldStrength": 3,
            "EchoTime": 0.08,
            "RepetitionTime": 6.0,
            "FlipAngle": 90,
            "PhaseEncodingDirection": "j-",
            "TotalReadoutTime": 0.05,
        },
    )


def _write_t1w(folder: Path, visit: _Visit, phantom: Phantom, seed: int) -> None:
    grid = _grid(np.eye(3), T1W_MM, T1W_SHAPE)
    image = t1w(tissue_fractions(phantom, grid.affine, grid.shape), snr=SNR, seed=seed)
    path = visit.path(folder, "anat", "T1w.nii.gz")
    write_map(path, np.rint(WHITE_MATTER * image), grid, dtype=np.int16)
    write_json(
        visit.path(folder, "anat", "T1w.json"),
        {
            "Manufacturer": "Simulation",
            "MagneticFieldStrength": 3,
            "EchoTime": 0.0024,
            "RepetitionTime": 1.8,
            "InversionTime": 0.9,
            "FlipAngle": 9,
        },
    )


def _write_truth(folder: Path, visit: _Visit, phantom: Phantom) -> None:
    grid = _grid(visit.axes, DWI_MM, DWI_SHAPE)
    root = _truth_folder(folder)
    scan = visit.path(folder, "dwi", "dwi.nii.gz")
    about = {"SpatialReference": bids_uri(scan, folder, "raw")}
    tissue = tissue_fractions(phantom, grid.affine, grid.shape)
    for label, fraction in (("WM", tissue.wm), ("GM", tissue.gm), ("CSF", tissue.csf)):
        stem = f"space-dwi_label-{label}_probseg"
        write_map(visit.path(root, "dwi", f"{stem}.nii.gz"), fraction, grid)
        description = {"Description": "Fraction of each voxel, as simulated"}
        write_json(visit.path(root, "dwi", f"{stem}.json"), description | about)

    labels, truth = end_labels(phantom, grid.affine, grid.shape)
    stem = "space-dwi_desc-ends_dseg"
    write_map(visit.path(root, "dwi", f"{stem}.nii.gz"), labels, grid, dtype=np.int16)
    description = {"Description": "Where the bundles end, and which ends belong together"}
    write_json(visit.path(root, "dwi", f"{stem}.json"), {**description, **about, **truth})
    rows = "".join(f"{value}\t{name}\n" for name, value in truth["labels"].items())
    _write_text(visit.path(root, "dwi", f"{stem}.tsv"), f"index\tname\n{rows}")


def _truth_folder(folder: Path) -> Path:
    return folder / "derivatives" / "phantom"


def _grid(axes: Float64, voxel_mm: float, shape: Shape) -> Grid:
    """Cubic voxels along `axes` with the middle of the volume at the origin."""
    affine = np.eye(4)
    affine[:3, :3] = axes * voxel_mm
    affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
    return Grid(shape, affine)


def _gradient_table() -> tuple[Float64, Float64]:
    """b-values and world directions, a b0 before every few directions."""
    bvals, world = [], []
    for number, direction in enumerate(half_sphere_directions(DIRECTIONS)):
        if number % DIRECTIONS_PER_B0 == 0:
            bvals.append(0.0)
            world.append(np.zeros(3))
        bvals.append(BVAL)
        world.append(direction)
    return np.array(bvals), np.array(world)


def _fsl_bvecs(world: Float64, axes: Float64) -> Float64:
    """Directions (N, 3) as FSL has them: image axes, x negated where the determinant is > 0."""
    bvecs = world @ axes
    if np.linalg.det(axes) > 0:
        bvecs[:, 0] *= -1
    return np.round(bvecs, 6) + 0.0  # no "-0" in the file


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


# --- Running -----------------------------------------------------------------------------------


def run_demo(folder: Path) -> int:
    """Write the dataset, run the program on it, and say how many connections are valid.

    Parameters
    ----------
    folder : pathlib.Path
        New, empty or from an earlier demonstration; gets ``bids``, ``tracts`` and ``work``.

    Returns
    -------
    int
        The exit code of the run.

    Raises
    ------
    OutputError
        The folder cannot be written or holds something else.

    """
    _check_folder(folder)
    bids, tracts = folder / "bids", folder / "tracts"
    _say(f"Simulating three scans in {bids} ...")
    write_demo(bids)
    command = ["bids_tract", str(bids), str(tracts), "participant", "group", *OPTIONS]
    command += ["--derivatives", str(_truth_folder(bids)), "--work-dir", str(folder / "work")]
    _say(f"Running: {shlex.join(command)}")
    # In a process of its own, as a user would run it.
    code = subprocess.run([sys.executable, "-m", *command], check=False).returncode
    if code == 0:
        page = tracts / "group.html"
        _say(f"The results are in {tracts}" + (f"; open {page} first." if page.exists() else "."))
        _say("Streamlines that join the two ends of one bundle, by the simulated truth:")
        for line in _scores(bids, tracts):
            _say(line)
    return code


def _check_folder(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        name = read_json(folder / "bids" / "dataset_description.json").get("Name")
    except BidsTractError:
        name = None
    if name != NAME:
        raise OutputError(
            f"{folder} is in use and holds no earlier demonstration; give a new folder."
        )


def _scores(bids: Path, tracts: Path) -> Iterator[str]:
    for visit in _VISITS:
        grid = _grid(visit.axes, DWI_MM, DWI_SHAPE)
        ends = visit.path(_truth_folder(bids), "dwi", "space-dwi_desc-ends_dseg.nii.gz")
        labels = read_map(ends, grid).astype(int)
        truth = read_json(ends.with_name(ends.name.replace(".nii.gz", ".json")))
        pairs = [tuple(truth["labels"][name] for name in pair) for pair in truth["valid_pairs"]]
        for path in sorted(visit.path(tracts, "dwi", "").parent.glob("*_tractogram.trx")):
            score = score_ends(read_streamlines(path), labels, grid, pairs)
            total = score.valid + score.invalid + score.none
            yield (
                f"  {path.name}: {score.valid} of {total} "
                f"({score.valid / max(total, 1):.0%}) in {score.bundles_found} of "
                f"{score.bundles} bundles; {score.invalid} join ends of different bundles"
            )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
