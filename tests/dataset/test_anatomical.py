from __future__ import annotations

import pytest

from tests.dataset.indexing import index
from tests.datasets import (
    FMRIPREP,
    OTHER,
    QSIPREP,
    break_link,
    make_dataset,
    make_lfs_pointer,
    write_anat,
    write_dwi,
    write_json,
)
from tests.shared_data import SHARED, needs_shared

T1W = "sub-01_desc-preproc_T1w"
ACPC_T1W = "sub-01_space-ACPC_desc-preproc_T1w"


@pytest.fixture
def raw(tmp_path):
    root = make_dataset(tmp_path / "raw")
    write_dwi(root, "sub-01_dwi")
    return root


@pytest.fixture
def sessions(tmp_path):
    """A dataset with one series, in session 2."""
    root = make_dataset(tmp_path / "sessions")
    write_dwi(root, "sub-01_ses-2_dwi")
    return root


@pytest.fixture
def fmriprep(tmp_path):
    return make_dataset(tmp_path / "fmriprep", FMRIPREP)


@pytest.fixture
def qsiprep(tmp_path):
    root = make_dataset(tmp_path / "qsiprep", QSIPREP)
    write_dwi(root, "sub-01_space-ACPC_desc-preproc_dwi")
    return root


def scan_of(root, *derivatives, **inputs):
    (scan,) = index(root, derivatives=tuple(map(str, derivatives)), **inputs).scans
    return scan


# --- Preprocessed ------------------------------------------------------------------------------


def test_a_preprocessed_image_with_its_mask(raw, fmriprep):
    write_anat(raw, "sub-01_T1w")
    image, mask = write_anat(fmriprep, T1W), write_anat(fmriprep, "sub-01_desc-brain_mask")
    scan = scan_of(raw, fmriprep)
    assert (scan.t1w.t1w, scan.t1w.brain_mask) == (image, mask)
    assert (scan.t1w.dataset, scan.t1w.in_scan_space, scan.notes) == ("fmriprep", False, ())
    assert {image, mask} < set(scan.files)


def test_an_image_in_the_space_of_the_series_needs_no_registration(qsiprep, fmriprep):
    write_anat(fmriprep, T1W)
    write_anat(qsiprep, T1W)
    image = write_anat(qsiprep, ACPC_T1W)
    mask = write_anat(qsiprep, "sub-01_space-ACPC_desc-brain_mask")
    write_anat(qsiprep, "sub-01_desc-brain_mask")
    scan = scan_of(qsiprep, fmriprep)
    assert (scan.t1w.t1w, scan.t1w.brain_mask, scan.t1w.in_scan_space) == (image, mask, True)


def test_older_qsiprep_has_its_t1w_space_without_a_name(tmp_path, fmriprep):
    old = make_dataset(tmp_path / "old", QSIPREP)
    write_dwi(old, "sub-01_space-T1w_desc-preproc_dwi")
    write_anat(fmriprep, T1W)
    scan = scan_of(old, fmriprep)
    assert (scan.t1w.dataset, scan.t1w.in_scan_space) == ("fmriprep", False)
    image = write_anat(old, T1W)
    scan = scan_of(old, fmriprep)
    assert (scan.t1w.t1w, scan.t1w.in_scan_space) == (image, True)


def test_t1w_space_is_the_same_for_other_programs(tmp_path, fmriprep):
    root = make_dataset(tmp_path / "other", OTHER)
    write_dwi(root, "sub-01_space-T1w_desc-preproc_dwi")
    write_anat(fmriprep, T1W)
    assert scan_of(root, fmriprep).t1w.in_scan_space


def test_t1w_space_comes_before_other_spaces_of_the_participant(raw, fmriprep):
    upright = write_anat(fmriprep, ACPC_T1W)
    assert scan_of(raw, fmriprep).t1w.t1w == upright
    image = write_anat(fmriprep, T1W)
    scan = scan_of(raw, fmriprep)
    assert (scan.t1w.t1w, scan.notes) == (image, ())


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_space-MNI152NLin2009cAsym_desc-preproc_T1w",
        "sub-01_space-fsaverage_desc-preproc_T1w",
        "sub-01_desc-skullstripped_T1w",
        "sub-01_desc-preproc_T2w",
        "sub-02_desc-preproc_T1w",
        "sub-01_ses-1_desc-preproc_T1w",
    ],
)
def test_images_of_derivatives_that_never_serve(raw, fmriprep, name):
    path = write_anat(fmriprep, name)
    (fmriprep / "sub-01").mkdir(exist_ok=True)
    path.parent.rename(fmriprep / "sub-01" / "anat")
    assert (scan_of(raw, fmriprep).t1w, scan_of(raw, fmriprep).notes) == (None, ())


