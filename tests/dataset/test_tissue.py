from __future__ import annotations

import pytest

from bids_tract.dataset import Anatomical
from tests.dataset.indexing import index
from tests.datasets import (
    OTHER,
    QSIPREP,
    SMRIPREP,
    break_link,
    make_dataset,
    write_anat,
    write_dwi,
    write_image,
    write_tissue,
)

FIVE = (2, 2, 2, 5)


@pytest.fixture
def maps(tmp_path):
    """A dataset of tissue maps, still empty."""
    return make_dataset(tmp_path / "maps", SMRIPREP)


def scan_of(tmp_path, name, *derivatives):
    """A scan of that name and its further datasets, found through the index."""
    preprocessed = "desc-preproc" in name
    root = (
        make_dataset(tmp_path / "input", OTHER) if preprocessed else make_dataset(tmp_path / "in")
    )
    write_dwi(root, name)
    return index(root, derivatives=tuple(map(str, derivatives))).scans[0]


def anat(root, *place):
    return root.joinpath("sub-01", *place, "anat")


# --- Spaces ------------------------------------------------------------------------------------

RAW = "sub-01_dwi"
NATIVE = "sub-01_desc-preproc_dwi"
ACPC = "sub-01_space-ACPC_desc-preproc_dwi"
T1W = "sub-01_space-T1w_desc-preproc_dwi"


@pytest.mark.parametrize(
    ("dwi", "folder", "prefix"),
    [
        (ACPC, "anat", "sub-01_space-ACPC"),
        (T1W, "anat", "sub-01_space-T1w"),
        (T1W, "anat", "sub-01"),
        (RAW, "anat", "sub-01_space-dwi"),
        (RAW, "anat", "sub-01_space-DWI"),
        (ACPC, "anat", "sub-01_space-dwi"),
        (RAW, "dwi", "sub-01"),
        (NATIVE, "dwi", "sub-01"),
        (ACPC, "dwi", "sub-01_space-ACPC"),
        (ACPC, "anat", "sub-01_acq-mprage_run-2_space-ACPC"),
    ],
)
@pytest.mark.parametrize("kind", ["5tt", "probseg"])
def test_maps_in_a_space_of_the_series(tmp_path, maps, dwi, folder, prefix, kind):
    place = maps / "sub-01" / folder
    if kind == "5tt":
        files = (write_image(place / f"{prefix}_seg-hsvs_probseg.nii.gz", FIVE),)
    else:
        files = write_tissue(place, prefix)
    scan = scan_of(tmp_path, dwi, maps)
    assert (scan.tissue.kind, scan.tissue.files, scan.tissue.dataset) == (kind, files, "maps")
    assert scan.notes == ()


@pytest.mark.parametrize(
    ("dwi", "folder", "prefix", "reason"),
    [
        (RAW, "anat", "sub-01", "lies in T1w space"),
        (NATIVE, "anat", "sub-01", "lies in T1w space"),
        (ACPC, "anat", "sub-01", "lies in T1w space"),
        (RAW, "anat", "sub-01_space-T1w", "lies in space-T1w"),
        (RAW, "anat", "sub-01_space-ACPC", "lies in space-ACPC"),
        (ACPC, "anat", "sub-01_space-MNI152NLin2009cAsym", "space-MNI152NLin2009cAsym"),
        (T1W, "anat", "sub-01_space-ACPC", "lies in space-ACPC"),
        (ACPC, "dwi", "sub-01", "lies in the scanner's space"),
    ],
)
def test_maps_in_another_space_are_refused_with_a_word(
    tmp_path, maps, dwi, folder, prefix, reason
):
    write_tissue(maps / "sub-01" / folder, prefix)
    scan = scan_of(tmp_path, dwi, maps)
    assert scan.tissue is None
    (note,) = scan.notes
    assert reason in note


