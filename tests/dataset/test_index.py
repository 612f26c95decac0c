from __future__ import annotations

import shutil

import pytest

from bids_tract.errors import (
    BidsTractError,
    DataError,
    MissingInputError,
    NotBidsError,
    NothingSelectedError,
    UsageError,
)
from bids_tract.settings import GradientSettings
from tests.dataset.indexing import index, labels, reasons
from tests.datasets import (
    OTHER,
    QSIPREP,
    RAW,
    break_link,
    make_dataset,
    make_lfs_pointer,
    write_dwi,
    write_gradients,
    write_image,
    write_json,
)
from tests.shared_data import SHARED, needs_shared


@pytest.fixture
def raw(tmp_path):
    return make_dataset(tmp_path / "raw")


# --- What is a dataset -------------------------------------------------------------------------


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(NotBidsError, match="nowhere is not a folder"):
        index(tmp_path / "nowhere")


def test_a_folder_without_description(tmp_path):
    write_dwi(tmp_path, "sub-01_dwi")
    with pytest.raises(NotBidsError, match=r"has no dataset_description\.json.*write the file"):
        index(tmp_path)


def test_a_folder_of_datasets_names_those_in_it(tmp_path):
    make_dataset(tmp_path / "one")
    with pytest.raises(NotBidsError, match="give one of the datasets in it: one"):
        index(tmp_path)


@pytest.mark.parametrize("text", ["{", "", "[]"])
def test_a_broken_description(raw, text):
    (raw / "dataset_description.json").write_text(text)
    with pytest.raises(NotBidsError, match=r"dataset_description\.json"):
        index(raw)


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (RAW, False),
        ({"Name": "n", "BIDSVersion": "1.0.0"}, False),
        (RAW | {"GeneratedBy": [{"Name": "HeuDiConv"}]}, False),
        (OTHER, True),
        ({"Name": "n", "GeneratedBy": [{"Name": "x"}]}, True),
        ({"Name": "n", "PipelineDescription": {"Name": "qsiprep"}}, True),
    ],
)
def test_raw_and_derivative_datasets_are_told_apart(tmp_path, description, expected):
    root = make_dataset(tmp_path, description)
    write_dwi(root, "sub-01_desc-preproc_dwi" if expected else "sub-01_dwi")
    assert index(root).is_derivative is expected


def test_the_index_describes_the_dataset(raw, tmp_path):
    write_dwi(raw, "sub-01_dwi", metadata={"EchoTime": 0.1})
    other = make_dataset(tmp_path / "other", OTHER)
    dataset = index(raw, derivatives=(f"mine={other}",))
    assert (dataset.root, dataset.name, dataset.description) == (raw, "raw test data", RAW)
    assert dataset.derivatives == {"mine": other}
    (scan,) = dataset.scans
    folder = raw / "sub-01" / "dwi"
    assert scan.dwi == folder / "sub-01_dwi.nii.gz"
    assert (scan.bval, scan.bvec) == (folder / "sub-01_dwi.bval", folder / "sub-01_dwi.bvec")
    assert (scan.b_table, scan.brain_mask, scan.tissue) == (None, None, None)
    assert scan.metadata == {"EchoTime": 0.1}
    assert (scan.dataset_root, scan.dataset_name) == (raw, "raw test data")
    assert (scan.preprocessed, scan.notes) == (False, ())


def test_further_datasets_are_called_by_their_folder(raw, tmp_path):
    write_dwi(raw, "sub-01_dwi")
    other = make_dataset(tmp_path / "a=b" / "qsiprep", OTHER)
    assert index(raw, derivatives=(str(other),)).derivatives == {"qsiprep": other}


def test_a_further_dataset_that_is_not_there(raw):
    write_dwi(raw, "sub-01_dwi")
    with pytest.raises(MissingInputError, match="--derivatives x=/nowhere"):
        index(raw, derivatives=("x=/nowhere",))


def test_a_further_dataset_without_description(raw, tmp_path):
    write_dwi(raw, "sub-01_dwi")
    (tmp_path / "other").mkdir()
    with pytest.raises(NotBidsError, match="other is not a BIDS dataset"):
        index(raw, derivatives=(str(tmp_path / "other"),))


