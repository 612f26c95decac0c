from __future__ import annotations

import pytest

from tests.dataset.indexing import index, labels
from tests.datasets import (
    BVALS,
    FMRIPREP,
    OTHER,
    break_link,
    make_dataset,
    write_anat,
    write_dwi,
    write_image,
    write_json,
)
from tests.shared_data import SHARED, needs_shared

AP = {"PhaseEncodingDirection": "j-", "TotalReadoutTime": 0.05}
PA = {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.05}


@pytest.fixture
def raw(tmp_path):
    return make_dataset(tmp_path / "raw")


def write_runs(root, *runs, prefix="sub-01"):
    """Runs 1, 2, ... of one name, each with its own options."""
    return [
        write_dwi(root, f"{prefix}_run-{number}_dwi", **options)
        for number, options in enumerate(runs, 1)
    ]


def scans_of(root, **inputs):
    return {scan.label: scan for scan in index(root, merge_runs=True, **inputs).scans}


def single(root, **inputs):
    """The only scan, which is a merged one."""
    (scan,) = scans_of(root, **inputs).values()
    assert scan.runs
    return scan


# --- What is merged ----------------------------------------------------------------------------


def test_runs_are_merged(raw):
    images = write_runs(raw, {}, {"bvals": BVALS[:5]}, {"bvals": (0, 3000)})
    scan = single(raw)
    assert scan.label == "sub-01"
    assert scan.shape == (2, 2, 2, 7 + 5 + 2)
    assert [run.dwi for run in scan.runs] == images
    assert [run.shape[3] for run in scan.runs] == [7, 5, 2]
    assert [run.label for run in scan.runs] == [f"sub-01_run-{n}" for n in (1, 2, 3)]
    assert all(run.runs == () for run in scan.runs)
    first = scan.runs[0]
    assert (scan.dwi, scan.bval, scan.bvec) == (first.dwi, first.bval, first.bvec)
    assert scan.notes == (
        "merged from sub-01_run-1_dwi.nii.gz, sub-01_run-2_dwi.nii.gz, sub-01_run-3_dwi.nii.gz",
    )


def test_runs_are_not_merged_unless_it_is_asked_for(raw):
    write_runs(raw, {}, {})
    dataset = index(raw)
    assert labels(dataset) == ["sub-01_run-1", "sub-01_run-2"]
    assert all(scan.runs == scan.notes == () for scan in dataset.scans)


def test_runs_go_by_their_number(raw):
    for label in ("10", "2", "01"):
        write_dwi(raw, f"sub-01_run-{label}_dwi")
    assert [run.entities["run"] for run in single(raw).runs] == ["01", "2", "10"]


def test_all_files_of_all_runs_are_the_scans(raw, tmp_path):
    further = make_dataset(tmp_path / "further", FMRIPREP)
    image, mask = (write_anat(further, f"sub-01_desc-{d}") for d in ("preproc_T1w", "brain_mask"))
    dwi_mask = write_image(further / "sub-01" / "dwi" / "sub-01_desc-brain_mask.nii.gz")
    dseg = write_anat(further, "sub-01_dseg")
    runs = write_runs(raw, {}, {})
    scan = single(raw, derivatives=(str(further),))
    stems = [str(path).removesuffix(".nii.gz") for path in runs]
    tables = {f"{stem}.{table}" for stem in stems for table in ("bval", "bvec")}
    expected = {str(path) for path in (*runs, image, mask, dwi_mask, dseg)} | tables
    assert sorted(map(str, scan.files)) == sorted(expected)
    assert (scan.t1w, scan.tissue) == (scan.runs[1].t1w, scan.runs[1].tissue)


def test_metadata_are_those_in_common(raw):
    write_runs(
        raw,
        {"metadata": AP | {"EchoTime": 0.08, "SeriesNumber": 3}},
        {"metadata": AP | {"EchoTime": 0.08, "SeriesNumber": 4, "Comment": "better"}},
    )
    assert single(raw).metadata == AP | {"EchoTime": 0.08}


