"""From the scanner: raw series and a T1w image, with nothing else, through the command line."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_tract.core.orientation import Axes
from bids_tract.files.transforms import read_itk_affine
from bids_tract.tools.phantom import head, t1w, tissue_fractions
from tests.datasets import write_json
from tests.e2e.program import Outcome, read, run
from tests.e2e.test_acceptance import complaints, needs_validator
from tests.phantoms import Scene, centred_affine, scan, write_bids, write_nifti
from tests.shared_data import SHARED, needs_shared

pytestmark = pytest.mark.e2e
SPACING, SHAPE = 4.0, (30, 36, 27)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what several tests look at."""
    return tmp_path_factory.mktemp("raw")


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scan(
        head(), shape=SHAPE, spacing_mm=(SPACING,) * 3, directions=24, bval=1000, snr=20, seed=2
    )


# --- Human data ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def human(folder: Path) -> Outcome:
    chosen = write_json(folder / "ap.json", {"dwi": {"direction": "AP"}})
    return run(
        SHARED / "xa30", folder / "xa30", "--tracking", "pft", "--seeding", "random",
        "--select", 5000, "--bids-filter-file", chosen, raw=True, nprocs=2,
    )  # fmt: skip


@needs_shared
def test_particle_filtering_needs_no_more_than_a_raw_series_and_a_t1w_image(human):
    assert human.code == 0
    assert human.errors == []
    counts = human.sidecar("*tractogram")["Counts"]
    assert counts["Kept"] == 5000
    # Every streamline has two ends: those that do not end in grey matter leave the image.
    assert counts["Ends"]["GREY_MATTER"] >= 2 * 0.95 * counts["Kept"]


@needs_shared
def test_tissue_of_a_human_brain_is_plausible(human):
    shares = {
        label: human.sidecar(f"*label-{label}_probseg")["ShareOfBrainMask"]
        for label in ("GM", "WM", "CSF")
    }
    assert 0.35 <= shares["GM"] <= 0.60
    assert 0.25 <= shares["WM"] <= 0.50
    assert 0.05 <= shares["CSF"] <= 0.30


@needs_shared
def test_what_was_done_to_a_human_scan_is_written_down(human):
    made = human.sidecar("*desc-preproc_dwi")
    assert made["Denoising"]["Method"] == "Marchenko-Pastur PCA"
    assert 20 < made["Denoising"]["SNR"] < 200  # 3 mm voxels at 3 T
    assert "GibbsUnringing" not in made  # the scan has partial Fourier
    assert any("0.75 of k-space" in note for note in made["Notes"])
    # Nobody moved much; eddy currents shift single volumes along the phase-encoding axis.
    motion = made["MotionCorrection"]
    assert motion["MaxTranslation"] < 6
    assert motion["MaxRotation"] < 3
    assert motion["MeanRestrictedDisplacement"] < 0.5 * motion["MeanFramewiseDisplacement"]
    assert made["PhaseEncodingDirection"] == "j-"
    check = human.sidecar("*desc-brain_mask")["GradientCheck"]
    assert check["Verdict"] == "right"
    assert len(check["Scores"]) == 24
    table = human.file("*desc-confounds_timeseries.tsv").read_text().splitlines()
    assert len(table) == 22
    assert table[0].split("\t") == [
        "trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z", "framewise_displacement",
        "restricted_displacement",
    ]  # fmt: skip
    matrix = read_itk_affine(human.file("*from-T1w_to-dwi_mode-image_xfm.txt"))
    assert np.linalg.norm(matrix[:3, 3]) < 15  # both images are of one session
    assert human.sidecar("*label-WM_probseg")["Registration"]["Quality"] > 1.65


@needs_shared
@needs_validator
def test_what_raw_data_give_is_a_valid_bids_dataset(human):
    assert complaints(human.output) == []


# --- Series that are corrected, and that are not -------------------------------------------------


@pytest.fixture(scope="module")
def corrected(folder: Path, scene: Scene) -> Outcome:
    write_bids(folder / "head", scene)
    return run(
        folder / "head", folder / "corrected", "--tracking", "det", "--seeding", "total",
        "--select", 200, "--unring", "off", raw=True,
    )  # fmt: skip