def test_templates_are_passed_over_in_silence_where_something_fits(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-MNI152NLin2009cAsym")
    write_tissue(anat(maps), "sub-01_space-ACPC")
    scan = scan_of(tmp_path, ACPC, maps)
    assert scan.tissue.files[0].name == "sub-01_space-ACPC_label-WM_probseg.nii.gz"
    assert scan.notes == ()


# --- What makes tissue maps --------------------------------------------------------------------


def test_the_order_is_white_grey_csf(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-ACPC")
    names = [path.name for path in scan_of(tmp_path, ACPC, maps).tissue.files]
    assert [name.split("label-")[1].split("_")[0] for name in names] == ["WM", "GM", "CSF"]


def test_all_three_maps_are_needed(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-ACPC")[2].unlink()
    assert scan_of(tmp_path, ACPC, maps).tissue is None


def test_maps_of_unlike_names_are_not_put_together(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-ACPC")[0].unlink()
    write_tissue(anat(maps), "sub-01_space-ACPC_res-2")[2].unlink()
    assert scan_of(tmp_path, ACPC, maps).tissue is None


@pytest.mark.parametrize("segmentation", ["hsvs", "5tt", "fsl", "fast", "freesurfer"])
def test_five_tissue_images_by_their_segmentation(tmp_path, maps, segmentation):
    write_image(anat(maps) / f"sub-01_space-ACPC_seg-{segmentation}_probseg.nii", FIVE)
    assert scan_of(tmp_path, ACPC, maps).tissue.kind == "5tt"


def test_another_segmentation_is_no_five_tissue_image(tmp_path, maps):
    write_image(anat(maps) / "sub-01_space-ACPC_seg-aparc_probseg.nii.gz", FIVE)
    assert scan_of(tmp_path, ACPC, maps).tissue is None


def test_a_five_tissue_image_has_five_volumes(tmp_path, maps):
    write_image(anat(maps) / "sub-01_space-ACPC_seg-hsvs_probseg.nii.gz", (2, 2, 2, 4))
    scan = scan_of(tmp_path, ACPC, maps)
    assert scan.tissue is None
    assert "five volumes" in scan.notes[0]


@pytest.mark.parametrize(("shape", "fits"), [((2, 2, 2, 1), True), ((2, 2, 2, 3), False)])
def test_a_tissue_map_has_one_volume(tmp_path, maps, shape, fits):
    write_tissue(anat(maps), "sub-01_space-ACPC", shape)
    assert (scan_of(tmp_path, ACPC, maps).tissue is not None) is fits


def test_maps_that_were_not_fetched_are_refused_with_the_remedy(tmp_path, maps):
    path = break_link(write_tissue(anat(maps), "sub-01_space-ACPC")[1])
    scan = scan_of(tmp_path, ACPC, maps)
    assert scan.tissue is None
    assert f"datalad get {path}" in scan.notes[0]


def test_maps_of_another_run_in_the_diffusion_folder_are_not_the_series(tmp_path, maps):
    write_tissue(maps / "sub-01" / "dwi", "sub-01_run-2")
    scan = scan_of(tmp_path, "sub-01_run-1_dwi", maps)
    assert (scan.tissue, scan.notes) == (None, ())


# --- Which of several --------------------------------------------------------------------------


def test_five_tissue_images_come_before_maps(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-ACPC")
    write_image(anat(maps) / "sub-01_space-ACPC_seg-hsvs_probseg.nii.gz", FIVE)
    scan = scan_of(tmp_path, ACPC, maps)
    assert scan.tissue.kind == "5tt"
    assert "not those of" in scan.notes[0]


def test_the_sessions_maps_come_before_the_participants(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-ACPC")
    own = write_tissue(anat(maps, "ses-1"), "sub-01_ses-1_space-ACPC")
    write_tissue(anat(maps, "ses-2"), "sub-01_ses-2_space-ACPC")
    scan = scan_of(tmp_path, "sub-01_ses-1_space-ACPC_desc-preproc_dwi", maps)
    assert scan.tissue.files == own
    assert "ses-2" not in scan.notes[0]


def test_the_participants_maps_serve_all_sessions(tmp_path, maps):
    files = write_tissue(anat(maps), "sub-01_space-ACPC")
    scan = scan_of(tmp_path, "sub-01_ses-1_space-ACPC_desc-preproc_dwi", maps)
    assert scan.tissue.files == files


def test_maps_of_another_session_never_serve(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_ses-2_space-ACPC")
    assert scan_of(tmp_path, "sub-01_ses-1_space-ACPC_desc-preproc_dwi", maps).tissue is None


def test_the_dataset_of_the_series_comes_first(tmp_path, maps):
    write_tissue(anat(maps), "sub-01_space-ACPC")
    own = write_tissue(anat(tmp_path / "input"), "sub-01_space-ACPC")
    assert scan_of(tmp_path, ACPC, maps).tissue.files == own


def test_the_datasets_are_looked_into_in_the_order_given(tmp_path, maps):
    first = make_dataset(tmp_path / "z", OTHER)
    for root in (first, maps):
        write_tissue(anat(root), "sub-01_space-ACPC")
    assert scan_of(tmp_path, ACPC, first, maps).tissue.dataset == "z"


def test_maps_in_a_raw_dataset_are_not_used(tmp_path):
    root = make_dataset(tmp_path / "in")
    write_tissue(root / "sub-01" / "dwi", "sub-01")
    assert scan_of(tmp_path, RAW).tissue is None


# --- Labels ------------------------------------------------------------------------------------


@pytest.fixture
def qsiprep(tmp_path):
    return make_dataset(tmp_path / "qsiprep", QSIPREP)


def test_labels_in_the_space_of_the_series(tmp_path, qsiprep):
    image = write_anat(qsiprep, "sub-01_space-ACPC_dseg")
    tissue = scan_of(tmp_path, ACPC, qsiprep).tissue
    assert (tissue.kind, tissue.files, tissue.dataset) == ("dseg", (image,), "qsiprep")
    assert tissue.labels == {"wm": (3, 4), "gm": (2,), "csf": (1,)}
    assert (tissue.label_table, tissue.reference) == (None, None)


def test_the_table_of_labels_is_a_file_of_the_scan(tmp_path):
    root = make_dataset(tmp_path / "other", OTHER)
    write_anat(root, "sub-01_space-ACPC_dseg")
    (root / "dseg.tsv").write_text("index\tname\n1\tWM\n2\tGM\n3\tCSF\n")
    scan = scan_of(tmp_path, ACPC, root)
    assert scan.tissue.labels == {"wm": (1,), "gm": (2,), "csf": (3,)}
    assert scan.tissue.label_table == root / "dseg.tsv"
    assert root / "dseg.tsv" in scan.files


@pytest.mark.parametrize(
    "name",
    ["desc-aseg", "desc-aparcaseg", "seg-4S156Parcels", "atlas-AAL", "desc-ends", "label-WM"],
)
def test_other_label_images_are_no_tissue(tmp_path, qsiprep, name):
    write_anat(qsiprep, f"sub-01_space-ACPC_{name}_dseg")
    write_image(qsiprep / "sub-01" / "dwi" / f"sub-01_space-ACPC_{name}_dseg.nii.gz")
    scan = scan_of(tmp_path, ACPC, qsiprep)
    assert (scan.tissue, scan.notes) == (None, ())


def test_labels_of_an_unknown_program_are_refused(tmp_path):
    root = make_dataset(tmp_path / "other", OTHER)
    path = write_anat(root, "sub-01_space-ACPC_dseg")
    scan = scan_of(tmp_path, ACPC, root)
    assert scan.tissue is None
    assert f"{path} holds labels, but nothing says" in scan.notes[0]


def test_labels_are_one_volume(tmp_path, qsiprep):
    write_anat(qsiprep, "sub-01_space-ACPC_dseg", (2, 2, 2, 3))
    scan = scan_of(tmp_path, ACPC, qsiprep)
    assert scan.tissue is None
    assert "expected 3-D" in scan.notes[0]


# --- To be registered --------------------------------------------------------------------------


def write_kind(root, kind, prefix):
    """Tissue maps of a kind among the anatomical images."""
    if kind == "probseg":
        return write_tissue(anat(root), prefix)
    name, shape = ("seg-hsvs_probseg", FIVE) if kind == "5tt" else ("dseg", (2, 2, 2))
    return (write_image(anat(root) / f"{prefix}_{name}.nii.gz", shape),)


@pytest.mark.parametrize("kind", ["5tt", "probseg", "dseg"])
@pytest.mark.parametrize(
    ("dwi", "prefix", "t1w"),
    [
        (RAW, "sub-01", "sub-01_desc-preproc_T1w"),
        (NATIVE, "sub-01", "sub-01_desc-preproc_T1w"),
        (ACPC, "sub-01", "sub-01_desc-preproc_T1w"),
        (ACPC, "sub-01_acq-a_run-2", "sub-01_acq-a_run-2_desc-preproc_T1w"),
        (ACPC, "sub-01_acq-a", "sub-01_desc-preproc_T1w"),
        (RAW, "sub-01_space-T1w", "sub-01_desc-preproc_T1w"),
        (RAW, "sub-01_space-ACPC", "sub-01_space-ACPC_desc-preproc_T1w"),
        (T1W, "sub-01_space-ACPC", "sub-01_space-ACPC_desc-preproc_T1w"),
    ],
)
def test_maps_beside_their_t1w_image_are_to_be_registered(tmp_path, maps, kind, dwi, prefix, t1w):
    files = write_kind(maps, kind, prefix)
    image = write_anat(maps, t1w)
    mask = write_anat(maps, t1w.replace("desc-preproc_T1w", "desc-brain_mask"))
    scan = scan_of(tmp_path, dwi, maps)
    assert (scan.tissue.kind, scan.tissue.files) == (kind, files)
    assert scan.tissue.reference == Anatomical(image, mask, "maps", in_scan_space=False)
    assert {*files, image, mask} < set(scan.files)
    assert scan.notes == ()


@pytest.mark.parametrize(
    ("folder", "prefix", "t1w"),
    [
        ("anat", "sub-01", "sub-01_T1w"),
        ("anat", "sub-01", "sub-01_space-ACPC_desc-preproc_T1w"),
        ("anat", "sub-01", "sub-01_acq-b_desc-preproc_T1w"),
        ("anat", "sub-01_acq-a", "sub-01_acq-b_desc-preproc_T1w"),
        ("anat", "sub-01_space-ACPC", "sub-01_desc-preproc_T1w"),
        ("anat", "sub-01_space-MNI152Lin", "sub-01_space-MNI152Lin_desc-preproc_T1w"),
        ("dwi", "sub-01", "sub-01_desc-preproc_T1w"),
    ],
)
def test_the_image_of_another_space_is_no_reference(tmp_path, maps, folder, prefix, t1w):
    write_tissue(maps / "sub-01" / folder, prefix)
    write_anat(maps, t1w)
    name = ACPC if folder == "dwi" else RAW
    scan = scan_of(tmp_path, name, maps)
    assert scan.tissue is None
    assert "no preprocessed T1w image" in scan.notes[0]


def test_the_reference_is_of_the_dataset_of_the_maps(tmp_path, maps, qsiprep):
    write_tissue(anat(maps), "sub-01")
    write_anat(qsiprep, "sub-01_desc-preproc_T1w")
    scan = scan_of(tmp_path, RAW, maps, qsiprep)
    assert scan.tissue is None
    assert scan.t1w.dataset == "qsiprep"
    assert "maps has no preprocessed T1w image of the participant there" in scan.notes[0]


def test_a_reference_that_was_not_fetched(tmp_path, maps):
    write_tissue(anat(maps), "sub-01")
    path = break_link(write_anat(maps, "sub-01_desc-preproc_T1w"))
    scan = scan_of(tmp_path, RAW, maps)
    assert scan.tissue is None
    assert f"tissue maps not used: {path}" in scan.notes[0]
    assert "datalad get" in scan.notes[0]


def test_the_participants_image_is_the_reference_of_the_sessions_maps(tmp_path, maps):
    write_tissue(anat(maps, "ses-1"), "sub-01_ses-1")
    image = write_anat(maps, "sub-01_desc-preproc_T1w")
    assert scan_of(tmp_path, "sub-01_ses-1_dwi", maps).tissue.reference.t1w == image
    own = write_anat(maps, "sub-01_ses-1_desc-preproc_T1w")
    assert scan_of(tmp_path, "sub-01_ses-1_dwi", maps).tissue.reference.t1w == own


def test_the_t1w_space_of_older_qsiprep_is_its_own(tmp_path, maps, qsiprep):
    write_dwi(qsiprep, T1W)
    write_tissue(anat(maps), "sub-01")
    image = write_anat(maps, "sub-01_desc-preproc_T1w")
    (scan,) = index(qsiprep, derivatives=(str(maps),)).scans
    assert scan.tissue.reference.t1w == image
    files = write_tissue(anat(qsiprep), "sub-01")
    (scan,) = index(qsiprep, derivatives=(str(maps),)).scans
    assert (scan.tissue.files, scan.tissue.reference) == (files, None)


# --- The order of preference -------------------------------------------------------------------

IN_SPACE, IN_T1W = "sub-01_space-ACPC", "sub-01"
PREFERENCE = [
    (prefix, kind) for prefix in (IN_SPACE, IN_T1W) for kind in ("5tt", "probseg", "dseg")
]


@pytest.mark.parametrize("most", range(len(PREFERENCE)))
def test_the_order_of_preference(tmp_path, maps, most):
    write_anat(maps, "sub-01_desc-preproc_T1w")
    written = [write_kind(maps, kind, prefix) for prefix, kind in PREFERENCE[most:]]
    scan = scan_of(tmp_path, ACPC, maps)
    assert scan.tissue.files == written[0]
    assert (scan.tissue.reference is None) is (PREFERENCE[most][0] == IN_SPACE)
    notes = " ".join(scan.notes)
    assert all(str(files[0]) in notes for files in written[1:])


def test_what_is_passed_over_is_named_with_the_reason(tmp_path, maps):
    write_anat(maps, "sub-01_desc-preproc_T1w")
    for prefix in (IN_SPACE, IN_T1W):
        write_kind(maps, "dseg", prefix)
        write_kind(maps, "probseg", prefix)
    (note,) = scan_of(tmp_path, ACPC, maps).notes
    words = [text.split(")")[0] for text in note.split("(")[1:]]
    registered = "they would have to be registered first"
    assert words == ["probability maps come before labels", registered, registered]


def test_a_better_kind_that_cannot_be_used_is_named(tmp_path, maps):
    path = break_link(write_kind(maps, "5tt", IN_SPACE)[0])
    write_kind(maps, "dseg", IN_SPACE)
    scan = scan_of(tmp_path, ACPC, maps)
    assert scan.tissue.kind == "dseg"
    assert f"tissue maps not used: {path}" in scan.notes[0]
