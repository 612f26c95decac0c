from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

from bids_tract.errors import OutputError
from bids_tract.files.gradients import read_bvals, read_bvecs
from bids_tract.files.images import read_grid, read_map
from bids_tract.tools import demo
from bids_tract.tools.demo import run_demo, write_demo

STEMS = ("sub-01/ses-1/dwi/sub-01_ses-1", "sub-01/ses-2/dwi/sub-01_ses-2", "sub-02/dwi/sub-02")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "bids"
    write_demo(folder)
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_written_twice_gives_the_same_bytes(dataset, tmp_path):
    write_demo(tmp_path)
    first, again = files_of(dataset), files_of(tmp_path)
    assert first.keys() == again.keys()
    assert [name for name in first if first[name] != again[name]] == []


@pytest.mark.skipif(shutil.which("bids-validator-deno") is None, reason="no BIDS validator")
def test_the_validator_finds_no_error(dataset):
    result = subprocess.run(
        ["bids-validator-deno", "-r", "--format", "json", dataset], capture_output=True, text=True
    )
    report = json.loads(result.stdout)
    issues = report["issues"]["issues"]
    assert [issue for issue in issues if issue["severity"] == "error"] == []
    assert result.returncode == 0
    assert list(report["derivativesSummary"]) == ["/derivatives/phantom/"]


def test_small_enough_to_be_looked_at(dataset):
    assert sum(map(len, files_of(dataset).values())) < 30e6


def test_orientations_differ_between_participants(dataset):
    affines = [nib.load(dataset / f"{stem}_dwi.nii.gz").affine for stem in STEMS]
    assert [nib.aff2axcodes(a) for a in affines] == [tuple("LAS"), tuple("LAS"), tuple("RAS")]
    assert np.abs(affines[2][:3, :3] - np.diag(np.diag(affines[2][:3, :3]))).max() > 0.2


@pytest.mark.parametrize("stem", STEMS)
def test_directions_in_the_files_are_those_of_the_bundles(dataset, stem):
    """Read by BIDS rules alone, the tensor points along the bundle that ends in each region."""
    path = dataset / f"{stem}_dwi.nii.gz"
    data, grid = read_map(path, ndim=4), read_grid(path)
    bvals = read_bvals(dataset / f"{stem}_dwi.bval", data.shape[-1])
    bvecs = read_bvecs(dataset / f"{stem}_dwi.bvec", data.shape[-1])
    if np.linalg.det(grid.affine[:3, :3]) > 0:
        bvecs[:, 0] *= -1
    truth = dataset / "derivatives" / "phantom" / f"{stem}_space-dwi"
    labels = read_map(Path(f"{truth}_desc-ends_dseg.nii.gz"), grid)
    names = json.loads(Path(f"{truth}_desc-ends_dseg.json").read_text())["labels"]
    white = read_map(Path(f"{truth}_label-WM_probseg.nii.gz"), grid)
    model = TensorModel(gradient_table(bvals, bvecs=bvecs))
    axes = grid.affine[:3, :3] / grid.voxel_sizes
    pose = next(v.pose for v in demo._VISITS if stem.endswith(v.stem))
    courses = {"projection": [0, 0, 1], "association": [0, 1, 0]}
    for name, value in names.items():
        course = courses.get(name.split("_")[0])
        if course is None:
            continue
        fit = model.fit(data[(labels == value) & (white == 1)])
        clear = fit.fa > 0.6
        assert clear.sum() >= 5
        along = np.abs(fit.evecs[clear, :, 0] @ axes.T @ pose[:3, :3] @ course)
        assert np.rad2deg(np.arccos(np.median(along))) < 4, name


def test_t1w_and_dwi_show_the_same_head(dataset):
    for stem in STEMS:
        dwi = nib.load(dataset / f"{stem}_dwi.nii.gz")
        t1w = nib.load(dataset / f"{stem.replace('dwi/', 'anat/')}_T1w.nii.gz")
        centres = [
            nib.affines.apply_affine(image.affine, np.argwhere(volume > outline).mean(axis=0))
            for image, volume, outline in (
                (dwi, dwi.dataobj[..., 0], 500),
                (t1w, t1w.dataobj[...], 125),
            )
        ]
        np.testing.assert_allclose(*centres, atol=1.0)


def test_truth_can_be_scored_with_its_own_sidecar(dataset):
    for stem in STEMS:
        ends = dataset / "derivatives" / "phantom" / f"{stem}_space-dwi_desc-ends_dseg.nii.gz"
        spec = json.loads(Path(str(ends).replace(".nii.gz", ".json")).read_text())
        found = set(np.unique(nib.load(ends).dataobj)) - {0}
        assert found == set(spec["labels"].values())
        named = [name for pair in spec["valid_pairs"] for name in pair]
        assert sorted(named) == sorted(spec["labels"])
        lines = Path(str(ends).replace(".nii.gz", ".tsv")).read_text().splitlines()
        assert lines[0] == "index\tname"
        assert {n: int(i) for i, n in (line.split("\t") for line in lines[1:])} == spec["labels"]


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="no earlier demonstration"):
        run_demo(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_dataset_of_another_name_is_left_alone(tmp_path):
    description = tmp_path / "bids" / "dataset_description.json"
    description.parent.mkdir()
    description.write_text('{"Name": "Real people"}')
    with pytest.raises(OutputError):
        run_demo(tmp_path)
    assert description.read_text() == '{"Name": "Real people"}'


@pytest.mark.e2e
def test_the_demonstration_finds_every_bundle(tmp_path):
    # A process of its own: the program sets up logging for the whole process.
    code = "import sys; from bids_tract.tools.cli import main; sys.exit(main(sys.argv[1:]))"
    result = subprocess.run(
        [sys.executable, "-c", code, "demo", tmp_path], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    scores = re.findall(r"(\d+) of (\d+) \(\d+%\) in (\d) of 7 bundles; (\d+) join", result.stdout)
    assert len(scores) == 6  # three scans, two kinds of tracking
    for valid, total, bundles, invalid in (map(int, score) for score in scores):
        assert total > 3000
        assert bundles == 7
        assert valid > 0.6 * total
        assert invalid < 0.05 * total
