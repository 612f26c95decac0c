from __future__ import annotations

import shutil
import sys

import pytest

from bids_tract.errors import DataError, MissingInputError, NothingSelectedError, UsageError
from tests.dataset.indexing import index, labels, reasons
from tests.datasets import QSIPREP, make_dataset, write_dwi, write_json


@pytest.fixture
def raw(tmp_path):
    root = make_dataset(tmp_path / "raw")
    for name in ("ses-1_acq-A_run-1", "ses-1_acq-A_run-2", "ses-1", "ses-2_acq-A", "ses-2_acq-B"):
        write_dwi(root, f"sub-01_{name}_dwi")
    write_dwi(root, "sub-02_ses-1_dwi")
    return root


@pytest.fixture
def filters(tmp_path):
    """Write a filter file; returns its path."""
    return lambda content: str(write_json(tmp_path / "filters.json", content))


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ({}, ["ses-1_acq-A_run-1", "ses-1_acq-A_run-2", "ses-1", "ses-2_acq-A", "ses-2_acq-B"]),
        ({"acquisition": None}, ["ses-1"]),
        (
            {"acquisition": "*"},
            ["ses-1_acq-A_run-1", "ses-1_acq-A_run-2", "ses-2_acq-A", "ses-2_acq-B"],
        ),
        ({"acquisition": "A", "run": [1, 2]}, ["ses-1_acq-A_run-1", "ses-1_acq-A_run-2"]),
        ({"acquisition": [None, "B"]}, ["ses-1", "ses-2_acq-B"]),
        ({"session": "2"}, ["ses-2_acq-A", "ses-2_acq-B"]),
        ({"session": ["ses-2"], "acquisition": "B"}, ["ses-2_acq-B"]),
        ({"run": 2}, ["ses-1_acq-A_run-2"]),
        (
            {"suffix": "dwi", "datatype": "dwi", "part": ["mag", None], "run": 2},
            ["ses-1_acq-A_run-2"],
        ),
    ],
)
def test_filters_restrict_the_scans(raw, filters, terms, expected):
    path = filters({"dwi": terms, "t1w": {"acquisition": "mprage"}})
    dataset = index(raw, participant_label=("01",), bids_filter_file=path)
    assert labels(dataset) == [f"sub-01_{name}" for name in expected]
    left_out = 5 - len(expected)
    assert sum("left out by the filters" in why for why in reasons(dataset).values()) == left_out


def test_a_file_without_a_section_for_diffusion_restricts_nothing(raw, filters):
    assert len(index(raw, bids_filter_file=filters({"t1w": {}})).scans) == 6


def test_filters_hold_for_derivative_datasets_too(tmp_path, filters):
    root = make_dataset(tmp_path / "qsiprep", QSIPREP)
    for space in ("ACPC", "T1w"):
        write_dwi(root, f"sub-01_space-{space}_desc-preproc_dwi")
    path = filters({"dwi": {"space": "T1w", "desc": "preproc"}})
    assert labels(index(root, bids_filter_file=path)) == ["sub-01_space-T1w"]


def test_filters_that_leave_nothing(raw, filters):
    with pytest.raises(NothingSelectedError, match="left out by the filters of"):
        index(raw, bids_filter_file=filters({"dwi": {"acquisition": "Z"}}))


def test_a_filter_file_that_is_not_there(raw):
    with pytest.raises(MissingInputError, match="nowhere"):
        index(raw, bids_filter_file="/nowhere.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "expected an object"),
        ({"dwi": []}, '"dwi" is'),
        ({"dwi": {"run": {"a": 1}}}, '"run" of "dwi"'),
        ({"dwi": {"run": []}}, '"run" of "dwi"'),
        ({"dwi": {"aquisition": "A"}}, "does not know the entity aquisition.*acquisition"),
        ({"dwi": {"acq": "A"}}, "does not know the entity acq "),
        ({"t1w": "mprage"}, '"t1w" is'),
        ({"t1w": {"run": []}}, '"run" of "t1w"'),
        ({"t1w": {"acq": "A"}}, 'does not know the entity acq of "t1w"'),
    ],
)
def test_faulty_filter_files(raw, filters, content, message):
    with pytest.raises(UsageError, match=message):
        index(raw, bids_filter_file=filters(content))


def test_a_filter_file_that_is_not_json(raw, tmp_path):
    (tmp_path / "filters.json").write_text("{")
    with pytest.raises(UsageError, match=r"filters\.json is not valid JSON"):
        index(raw, bids_filter_file=str(tmp_path / "filters.json"))


@pytest.mark.parametrize("session", ["2", ["1", "2"], None])
def test_sessions_that_contradict_the_command_line(raw, filters, session):
    path = filters({"dwi": {"session": session}})
    with pytest.raises(UsageError, match="disagree"):
        index(raw, session_label=("1",), bids_filter_file=path)


@pytest.mark.parametrize("session", ["1", ["ses-1"], "*"])
def test_sessions_that_agree_with_the_command_line(raw, filters, session):
    path = filters({"dwi": {"session": session, "acquisition": None}})
    dataset = index(raw, session_label=("1",), bids_filter_file=path)
    assert labels(dataset) == ["sub-01_ses-1", "sub-02_ses-1"]


def test_pybids_does_not_touch_other_participants(raw, filters, listed_folders):
    path = filters({"dwi": {"acquisition": "B"}})
    (raw / "sub-01" / "ses-2" / "func").mkdir()
    index(raw, participant_label=("01",), bids_filter_file=path)
    touched = {str(folder) for folder in listed_folders}
    assert str(raw / "sub-01" / "ses-2" / "dwi") in touched
    assert not [folder for folder in touched if "sub-02" in folder or "func" in folder]


def test_pybids_is_not_imported_unless_it_is_asked_for(raw, monkeypatch):
    monkeypatch.setitem(sys.modules, "bids.layout", None)  # an import would fail
    assert len(index(raw).scans) == 6


# --- Databases ---------------------------------------------------------------------------------


def test_a_database_is_made_used_and_not_refreshed(raw, tmp_path):
    database = str(tmp_path / "db")
    assert len(index(raw, participant_label=("01",), bids_database_dir=database).scans) == 5
    assert len(index(raw, bids_database_dir=database).scans) == 6, "it knows all participants"
    write_dwi(raw, "sub-03_dwi")
    dataset = index(raw, bids_database_dir=database)
    assert len(dataset.scans) == 6
    assert f"not in the database {database}" in reasons(dataset)["sub-03_dwi.nii.gz"]


def test_a_database_and_filters(raw, tmp_path, filters):
    given = {
        "bids_database_dir": str(tmp_path / "db"),
        "bids_filter_file": filters({"dwi": {"acquisition": "B"}}),
    }
    for _ in range(2):
        assert labels(index(raw, **given)) == ["sub-01_ses-2_acq-B"]


def test_the_database_of_another_dataset(raw, tmp_path):
    database = str(tmp_path / "db")
    index(raw, bids_database_dir=database)
    other = shutil.copytree(raw, tmp_path / "other")
    with pytest.raises(UsageError, match="is the database of"):
        index(other, bids_database_dir=database)


def test_a_damaged_database(raw, tmp_path):
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "layout_index.sqlite").write_text("not a database at all" * 100)
    with pytest.raises(DataError, match="PyBIDS cannot index"):
        index(raw, bids_database_dir=str(tmp_path / "db"))