def test_the_session_comes_before_the_participant(sessions, fmriprep):
    of_participant = write_anat(fmriprep, T1W)
    assert scan_of(sessions, fmriprep).t1w.t1w == of_participant
    own = write_anat(fmriprep, "sub-01_ses-2_desc-preproc_T1w")
    write_anat(fmriprep, "sub-01_ses-1_desc-preproc_T1w")
    scan = scan_of(sessions, fmriprep)
    assert scan.t1w.t1w == own
    assert scan.notes == (f"T1w image {own} is used, not {of_participant}",)


def test_the_datasets_are_looked_into_in_the_order_given(raw, fmriprep, tmp_path):
    other = make_dataset(tmp_path / "a", OTHER)
    for root in (fmriprep, other):
        write_anat(root, T1W)
    assert scan_of(raw, fmriprep, other).t1w.dataset == "fmriprep"
    assert scan_of(raw, other, fmriprep).t1w.dataset == "a"


def test_a_mask_of_another_space_or_image_is_not_its_mask(qsiprep):
    write_anat(qsiprep, ACPC_T1W)
    for name in ("desc-brain", "run-1_space-ACPC_desc-brain", "space-ACPC_desc-head"):
        write_anat(qsiprep, f"sub-01_{name}_mask")
    assert scan_of(qsiprep).t1w.brain_mask is None


def test_a_mask_whose_content_is_not_here_is_noted(raw, fmriprep):
    image = write_anat(fmriprep, T1W)
    mask = break_link(write_anat(fmriprep, "sub-01_desc-brain_mask"))
    scan = scan_of(raw, fmriprep)
    assert (scan.t1w.t1w, scan.t1w.brain_mask) == (image, None)
    assert f"datalad get {mask}" in scan.notes[0]


# --- Raw ---------------------------------------------------------------------------------------


def test_a_raw_image(raw):
    image = write_anat(raw, "sub-01_T1w")
    scan = scan_of(raw)
    assert (scan.t1w.t1w, scan.t1w.brain_mask, scan.t1w.in_scan_space) == (image, None, False)
    assert (scan.t1w.dataset, scan.notes) == ("raw test data", ())
    write_anat(raw, "sub-01_desc-brain_mask")
    assert scan_of(raw).t1w.brain_mask is None


def test_a_raw_image_beside_preprocessed_series(qsiprep, raw):
    image = write_anat(raw, "sub-01_T1w")
    assert scan_of(qsiprep, raw).t1w.t1w == image


@pytest.mark.parametrize(
    "name",
    [
        "sub-01_part-phase_T1w",
        "sub-01_inv-1_T1w",
        "sub-01_T2w",
        "sub-01_UNIT1",
        "sub-01_inv-1_MP2RAGE",
        "sub-01_space-MNI_T1w",
        "sub-01_desc-preproc_T1w",
    ],
)
def test_raw_images_that_never_serve(raw, name):
    write_anat(raw, name)
    assert scan_of(raw).t1w is None


def test_the_magnitude_part_serves(raw):
    image = write_anat(raw, "sub-01_part-mag_T1w")
    assert scan_of(raw).t1w.t1w == image


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("acq-a_run-1", "run-10", "run-2"), "run-2"),
        (("rec-norm_run-1", "rec-norm_run-2", "acq-a_rec-norm"), "rec-norm_run-1"),
        (("run-1", ""), ""),
        (("acq-b", "acq-a", "ce-gd_acq-a"), "acq-a"),
    ],
)
def test_of_several_the_plainest_and_then_the_first_run(raw, names, expected):
    paths = {
        name: write_anat(raw, "_".join(filter(None, ["sub-01", name, "T1w"]))) for name in names
    }
    chosen = paths.pop(expected)
    scan = scan_of(raw)
    assert scan.t1w.t1w == chosen
    (note,) = scan.notes
    assert f"{chosen} is used, not " in note
    assert all(str(path) in note for path in paths.values())


def test_the_sessions_own_image_comes_first(sessions):
    for place in ("", "_ses-1"):
        write_anat(sessions, f"sub-01{place}_T1w")
    own = write_anat(sessions, "sub-01_ses-2_acq-x_run-3_T1w")
    scan = scan_of(sessions)
    assert (scan.t1w.t1w, scan.notes) == (own, ())


def test_an_image_of_another_session_is_used_with_a_word(sessions):
    write_anat(sessions, "sub-01_T1w")
    first = write_anat(sessions, "sub-01_ses-1_run-2_T1w")
    write_anat(sessions, "sub-01_ses-3_T1w")
    scan = scan_of(sessions)
    assert scan.t1w.t1w == first
    assert scan.notes == (f"T1w image {first} is used, which is of another session (ses-1)",)


def test_an_image_of_no_session_serves_a_session(sessions):
    image = write_anat(sessions, "sub-01_T1w")
    scan = scan_of(sessions)
    assert scan.t1w.t1w == image
    assert "no session" in scan.notes[0]


