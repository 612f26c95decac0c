import json
import os
import shutil

import numpy as np
import pytest
from dipy.tracking.utils import density_map

from bids_tract.core.types import Streamlines
from bids_tract.files.images import read_map, write_map
from bids_tract.files.sidecars import read_json
from bids_tract.files.tractograms import write_tractogram
from bids_tract.names import density_path, sidecar_path
from bids_tract.report.measures import measure_scan, measures_path, scan_files, tractograms
from bids_tract.report.participant import write_report
from tests.report.outputs import (
    GRID,
    LENGTH_MM,
    SCAN,
    brain,
    change,
    coordinates,
    lines,
    make_outputs,
    path_of,
    replace_map,
    white,
    write_tract,
)
from tests.test_derivatives import asked, sidecar


@pytest.fixture
def root(tmp_path):
    return make_outputs(tmp_path)


def test_what_the_sidecars_say_is_taken_over(root):
    found = measure_scan(root, SCAN)
    assert found["Scan"] == "sub-01_dir-AP"
    assert found["Gradients"]["Shells"][0]["b"] == 2000
    assert found["GradientCheck"]["Verdict"] == "right"
    assert found["Models"]["csd"]["Order"] == 8
    assert found["Models"]["csd"]["ResponseFunction"]["Voxels"] == 400
    assert found["Tissue"] == {"WM": 480, "GM": 880, "CSF": 100, "Source": "T1w"}
    assert found["Notes"] == ["12 voxels were <odd> & set to zero."]
    assert found["Errors"] == []


def test_the_maps_are_measured(root):
    found = measure_scan(root, SCAN)
    voxel_ml = 0.064
    assert found["Mask"]["Volume"] == pytest.approx(brain().sum() * voxel_ml)
    assert found["Mask"]["LeftOut"] == 0
    assert found["Seeds"]["Volume"] == pytest.approx(white().sum() * voxel_ml)
    share = white().sum() / brain().sum()
    assert found["Tensor"]["MeanFA"] == pytest.approx(0.6 * share + 0.1 * (1 - share), rel=1e-5)
    assert sum(found["Tensor"]["FAHistogram"]["Counts"]) == brain().sum()


