"""What SIGTERM does, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bids_tract.signals import EXIT_CODE, orderly_end

ROOT = Path(__file__).parents[1]
WORKER = """
import sys, time
from pathlib import Path
from bids_tract.files.atomic import replacing
from bids_tract.signals import orderly_end_of_worker

def work(folder, stubborn):
    try:
        with orderly_end_of_worker():
            try:
                with replacing(Path(folder, "result")) as temporary:
                    temporary.write_text("half")
                    Path(folder, "begun").touch()
                    time.sleep(60)
            except BaseException:
                if stubborn:
                    time.sleep(60)
    except BaseException:
        Path(folder, "went on").touch()
"""
PROGRAM = """
import sys, time, multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from bids_tract import log, signals
sys.path.insert(0, sys.argv[1])
from worker import work

if __name__ == "__main__":
    log.configure(20, None, debug=False)
    folder, how = sys.argv[1:]
    with signals.orderly_end():
        if how == "here":
            try:
                Path(folder, "begun").touch()
                time.sleep(60)
            finally:
                time.sleep(0.5)
                Path(folder, "cleaned").touch()
        if how == "swallowed":
            while True:
                try:
                    Path(folder, "begun").touch()
                    time.sleep(60)
                except KeyboardInterrupt:
                    pass
        pool = ProcessPoolExecutor(1, multiprocessing.get_context("forkserver"))
        try:
            pool.submit(work, folder, how == "stubborn").result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
"""


def terminated(folder: Path, how: str, *, group: bool = False) -> tuple[int, str, float]:
    """Run the program, send SIGTERM when it works: exit code, stderr, seconds until the end."""
    (folder / "worker.py").write_text(WORKER)
    (folder / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(folder / "program.py"), str(folder), how],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not (folder / "begun").exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        began = time.monotonic()
        if group:
            os.killpg(process.pid, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)  # some are told twice
        _, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
    return process.returncode, stderr, time.monotonic() - began


@pytest.mark.parametrize("group", [False, True], ids=["the program", "all processes"])
def test_workers_end_with_the_program_and_leave_nothing(tmp_path, group):
    code, stderr, took = terminated(tmp_path, "worker", group=group)
    assert code == EXIT_CODE == 143
    assert stderr.endswith(
        "ended by SIGTERM; what is complete will be reused by the next run\n"
    ), stderr
    assert "Traceback" not in stderr
    assert took < 3  # far below the grace: nobody was waited for
    left = {path.name for path in tmp_path.iterdir()}
    assert left - {"worker.py", "program.py", "begun", "__pycache__"} == set()


def test_a_stubborn_worker_is_killed(tmp_path):
    code, _, took = terminated(tmp_path, "stubborn")
    assert code == EXIT_CODE
    assert took < 8


@pytest.mark.parametrize("how", ["here", "swallowed"])
def test_the_program_itself_ends(tmp_path, how):
    code, stderr, took = terminated(tmp_path, how)
    assert code == EXIT_CODE
    assert ("ended by SIGTERM" in stderr) == (how == "here")
    assert (tmp_path / "cleaned").exists() == (how == "here")
    assert took < 8


def test_ctrl_c_stays_what_it_is():
    with pytest.raises(KeyboardInterrupt), orderly_end():
        raise KeyboardInterrupt


def test_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with orderly_end():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
