"""How a run behaves: exit codes, what it writes where, and the options that change no result."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bids_tract import app
from bids_tract.app import WORK_MARK, validate
from bids_tract.errors import DataError, MissingInputError
from tests.datasets import write_json
from tests.e2e.program import VALIDATOR, Outcome, read, run
from tests.phantoms import Scene, bend, scan, write_bids, write_nifti

pytestmark = pytest.mark.e2e
SMALL = ("--tracking", "det", "--min-length", 5)
INFO = logging.INFO


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scan(bend(), shape=(12, 12, 6))


@pytest.fixture(scope="module")
def raw(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound dataset of one scan; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("app") / "raw"
    write_bids(folder, scene)
    return folder


@pytest.fixture
def broken(scene: Scene, tmp_path: Path) -> Path:
    """A dataset of a scan that cannot be used and a sound one, in this order."""
    folder = tmp_path / "raw"
    for subject in ("01", "02"):
        write_bids(folder, scene, subject=subject)
    image = folder / "sub-01" / "dwi" / "sub-01_dwi.nii.gz"
    write_nifti(image, np.ones_like(scene.data), scene.affine)
    return folder


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


# --- Exit codes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed", "complete", "code"),
    [
        ([], 0, 0),
        ([], 3, 0),
        ([DataError.exit_code], 0, 65),
        ([DataError.exit_code] * 3, 0, 65),
        ([DataError.exit_code] * 3, 1, 1),
        ([DataError.exit_code, MissingInputError.exit_code], 0, 1),
    ],
)
def test_the_exit_code_is_the_failures_own_where_all_fail_alike(failed, complete, code):
    assert app._exit_code(failed, complete) == code


def test_the_exit_code_is_said_last(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL)
    assert done.code == 0
    assert done.messages(INFO)[-1].endswith("exit code 0")


@pytest.mark.parametrize(("debug", "shown"), [((), False), (("--debug",), True)])
def test_our_own_fault_is_one_sentence_and_with_debug_a_traceback(
    raw, tmp_path, monkeypatch, debug, shown
):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("bids_tract.plan.build_plan", fail)
    done = run(raw, tmp_path / "out", *SMALL, *debug)
    assert done.code == 70
    assert done.errors == [
        "internal error: ZeroDivisionError: by zero (please report it with what --debug prints)"
    ]
    assert ("Traceback" in done.stderr) is shown


def test_an_unexpected_failure_of_a_stage_leaves_a_crash_file(raw, tmp_path, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("bids_tract.workflow.models.fit_tensor", fail)
    done = run(raw, tmp_path / "out", *SMALL)
    assert done.code == 70
    assert "tensor failed: unexpected ZeroDivisionError: by zero" in done.errors[0]
    (crash,) = done.log_dir.glob("crash*")
    assert "ZeroDivisionError" in crash.read_text()
    assert "Traceback" not in done.stderr


# --- Levels, plans and reports ------------------------------------------------------------------


def test_a_dry_run_prints_the_plan_and_writes_nothing(raw, tmp_path):
    before = everything(tmp_path)
    done = run(raw, tmp_path / "out", *SMALL, "--dry-run")
    assert done.code == 0
    assert everything(tmp_path) == before
    assert done.stdout.startswith("sub-01  ")
    assert "  track-det-csd  to be computed\n" in done.stdout
    assert "    sub-01/dwi/sub-01_track-det_desc-csd_tractogram.trx\n" in done.stdout


def test_a_dry_run_tells_what_is_missing(raw, tmp_path):
    done = run(raw, tmp_path / "out", "--tracking", "pft", "--dry-run")
    assert done.code == 66
    assert done.errors[0].startswith("sub-01: neither tissue maps nor")


def test_a_dry_run_over_a_finished_one_finds_nothing_to_do(raw, tmp_path):
    run(raw, tmp_path / "out", *SMALL)
    done = run(raw, tmp_path / "out", *SMALL, "--dry-run")
    assert done.stdout.count("unchanged: reused") == 5
    assert "to be computed" not in done.stdout


def test_a_run_ends_with_a_report_for_each_participant(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL, reports=True)
    assert done.code == 0
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert "sub-01" in page
    assert list((tmp_path / "out" / "sub-01" / "figures").glob("*.webp"))
    assert "1 report written" in " ".join(done.messages(INFO))


def test_reports_only_computes_nothing_and_makes_the_reports(raw, tmp_path):
    run(raw, tmp_path / "out", *SMALL)
    assert not (tmp_path / "out" / "sub-01.html").exists()
    before = everything(tmp_path)
    done = run(raw, tmp_path / "out", *SMALL, "--reports-only")
    assert done.code == 0
    assert (tmp_path / "out" / "sub-01.html").is_file()
    made = set(everything(tmp_path)) - set(before)
    computed = [path for path in made if re.search("dwimap|tractogram", path.name)]
    assert {path.name.split("_", 1)[1].split(".")[0] for path in computed} == {
        "model-csd_param-density_desc-det_dwimap"  # which reports take of the tractogram
    }
    assert "deterministic" in (tmp_path / "out" / "sub-01.html").read_text()


def test_a_report_that_cannot_be_shown_in_full_changes_the_exit_code_only(raw, tmp_path):
    run(raw, tmp_path / "out", *SMALL)
    (fa,) = (tmp_path / "out").rglob("*param-fa_dwimap.nii.gz")
    fa.write_bytes(b"no image")
    done = run(raw, tmp_path / "out", *SMALL, "--reports-only")
    assert done.code == 1
    assert any("fa_dwimap" in line for line in done.errors)
    assert (tmp_path / "out" / "sub-01.html").is_file()


def test_the_group_level_needs_results(raw, tmp_path):
    done = run(raw, tmp_path / "out", levels=("group",))
    assert done.code == 18
    assert "run the participant level first" in done.errors[0]


def test_the_group_level_is_about_those_who_are_asked_for(raw, tmp_path):
    (tmp_path / "out").mkdir()
    asked = ("--participant-label", "99", "--session-label", "7")
    done = run(raw, tmp_path / "out", *asked, levels=("group",))
    assert done.code == 18
    assert "holds no result of sub-99 in ses-7; run" in done.errors[0]


def test_both_levels_in_one_run(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL, levels=("group", "participant"), reports=True)
    assert done.code == 0
    assert done.status == {"sub-01": {"Status": "complete"}}
    table = (tmp_path / "out" / "group_tractography.tsv").read_text().splitlines()
    assert len(table) == 2
    assert (tmp_path / "out" / "group.html").is_file()
    assert "group_tractography.tsv" in done.messages(INFO)[-2]


# --- The validator ------------------------------------------------------------------------------


def said_by_validate(dataset: Path, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.set_level(INFO, "bids_tract")
    validate(dataset)
    return [record.getMessage() for record in caplog.records]


@pytest.fixture
def fake_validator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only program on the path; what it does is for the test to write."""
    program = tmp_path / "bin" / "bids-validator-deno"
    program.parent.mkdir()
    monkeypatch.setenv("PATH", str(program.parent))
    return program


