from __future__ import annotations

import json

import numpy as np
import pytest

from bids_tract.report.group_records import Status
from bids_tract.report.group_scans import read_participant
from bids_tract.report.measures import measure_scan
from tests.report.outputs import SCAN, change, make_outputs, path_of
from tests.report.studies import FLIPPED, PROB, plant, typical, write_scan

COMPLETE = {"sub-01": Status("complete")}


def made(folder, sub="01", **more):
    measures = typical(np.random.default_rng(1)) | more
    write_scan(folder, {"sub": sub}, measures)
    return measures


def add_tractogram(folder, name):
    path = folder / f"{name}_tractogram.trk"
    path.write_bytes(b"")
    path.with_suffix(".json").write_text("{}")
    return path


def test_a_sound_scan(tmp_path):
    measures = made(tmp_path)
    (scan,) = read_participant(tmp_path, "sub-01", COMPLETE, {"sub-01.html", "sub-02.html"})
    assert (scan.label, scan.status, scan.page) == ("sub-01", "complete", "sub-01.html")
    assert scan.values["brain_volume"] == measures["Mask"]["Volume"]
    assert scan.tractograms == (PROB,)
    assert scan.verdicts["mask"] == ("Brain mask", "good")
    assert (scan.bad, scan.error) == ([], "")


def test_each_session_has_its_page_or_that_of_the_participant(tmp_path):
    for ses in "12":
        write_scan(tmp_path, {"sub": "01", "ses": ses}, typical(np.random.default_rng(1)))
    scans = read_participant(tmp_path, "sub-01", {}, {"sub-01_ses-1.html"})
    assert [scan.page for scan in scans] == ["sub-01_ses-1.html", ""]
    assert [scan.status for scan in scans] == ["unknown", "unknown"]
    scans = read_participant(tmp_path, "sub-01", {}, {"sub-01.html", "sub-01_ses-1.html"})
    assert [scan.page for scan in scans] == ["sub-01_ses-1.html", "sub-01.html"]
    scans = read_participant(tmp_path, "sub-01", {}, {"sub-01.html"})
    assert [scan.page for scan in scans] == ["sub-01.html", "sub-01.html"]


@pytest.mark.parametrize(("number", "key"), [(11, "orientation"), (23, "mask")])
def test_a_planted_fault_is_bad_by_itself(tmp_path, number, key):
    measures = typical(np.random.default_rng(1))
    plant(number, measures)
    write_scan(tmp_path, {"sub": "01"}, measures)
    (scan,) = read_participant(tmp_path, "sub-01", {}, ())
    assert scan.verdicts[key][1] == "bad"
    assert len(scan.bad) == 1


def test_a_table_that_was_corrected_is_still_told(tmp_path):
    made(tmp_path, GradientCheck=FLIPPED | {"Applied": True})
    (scan,) = read_participant(tmp_path, "sub-01", {}, ())
    assert scan.verdicts["orientation"][1] == "doubt"
    assert "corrected to i,-j,k" in scan.bad[0]


def test_scans_of_one_folder_are_compared_with_each_other(tmp_path):
    for run, volume in (("1", 1400.0), ("2", 1400.0), ("3", 700.0)):
        measures = typical(np.random.default_rng(1))
        measures["Mask"]["Volume"] = volume
        write_scan(tmp_path, {"sub": "01", "run": run}, measures)
    scans = read_participant(tmp_path, "sub-01", {}, ())
    assert [scan.verdicts["mask"][1] for scan in scans] == ["good", "good", "bad"]
    assert "Masks of this person's scans differ" in scans[2].bad[0]


def test_a_scan_that_failed_before_anything_was_made(tmp_path):
    said = {"sub-01_dir-PA": Status("failed", "no bval")}
    made(tmp_path)
    one, other = read_participant(tmp_path, "sub-01", said, ())
    assert (one.label, one.status) == ("sub-01", "unknown")
    assert (other.label, other.status, other.reason) == ("sub-01_dir-PA", "failed", "no bval")
    assert other.values == {}


def test_nobody(tmp_path):
    assert read_participant(tmp_path, "sub-01", {}, ()) == []


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (lambda folder: (folder / "sub-01_measures.json").unlink(), "was not measured"),
        (lambda folder: (folder / "sub-01_measures.json").write_text("{"), "not valid JSON"),
        (lambda folder: (folder / "sub-01_measures.json").write_text('{"a": 1}'), "taken from"),
        (
            lambda folder: (folder / "sub-01_desc-brain_mask.json").write_text('{"other": 1}'),
            "sub-01_desc-brain_mask.json changed after it was measured",
        ),
        (
            lambda folder: (folder / "sub-01_track-prob_desc-csd_tractogram.json").unlink(),
            "changed after",
        ),
        (
            lambda folder: add_tractogram(folder, "sub-01_track-det_desc-csd"),
            "sub-01_track-det_desc-csd_tractogram.json came after measuring",
        ),
    ],
)
def test_measures_that_do_not_hold_are_not_shown(tmp_path, fault, said):
    made(tmp_path)
    fault(tmp_path / "sub-01/dwi")
    (scan,) = read_participant(tmp_path, "sub-01", COMPLETE, ())
    assert said in scan.error
    assert (scan.values, scan.verdicts) == ({}, {})


