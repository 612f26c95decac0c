from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from bids_tract.report.group_records import (
    Covariates,
    missing_places,
    read_covariates,
    read_statuses,
)
from tests.report.studies import write_status


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_the_latest_run_counts(tmp_path, pool):
    late = {"sub-01_ses-1": {"Status": "complete"}, "sub-02": {"Status": "complete"}}
    write_status(tmp_path, "20261122T010000-aaaaaa", late)
    early = {
        "sub-01_ses-1": {"Status": "failed", "Error": "no <bval>"},
        # A file that was no scan yet is the same scan as its label.
        "sub-02_dwi.nii.gz": {"Status": "failed", "Error": "it is empty"},
        "sub-03_dir-PA_dwi.nii.gz": {"Status": "failed", "Error": "it is empty"},
        "no scan": {"Status": "failed"},
    }
    write_status(tmp_path, "20261121T010000-bbbbbb", early)
    errors: list[str] = []
    found = read_statuses(tmp_path, pool, errors)
    assert errors == []
    assert {
        sub: {label: one.status for label, one in said.items()} for sub, said in found.items()
    } == {
        "sub-01": {"sub-01_ses-1": "complete"},
        "sub-02": {"sub-02": "complete"},
        "sub-03": {"sub-03_dir-PA": "failed"},
    }
    assert found["sub-03"]["sub-03_dir-PA"].reason == "it is empty"


def test_a_status_that_cannot_be_read_is_said_and_stops_nothing(tmp_path, pool):
    write_status(tmp_path, "20261121T010000-aaaaaa", {"sub-01": {"Status": "complete"}})
    write_status(tmp_path, "20261122T010000-bbbbbb", {})
    (tmp_path / "logs/20261122T010000-bbbbbb/status.json").write_text("{")
    errors: list[str] = []
    assert [*read_statuses(tmp_path, pool, errors)] == ["sub-01"]
    assert len(errors) == 1
    assert "bbbbbb" in errors[0]


def test_covariates_by_participant(tmp_path):
    (tmp_path / "participants.tsv").write_text("age\tparticipant_id\n3\tsub-01\nn/a\t02\n")
    (tmp_path / "participants.json").write_text('{"age": {"Units": "year"}, "sex": {}}')
    errors: list[str] = []
    found = read_covariates(tmp_path, errors)
    assert errors == []
    assert found == Covariates(
        ["age"], {"sub-01": {"age": "3"}, "sub-02": {"age": "n/a"}}, {"age": {"Units": "year"}}
    )


def test_a_faulty_table_of_participants_is_said(tmp_path):
    assert read_covariates(tmp_path, []) == Covariates()
    (tmp_path / "participants.tsv").write_bytes(b"participant_id\n\xff\n")
    errors: list[str] = []
    assert read_covariates(tmp_path, errors).of == {}
    assert "participants.tsv" in errors[0]


def test_who_is_missing_and_why(tmp_path, pool):
    for place in ("sub-01/dwi", "sub-02/anat", "sub-03/ses-1/dwi", "sub-03/ses-2/dwi",
                  "sub-03/ses-3/anat", "sub-06/dwi"):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
    covariates = Covariates(["age"], {"sub-04": {}})
    present = {"sub-01": [""], "sub-03": ["ses-2"], "sub-07": [""]}
    subs = [f"sub-{number:02d}" for number in range(1, 8)]
    assert missing_places(tmp_path, subs, covariates, present, pool) == {
        "has no diffusion data in the dataset": ["sub-02"],
        "not processed yet (neither results nor a reason)": ["sub-03_ses-1", "sub-06"],
        "in participants.tsv, but has no folder in the dataset": ["sub-04"],
        "has no folder in the dataset": ["sub-05"],
    }