def test_a_merged_scan_stands_where_its_first_run_stood(raw):
    for name in ("acq-a", "acq-b_run-1", "acq-b_run-2", "acq-c"):
        write_dwi(raw, f"sub-01_{name}_dwi")
    assert list(scans_of(raw)) == ["sub-01_acq-a", "sub-01_acq-b", "sub-01_acq-c"]


def test_notes_of_the_runs_stand_once(raw):
    write_runs(raw, {}, {})
    write_anat(raw, "sub-01_ses-1_T1w")
    notes = single(raw).notes
    assert [note.split()[0] for note in notes] == ["merged", "T1w"]


def test_readout_times_may_differ_by_rounding(raw):
    write_runs(raw, {"metadata": AP}, {"metadata": AP | {"TotalReadoutTime": 0.05000001}})
    assert len(single(raw).runs) == 2


def test_one_run_alone_keeps_its_name(raw):
    write_dwi(raw, "sub-01_run-1_dwi")
    (scan,) = scans_of(raw).values()
    assert (scan.label, scan.runs, scan.notes) == ("sub-01_run-1", (), ())


# --- What stays apart --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"metadata": PA}, "PhaseEncodingDirection is j, not j-"),
        ({}, "PhaseEncodingDirection is unknown, not j-"),
        ({"metadata": AP | {"TotalReadoutTime": 0.06}}, "TotalReadoutTime is 0.06, not 0.05"),
        ({"metadata": {"PhaseEncodingDirection": "j-"}}, "TotalReadoutTime is unknown"),
        ({"metadata": AP, "size": (2, 2, 3)}, "shape is (2, 2, 3), not (2, 2, 2)"),
        ({"metadata": AP, "shift": 1.0}, "corners lie up to 1 mm elsewhere"),
    ],
)
def test_runs_that_differ_stay_apart(raw, second, reason):
    write_runs(raw, {"metadata": AP}, second)
    scans = scans_of(raw)
    assert list(scans) == ["sub-01_run-1", "sub-01_run-2"]
    assert not any(scan.runs for scan in scans.values())
    (note,) = scans["sub-01_run-2"].notes
    assert "not merged with sub-01_run-1_dwi.nii.gz" in note
    assert reason in note


def test_directions_in_other_axes_stay_apart(raw):
    write_runs(raw, {}, {"b_table": True})
    (raw / "sub-01" / "dwi" / "sub-01_run-2_dwi.bvec").unlink()
    note = scans_of(raw)["sub-01_run-2"].notes[0]
    assert "its directions are in world axes, not in fsl" in note


def test_the_others_are_merged_where_one_differs(raw):
    write_runs(raw, {"metadata": PA}, {"metadata": AP}, {"metadata": AP})
    scans = scans_of(raw)
    assert list(scans) == ["sub-01_run-1", "sub-01"]
    merged = scans["sub-01"]
    assert [run.entities["run"] for run in merged.runs] == ["2", "3"]
    assert merged.metadata == AP
    assert merged.notes[0].endswith("; without sub-01_run-1_dwi.nii.gz")
    assert "not merged with sub-01_run-2" in scans["sub-01_run-1"].notes[0]


def test_two_kinds_of_runs_would_get_one_name(raw):
    write_runs(raw, *({"metadata": one} for one in (AP, AP, PA, PA)))
    scans = scans_of(raw)
    assert list(scans) == [f"sub-01_run-{n}" for n in (1, 2, 3, 4)]
    for scan in scans.values():
        assert "several kinds" in scan.notes[0]
        assert "sub-01_run-3_dwi.nii.gz: its PhaseEncodingDirection is j, not j-" in scan.notes[0]


@pytest.mark.parametrize("other", ["dir-PA_run-2", "acq-b_run-2", "ses-1_run-2", "rec-x_run-2"])
def test_runs_of_another_name_stay_apart(raw, other):
    write_dwi(raw, "sub-01_dir-AP_run-1_dwi")
    write_dwi(raw, f"sub-01_{other}_dwi")
    scans = scans_of(raw)
    assert len(scans) == 2
    assert all(scan.notes == () for scan in scans.values())