@pytest.mark.skipif(VALIDATOR is None, reason="bids-validator-deno is not installed")
def test_faults_of_the_dataset_are_said_and_do_not_stop_the_run(raw, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(str(VALIDATOR)).parent}:{os.environ['PATH']}")
    sound = run(raw, tmp_path / "sound", *SMALL, validate=True)
    assert sound.code == 0
    assert not [line for line in sound.warnings if line.startswith("BIDS validator")]
    (raw / "sub-01" / "dwi" / "notes.txt").write_text("not BIDS")
    try:
        done = run(raw, tmp_path / "out", *SMALL, validate=True)
    finally:
        (raw / "sub-01" / "dwi" / "notes.txt").unlink()
    assert done.code == 0
    said = [line for line in done.warnings if line.startswith("BIDS validator")]
    assert "notes.txt" in said[0]
    assert said[-1] == (
        "BIDS validator: 1 errors in all; going on, since what is needed is checked again"
    )


def test_no_validator_is_no_obstacle(raw, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))  # where it is looked for too
    assert said_by_validate(raw, caplog) == [
        "no BIDS validator is installed; the dataset is taken as it is"
    ]


def test_a_validator_that_fails_is_no_obstacle(raw, fake_validator, caplog):
    fake_validator.write_text("#!/bin/sh\necho cannot open shared object >&2; exit 127\n")
    fake_validator.chmod(0o755)
    (line,) = said_by_validate(raw, caplog)
    assert line.startswith("the BIDS validator gave no answer")


