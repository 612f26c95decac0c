from __future__ import annotations

import json
import tomllib

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as budget

from bids_tract import __version__
from bids_tract.errors import MissingInputError, UsageError
from bids_tract.files.sidecars import write_json
from bids_tract.names import bidsignore
from bids_tract.settings import build, read_toml
from bids_tract.workflow import saved
from bids_tract.workflow.interface import FAILURE_FILE
from bids_tract.workflow.saved import (
    Fingerprints,
    read_failure,
    recorded_digest,
    refuse_foreign,
    write_description,
    write_run_files,
)
from tests.any_settings import any_values
from tests.plans import asked, make_dataset, make_scan, plan_all

# --- Digests ------------------------------------------------------------------------------------


def test_fingerprints_follow_content_not_names(tmp_path):
    one, same, other = (tmp_path / name for name in ("one", "same", "other"))
    one.write_bytes(b"content")
    same.write_bytes(b"content")
    other.write_bytes(b"Content")
    fingerprint = Fingerprints()
    assert fingerprint(one) == fingerprint(same)
    assert fingerprint(one) != fingerprint(other)


def test_a_file_is_read_once_in_a_run(tmp_path):
    path = tmp_path / "one"
    path.write_bytes(b"content")
    fingerprint = Fingerprints()
    first = fingerprint(path)
    path.write_bytes(b"something else")
    assert fingerprint(path) == first
    assert Fingerprints()(path) != first


def test_the_fingerprint_of_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInputError, match="no_file"):
        Fingerprints()(tmp_path / "no_file")


def test_the_digest_stands_in_the_sidecar(tmp_path):
    output = tmp_path / "sub-01_tractogram.trx"
    assert recorded_digest(output) is None
    output.write_bytes(b"x")
    assert recorded_digest(output) is None
    write_json(tmp_path / "sub-01_tractogram.json", {"Digest": "abc"})
    assert recorded_digest(output) == "abc"
    output.unlink()
    assert recorded_digest(output) is None


@pytest.mark.parametrize("text", ["", '{"Digest": "ab', "[]", "{}", '{"Digest": 3}'])
def test_a_sidecar_that_is_not_whole_counts_as_none(tmp_path, text):
    (tmp_path / "sub-01_mask.nii.gz").write_bytes(b"x")
    (tmp_path / "sub-01_mask.json").write_text(text)
    assert recorded_digest(tmp_path / "sub-01_mask.nii.gz") is None


def test_failures_that_stages_leave(tmp_path):
    assert read_failure(tmp_path) is None
    failure = {"Stage": "csd", "Error": "a sentence", "ExitCode": 65}
    write_json(tmp_path / FAILURE_FILE, failure)
    assert read_failure(tmp_path) == failure


# --- What describes the output ------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """As outside any container, wherever the tests run."""
    for name in (
        "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER", "BIDS_TRACT_IMAGE", "container",
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(saved, "_DOCKER_MARK", tmp_path / "none")


def test_the_output_becomes_a_dataset(tmp_path, outside):
    write_description(tmp_path, make_dataset(make_scan()))
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["DatasetLinks"] == {
        "source": "file:///data/raw",
        "anat": "file:///data/anat",
    }
    assert description["GeneratedBy"] == [{"Name": "bids_tract", "Version": __version__}]
    assert (tmp_path / ".bidsignore").read_text().splitlines() == bidsignore()
    assert "raw data" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("name", ["APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"])
def test_the_container_is_named(tmp_path, monkeypatch, outside, name):
    monkeypatch.setenv(name, "/images/bids tract.sif")
    write_description(tmp_path, make_dataset())
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Container"] == {
        "Type": "apptainer",
        "URI": "file:///images/bids%20tract.sif",
    }


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_the_image_is_named(tmp_path, monkeypatch, outside, engine):
    monkeypatch.setenv("BIDS_TRACT_IMAGE", "bids_tract:1.2")
    if engine == "podman":
        monkeypatch.setenv("container", "podman")
    write_description(tmp_path, make_dataset())
    description = json.loads((tmp_path / "dataset_description.json").read_text())
    container = description["GeneratedBy"][0]["Container"]
    assert container == {"Type": engine, "Tag": "bids_tract:1.2"}


def test_what_is_said_of_the_output_is_written_anew_each_time(tmp_path):
    (tmp_path / "README.md").write_text("of another version")
    write_description(tmp_path, make_dataset())
    assert __version__ in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    "text",
    [
        '{"Name": "raw data"}',
        '{"GeneratedBy": [{"Name": "QSIPrep"}]}',
        '{"GeneratedBy": {"Name": "bids_tract"}}',
        '{"GeneratedBy": ["bids_tract"]}',
    ],
)
def test_a_dataset_of_another_program_is_refused(tmp_path, text):
    (tmp_path / "dataset_description.json").write_text(text)
    with pytest.raises(UsageError, match="this program did not make; choose another"):
        refuse_foreign(tmp_path)


def test_an_output_folder_that_is_ours_or_empty_is_taken(tmp_path):
    refuse_foreign(tmp_path / "absent")
    refuse_foreign(tmp_path)
    (tmp_path / "dataset_description.json").write_text("{broken")
    refuse_foreign(tmp_path)
    write_description(tmp_path, make_dataset())
    refuse_foreign(tmp_path)


# --- Files of a run -----------------------------------------------------------------------------


@given(any_values())
@budget(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_settings_of_a_run_can_be_given_to_another(tmp_path, said):
    said.get("run", {}).pop("dry_run", None)
    settings = build(said)
    plan, _ = plan_all(asked())
    write_run_files(tmp_path, settings, plan, ["bids_tract", "raw", "out", "participant"])
    assert build(read_toml(tmp_path / "settings.toml")) == settings


@pytest.mark.parametrize(
    ("argv", "comment"),
    [
        (["bids_tract", "raw data", "out"], "# bids_tract 'raw data' out"),
        (["bids_tract", "two\nlines\x07"], "# bids_tract 'two\N{REPLACEMENT CHARACTER}lines"),
        (["bids_tract", "été"], "# bids_tract 'été'"),
        (["bids_tract", "\udce9t\udce9"], "# bids_tract '\N{REPLACEMENT CHARACTER}t"),
    ],
)
def test_the_command_stands_above_the_settings(tmp_path, argv, comment):
    plan, _ = plan_all(asked())
    write_run_files(tmp_path, asked(step_mm=0.7), plan, argv)
    text = (tmp_path / "settings.toml").read_text(encoding="utf-8")
    assert text.startswith(comment)
    assert tomllib.loads(text)["tracking"]["step"] == 0.7


def test_the_plan_and_the_references_are_kept(tmp_path):
    plan, _ = plan_all(asked())
    write_run_files(tmp_path / "logs" / "run", asked(), plan, ["bids_tract"])
    kept = json.loads((tmp_path / "logs" / "run" / "plan.json").read_text())
    assert kept == json.loads(json.dumps(plan.as_dict()))
    assert "Tournier" in (tmp_path / "logs" / "run" / "CITATION.md").read_text()