def test_two_further_datasets_of_one_name(raw, tmp_path):
    write_dwi(raw, "sub-01_dwi")
    both = [make_dataset(tmp_path / place / "qsiprep", OTHER) for place in "ab"]
    with pytest.raises(UsageError, match="NAME=FOLDER"):
        index(raw, derivatives=tuple(map(str, both)))


# --- Participants and sessions -----------------------------------------------------------------


@pytest.fixture
def sessions(raw):
    for name in ("sub-01_ses-pre", "sub-01_ses-post", "sub-02_ses-pre", "sub-03"):
        write_dwi(raw, f"{name}_dwi")
    return raw


def test_all_participants_and_sessions(sessions):
    dataset = index(sessions)
    assert labels(dataset) == ["sub-01_ses-post", "sub-01_ses-pre", "sub-02_ses-pre", "sub-03"]
    assert dataset.participants == ("01", "02", "03")


def test_some_participants(sessions):
    dataset = index(sessions, participant_label=("03", "02"))
    assert labels(dataset) == ["sub-02_ses-pre", "sub-03"]
    assert dataset.participants == ("02", "03")


def test_one_session(sessions):
    dataset = index(sessions, session_label=("post",))
    assert labels(dataset) == ["sub-01_ses-post"]
    assert "no session post: sub-02, sub-03" in dataset.notes


def test_labels_that_are_not_there_are_answered_with_those_that_are(sessions):
    with pytest.raises(NothingSelectedError, match="no participant 1, 4; there are 01, 02, 03"):
        index(sessions, participant_label=("1", "02", "4"))
    with pytest.raises(NothingSelectedError, match=r"no session 9 for .*; there are post, pre"):
        index(sessions, session_label=("pre", "9"))
    with pytest.raises(NothingSelectedError, match="sub-03; it has no sessions"):
        index(sessions, participant_label=("03",), session_label=("pre",))


def test_other_participants_are_not_looked_into(sessions, listed_folders):
    index(sessions, participant_label=("03",))
    assert sessions / "sub-03" in listed_folders
    assert not [path for path in listed_folders if "sub-01" in str(path)]


def test_a_dataset_without_participants(raw):
    (raw / "Sub-03").mkdir()
    with pytest.raises(NothingSelectedError, match=r"no participants.*Sub-03"):
        index(raw)


def test_folders_that_nearly_are_participants_or_sessions_are_noted(raw):
    write_dwi(raw, "sub-01_ses-1_dwi")
    for name in ("sub-0_1", "Sub-03", "sub-04-pre", "sub05", "code", "sub-01/ses-1-b"):
        (raw / name).mkdir()
    notes = " ".join(index(raw).notes)
    assert "Sub-03, sub-04-pre, sub-0_1, sub05" in notes
    assert "ses-1-b" in notes
    assert "code" not in notes


def test_participants_without_diffusion_images_are_noted(raw):
    write_dwi(raw, "sub-02_dwi")
    write_image(raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    write_image(raw / "sub-03" / "ses-mri" / "dwi" / "sub-03_ses-mri_sbref.nii.gz")
    dataset = index(raw)
    assert dataset.notes == ("no diffusion images: sub-01",)
    assert dataset.participants == ("01", "02", "03")


def test_only_participants_without_diffusion_images(raw):
    write_image(raw / "sub-01" / "anat" / "sub-01_T1w.nii.gz")
    with pytest.raises(NothingSelectedError, match="has no diffusion series for sub-01"):
        index(raw)


# --- Which images are series -------------------------------------------------------------------


def test_runs_directions_and_acquisitions_are_scans_of_their_own(raw):
    names = [
        f"sub-01_acq-{acq}_dir-{dir}_run-{run}" for acq in "AB" for dir in "LR" for run in "12"
    ]
    for name in names:
        write_dwi(raw, f"{name}_dwi")
    dataset = index(raw)
    assert labels(dataset) == names
    assert [scan.bval.name for scan in dataset.scans] == [f"{name}_dwi.bval" for name in names]


def test_an_uncompressed_image(raw):
    write_dwi(raw, "sub-01_dwi", extension=".nii")
    assert index(raw).scans[0].dwi.name == "sub-01_dwi.nii"


def test_spaces_and_letters_of_any_kind_in_the_path(tmp_path):
    root = make_dataset(tmp_path / "mes données ☃ [1]")
    write_dwi(root, "sub-01_dwi")
    assert labels(index(root)) == ["sub-01"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("sub-01_sbref.nii.gz", "single-band reference"),
        ("sub-01_ADC.nii.gz", "a map"),
        ("sub-01_FA.nii.gz", "a map"),
        ("sub-01_S0map.nii.gz", "a map"),
        ("sub-01_colFA.nii.gz", "a map"),
        ("sub-01_expADC.nii.gz", "a map"),
        ("sub-01_trace.nii", "a map"),
        ("sub-01_part-phase_dwi.nii.gz", "the phase part"),
        ("sub-01_desc-denoised_dwi.nii.gz", "processed data"),
        ("sub-01_model-csd_dwi.nii.gz", "model"),
        ("sub-02_dwi.nii.gz", "another participant"),
        ("sub-01_ses-1_dwi.nii.gz", "session"),
        ("dwi.nii.gz", "another participant"),
        ("sub-01_my_dwi.nii.gz", "BIDS name"),
    ],
)
def test_images_that_are_no_scans(raw, name, reason):
    write_dwi(raw, "sub-01_acq-good_dwi")
    write_image(raw / "sub-01" / "dwi" / name, (2, 2, 2, 7))
    write_gradients(raw / "dwi")
    dataset = index(raw)
    assert labels(dataset) == ["sub-01_acq-good"]
    assert list(reasons(dataset)) == [name]
    assert reason in reasons(dataset)[name]
    assert dataset.skipped[0].cause == "unsuitable"