def test_only_the_first_faults_are_listed(raw, fake_validator, caplog):
    issues = [
        {"severity": severity, "code": f"CODE_{n}", "location": f"/file{n}"}
        for n, severity in enumerate(["warning"] + 7 * ["error"])
    ]
    answer = fake_validator.with_name("answer.json")
    answer.write_text(json.dumps({"issues": {"issues": issues}}))
    fake_validator.write_text(f'#!/bin/sh\nwhile read -r line; do echo "$line"; done < {answer}\n')
    fake_validator.chmod(0o755)
    answer.write_text(answer.read_text() + "\n")
    lines = said_by_validate(raw, caplog)
    assert lines[:-1] == [f"BIDS validator: CODE_{n} /file{n}" for n in range(1, 6)]
    assert lines[-1].startswith("BIDS validator: 7 errors in all")


# --- The work folder ----------------------------------------------------------------------------


def test_the_work_folder_is_emptied_when_asked_for(raw, tmp_path):
    work = tmp_path / "work"
    run(raw, tmp_path / "out", *SMALL, work=work)
    assert (work / WORK_MARK).is_file()
    (work / "old").mkdir()
    (work / "old" / "file").write_text("from a former run")
    done = run(raw, tmp_path / "out", *SMALL, "--clean-workdir", work=work)
    assert done.code == 0
    assert [path.name for path in everything(work)] == [WORK_MARK]


def test_a_foreign_folder_is_not_emptied(raw, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    (work / "thesis.tex").write_text("years")
    # Not even where the program has worked there before.
    assert run(raw, tmp_path / "out", *SMALL, work=work).code == 0
    done = run(raw, tmp_path / "out", *SMALL, "--clean-workdir", work=work)
    assert done.code == 2
    (said,) = done.errors
    assert "did not make" in said
    assert "thesis.tex" in said or "bids_tract" in said
    assert (work / "thesis.tex").read_text() == "years"


@pytest.mark.parametrize("name", ["out", "."])
def test_results_do_not_lie_in_the_work_folder(raw, tmp_path, name):
    done = run(raw, tmp_path / "out", *SMALL, work=tmp_path / name)
    assert done.code == 2
    assert "lies inside the work folder" in done.errors[0]
    assert "--work-dir" in done.errors[0]


def test_the_dataset_does_not_lie_in_the_work_folder(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL, work=raw.parent)
    assert done.code == 2
    assert f"the dataset {raw} lies inside" in done.errors[0]


def test_a_finished_run_leaves_no_intermediate_files(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL)
    assert done.code == 0
    left = [path for path in everything(tmp_path / "out-work") if path.suffix in (".npy", ".trx")]
    assert left == []


def test_the_output_of_another_program_is_left_alone(raw, tmp_path):
    output = tmp_path / "out"
    description = {"Name": "fMRIPrep", "GeneratedBy": [{"Name": "fMRIPrep"}]}
    write_json(output / "dataset_description.json", description)
    done = run(raw, output, *SMALL)
    assert done.code == 2
    assert f"{output} holds a dataset that this program did not make" in done.errors[0]
    assert read(output / "dataset_description.json") == description
    assert everything(output) == [output / "dataset_description.json"]


# --- What is recorded ---------------------------------------------------------------------------


def test_the_log_file_holds_all_from_the_first_line_on(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL)
    lines = done.log.splitlines()
    assert "bids_tract 0" in lines[0]
    assert lines[-1].endswith("exit code 0")
    for message in done.messages(INFO) + done.messages(logging.DEBUG):
        assert done.log.count(message) == 1


def test_a_report_tells_the_last_run_of_its_participant(raw, tmp_path):
    """Also when others were processed since, and when it is made anew."""
    run(raw, tmp_path / "out", *SMALL, "--max-angle", 25)
    other = tmp_path / "out" / "logs" / "99999999T000000-aaaaaa"
    write_json(other / "status.json", {"sub-77": {"Status": "complete"}})
    (other / "settings.toml").write_text("# of another\n")
    done = run(raw, tmp_path / "out", *SMALL, "--reports-only")
    assert done.code == 0
    page = (tmp_path / "out" / "sub-01.html").read_text()
    assert re.search(r"^max-angle = 25.0$", page, re.MULTILINE)
    assert "of another" not in page


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["/a/bin/bids_tract", "in", "out"], ["/a/bin/bids_tract", "in", "out"]),
        (["/a/bids_tract/__main__.py", "in"], ["python", "-m", "bids_tract", "in"]),
    ],
)
def test_the_command_can_be_given_again(argv, said):
    assert app._command(argv) == said