def test_the_tractogram_of_another_scan_is_none_of_it(tmp_path):
    made(tmp_path)
    add_tractogram(tmp_path / "sub-01/dwi", "sub-01_dir-PA_track-det_desc-csd")
    (scan,) = read_participant(tmp_path, "sub-01", COMPLETE, ())
    assert scan.error == ""


@pytest.mark.parametrize("left", ["sidecar", "tractogram"])
def test_what_measuring_does_not_take_did_not_come_after_it(tmp_path, left):
    made(tmp_path)
    path = add_tractogram(tmp_path / "sub-01/dwi", "sub-01_track-det_desc-csd")
    (path if left == "sidecar" else path.with_suffix(".json")).unlink()
    (scan,) = read_participant(tmp_path, "sub-01", COMPLETE, ())
    assert scan.error == ""


NAME = "sub-01_model-tensor_param-fa_dwimap.nii.gz"


def test_a_file_of_another_size_than_was_measured(tmp_path):
    made(tmp_path, Files={NAME: 3})
    path = tmp_path / "sub-01/dwi" / NAME
    path.write_bytes(b"abc")
    assert read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error == ""
    path.write_bytes(b"abcd")
    (scan,) = read_participant(tmp_path, "sub-01", COMPLETE, ())
    assert scan.error == (
        f"{NAME} changed after it was measured; run the participant level with --reports-only to "
        "measure it again"
    )
    assert scan.values == {}
    path.write_bytes(b"")
    assert "changed" in read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error


def test_a_measured_file_that_is_not_here_is_no_fault(tmp_path):
    made(tmp_path, Files={NAME: 3})
    assert read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error == ""
    content = tmp_path / "content"
    path = tmp_path / "sub-01/dwi" / NAME
    for pointer in ("version https://git-lfs.github.com/spec/v1\n", "/annex/objects/MD5E-s3--a\n"):
        path.write_text(pointer)
        assert read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error == ""
    path.unlink()
    path.symlink_to(content)
    assert read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error == ""
    content.write_bytes(b"abc")  # the size of the content counts, not that of the link
    assert read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error == ""
    content.write_bytes(b"abcd")
    assert "changed" in read_participant(tmp_path, "sub-01", COMPLETE, ())[0].error


def test_results_that_were_deleted(tmp_path):
    (scan,) = read_participant(tmp_path, "sub-01", COMPLETE, ())
    assert (scan.status, scan.missing) == ("missing", "said to be complete, but without results")
    assert scan.error == (
        "sub-01 is said to be complete, but has no results: run the participant level again"
    )


@pytest.mark.parametrize("fault", ["nothing", "not measured", "changed"])
def test_a_scan_that_runs_has_no_faults(tmp_path, fault):
    if fault != "nothing":
        made(tmp_path)
        name = "measures" if fault == "not measured" else "desc-brain_mask"
        (tmp_path / f"sub-01/dwi/sub-01_{name}.json").unlink()
        (tmp_path / "sub-01/dwi/sub-01_desc-brain_mask.json").write_text('{"other": 1}')
    (scan,) = read_participant(tmp_path, "sub-01", {"sub-01": Status("running")}, ())
    assert (scan.status, scan.error, scan.values) == ("running", "", {})
    assert scan.missing == "still running, or stopped before it ended"


def test_a_scan_that_runs_has_the_numbers_of_its_last_run(tmp_path):
    made(tmp_path)
    (scan,) = read_participant(tmp_path, "sub-01", {"sub-01": Status("running")}, ())
    assert scan.values
    assert (scan.status, scan.error, scan.missing) == ("running", "", "")


def test_only_the_sessions_that_are_asked_for(tmp_path):
    for entities in ({}, {"ses": "1"}, {"ses": "2"}):
        write_scan(tmp_path, {"sub": "01", **entities}, typical(np.random.default_rng(1)))
    said = {f"sub-01{one}": Status("failed") for one in ("_run-1", "_ses-1_run-1", "_ses-2_run-1")}
    labels = [one.label for one in read_participant(tmp_path, "sub-01", said, (), ["2"])]
    assert labels == ["sub-01_ses-2", "sub-01_ses-2_run-1"]
    assert len(read_participant(tmp_path, "sub-01", said, ())) == 6


def test_a_folder_that_is_called_nearly_like_a_session_is_none(tmp_path):
    made(tmp_path, "01")
    (tmp_path / "sub-01/dwi").rename(tmp_path / "sub-01/dwi_")
    (tmp_path / "sub-01/ses-1.old").mkdir()
    (tmp_path / "sub-01/dwi_").rename(tmp_path / "sub-01/ses-1.old/dwi")
    assert read_participant(tmp_path, "sub-01", {}, ()) == []


def test_neither_maps_nor_tractograms_are_read(tmp_path):
    measure_scan(make_outputs(tmp_path), SCAN)
    for path in (tmp_path / "sub-01/dwi").iterdir():
        if path.suffix != ".json":
            path.unlink()
    (scan,) = read_participant(tmp_path, "sub-01", {}, ())
    assert scan.error == ""
    sidecar = json.loads(path_of(tmp_path, "tractogram").with_suffix(".json").read_text())
    assert scan.values["prob_csd_count"] == sidecar["Count"]
    change(tmp_path, "brain_mask", Digest="another")
    (scan,) = read_participant(tmp_path, "sub-01", {}, ())
    assert "changed" in scan.error