def test_the_magnitude_part_is_a_scan(raw):
    write_dwi(raw, "sub-01_part-mag_dwi")
    assert labels(index(raw)) == ["sub-01_part-mag"]


def test_other_images_of_the_folder_are_no_matter(raw):
    write_dwi(raw, "sub-01_dwi")
    write_image(raw / "sub-01" / "dwi" / "sub-01_desc-brain_mask.nii.gz")
    (raw / "sub-01" / "dwi" / "._sub-01_dwi.nii.gz").write_text("macOS")
    assert index(raw).skipped == ()


def test_a_single_volume_is_not_a_series(raw):
    write_image(raw / "sub-01" / "dwi" / "sub-01_dwi.nii.gz", (2, 2, 2))
    with pytest.raises(NothingSelectedError, match=r"sub-01_dwi\.nii\.gz: 3-D"):
        index(raw)


def test_b0_alone_is_not_a_series(raw):
    write_dwi(raw, "sub-01_dir-AP_dwi")
    write_dwi(raw, "sub-01_dir-PA_dwi", bvals=(0, 5, 50))
    dataset = index(raw)
    assert labels(dataset) == ["sub-01_dir-AP"]
    assert "without diffusion weighting" in reasons(dataset)["sub-01_dir-PA_dwi.nii.gz"]
    lower = GradientSettings(b0_threshold=10)
    assert labels(index(raw, lower)) == ["sub-01_dir-AP", "sub-01_dir-PA"]


@pytest.mark.parametrize("twin", ["sub-01_acq-A_dir-AP_dwi.nii", "sub-01_dir-AP_acq-A_dwi.nii.gz"])
def test_two_images_of_the_same_entities_are_faulty(raw, twin):
    path = write_dwi(raw, "sub-01_acq-A_dir-AP_dwi")
    shutil.copy(path, path.with_name(twin))
    with pytest.raises(DataError, match="have the same entities"):
        index(raw)
    write_dwi(raw, "sub-02_dwi")
    dataset = index(raw)
    assert labels(dataset) == ["sub-02"]
    assert [skipped.cause for skipped in dataset.skipped] == ["broken", "broken"]


# --- Gradient files ----------------------------------------------------------------------------


def test_gradients_at_the_root_and_sessions_as_in_ds114(raw):
    write_gradients(raw / "dwi")
    for sub in ("01", "02"):
        for ses in ("retest", "test"):
            write_dwi(raw, f"sub-{sub}_ses-{ses}_dwi", gradients=False)
    dataset = index(raw)
    assert len(dataset.scans) == 4
    assert {scan.bval for scan in dataset.scans} == {raw / "dwi.bval"}
    assert {scan.bvec for scan in dataset.scans} == {raw / "dwi.bvec"}