def test_the_tractogram_is_measured(root):
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert (tract["Count"], tract["Attempts"], tract["Streamlines"]) == (300, 500, 300)
    assert tract["Length"]["Median"] == pytest.approx(LENGTH_MM, rel=1e-5)
    assert sum(tract["Length"]["Histogram"]["Counts"]) == 300
    visited = np.zeros(GRID.shape, bool)
    to_voxel = np.linalg.inv(GRID.affine)
    voxels = np.rint(lines(300).points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    visited[tuple(voxels.T)] = True
    assert tract["Visited"]["Of"] == "white matter"
    assert tract["Visited"]["Share"] == pytest.approx((visited & white()).sum() / white().sum())


def test_the_density_is_saved_beside_the_tractogram(root):
    change(root, "brain_mask", SpatialReference="bids:raw:there.nii.gz")
    measure_scan(root, SCAN)
    path = density_path(path_of(root, "tractogram"))
    counts = read_map(path, GRID)
    expected = density_map(list(lines(300)), GRID.affine, GRID.shape)
    np.testing.assert_array_equal(counts, expected)
    said = read_json(sidecar_path(path))
    assert said["Streamlines"] == 300
    assert said["SpatialReference"] == "bids:raw:there.nii.gz"


def test_the_density_is_no_map_and_no_input_of_the_scan(root):
    before = {key: path.name for key, path in scan_files(root, SCAN).items()}
    first = measure_scan(root, SCAN)
    assert {key: path.name for key, path in scan_files(root, SCAN).items()} == before
    assert len(tractograms(root, SCAN)) == 1
    assert all("density" not in name for name in first["Inputs"])
    assert measure_scan(root, SCAN) == first


@pytest.mark.parametrize("gone", [density_path, lambda path: sidecar_path(density_path(path))])
def test_a_density_that_has_gone_is_measured_again(root, gone):
    measure_scan(root, SCAN)
    path = gone(path_of(root, "tractogram"))
    content = path.read_bytes()
    path.unlink()
    measure_scan(root, SCAN)
    assert path.read_bytes() == content


def test_measures_of_a_former_version_are_taken_again(root):
    first = measure_scan(root, SCAN)
    measures_path(root, SCAN).write_text(json.dumps({**first, "Version": 1, "Mask": {}}))
    assert measure_scan(root, SCAN) == first


def test_no_density_of_a_former_tractogram_stays(root):
    measure_scan(root, SCAN)
    path = path_of(root, "tractogram")
    path.write_bytes(b"nothing")
    change(root, "tractogram", Digest="new")
    assert measure_scan(root, SCAN)["Errors"]
    assert not density_path(path).exists()
    assert not sidecar_path(density_path(path)).exists()


def test_a_tractogram_off_the_grid_is_said_and_still_measured(root):
    far = lines(20)
    write_tract(root, Streamlines(far.points + np.float32(1000), far.offsets, far.seed_index))
    found = measure_scan(root, SCAN)
    (error,) = found["Errors"]
    assert "track-prob_desc-csd_tractogram.trx" in error
    assert "no streamline passes through the image" in error
    (tract,) = found["Tractograms"].values()
    assert (tract["Streamlines"], tract["Visited"]["Share"]) == (20, 0)
    assert not density_path(path_of(root, "tractogram")).exists()


def test_a_density_that_cannot_be_written_is_said(root):
    path = density_path(path_of(root, "tractogram"))
    path.mkdir()
    found = measure_scan(root, SCAN)
    (error,) = found["Errors"]
    assert path_of(root, "tractogram").name in error
    assert found["Mask"]["Volume"] > 1000


def test_a_tractogram_of_another_program_is_measured_too(root):
    path = path_of(root, "tractogram")
    path.rename(path.with_name("sub-01_dir-AP_desc-mine_tractogram.trx"))
    found = measure_scan(root, SCAN)
    assert found["Errors"] == []
    (tract,) = found["Tractograms"].values()
    assert tract["Streamlines"] == 300
    folder = path.parent
    assert (folder / "sub-01_dir-AP_model-mine_param-density_dwimap.nii.gz").is_file()


def test_without_a_mask_streamlines_are_counted_on_the_grid_of_another_map(root):
    path_of(root, "brain_mask").unlink()
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert tract["Streamlines"] == 300
    assert density_path(path_of(root, "tractogram")).is_file()


def test_seconds_of_maps_of_one_stage_count_once(root):
    assert measure_scan(root, SCAN)["WallTime"] == 3.0 + 1.5 + 12.0


def test_the_stage_that_held_most_counts(root):
    change(root, "brain_mask", PeakMemoryGB=0.25)
    change(root, "tensor_fa", PeakMemoryGB=2.5)
    assert measure_scan(root, SCAN)["PeakMemoryGB"] == 2.5


def test_white_matter_to_visit_is_more_than_half_and_within_the_brain(root):
    """Of voxels that are white by 60 %, those within the mask; of 40 %, none."""
    z = coordinates()[..., 2]
    replace_map(root, "wm_probseg", np.where(z < 20, 0.6, 0.4) * white())
    mask = brain() & (coordinates()[..., 0] < 0)
    replace_map(root, "brain_mask", mask)
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    target = white() & (z < 20) & mask
    counts = read_map(density_path(path_of(root, "tractogram")), GRID)
    assert tract["Visited"]["Share"] == pytest.approx((counts[target] > 0).mean())


def test_measures_are_kept_and_reused(root):
    first = measure_scan(root, SCAN)
    path = measures_path(root, SCAN)
    assert path == root / "sub-01" / "dwi" / "sub-01_dir-AP_measures.json"
    path.write_text(json.dumps({**first, "Mask": {"Volume": 5}}))
    assert measure_scan(root, SCAN)["Mask"] == {"Volume": 5}


@pytest.mark.parametrize("changed", ["brain_mask", "tractogram", "csd_fod"])
def test_another_input_is_measured_anew(root, changed):
    first = measure_scan(root, SCAN)
    measures_path(root, SCAN).write_text(json.dumps({**first, "Mask": {"Volume": 5}}))
    change(root, changed, Digest="new")
    assert measure_scan(root, SCAN)["Mask"] == first["Mask"]


@pytest.mark.parametrize("kind", ["tensor_fa", "tractogram"])
def test_a_file_replaced_beside_its_sidecar_is_measured_anew(root, kind):
    first = measure_scan(root, SCAN)
    path = path_of(root, kind)
    assert first["Files"][path.name] == path.stat().st_size
    if kind == "tractogram":
        write_tract(root, lines(30))
        assert measure_scan(root, SCAN)["Tractograms"]["track-prob_desc-csd"]["Streamlines"] == 30
    else:
        write_map(path, np.full(GRID.shape, 0.5), GRID)
        assert measure_scan(root, SCAN)["Tensor"]["MeanFA"] == 0.5


def test_copied_outputs_are_not_measured_again(root, tmp_path_factory):
    first = measure_scan(root, SCAN)
    copied = shutil.copytree(root, tmp_path_factory.mktemp("copy") / "out")
    for path in copied.rglob("*.trx"):
        os.utime(path, (1, 1))
    measures_path(copied, SCAN).write_text(json.dumps({**first, "Mask": {"Volume": 5}}))
    assert measure_scan(copied, SCAN)["Mask"] == {"Volume": 5}


def test_the_files_are_those_that_were_measured(root):
    names = {
        name.removeprefix("sub-01_dir-AP_").split(".")[0]
        for name in measure_scan(root, SCAN)["Files"]
    }
    assert names == {
        "desc-brain_mask", "dwiref",
        "model-tensor_param-fa_dwimap", "model-tensor_param-md_dwimap",
        "desc-seed_mask", "desc-stop_mask", "label-WM_probseg", "label-GM_probseg",
        "label-CSF_probseg", "track-prob_desc-csd_tractogram",
    }  # fmt: skip


def test_measures_that_cannot_be_saved_are_given(root):
    saved = measure_scan(root, SCAN)
    path = measures_path(root, SCAN)
    path.unlink()
    path.mkdir()
    found = measure_scan(root, SCAN)
    (error,) = found["Errors"]
    assert path.name in error
    assert found | {"Errors": []} == saved
    assert not list(path.parent.glob(".*"))


def test_of_a_scan_without_outputs_nothing_is_saved(tmp_path):
    assert measure_scan(tmp_path, SCAN)["Files"] == {}
    assert not list(tmp_path.iterdir())


def ended(rule, threshold=None, source="bids::fa.nii.gz"):
    bound = [] if threshold is None else [
        {"Metric": "fa", "Source": source, "Threshold": threshold}
    ]  # fmt: skip
    return {"StreamlineTermination": {"Criterion": rule, "Anisotropy": bound}}


def test_how_a_tractogram_was_made_is_taken_over(root):
    said = sidecar(asked(step_mm=0.4, max_angle_deg=25))  # as a run writes it
    change(root, "tractogram", **{key: said[key] for key in said if key.startswith("Streamline")})
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert tract["StepSize"] == 0.4
    assert tract["AnglePerStep"] == 25
    assert (tract["Criterion"], tract["Threshold"]) == ("threshold", 0.2)
    assert (tract["Metric"], tract["Map"]) == ("fa", "bids::fa.nii.gz")


@pytest.mark.parametrize(
    ("said", "of"),
    [
        ({}, "the stop mask"),
        (ended("threshold", 0.2), "the stop mask"),
        (ended("threshold", 0.3), "the seed mask"),
        (ended("threshold", 0.2, "bids::gfa.nii.gz"), "the seed mask"),
        (ended("mask"), "the seed mask"),
        (ended("act"), "the stop mask"),
    ],
)
def test_a_stop_mask_of_another_run_is_no_measure(root, said, of):
    path_of(root, "wm_probseg").unlink()
    change(root, "stop_mask", Map="bids::fa.nii.gz")
    change(root, "tractogram", **said)
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert tract["Visited"]["Of"] == of


def test_without_another_target_nothing_is_visited(root):
    path_of(root, "wm_probseg").unlink()
    path_of(root, "seed_mask").unlink()
    change(root, "tractogram", **ended("threshold", 0.3))
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert "Visited" not in tract
    assert tract["Streamlines"] == 300


def test_a_broken_target_leaves_the_next(root):
    path_of(root, "wm_probseg").write_bytes(b"nothing")
    found = measure_scan(root, SCAN)
    (error,) = found["Errors"]
    assert "label-WM_probseg.nii.gz" in error
    assert found["Tractograms"]["track-prob_desc-csd"]["Visited"]["Of"] == "the stop mask"


def test_a_sidecar_that_has_gone_is_noticed(root):
    measure_scan(root, SCAN)
    sidecar_path(path_of(root, "csd_fod")).unlink()
    assert "csd" not in measure_scan(root, SCAN).get("Models", {})


def test_a_broken_map_stops_nothing_else_and_is_tried_again(root):
    good = path_of(root, "tensor_fa").read_bytes()
    path_of(root, "tensor_fa").write_bytes(good[: len(good) // 2])
    found = measure_scan(root, SCAN)
    assert "Tensor" not in found
    assert found["Mask"]["Volume"] > 1000
    (error,) = found["Errors"]
    assert "model-tensor_param-fa_dwimap.nii.gz" in error
    path_of(root, "tensor_fa").write_bytes(good)
    assert measure_scan(root, SCAN)["Tensor"]["MeanFA"] > 0


def test_a_broken_tractogram_and_sidecar_are_said(root):
    path_of(root, "tractogram").write_bytes(b"nothing")
    sidecar_path(path_of(root, "wm_probseg")).write_text("{")
    found = measure_scan(root, SCAN)
    assert len(found["Errors"]) == 2
    assert found["Tractograms"]["track-prob_desc-csd"]["Count"] == 300
    # The volume comes from the map instead.
    assert found["Tissue"]["WM"] == pytest.approx(white().sum() * 0.064)


def test_an_empty_tractogram_is_no_error(root):
    write_tract(root, lines(0))
    change(root, "tractogram", Count=0)
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert tract["Streamlines"] == 0
    assert tract["Visited"]["Share"] == 0


def test_other_formats_are_measured_alike(root):
    (trx,) = measure_scan(root, SCAN)["Tractograms"].values()
    path = path_of(root, "tractogram")
    write_tractogram(path, path.with_suffix(".trk"))
    assert tractograms(root, SCAN)["track-prob_desc-csd"].suffix == ".trx"
    path.unlink()
    change(root, "tractogram", Digest="new")
    (trk,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert trk["Streamlines"] == trx["Streamlines"]
    assert trk["Length"]["Median"] == pytest.approx(trx["Length"]["Median"], rel=1e-5)


def test_files_of_other_scans_are_not_taken(root):
    make_outputs(root, SCAN | {"run": "2"})
    assert [*tractograms(root, SCAN).values()] == [path_of(root, "tractogram")]
    assert scan_files(root, SCAN)
    assert all("run-2" not in path.name for path in scan_files(root, SCAN).values())


def test_a_scan_without_outputs_has_no_inputs(tmp_path):
    assert measure_scan(tmp_path, SCAN)["Inputs"] == {}


def test_motion_is_read(root):
    sidecar = sidecar_path(path_of(root, "preproc_dwi"))
    sidecar.write_text(json.dumps({"MotionCorrection": {"MeanFramewiseDisplacement": 0.3}}))
    confounds = path_of(root, "confounds")
    confounds.write_text("trans_x\tframewise_displacement\n0\tn/a\n1\t0.25\n2\t\n3\n")
    motion = measure_scan(root, SCAN)["Motion"]
    assert motion == {
        "MeanFramewiseDisplacement": 0.3,
        "Framewise": [None, 0.25, None, None],
    }


@pytest.mark.parametrize(
    ("second", "words", "other"),
    [
        ("0.1", "restricted displacement", "framewise"),
        ("n/a", "framewise displacement", "restrict"),
    ],
)
def test_the_motion_that_is_judged_is_drawn(root, second, words, other):
    sidecar_path(path_of(root, "preproc_dwi")).write_text('{"MotionCorrection": {}}')
    path_of(root, "confounds").write_text(
        f"framewise_displacement\trestricted_displacement\nn/a\tn/a\n0.25\t{second}\n"
    )
    motion = measure_scan(root, SCAN)["Motion"]
    assert motion == {"Framewise": [None, 0.25]} | (
        {"Restricted": [None, 0.1]} if second == "0.1" else {}
    )
    text = write_report(root, "sub-01", [SCAN]).path.read_text()
    assert f"up: {words} (mm)" in text
    assert other not in text[text.index(">Head motion</h4>") :].split("</div>")[0]


def test_what_is_saved_is_what_is_given(root):
    replace_map(root, "brain_mask", np.zeros(GRID.shape, bool))
    found = measure_scan(root, SCAN)
    assert found == read_json(measures_path(root, SCAN))
    assert found["Mask"]["Volume"] == 0


def test_a_tractogram_without_a_sidecar_that_changed_or_went_is_measured_anew(root):
    path = path_of(root, "tractogram")
    sidecar_path(path).unlink()
    measure_scan(root, SCAN)
    write_tract(root, lines(30))
    (tract,) = measure_scan(root, SCAN)["Tractograms"].values()
    assert tract["Streamlines"] == 30
    path.unlink()
    assert "Tractograms" not in measure_scan(root, SCAN)
