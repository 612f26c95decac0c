"""The inheritance principle; the cases in which PyBIDS 0.22 answers otherwise among them."""

from __future__ import annotations

import pytest

from bids_tract.dataset import find_associated, merged_metadata
from bids_tract.errors import DataError
from tests.datasets import make_dataset, write_gradients, write_image, write_json


def image_with(root, name, *others):
    """An image in sub-01/dwi and b-values of other names; returns what find_associated finds."""
    image = write_image(root / "sub-01" / "dwi" / f"{name}.nii.gz", (2, 2, 2, 7))
    for other in others:
        write_gradients(root / other)
    found = find_associated(image, root, ".bval")
    return None if found is None else str(found.relative_to(root))


# --- Where PyBIDS finds another file -----------------------------------------------------------


def test_a_file_with_an_entity_that_the_image_lacks_does_not_apply(tmp_path):
    assert image_with(tmp_path, "sub-01_dwi", "sub-01/dwi/sub-01_acq-A_dwi") is None


def test_the_exact_file_is_taken_beside_one_with_more_entities(tmp_path):
    found = image_with(
        tmp_path, "sub-01_dwi", "sub-01/dwi/sub-01_acq-A_dwi", "sub-01/dwi/sub-01_dwi"
    )
    assert found == "sub-01/dwi/sub-01_dwi.bval"


def test_the_exact_file_is_taken_beside_a_sibling_that_shares_an_entity(tmp_path):
    found = image_with(
        tmp_path,
        "sub-01_dir-AP_dwi",
        "sub-01/dwi/sub-01_acq-b3000_dir-AP_dwi",
        "sub-01/dwi/sub-01_dir-AP_dwi",
    )
    assert found == "sub-01/dwi/sub-01_dir-AP_dwi.bval"


def test_raw_data_do_not_get_the_preprocessed_files_beside_them(tmp_path):
    found = image_with(
        tmp_path, "sub-01_dwi", "sub-01/dwi/sub-01_desc-preproc_dwi", "sub-01/dwi/sub-01_dwi"
    )
    assert found == "sub-01/dwi/sub-01_dwi.bval"


def test_two_partial_matches_of_one_folder_are_an_error_that_names_both(tmp_path):
    with pytest.raises(DataError, match=r"acq-A_dwi\.bval and .*dir-AP_dwi\.bval"):
        image_with(
            tmp_path,
            "sub-01_acq-A_dir-AP_dwi",
            "sub-01/dwi/sub-01_acq-A_dwi",
            "sub-01/dwi/sub-01_dir-AP_dwi",
        )


def test_nothing_is_found_where_there_is_nothing(tmp_path):
    assert image_with(tmp_path, "sub-01_part-phase_dwi", "sub-01/dwi/sub-01_part-mag_dwi") is None


# --- The rest of the rule ----------------------------------------------------------------------


def test_the_exact_file_is_taken_beside_one_with_fewer_entities(tmp_path):
    found = image_with(
        tmp_path, "sub-01_acq-A_dwi", "sub-01/dwi/sub-01_dwi", "sub-01/dwi/sub-01_acq-A_dwi"
    )
    assert found == "sub-01/dwi/sub-01_acq-A_dwi.bval"


def test_another_label_does_not_apply(tmp_path):
    assert image_with(tmp_path, "sub-01_acq-A_dwi", "acq-B_dwi", "sub-01/sub-01_acq-a_dwi") is None


def test_another_suffix_does_not_apply(tmp_path):
    assert image_with(tmp_path, "sub-01_dwi", "sub-01/dwi/sub-01_sbref", "epi") is None


def test_the_parts_share_the_file_without_part(tmp_path):
    found = image_with(tmp_path, "sub-01_part-mag_dwi", "sub-01/dwi/sub-01_dwi")
    assert found == "sub-01/dwi/sub-01_dwi.bval"


@pytest.mark.parametrize(
    "level", ["dwi", "acq-A_dwi", "sub-01/sub-01_dwi", "sub-01/sub-01_run-1_dwi"]
)
def test_a_file_of_any_level_above_applies(tmp_path, level):
    assert image_with(tmp_path, "sub-01_acq-A_run-1_dwi", level) == f"{level}.bval"


def test_the_deepest_file_wins_even_where_a_higher_folder_is_ambiguous(tmp_path):
    found = image_with(
        tmp_path, "sub-01_acq-A_run-1_dwi", "acq-A_dwi", "run-1_dwi", "sub-01/sub-01_dwi"
    )
    assert found == "sub-01/sub-01_dwi.bval"


def test_files_above_the_dataset_do_not_apply(tmp_path):
    write_gradients(tmp_path / "dwi")
    assert image_with(make_dataset(tmp_path / "dataset"), "sub-01_dwi") is None


def test_an_extension_is_all_that_follows_the_first_dot(tmp_path):
    image = write_image(tmp_path / "sub-01" / "dwi" / "sub-01_dwi.nii.gz", (2, 2, 2, 7))
    (image.parent / "sub-01_dwi.old.bval").write_text("0 1000\n")
    assert find_associated(image, tmp_path, ".bval") is None


def test_sidecars_are_merged_and_the_nearer_one_holds(tmp_path):
    image = write_image(tmp_path / "sub-01" / "ses-1" / "dwi" / "sub-01_ses-1_acq-A_dwi.nii.gz")
    write_json(tmp_path / "dwi.json", {"EchoTime": 1, "Manufacturer": "X", "FlipAngle": 90})
    write_json(tmp_path / "sub-01" / "sub-01_acq-A_dwi.json", {"EchoTime": 2, "FlipAngle": 80})
    write_json(tmp_path / "sub-01" / "sub-01_acq-B_dwi.json", {"EchoTime": 9})
    write_json(image.with_name("sub-01_ses-1_acq-A_dwi.json"), {"EchoTime": 3})
    assert merged_metadata(image, tmp_path) == {
        "EchoTime": 3,
        "Manufacturer": "X",
        "FlipAngle": 80,
    }


def test_no_sidecar_is_no_metadata(tmp_path):
    image = write_image(tmp_path / "sub-01" / "dwi" / "sub-01_dwi.nii.gz")
    assert merged_metadata(image, tmp_path) == {}


def test_a_broken_sidecar_is_named(tmp_path):
    image = write_image(tmp_path / "sub-01" / "dwi" / "sub-01_dwi.nii.gz")
    (tmp_path / "dwi.json").write_text("{")
    with pytest.raises(DataError, match=r"dwi\.json"):
        merged_metadata(image, tmp_path)