def test_a_scan_without_gradients_is_skipped(raw):
    write_dwi(raw, "sub-01_dwi", gradients=False)
    write_dwi(raw, "sub-02_dwi")
    dataset = index(raw)
    assert labels(dataset) == ["sub-02"]
    assert dataset.skipped[0].cause == "missing"


@pytest.mark.parametrize("absent", [".bval", ".bvec"])
def test_missing_gradients_are_an_error_where_nothing_else_is_left(raw, absent):
    path = write_dwi(raw, "sub-01_dwi")
    path.with_name(f"sub-01_dwi{absent}").unlink()
    write_image(raw / "sub-01" / "dwi" / "sub-01_sbref.nii.gz")
    with pytest.raises(MissingInputError, match=rf"sub-01_dwi\.nii\.gz .*sub-01_dwi\{absent}"):
        index(raw)


def test_b_values_of_another_number_than_the_volumes(raw):
    path = write_dwi(raw, "sub-01_dwi")
    path.with_name("sub-01_dwi.bval").write_text("0 1000\n")
    with pytest.raises(DataError, match=r"sub-01_dwi\.bval"):
        index(raw)


def test_the_sidecar_of_the_dataset_root_is_used(raw):
    write_dwi(raw, "sub-01_acq-A_dwi")
    write_json(raw / "acq-A_dwi.json", {"PhaseEncodingDirection": "j"})
    assert index(raw).scans[0].metadata == {"PhaseEncodingDirection": "j"}


def test_a_broken_sidecar_stops_its_scan_only(raw):
    write_dwi(raw, "sub-01_dwi")
    write_dwi(raw, "sub-02_dwi")
    (raw / "sub-01" / "dwi" / "sub-01_dwi.json").write_text("{")
    dataset = index(raw)
    assert labels(dataset) == ["sub-02"]
    assert dataset.skipped[0].cause == "broken"


# --- Files whose content is not here -----------------------------------------------------------


@pytest.mark.parametrize("extension", [".nii.gz", ".bval", ".bvec"])
def test_content_that_git_annex_did_not_fetch(raw, extension):
    write_dwi(raw, "sub-01_dwi")
    path = break_link(raw / "sub-01" / "dwi" / f"sub-01_dwi{extension}")
    with pytest.raises(MissingInputError, match=f"datalad get {path}"):
        index(raw)
    write_dwi(raw, "sub-02_dwi")
    assert index(raw).skipped[0].cause == "missing"


@pytest.mark.parametrize("extension", [".nii.gz", ".bval", ".bvec"])
def test_content_that_git_lfs_did_not_fetch(raw, extension):
    write_dwi(raw, "sub-01_dwi")
    make_lfs_pointer(raw / "sub-01" / "dwi" / f"sub-01_dwi{extension}")
    with pytest.raises(BidsTractError, match="git lfs pull"):
        index(raw)


def test_a_damaged_image(raw):
    write_dwi(raw, "sub-01_dwi").write_bytes(b"not an image at all")
    with pytest.raises(DataError, match=r"sub-01_dwi\.nii\.gz"):
        index(raw)


# --- Derivative datasets -----------------------------------------------------------------------


@pytest.fixture
def qsiprep(tmp_path):
    root = make_dataset(tmp_path / "qsiprep", QSIPREP)
    write_dwi(root, "sub-01_space-ACPC_desc-preproc_dwi", b_table=True)
    folder = root / "sub-01" / "dwi"
    for name in ("desc-brain_mask", "dwiref", "model-eddy_stat-cnr_dwimap"):
        write_image(folder / f"sub-01_space-ACPC_{name}.nii.gz")
    return root


def test_qsiprep_output_as_the_dataset(qsiprep):
    (scan,) = index(qsiprep).scans
    folder = qsiprep / "sub-01" / "dwi"
    assert scan.label == "sub-01_space-ACPC"
    assert scan.preprocessed
    assert scan.brain_mask == folder / "sub-01_space-ACPC_desc-brain_mask.nii.gz"
    assert scan.b_table == folder / "sub-01_space-ACPC_desc-preproc_dwi.b"
    assert scan.convention == "voxel"
    assert "QSIPrep" in scan.convention_reason