def test_directions_are_merged_each_for_itself(raw):
    for direction, metadata in (("AP", AP), ("PA", PA)):
        write_runs(
            raw, {"metadata": metadata}, {"metadata": metadata}, prefix=f"sub-01_dir-{direction}"
        )
    scans = scans_of(raw)
    assert list(scans) == ["sub-01_dir-AP", "sub-01_dir-PA"]
    assert [len(scan.runs) for scan in scans.values()] == [2, 2]


def test_a_series_of_the_merged_name_keeps_the_runs_apart(raw):
    write_dwi(raw, "sub-01_dwi")
    write_runs(raw, {}, {})
    scans = scans_of(raw)
    assert sorted(scans) == ["sub-01", "sub-01_run-1", "sub-01_run-2"]
    assert not any(scan.runs for scan in scans.values())
    assert scans["sub-01"].notes == ()
    assert "without run-" in scans["sub-01_run-1"].notes[0]


def test_preprocessed_series_are_not_merged(tmp_path):
    root = make_dataset(tmp_path, OTHER)
    for run in "12":
        write_dwi(root, f"sub-01_run-{run}_desc-preproc_dwi")
    scans = scans_of(root)
    assert list(scans) == ["sub-01_run-1", "sub-01_run-2"]
    assert all("preprocessed" in scan.notes[0] for scan in scans.values())


def test_raw_runs_are_merged_beside_a_preprocessed_one(raw, tmp_path):
    write_runs(raw, {}, {}, {})
    further = make_dataset(tmp_path / "further", OTHER)
    write_dwi(further, "sub-01_run-1_desc-preproc_dwi")
    scans = scans_of(raw, derivatives=(str(further),))
    assert list(scans) == ["sub-01_run-1", "sub-01"]
    assert [run.entities["run"] for run in scans["sub-01"].runs] == ["2", "3"]


# --- What is left out --------------------------------------------------------------------------


def test_a_broken_run_stays_out(raw):
    images = write_runs(raw, {}, {}, {})
    break_link(images[1])
    dataset = index(raw, merge_runs=True)
    (scan,) = dataset.scans
    assert [run.entities["run"] for run in scan.runs] == ["1", "3"]
    assert scan.notes[0].endswith("; without sub-01_run-2_dwi.nii.gz")
    assert [(one.path, one.cause) for one in dataset.skipped] == [(images[1], "missing")]


def test_one_run_that_is_left_keeps_its_name(raw):
    images = write_runs(raw, {}, {})
    images[0].with_name("sub-01_run-1_dwi.bval").unlink()
    (scan,) = scans_of(raw).values()
    assert (scan.label, scan.runs) == ("sub-01_run-2", ())
    assert "no other run can be used (sub-01_run-1_dwi.nii.gz)" in scan.notes[0]


def test_a_run_whose_grid_is_unknown_stays_out(raw):
    import nibabel as nib

    images = write_runs(raw, {}, {}, {})
    image = nib.load(images[0])
    image.set_sform(None, 0)
    image.set_qform(None, 0)
    nib.save(nib.Nifti1Image(image.dataobj[:], None, image.header), images[0])
    scans = scans_of(raw)
    assert list(scans) == ["sub-01_run-1", "sub-01"]
    assert [run.entities["run"] for run in scans["sub-01"].runs] == ["2", "3"]
    assert str(images[0]) in scans["sub-01_run-1"].notes[0]


def test_filters_leave_runs_out(raw, tmp_path):
    write_runs(raw, {}, {}, {})
    path = str(write_json(tmp_path / "filters.json", {"dwi": {"run": [1, 3]}}))
    assert [run.entities["run"] for run in single(raw, bids_filter_file=path).runs] == ["1", "3"]


# --- Real data ---------------------------------------------------------------------------------


@needs_shared
def test_opposed_directions_of_a_real_dataset_stay_apart():
    assert list(scans_of(SHARED / "xa30")) == ["sub-xa30_dir-AP", "sub-xa30_dir-PA"]