def test_an_image_of_a_session_serves_a_series_of_none(raw):
    image = write_anat(raw, "sub-01_ses-1_T1w")
    assert scan_of(raw).t1w.t1w == image


def test_the_image_of_another_participant_never_serves(raw):
    write_anat(raw, "sub-02_T1w")
    assert scan_of(raw, participant_label=("01",)).t1w is None


# --- What cannot be used -----------------------------------------------------------------------


def not_fetched(path):
    return break_link(path), f"datalad get {path}"


def pointer(path):
    return make_lfs_pointer(path), "git lfs pull"


def damaged(path):
    path.write_bytes(b"not an image at all")
    return path, path.name


@pytest.mark.parametrize("spoil", [not_fetched, pointer, damaged])
def test_what_cannot_be_read_is_passed_over_with_a_word(raw, fmriprep, spoil):
    path, remedy = spoil(write_anat(fmriprep, T1W))
    scan = scan_of(raw, fmriprep)
    assert scan.t1w is None
    image = write_anat(raw, "sub-01_T1w")
    assert scan_of(raw, fmriprep).t1w.t1w == image
    for notes in (scan.notes, scan_of(raw, fmriprep).notes):
        assert str(path) in notes[0]
        assert remedy in notes[0]


@pytest.mark.parametrize(("shape", "fits"), [((2, 2, 2, 1), True), ((2, 2, 2, 3), False)])
def test_an_image_is_one_volume(raw, shape, fits):
    path = write_anat(raw, "sub-01_T1w", shape)
    scan = scan_of(raw)
    assert (scan.t1w is not None) is fits
    assert bool(scan.notes) is not fits
    assert fits or f"{path} has the shape {shape}" in scan.notes[0]


def test_what_cannot_be_read_is_named_once(sessions):
    path = break_link(write_anat(sessions, "sub-01_ses-2_T1w"))
    (note,) = scan_of(sessions).notes
    assert str(path) in note


def test_what_is_not_wanted_is_not_looked_into(raw, fmriprep):
    write_anat(fmriprep, T1W)
    break_link(write_anat(raw, "sub-01_T1w"))
    assert scan_of(raw, fmriprep).notes == ()


# --- Filters -----------------------------------------------------------------------------------


@pytest.fixture
def filters(tmp_path):
    """Write a filter file; returns its path."""
    return lambda content: str(write_json(tmp_path / "filters.json", content))


def test_filters_choose_the_image(raw, filters):
    for name in ("acq-a", "acq-b_run-1", "acq-b_run-2"):
        write_anat(raw, f"sub-01_{name}_T1w")
    path = filters({"t1w": {"datatype": "anat", "suffix": "T1w", "acquisition": "b", "run": [2]}})
    scan = scan_of(raw, bids_filter_file=path)
    assert scan.t1w.t1w.name == "sub-01_acq-b_run-2_T1w.nii.gz"
    assert scan.notes == ()


def test_filters_may_choose_one_session_for_all(sessions, filters):
    write_anat(sessions, "sub-01_ses-2_T1w")
    other = write_anat(sessions, "sub-01_ses-3_T1w")
    write_anat(sessions, "sub-01_ses-1_T1w")
    path = filters({"t1w": {"session": "ses-3"}})
    assert scan_of(sessions, bids_filter_file=path, session_label=("2",)).t1w.t1w == other


def test_filters_that_leave_no_image_are_named(raw, filters):
    image = write_anat(raw, "sub-01_T1w")
    path = filters({"t1w": {"acquisition": "b"}})
    scan = scan_of(raw, bids_filter_file=path)
    assert scan.t1w is None
    assert scan.notes == (f"T1w image not used: {image}: left out by the filters of {path}",)


def test_filters_for_diffusion_do_not_touch_the_image(raw, filters):
    image = write_anat(raw, "sub-01_acq-a_T1w")
    path = filters({"dwi": {"acquisition": None}})
    assert scan_of(raw, bids_filter_file=path).t1w.t1w == image


def test_filters_do_not_hold_for_further_datasets(raw, fmriprep, filters):
    image = write_anat(fmriprep, T1W)
    path = filters({"t1w": {"acquisition": "b"}})
    assert scan_of(raw, fmriprep, bids_filter_file=path).t1w.t1w == image


def test_a_database_must_know_the_image(raw, tmp_path):
    database = str(tmp_path / "db")
    assert scan_of(raw, bids_database_dir=database).t1w is None
    write_anat(raw, "sub-01_T1w")
    scan = scan_of(raw, bids_database_dir=database)
    assert scan.t1w is None
    assert f"not in the database {database}" in scan.notes[0]


# --- Real data ---------------------------------------------------------------------------------


@needs_shared
def test_the_image_of_a_real_dataset():
    for scan in index(SHARED / "xa30").scans:
        image = SHARED / "xa30" / "sub-xa30" / "anat" / "sub-xa30_T1w.nii.gz"
        assert scan.t1w.t1w.samefile(image)