def test_only_preprocessed_series_of_a_derivative_dataset(qsiprep):
    write_dwi(qsiprep, "sub-01_space-ACPC_desc-denoised_dwi")
    write_dwi(qsiprep, "sub-01_dwi")
    dataset = index(qsiprep)
    assert labels(dataset) == ["sub-01_space-ACPC"]
    assert set(reasons(dataset)) == {
        "sub-01_dwi.nii.gz",
        "sub-01_space-ACPC_desc-denoised_dwi.nii.gz",
    }


@pytest.mark.parametrize("name", ["QSIPrep", "qsiprep"])
def test_qsiprep_is_known_by_its_older_description_too(tmp_path, name):
    root = make_dataset(tmp_path, {"Name": "x", "PipelineDescription": {"Name": name}})
    write_dwi(root, "sub-01_space-T1w_desc-preproc_dwi")
    assert index(root).scans[0].convention == "voxel"


def test_other_datasets_follow_fsl(tmp_path):
    root = make_dataset(tmp_path, OTHER)
    write_dwi(root, "sub-01_desc-preproc_dwi")
    assert index(root).scans[0].convention == "fsl"


@pytest.mark.parametrize("asked", ["fsl", "voxel", "world"])
def test_the_setting_overrides_the_producer(qsiprep, asked):
    (scan,) = index(qsiprep, GradientSettings(bvec_convention=asked)).scans
    assert scan.convention == asked
    assert asked in scan.convention_reason


def test_a_b_table_alone_is_in_world_axes(qsiprep):
    (qsiprep / "sub-01" / "dwi" / "sub-01_space-ACPC_desc-preproc_dwi.bvec").unlink()
    (scan,) = index(qsiprep, GradientSettings(bvec_convention="fsl")).scans
    assert (scan.bvec, scan.convention) == (None, "world")
    assert scan.b_table is not None


def test_a_mask_in_another_space_is_not_the_scans(qsiprep):
    folder = qsiprep / "sub-01" / "dwi"
    (folder / "sub-01_space-ACPC_desc-brain_mask.nii.gz").unlink()
    write_image(folder / "sub-01_desc-brain_mask.nii.gz")
    write_image(folder / "sub-01_space-T1w_desc-brain_mask.nii.gz")
    write_image(folder / "sub-01_run-1_space-ACPC_desc-brain_mask.nii.gz")
    assert index(qsiprep).scans[0].brain_mask is None


def test_the_mask_with_most_entities_of_the_series_is_taken(tmp_path):
    root = make_dataset(tmp_path, OTHER)
    for run in "12":
        write_dwi(root, f"sub-01_run-{run}_desc-preproc_dwi")
    folder = root / "sub-01" / "dwi"
    for name in ("sub-01", "sub-01_run-2"):
        write_image(folder / f"{name}_desc-brain_mask.nii.gz")
    assert [scan.brain_mask.name for scan in index(root).scans] == [
        "sub-01_desc-brain_mask.nii.gz",
        "sub-01_run-2_desc-brain_mask.nii.gz",
    ]


def test_a_mask_that_was_not_fetched_stops_its_scan(qsiprep):
    path = break_link(qsiprep / "sub-01" / "dwi" / "sub-01_space-ACPC_desc-brain_mask.nii.gz")
    with pytest.raises(MissingInputError, match=f"datalad get {path}"):
        index(qsiprep)


# --- Raw data with preprocessed ones -----------------------------------------------------------


def test_preprocessed_series_take_the_place_of_raw_ones(raw, qsiprep):
    write_dwi(raw, "sub-01_dwi")
    write_dwi(raw, "sub-02_dwi")
    (first, second) = index(raw, derivatives=(str(qsiprep),)).scans
    assert (first.label, first.preprocessed, first.convention) == (
        "sub-01_space-ACPC",
        True,
        "voxel",
    )
    assert (first.dataset_root, first.dataset_name) == (qsiprep, "qsiprep")
    assert first.brain_mask is not None
    assert "used in place of sub-01_dwi.nii.gz" in first.notes[0]
    assert (second.label, second.preprocessed, second.convention) == ("sub-02", False, "fsl")


