import pytest

from bids_tract.report.records import read_run
from tests.report.outputs import make_logs


@pytest.fixture
def logs(tmp_path):
    return make_logs(tmp_path)


def test_what_a_run_left(logs):
    run = read_run(logs, "sub-01")
    assert run.command == "bids_tract in out participant"
    assert run.settings == "[model]\na = 1"
    assert run.citation.startswith("# Methods")
    assert run.errors == []


def test_only_what_concerns_the_participant_is_told(logs):
    run = read_run(logs, "sub-01")
    assert run.messages == [
        "Warning: sub-01_dir-AP: prepare: 12 voxels are <odd>",
        "Error: the disk is slow",
    ]
    assert run.failures == {"sub-01_dir-PA_dwi.nii.gz": "no <bval>"}
    assert read_run(logs, "sub-010").failures == {"sub-010_dir-AP": "of another"}
    assert read_run(logs, "sub-01_ses-1").failures == {}


def test_many_messages_are_cut(logs):
    line = "2026-11-21 01:30:39,376 ERROR bids_tract.app number {}\n"
    (logs / "run.log").write_text("".join(line.format(i) for i in range(1000)))
    messages = read_run(logs, "sub-01").messages
    assert len(messages) == 201
    assert messages[-1] == "800 more in run.log"


def test_repeated_messages_are_told_once(logs):
    (logs / "run.log").write_text("2026-11-21 01:30:39,376 ERROR bids_tract.app same\n" * 9)
    assert read_run(logs, "sub-01").messages == ["Error: same"]


def test_broken_files_are_said(logs):
    (logs / "status.json").write_text("{")
    (logs / "CITATION.md").write_bytes(b"\xff\xfe\xff")
    run = read_run(logs, "sub-01")
    assert len(run.errors) == 2
    assert run.command


def test_no_run_is_no_error(tmp_path):
    assert read_run(None, "sub-01").errors == []
    assert read_run(tmp_path / "absent", "sub-01").errors == []
