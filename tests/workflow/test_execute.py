from __future__ import annotations

import importlib.util
import logging
import os
import subprocess
import sys
import time
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest
from nipype import config as nipype_config
from nipype.pipeline import engine

from bids_tract.errors import BidsTractError, MissingInputError, UsageError
from bids_tract.settings import RunSettings
from bids_tract.workflow.execute import (
    WorkerDiedError,
    configure_nipype,
    execute,
    read_plugin,
)
from tests.workflow.nodes import workflow_of

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def crash_dir(tmp_path: Path) -> Path:
    """Where nipype puts what it knows of failures."""
    folder = tmp_path / "crashes"
    folder.mkdir()
    configure_nipype(RunSettings(), folder)
    logging.getLogger("nipype.workflow").setLevel(logging.CRITICAL)
    return folder


def run(workflow: engine.Workflow, folder: Path, **asked: Any) -> None:
    options: dict[str, Any] = {"plugin": None, "parallel": True, "nprocs": 2, "mem_gb": 4.0}
    worker = (str(folder), logging.INFO, folder / "run.log", False)
    execute(workflow, **{**options, **asked}, worker=worker)


def pid_in(path: Path) -> int:
    return int(path.read_text())


# --- Runs ---------------------------------------------------------------------------------------


def test_in_this_process(tmp_path):
    run(workflow_of(tmp_path, one="write", two="write"), tmp_path, parallel=False)
    assert pid_in(tmp_path / "one") == pid_in(tmp_path / "two") == os.getpid()


def test_in_several_processes_that_log_to_the_file(tmp_path, capfd):
    # The server of an earlier test would write to that test's standard error.
    forkserver._forkserver._stop()
    run(workflow_of(tmp_path, one="write", two="write"), tmp_path)
    assert os.getpid() not in {pid_in(tmp_path / "one"), pid_in(tmp_path / "two")}
    log = (tmp_path / "run.log").read_text()
    assert "one is done" in log
    assert "two is done" in log
    assert "one is done" in capfd.readouterr().err


def test_the_plugin_that_the_user_asks_for(tmp_path):
    run(workflow_of(tmp_path, one="write"), tmp_path, plugin=("Linear", {}))
    assert pid_in(tmp_path / "one") == os.getpid()
    plugin = ("MultiProc", {"n_procs": 1})
    run(workflow_of(tmp_path, two="write"), tmp_path, plugin=plugin, parallel=False)
    assert pid_in(tmp_path / "two") != os.getpid()


def test_more_threads_than_there_are_processors_is_no_obstacle(tmp_path):
    workflow = workflow_of(tmp_path, one="write")
    workflow.get_node("one").n_procs = 64
    workflow.get_node("one")._mem_gb = 1000
    run(workflow, tmp_path)
    assert (tmp_path / "one").exists()


# --- Failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_a_failure_is_reported_and_stops_only_what_waits_for_it(tmp_path, crash_dir, parallel):
    workflow = workflow_of(tmp_path, bad="fail", good="write", later="write")
    workflow.connect(workflow.get_node("bad"), "done", workflow.get_node("later"), "after")
    with pytest.raises(Exception, match="bad cannot go on") as told:
        run(workflow, tmp_path, parallel=parallel)
    assert not isinstance(told.value, BidsTractError)
    assert (tmp_path / "good").exists()
    assert not (tmp_path / "later").exists()
    (crash,) = crash_dir.glob("crash-*bad*.txt")
    assert "bad cannot go on" in crash.read_text()


def test_the_first_failure_ends_the_run_when_asked(tmp_path, crash_dir):
    configure_nipype(RunSettings(stop_on_first_crash=True), crash_dir)
    workflow = workflow_of(tmp_path, a="fail", z="write")
    with pytest.raises(Exception, match="a cannot go on"):
        run(workflow, tmp_path, parallel=False)
    assert not (tmp_path / "z").exists()


def test_a_killed_worker_ends_the_run_with_the_names_of_the_stages(tmp_path):
    workflow = workflow_of(tmp_path, finished="write", killed="die", waiting="wait")
    workflow.connect(workflow.get_node("finished"), "done", workflow.get_node("killed"), "after")
    started = time.monotonic()
    with pytest.raises(WorkerDiedError) as told:
        run(workflow, tmp_path)
    assert time.monotonic() - started < 20  # where nipype's own plugin waits for ever
    message = str(told.value)
    assert "running were: tiny.killed, tiny.waiting." in message
    assert "--nprocs" in message
    assert told.value.exit_code == 1