def test_a_merged_series_takes_the_place_of_all_its_runs(raw, tmp_path):
    for run in "12":
        for direction in ("AP", "PA"):
            write_dwi(raw, f"sub-01_ses-1_dir-{direction}_run-{run}_dwi")
    write_dwi(raw, "sub-01_ses-2_dir-AP_run-1_dwi")
    merged = make_dataset(tmp_path / "merged", OTHER)
    write_dwi(merged, "sub-01_ses-1_dir-AP_space-ACPC_desc-preproc_dwi")
    dataset = index(raw, derivatives=(str(merged),))
    assert labels(dataset) == [
        "sub-01_ses-1_dir-AP_space-ACPC",
        "sub-01_ses-1_dir-PA_run-1",
        "sub-01_ses-1_dir-PA_run-2",
        "sub-01_ses-2_dir-AP_run-1",
    ]
    assert any("used raw" in note and "dir-PA_run-1" in note for note in dataset.notes)


def test_the_series_with_most_entities_is_what_a_raw_one_became(raw, tmp_path):
    write_dwi(raw, "sub-01_acq-A_dwi")
    write_dwi(raw, "sub-01_acq-B_dwi")
    other = make_dataset(tmp_path / "other", OTHER)
    write_dwi(other, "sub-01_desc-preproc_dwi")
    write_dwi(other, "sub-01_acq-A_desc-preproc_dwi")
    scans = index(raw, derivatives=(str(other),)).scans
    assert {scan.label: scan.notes[0].partition("place of ")[2] for scan in scans} == {
        "sub-01_acq-A": "sub-01_acq-A_dwi.nii.gz",
        "sub-01": "sub-01_acq-B_dwi.nii.gz",
    }


def test_the_dataset_given_first_is_taken(raw, tmp_path):
    write_dwi(raw, "sub-01_dwi")
    others = [make_dataset(tmp_path / name, OTHER) for name in ("b", "a")]
    for other in others:
        write_dwi(other, "sub-01_desc-preproc_dwi")
    dataset = index(raw, derivatives=tuple(map(str, others)))
    assert [scan.dataset_name for scan in dataset.scans] == ["b"]
    assert any(str(others[1]) in note for note in dataset.notes)


def test_a_preprocessed_series_of_other_entities_is_not_used(raw, tmp_path):
    write_dwi(raw, "sub-01_dwi")
    other = make_dataset(tmp_path / "other", OTHER)
    write_dwi(other, "sub-01_acq-A_desc-preproc_dwi")
    dataset = index(raw, derivatives=(str(other),))
    assert labels(dataset) == ["sub-01"]
    assert any("sub-01_acq-A_desc-preproc_dwi" in note for note in dataset.notes)


def test_raw_images_that_were_not_fetched_do_not_matter_where_they_are_replaced(raw, qsiprep):
    break_link(write_dwi(raw, "sub-01_dwi"))
    assert labels(index(raw, derivatives=(str(qsiprep),))) == ["sub-01_space-ACPC"]


def test_a_faulty_preprocessed_series_is_not_replaced_by_the_raw_one(raw, qsiprep):
    write_dwi(raw, "sub-01_dwi")
    (qsiprep / "sub-01" / "dwi" / "sub-01_space-ACPC_desc-preproc_dwi.bval").unlink()
    with pytest.raises(MissingInputError, match="has no b-values"):
        index(raw, derivatives=(str(qsiprep),))


def test_masks_of_further_datasets_serve_raw_series(raw, tmp_path):
    write_dwi(raw, "sub-01_dir-AP_dwi")
    masks = make_dataset(tmp_path / "masks", OTHER)
    mask = write_image(masks / "sub-01" / "dwi" / "sub-01_desc-brain_mask.nii.gz")
    assert index(raw, derivatives=(str(masks),)).scans[0].brain_mask == mask


# --- Real trees --------------------------------------------------------------------------------


@needs_shared
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("fibercup", ["sub-fibercup_acq-b1500avg", "sub-fibercup_acq-b2000"]),
        ("siftphantom", ["sub-phantom"]),
        ("xa30", ["sub-xa30_dir-AP", "sub-xa30_dir-PA"]),
    ],
)
def test_real_datasets(name, expected):
    dataset = index(SHARED / name)
    assert labels(dataset) == expected
    assert dataset.notes == ()
    assert all(scan.metadata for scan in dataset.scans)


@needs_shared
def test_the_five_tissue_image_of_a_real_dataset():
    root = SHARED / "siftphantom"
    (scan,) = index(root, derivatives=(f"5tt={root / 'derivatives' / '5tt'}",)).scans
    assert scan.tissue is not None
    assert (scan.tissue.kind, scan.tissue.dataset) == ("5tt", "5tt")
