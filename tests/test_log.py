from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAM = """
import logging, warnings
from pathlib import Path
from bids_tract import log
log.configure({level}, Path({file!r}), debug={debug})
logger = logging.getLogger("bids_tract.workflow.models")
logger.debug("a detail")
logger.info("5 mm²/s")
logger.error("a failure")
logging.getLogger("nipype.workflow").error("nipype's own words")
warnings.warn("a library's warning")
{after}
"""


def said(tmp_path: Path, level: str, *, debug: bool = False, after: str = "") -> tuple[str, str]:
    """(standard error, log file) of a small program; it must print nothing."""
    file = tmp_path / "run.log"
    code = PROGRAM.format(level=f"logging.{level}", file=str(file), debug=debug, after=after)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return done.stderr, file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("DEBUG", ["a detail", "5 mm²/s", "a failure"]),
        ("INFO", ["5 mm²/s", "a failure"]),
        ("ERROR", ["a failure"]),
    ],
)
def test_the_level_is_for_the_screen_and_the_file_gets_all(tmp_path, level, shown):
    screen, file = said(tmp_path, level)
    assert [line.split(" ", 1)[1] for line in screen.splitlines()] == shown
    assert [line.split(" ", 3)[2:] for line in file.splitlines()] == [
        ["DEBUG", "bids_tract.workflow.models a detail"],
        ["INFO", "bids_tract.workflow.models 5 mm²/s"],
        ["ERROR", "bids_tract.workflow.models a failure"],
    ]


def test_debug_lets_the_libraries_speak(tmp_path):
    screen, _ = said(tmp_path, "INFO", debug=True)
    assert "nipype's own words" in screen
    assert "a library's warning" in screen


def test_configuring_again_replaces_and_closes_what_was_there(tmp_path):
    after = (
        "old, = [h for h in logging.getLogger('bids_tract').handlers\n"
        "        if isinstance(h, logging.FileHandler)]\n"
        "log.configure(logging.INFO, None, debug=False)\n"
        "logger.info('once')\n"
        "assert old.stream is None, 'the file is still open'\n"
    )
    screen, file = said(tmp_path, "INFO", after=after)
    assert screen.count("once") == 1
    assert "once" not in file


def test_several_processes_append_to_the_file(tmp_path):
    said(tmp_path, "INFO")
    _, file = said(tmp_path, "INFO")
    assert file.count("5 mm²/s") == 2


def test_what_was_said_before_there_was_a_file_stands_in_it(tmp_path):
    early = tmp_path / "later.log"
    after = (
        "log.configure(logging.ERROR, None, debug=False)\n"
        "logger.info('said early')\n"
        f"log.configure(logging.INFO, Path({str(early)!r}), debug=False)\n"
        "logger.info('said late')\n"
    )
    screen, _ = said(tmp_path, "INFO", after=after)
    lines = early.read_text().splitlines()
    assert [line.rsplit(" ", 2)[1:] for line in lines] == [["said", "early"], ["said", "late"]]
    assert "said early" not in screen