def test_a_worker_killed_before_others_are_sent_ends_the_run(tmp_path):
    workflow = workflow_of(tmp_path, killed="die", next="write")
    with pytest.raises(WorkerDiedError, match=r"tiny\.killed"):
        run(workflow, tmp_path, nprocs=1)


def test_a_run_after_one_that_died_is_not_disturbed(tmp_path):
    with pytest.raises(WorkerDiedError):
        run(workflow_of(tmp_path, killed="die"), tmp_path)
    run(workflow_of(tmp_path, one="write"), tmp_path)
    assert (tmp_path / "one").exists()


# --- Plugin files -------------------------------------------------------------------------------


def test_plugin_files(tmp_path):
    path = tmp_path / "plugin.yml"
    path.write_text("plugin: MultiProc\nplugin_args: {n_procs: 4, memory_gb: 8}\n")
    assert read_plugin(str(path)) == ("MultiProc", {"n_procs": 4, "memory_gb": 8})
    path.write_text("plugin: Linear\nplugin_args:\n")
    assert read_plugin(str(path)) == ("Linear", {})


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"plugin: [", "not a YAML file"),
        (b"plugin: \xe9\xff", "not a YAML file"),
        (b"", "expected 'plugin: NAME'"),
        (b"- MultiProc", "expected 'plugin: NAME'"),
        (b"plugin: 7", "expected 'plugin: NAME'"),
        (b"plugin: Linear\nplugin_args: [1]", "plugin_args must be a table"),
        (b"plugin: MultiProcess", "no plugin 'MultiProcess'; there are .*MultiProc, "),
    ],
)
def test_faulty_plugin_files(tmp_path, content, told):
    path = tmp_path / "plugin.yml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=told) as error:
        read_plugin(str(path))
    assert str(path) in str(error.value)


def test_a_plugin_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInputError, match=r"no\.yml: cannot be read"):
        read_plugin(str(tmp_path / "no.yml"))


# --- What nipype is told ------------------------------------------------------------------------


def test_nipype_asks_no_server_and_puts_crash_files_with_the_log(crash_dir):
    # The environment forbids it too; this is for programs that use the workflow without app.py.
    assert not nipype_config.getboolean("execution", "check_version")
    assert nipype_config.get("execution", "crashdump_dir") == str(crash_dir)
    assert nipype_config.get("execution", "crashfile_format") == "txt"


@pytest.mark.skipif(
    importlib.util.find_spec("psutil") is not None, reason="psutil is here: nothing is missing"
)
def test_a_resource_monitor_that_cannot_work_is_said(tmp_path, caplog):
    logger = logging.getLogger("bids_tract.workflow.execute")
    logger.addHandler(caplog.handler)
    try:
        with pytest.warns(UserWarning, match="psutil"):
            configure_nipype(RunSettings(resource_monitor=True), tmp_path)
    finally:
        logger.removeHandler(caplog.handler)
        nipype_config.disable_resource_monitor()
    assert "--resource-monitor: nothing is recorded" in caplog.text


SOCKETS = """
import socket, sys
sys.path.insert(0, {root!r})
tried = []
def forbid(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        tried.append((event, args[-1] if event == "socket.connect" else args[0]))
        raise OSError("no network in this test")
sys.addaudithook(forbid)
"""
OURS = """
from pathlib import Path
from bids_tract.machine import prepare_environment
folder = Path({folder!r})
prepare_environment(folder)
from bids_tract.settings import RunSettings
from bids_tract.workflow.execute import configure_nipype, execute
from bids_tract.workflow.graph import build_workflow
from tests.plans import asked, plan_all
from tests.workflow.nodes import workflow_of
configure_nipype(RunSettings(), folder)
assert build_workflow(plan_all(asked())[0], folder, 1) is not None
workflow = workflow_of(folder, one="write")
execute(workflow, plugin=None, parallel=False, nprocs=1, mem_gb=1.0, worker=("/", 20, None, False))
assert (folder / "one").exists()
print(tried)
"""
NIPYPES_WAY = """
from nipype.interfaces.utility import IdentityInterface
IdentityInterface(fields=["x"])
print(tried)
"""


def what_was_tried(tmp_path: Path, code: str) -> str:
    hidden = {"NO_ET", "NIPYPE_NO_ET"}
    environ = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", (SOCKETS + code).format(root=str(ROOT), folder=str(tmp_path))],
        capture_output=True, text=True, cwd=tmp_path, env={**environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_nothing_calls_out(tmp_path):
    assert what_was_tried(tmp_path, OURS) == "[]"


def test_an_attempt_to_call_out_would_be_seen(tmp_path):
    assert "socket" in what_was_tried(tmp_path, NIPYPES_WAY)
