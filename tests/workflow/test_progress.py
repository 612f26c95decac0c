from __future__ import annotations

import logging
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from bids_tract.workflow import progress
from bids_tract.workflow.progress import Progress

ROOT = Path(__file__).parents[2]


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """The lines that are logged, whatever else has been done to logging."""
    said: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("bids_tract.workflow.progress")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    yield said
    logger.removeHandler(handler)
    logger.setLevel(level)


def test_lines_without_a_terminal(monkeypatch, lines, capfd):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    with Progress("sub-01: csd", 20000, "voxels") as shown:
        shown.advance(5000)
        shown.advance(10000, "1,234 streamlines kept")
    assert lines == [
        "sub-01: csd: 5,000 of 20,000 voxels (25 %)",
        "sub-01: csd: 15,000 of 20,000 voxels (75 %), 1,234 streamlines kept",
    ]
    assert capfd.readouterr().err == ""  # and no bar


def test_what_is_quick_is_not_worth_a_line(lines):
    with Progress("sub-01: csd", 3, "voxels") as shown:
        for _ in range(3):
            shown.advance(1)
    assert lines == []


def test_lines_come_no_closer_than_the_interval(monkeypatch, lines):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("csd", 100, "voxels") as shown:
        for now[0] in range(1, 36):
            shown.advance(1)
        assert shown.seconds == 35
    assert [line.split()[1] for line in lines] == ["11", "22", "33"]


def test_nothing_to_do_is_no_fault(monkeypatch, lines):
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", -1.0)
    with Progress("csd", 0, "voxels") as shown:
        shown.advance(0)
    assert lines == ["csd: 0 of 0 voxels (0 %)"]


def test_errors_pass_through(lines):
    with pytest.raises(ValueError, match="stop"), Progress("csd", 3, "voxels"):
        raise ValueError("stop")


def on_a_terminal(code: str) -> str:
    """What a program writes when its standard error is a terminal."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 100))
    try:
        subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, cwd=ROOT)
    finally:
        os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(ours)
    return written.decode()


BAR = """
from bids_tract.workflow import progress
progress.SECONDS_BETWEEN_LINES = -1.0
{before}
with progress.Progress("sub-01: csd", 40, "voxels") as shown:
    shown.bar and setattr(shown.bar, "mininterval", 0)
    shown.advance(10, "half way")
    shown.advance(30, "nearly there")
"""


def test_a_bar_on_a_terminal():
    written = on_a_terminal(BAR.format(before=""))
    assert "sub-01: csd:  25%" in written
    assert "10/40" in written
    assert "half way" in written
    assert "voxels" in written
    assert "\n" not in written  # one line, and it is wiped at the end
    assert written.rsplit("\r", 2)[-2].strip() == ""


def test_no_bar_where_several_processes_share_the_terminal():
    assert on_a_terminal(BAR.format(before="progress.in_worker()")) == ""