def test_the_settings_of_a_run_can_be_given_to_another(raw, tmp_path):
    first = run(raw, tmp_path / "out", *SMALL, "--max-angle", 25)
    settings = first.log_dir / "settings.toml"
    again = run(raw, tmp_path / "out", "--config-file", settings)
    assert again.code == 0
    assert "sub-01: unchanged, all outputs are reused" in again.messages(INFO)


def test_verbose_tells_files_and_times(raw, tmp_path):
    plain = run(raw, tmp_path / "plain", *SMALL)
    verbose = run(raw, tmp_path / "verbose", *SMALL, "-v")
    for line in (f"made from {raw / 'sub-01' / 'dwi' / 'sub-01_dwi.nii.gz'}, ", "csd took "):
        assert line not in plain.stderr
        assert line in plain.log
        assert line in verbose.stderr


def test_the_graph_is_drawn(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL, "--write-graph")
    assert done.code == 0
    (graph,) = done.log_dir.glob("graph.*")
    assert str(graph) in done.stderr
    for stage in ("prepare", "tensor", "csd", "masks", "track_det_csd"):
        assert stage in graph.read_text()


def test_the_resource_monitor_records_or_says_why_not(raw, tmp_path):
    done = run(raw, tmp_path / "out", *SMALL, "--resource-monitor")
    assert done.code == 0
    said = [line for line in done.warnings if "--resource-monitor" in line]
    if importlib.util.find_spec("psutil") is None:
        assert len(said) == 1
        assert "psutil" in said[0]
    else:
        assert [*done.log_dir.glob("resource_monitor*")] != [] or said != []
    assert len(done.streamlines()) > 100


# --- How the work is done -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("plugin", "workers"),
    [("plugin: Linear\n", False), ("plugin: MultiProc\nplugin_args: {n_procs: 2}\n", True)],
)
def test_plugins_of_the_workflow_engine(raw, tmp_path, plugin, workers):
    path = tmp_path / "plugin.yml"
    path.write_text(plugin)
    done = run(raw, tmp_path / "out", *SMALL, "--use-plugin", path)
    assert done.code == 0
    assert len(done.streamlines()) > 100
    # Where others do the work, their messages are in the file only.
    assert "track-det-csd: " in done.log
    told_here = any("track-det-csd: " in line for line in done.messages(INFO))
    assert told_here is not workers


def test_a_plugin_that_does_not_exist(raw, tmp_path):
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: Abacus\n")
    done = run(raw, tmp_path / "out", *SMALL, "--use-plugin", path)
    assert done.code == 2
    assert f"{path}: nipype has no plugin 'Abacus'" in done.errors[0]


def test_all_goes_on_after_a_failure(broken, tmp_path):
    done = run(broken, tmp_path / "out", *SMALL)
    assert done.code == 1
    assert done.status["sub-02"] == {"Status": "complete"}


def test_all_stops_at_the_first_failure_when_asked_for(broken, tmp_path):
    done = run(broken, tmp_path / "out", *SMALL, "--stop-on-first-crash")
    assert done.code == 1
    assert done.status["sub-01"]["ExitCode"] == 65
    assert "--stop-on-first-crash" in done.status["sub-02"]["Error"]
    assert [*done.output.rglob("*tractogram*")] == []
    again = run(broken, tmp_path / "out", *SMALL)
    assert again.status["sub-02"] == {"Status": "complete"}


def database_run(raw: Path, tmp_path: Path, *options: object) -> Outcome:
    return run(raw, tmp_path / "out", *SMALL, "--bids-database-dir", tmp_path / "db", *options)


def test_a_database_is_made_and_used(scene, tmp_path):
    raw = tmp_path / "raw"
    write_bids(raw, scene)
    first = database_run(raw, tmp_path)
    assert first.code == 0
    assert [*(tmp_path / "db").iterdir()] != []
    write_bids(raw, scene, subject="02")
    # It is not refreshed; what it does not know is not lost without a word.
    again = database_run(raw, tmp_path)
    assert [*again.status] == ["sub-01"]
    (line,) = [line for line in again.messages(INFO) if line.startswith("skipped")]
    assert "sub-02_dwi.nii.gz: not in the database" in line
    assert "delete that" in line


def test_help_and_version_need_no_science(tmp_path):
    """A fresh process, since this one has long imported everything."""
    script = (
        "import sys; from bids_tract.cli import main\n"
        "try: main(['--version'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'nibabel', 'dipy') if name in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(app.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    version, modules = done.stdout.splitlines()
    assert version.startswith("bids_tract ")
    assert modules == "[]"