def test_a_raw_series_is_denoised_and_saved(corrected, scene):
    assert corrected.code == 0
    image = nib.load(corrected.file("*desc-preproc_dwi.nii.gz"))
    clean = scan(head(), shape=SHAPE, spacing_mm=(SPACING,) * 3, directions=24, bval=1000).data
    brain = np.asanyarray(nib.load(corrected.file("*desc-brain_mask.nii.gz")).dataobj) > 0
    before, after = (
        np.sqrt(np.mean(np.square(data[brain] - clean[brain])))
        for data in (scene.data, np.asanyarray(image.dataobj))
    )
    assert after < before / 1.5
    bvals = np.loadtxt(corrected.file("*desc-preproc_dwi.bval"))
    np.testing.assert_array_equal(bvals, scene.bvals)


def test_each_stage_says_once_what_it_cost(corrected):
    sidecars = [read(path) for path in sorted(corrected.output.rglob("sub-01/**/*.json"))]
    costs = [one for one in sidecars if "WallTime" in one]
    (job,) = read(corrected.log_dir / "plan.json")["Jobs"]
    assert {one["Digest"] for one in costs} == {stage["Digest"] for stage in job["Stages"]}
    assert len(costs) == len(job["Stages"])
    assert all(0.05 < one["PeakMemoryGB"] < 10 for one in costs)
    (seconds,) = (
        int(line.split()[2]) for line in corrected.messages(logging.INFO) if "done in" in line
    )
    assert 0.5 * seconds - 1 <= sum(one["WallTime"] for one in costs) <= seconds + 1


def test_models_fitted_later_see_the_same_series(corrected, folder):
    before = corrected.file("*param-wm_dwimap.nii.gz").read_bytes()
    again = run(
        folder / "head", corrected.output, "--tracking", "det", "--seeding", "total",
        "--select", 200, "--unring", "off", "--model", "csd", "csa", raw=True,
    )  # fmt: skip
    assert again.code == 0
    assert any("prepare, tensor, csd" in line and "reused" in line for line in again.messages(20))
    corrected.file("*param-wm_dwimap.nii.gz").unlink()
    once_more = run(
        folder / "head", corrected.output, "--tracking", "det", "--seeding", "total",
        "--select", 200, "--unring", "off", raw=True,
    )  # fmt: skip
    assert once_more.code == 0
    assert corrected.file("*param-wm_dwimap.nii.gz").read_bytes() == before


def test_what_is_said_to_be_preprocessed_is_left_alone(folder, scene):
    write_bids(folder / "done", scene)
    outcome = run(
        folder / "done", folder / "left", "--tracking", "det", "--seeding", "total",
        "--select", 50,
    )  # fmt: skip
    assert outcome.code == 0
    assert not list(outcome.output.rglob("*preproc*"))
    assert not list(outcome.output.rglob("*confounds*"))


# --- Runs ---------------------------------------------------------------------------------------


def test_runs_become_one_scan(folder, scene):
    raw = folder / "runs"
    write_bids(raw, scene, entities="run-1")
    louder = replace(scene, data=scene.data * np.float32(1.3))
    write_bids(raw, louder, entities="run-2")
    outcome = run(
        raw, folder / "merged", "--merge-runs", "--tracking", "det", "--seeding", "total",
        "--select", 50, "--denoise", "none", "--unring", "off", "--motion", "none", raw=True,
    )  # fmt: skip
    assert outcome.code == 0
    assert list(outcome.status) == ["sub-01"]
    gradients = outcome.sidecar("*desc-brain_mask")["Gradients"]
    assert gradients["B0Volumes"] == 2
    assert gradients["Shells"] == [{"b": 1000.0, "Volumes": 48, "Directions": 24}]
    # The same signal twice, once it is scaled: the tensor is that of one run.
    alone = run(
        folder / "runs", folder / "single", "--tracking", "det", "--seeding", "total",
        "--select", 50,
    )  # fmt: skip
    names = ("sub-01_model-tensor_param-fa", "sub-01_run-1_model-tensor_param-fa")
    both, one = (
        np.asanyarray(nib.load(result.file(f"{name}_dwimap.nii.gz")).dataobj)
        for result, name in zip((outcome, alone), names, strict=True)
    )
    inside = (both > 0) & (one > 0)
    assert inside.sum() > 1000
    np.testing.assert_allclose(both[inside], one[inside], atol=2e-3)


# --- The gradient table -------------------------------------------------------------------------

WRONG = Axes.from_text("j,i-,k")


@pytest.fixture
def turned(tmp_path: Path, scene: Scene) -> Path:
    """A dataset whose table is wrong; the scene's axes are the world's."""
    world = WRONG.apply(scene.gradients_world)
    write_bids(tmp_path / "turned", replace(scene, gradients_world=world))
    return tmp_path / "turned"


QUICK = ("--tracking", "det", "--seeding", "total", "--select", 50)


