from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.report.group_records import (
    Covariates,
    Status,
    Statuses,
    few_at_a_time,
    labelled_folders,
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
    assert found.subs() == {"sub-01", "sub-02", "sub-03"}
    assert found.of("sub-01") == {"sub-01_ses-1": Status("complete")}
    assert found.of("sub-02") == {"sub-02": Status("complete")}
    assert found.of("sub-03") == {"sub-03_dir-PA": Status("failed", "it is empty")}


@given(st.sets(st.from_regex(r"sub-[0A_a+]{1,3}(_run-[12])?", fullmatch=True), max_size=8))
def test_a_participant_has_its_own_scans_only(labels):
    labels = {label for label in labels if "_" not in label.removeprefix("sub-").split("_run")[0]}
    found = Statuses({label: Status(label) for label in labels})
    by_sub = {sub: found.of(sub) for sub in found.subs()}
    assert {label: one.status for said in by_sub.values() for label, one in said.items()} == {
        label: label for label in labels
    }
    assert all(label.split("_")[0] == sub for sub, said in by_sub.items() for label in said)


def test_a_status_that_cannot_be_read_is_said_and_stops_nothing(tmp_path, pool):
    write_status(tmp_path, "20261121T010000-aaaaaa", {"sub-01": {"Status": "complete"}})
    write_status(tmp_path, "20261122T010000-bbbbbb", {})
    (tmp_path / "logs/20261122T010000-bbbbbb/status.json").write_text("{")
    errors: list[str] = []
    assert read_statuses(tmp_path, pool, errors).subs() == {"sub-01"}
    assert len(errors) == 1
    assert "bbbbbb" in errors[0]


def test_covariates_by_participant(tmp_path):
    (tmp_path / "participants.tsv").write_text("age\tparticipant_id\n3\tsub-01\nn/a\t02\n")
    (tmp_path / "participants.json").write_text('{"age": {"Units": "year"}, "sex": {}}')
    errors: list[str] = []
    found = read_covariates(tmp_path, {"sub-01", "sub-02"}, errors)
    assert errors == []
    assert found == Covariates(
        ["age"], {"sub-01": ("3",), "sub-02": ("n/a",)}, {"age": {"Units": "year"}}
    )


def test_covariates_that_are_not_there_are_not_available(tmp_path):
    (tmp_path / "participants.tsv").write_text(
        "sex\tparticipant_id\tage\tsite\nf\tsub-01\nm\tsub-02\t\tx\n"
    )
    found = read_covariates(tmp_path, (), [])
    assert found.names == ["sex", "age", "site"]
    subs = ["sub-02", "sub-01", "sub-03"]
    assert [*found.values("sex", subs)] == ["m", "f", "n/a"]
    assert [*found.values("age", subs)] == ["n/a", "n/a", "n/a"]
    assert [*found.values("site", subs)] == ["x", "n/a", "n/a"]


def test_a_column_without_a_name_is_none(tmp_path):
    (tmp_path / "participants.tsv").write_text("participant_id\tage\t\nsub-01\t3\t\n")
    assert read_covariates(tmp_path, {"sub-01"}, []) == Covariates(["age"], {"sub-01": ("3",)})


def test_a_faulty_table_of_participants_is_said(tmp_path):
    assert read_covariates(tmp_path, (), []) == Covariates()
    (tmp_path / "participants.tsv").write_bytes(b"participant_id\n\xff\n")
    errors: list[str] = []
    assert read_covariates(tmp_path, (), errors).of == {}
    assert "participants.tsv" in errors[0]


AGES = {"sub-01": ("3",), "sub-02": ("4",)}


@pytest.mark.parametrize(
    ("rows", "said", "of"),
    [
        ("id\tage\nsub-01\t3", "has no column participant_id (its columns: id, age)", {}),
        ("participant_id,age\nsub-01,3", "has commas between its columns", {}),
        ("participant_id age\nsub-01 3", "(its columns: participant_id age)", {}),
        (
            "participant_id\tage\nsub-01\t3\nsub-02\t4\nsub-01\t5\nsub-01\t6",
            "has more than one row of sub-01; the first of each counts",
            AGES,
        ),
        (
            "participant_id\tage\tage\nsub-01\t3\t7\nsub-02\t4\t8",
            "has more than one column age; the first of each counts",
            AGES,
        ),
        (
            'participant_id\tage\n"sub-01"\t"3"\n"sub-02"\t4',
            "has quotes around sub-01, sub-02, and was read without them",
            AGES,
        ),
        (
            '"participant_id"\t"age"\nsub-01\t"3"\nsub-02\t4',
            "has quotes around the names of the columns, and was read without them",
            AGES,
        ),
        (
            "participant_id\tage\n1\t9\n01\t3\nsub-02\t4",
            "has ids without sub- for which there is no folder (1)",
            {"sub-1": ("9",)} | AGES,
        ),
        (
            "participant_id\tage\nsub-01\t3\nsub_03\t5\n\t5\nsub-02\t4",
            "has ids that are no labels ('sub_03', '')",
            AGES,
        ),
    ],
)
def test_faults_of_the_table_of_participants_are_said_and_the_rest_is_kept(
    tmp_path, rows, said, of
):
    (tmp_path / "participants.tsv").write_text(rows + "\n")
    errors: list[str] = []
    found = read_covariates(tmp_path, {"sub-01", "sub-02"}, errors)
    assert found == Covariates(["age"] if of else [], of)
    (sentence,) = errors
    assert sentence.startswith(str(tmp_path / "participants.tsv"))
    assert said in sentence


def test_many_faults_are_one_short_sentence(tmp_path):
    rows = "".join(f"{number}\t1\n" for number in range(1200))
    (tmp_path / "participants.tsv").write_text(f"participant_id\tage\n{rows}")
    errors: list[str] = []
    assert len(read_covariates(tmp_path, (), errors).of) == 1200
    (sentence,) = errors
    assert "(0, 1, 2, 3, 4 and 1,195 more)" in sentence


def test_quotes_within_words_are_words(tmp_path):
    (tmp_path / "participants.tsv").write_text('participant_id\tnote\nsub-01\t"a" or "b"\n')
    errors: list[str] = []
    found = read_covariates(tmp_path, (), errors)
    assert [*found.values("note", ["sub-01"])] == ['"a" or "b"']
    assert errors == []


def test_only_folders_with_a_label_are_participants(tmp_path):
    for name in ("sub-03", "sub-A+1", "sub-03.html", "sub-", "sub-1_old", "sub-é", "ses-1"):
        (tmp_path / name).mkdir()
    (tmp_path / "sub-04").write_text("a file")
    assert labelled_folders(tmp_path, "sub") == ["sub-03", "sub-A+1"]
    assert labelled_folders(tmp_path, "ses") == ["ses-1"]
    assert labelled_folders(tmp_path / "nowhere", "sub") == []


def test_who_is_missing_of_some_sessions(tmp_path, pool):
    for place in ("sub-01/dwi", "sub-02/ses-1/dwi", "sub-02/ses-2/dwi", "sub-03/ses-2/dwi"):
        (tmp_path / place).mkdir(parents=True)
    subs, present = ["sub-01", "sub-02", "sub-03"], {"sub-03": ["ses-2"]}
    assert missing_places(tmp_path, subs, Covariates(), present, pool, ["2"]) == {
        "has no diffusion data in ses-2 of the dataset": ["sub-01"],
        "not processed yet (neither results nor a reason)": ["sub-02_ses-2"],
    }


def test_who_is_missing_and_why(tmp_path, pool):
    for place in ("sub-01/dwi", "sub-02/anat", "sub-03/ses-1/dwi", "sub-03/ses-2/dwi",
                  "sub-03/ses-3/anat", "sub-06/dwi", "sub-08/anat"):  # fmt: skip
        (tmp_path / place).mkdir(parents=True)
    covariates = Covariates(["age"], {"sub-04": ()})
    present = {"sub-01": [""], "sub-03": ["ses-2"], "sub-07": [""], "sub-08": [""]}
    subs = [f"sub-{number:02d}" for number in range(1, 9)]
    assert missing_places(tmp_path, subs, covariates, present, pool) == {
        "has no diffusion data in the dataset": ["sub-02"],
        "not processed yet (neither results nor a reason)": ["sub-03_ses-1", "sub-06"],
        "in participants.tsv, but has no folder in the dataset": ["sub-04"],
        "has no folder in the dataset": ["sub-05"],
    }


def test_few_are_in_memory_at_a_time(pool):
    begun = []

    def read(number):
        begun.append(number)
        return number * number

    found = few_at_a_time(pool, read, iter(range(10)), 3)
    assert begun == []
    assert next(found) == 0
    assert len(begun) <= 3
    assert [0, *found] == [number * number for number in range(10)]
