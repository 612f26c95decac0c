"""The whole program, run in this process, and what it leaves."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_tract.cli import main
from bids_tract.core.types import Streamlines
from bids_tract.files.tractograms import read_streamlines

ROOT = Path(__file__).parents[2]
# Installed with the tests' own requirements; PATH may not lead there.
VALIDATOR = shutil.which(
    "bids-validator-deno", path=f"{os.environ['PATH']}:{Path(sys.executable).parent}"
)


@dataclass(frozen=True)
class Outcome:
    """What a run said and left.

    `records` are the messages of this process, whatever was shown of them; those of worker
    processes stand in `log` only.
    """

    code: int
    stderr: str
    stdout: str
    records: tuple[logging.LogRecord, ...]
    output: Path

    def messages(self, level: int) -> list[str]:
        return [one.getMessage() for one in self.records if one.levelno == level]

    @property
    def errors(self) -> list[str]:
        return self.messages(logging.ERROR)

    @property
    def warnings(self) -> list[str]:
        return self.messages(logging.WARNING)

    @property
    def log_dir(self) -> Path:
        """The folder of the last run."""
        return max(self.output.glob("logs/*"), key=lambda folder: folder.stat().st_mtime_ns)

    @property
    def log(self) -> str:
        return (self.log_dir / "run.log").read_text()

    @property
    def status(self) -> dict[str, dict[str, Any]]:
        return read(self.log_dir / "status.json")

    def file(self, pattern: str) -> Path:
        """The one output that fits."""
        return one_of(self.output, pattern)

    def sidecar(self, pattern: str) -> dict[str, Any]:
        """The one sidecar that fits; the pattern is without ``.json``."""
        return read(self.file(f"{pattern}.json"))

    def streamlines(self, pattern: str = "tractogram") -> Streamlines:
        return read_streamlines(self.file(f"*{pattern}.trx"))

    def files(self) -> dict[str, tuple[int, int]]:
        """Inode and time of every output of a participant: what a rewrite changes."""
        return {
            str(path.relative_to(self.output)): (path.stat().st_ino, path.stat().st_mtime_ns)
            for path in self.output.glob("sub-*/**/*")
            if path.is_file()
        }


def one_of(folder: Path, pattern: str) -> Path:
    found = sorted(folder.rglob(pattern))
    assert len(found) == 1, f"{pattern} in {folder}: {found}"
    return found[0]


def read(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def run(bids: Path, output: Path, *options: object, **changes: Any) -> Outcome:
    """Run the program for participants; see `arguments` and `run_with`."""
    return run_with(arguments(bids, output, *options, **changes), output)


def arguments(
    bids: Path,
    output: Path,
    *options: object,
    levels: tuple[str, ...] = ("participant",),
    work: Path | None = None,
    nprocs: int = 1,
    validate: bool = False,
    raw: bool = False,
    reports: bool = False,
) -> list[str]:
    """A command line: one process, no validation, no reports, a work folder beside the output.

    Unless the data are to be taken for raw: simulated heads lie still, and what comes out is to be
    compared with what went in.
    """
    work = output.with_name(f"{output.name}-work") if work is None else work
    argv = [bids, output, *levels, "-w", work, "--nprocs", nprocs, *options]
    argv += [] if raw else ["--preprocessed"]
    argv += [] if reports else ["--skip-reports"]
    return [str(word) for word in argv] + ([] if validate else ["--skip-bids-validation"])


def run_with(argv: list[str], output: Path) -> Outcome:
    """Run the program with a command line as it is."""
    records: list[logging.LogRecord] = []
    stderr, stdout = io.StringIO(), io.StringIO()
    with _listening(records), undone(), redirect_stderr(stderr), redirect_stdout(stdout):
        try:
            code = main(argv)
        except SystemExit as end:  # argparse
            code = int(end.code or 0)
    return Outcome(code, stderr.getvalue(), stdout.getvalue(), tuple(records), output)


def run_and_signal(
    argv: list[str], number: signal.Signals, when: Callable[[], bool]
) -> tuple[int, str]:
    """Run the program in a process of its own, and send it a signal; exit code and stderr."""
    command = [sys.executable, "-m", "bids_tract", *argv]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not when():
            assert process.poll() is None, "it ended before the signal"
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    return process.returncode, stderr


@contextmanager
def _listening(records: list[logging.LogRecord]) -> Iterator[None]:
    """Collect the program's messages: it replaces all handlers, so that one would not do."""
    factory = logging.getLogRecordFactory()

    def keep(*args: Any, **named: Any) -> logging.LogRecord:
        record = factory(*args, **named)
        if record.name.startswith("bids_tract"):
            records.append(record)
        return record

    logging.setLogRecordFactory(keep)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)


@contextmanager
def undone() -> Iterator[None]:
    """Undo what the program changes in its process: logging and the environment."""
    environment = dict(os.environ)
    levels = {name: logging.getLogger(name).level for name in _loggers()}
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        own = logging.getLogger("bids_tract")
        for handler in [*own.handlers]:
            own.removeHandler(handler)
            handler.close()
        own.propagate = True
        for name in _loggers():
            logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))


def _loggers() -> list[str]:
    known = [*logging.root.manager.loggerDict]
    return [name for name in known if name.split(".")[0] in ("bids_tract", "nipype")]