def test_a_wrong_table_is_warned_of_with_the_option_that_mends_it(turned, tmp_path):
    outcome = run(turned, tmp_path / "out", *QUICK)
    assert outcome.code == 0
    (warning,) = [line for line in outcome.warnings if "gradient table" in line]
    assert f"--bvec-axes {WRONG.inverse()} would put it right" in warning
    assert "sub-01_dwi.bvec" in warning
    check = outcome.sidecar("*desc-brain_mask")["GradientCheck"]
    assert (check["Verdict"], check["Used"]) == ("wrong", "i,j,k")
    mended = run(turned, tmp_path / "mended", *QUICK, "--bvec-axes", str(WRONG.inverse()))
    assert mended.code == 0
    assert not [line for line in mended.warnings if "gradient" in line]
    assert mended.sidecar("*desc-brain_mask")["GradientCheck"]["Verdict"] == "right"


def test_a_wrong_table_can_be_mended_or_refused(turned, tmp_path, scene):
    fixed = run(turned, tmp_path / "fixed", *QUICK, "--gradient-check", "fix")
    assert fixed.code == 0
    write_bids(tmp_path / "sound", scene)
    sound = run(tmp_path / "sound", tmp_path / "right", *QUICK)
    colours = [
        np.asanyarray(nib.load(result.file("*param-colfa_dwimap.nii.gz")).dataobj)
        for result in (fixed, sound)
    ]
    np.testing.assert_allclose(*colours, atol=1e-4)
    # A later fit sees the mended table, too.
    fixed.file("*param-wm_dwimap.nii.gz").unlink()
    again = run(turned, tmp_path / "fixed", *QUICK, "--gradient-check", "fix")
    assert again.code == 0
    fods = [
        np.asanyarray(nib.load(result.file("*param-wm_dwimap.nii.gz")).dataobj)
        for result in (again, sound)
    ]
    np.testing.assert_allclose(*fods, atol=1e-4)
    refused = run(turned, tmp_path / "refused", *QUICK, "--gradient-check", "error")
    assert refused.code == 65
    (error,) = refused.errors
    assert f"--bvec-axes {WRONG.inverse()}" in error


def test_nobody_looks_where_nobody_is_to_look(turned, tmp_path):
    outcome = run(turned, tmp_path / "out", *QUICK, "--gradient-check", "off")
    assert outcome.code == 0
    assert not [line for line in outcome.warnings if "gradient" in line]
    assert outcome.sidecar("*desc-brain_mask")["GradientCheck"] == {"Verdict": "off"}


# --- A T1w image --------------------------------------------------------------------------------


def write_t1w(raw: Path, data: np.ndarray, affine: np.ndarray) -> Path:
    path = raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, data.astype(np.float32), affine)
    return path


def test_a_t1w_image_that_is_noise_is_refused(tmp_path, scene):
    write_bids(tmp_path / "raw", scene)
    noise = np.random.default_rng(0).rayleigh(100, (60, 72, 54))
    write_t1w(tmp_path / "raw", noise, centred_affine((60, 72, 54), (2.0, 2.0, 2.0)))
    outcome = run(tmp_path / "raw", tmp_path / "out", *QUICK[2:], "--tracking", "pft")
    assert outcome.code == 65
    (error,) = outcome.errors
    assert "sub-01_T1w.nii.gz" in error
    assert "do not match" in error


def test_a_simulated_t1w_image_gives_the_tissue_that_is_there(tmp_path, scene):
    write_bids(tmp_path / "raw", scene)
    affine = centred_affine((60, 72, 54), (2.0, 2.0, 2.0))
    fine = tissue_fractions(scene.phantom, affine, (60, 72, 54))
    path = write_t1w(tmp_path / "raw", 1000 * t1w(fine, snr=30), affine)
    outcome = run(tmp_path / "raw", tmp_path / "out", *QUICK[2:], "--tracking", "pft")
    assert outcome.code == 0
    truth = tissue_fractions(scene.phantom, scene.affine, scene.shape)
    brain = np.asanyarray(nib.load(outcome.file("*desc-brain_mask.nii.gz")).dataobj) > 0
    for label in ("WM", "GM", "CSF"):
        found = np.asanyarray(nib.load(outcome.file(f"*label-{label}_probseg.nii.gz")).dataobj)
        error = np.abs(found - getattr(truth, label.lower()))[brain].mean()
        assert error < 0.1, label
    sidecar = outcome.sidecar("*label-GM_probseg")
    assert sidecar["TissueSource"] == "T1w"
    assert path.name in sidecar["Sources"][0]
