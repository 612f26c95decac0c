"""The kernels' cache: made once, said once, and never a reason to fail."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bids_tract import machine
from bids_tract.tools import compiled

# One kernel is enough to see what numba does with its cache; it compiles in a second or two.
ONE_KERNEL = """
import numpy as np
from bids_tract.core.tracking.kernels import copy_runs
points = np.arange(12, dtype=np.float32).reshape(4, 3)
out = np.zeros_like(points)
copy_runs(points, np.array([2, 0]), np.array([0, 2, 4]), out)
assert out[:, 0].tolist() == [6, 9, 0, 3], out
print(copy_runs.stats.cache_hits.total() if hasattr(copy_runs.stats.cache_hits, "total")
      else sum(copy_runs.stats.cache_hits.values()))
"""


def run_one_kernel(cache: Path) -> int:
    """Cache hits of a new process that runs one kernel."""
    done = subprocess.run(
        [sys.executable, "-c", ONE_KERNEL], capture_output=True, text=True, check=False,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_a_second_process_does_not_compile(tmp_path):
    assert run_one_kernel(tmp_path) == 0
    assert run_one_kernel(tmp_path) == 1


@pytest.mark.parametrize("damage", ["cut off", "scribbled over"])
@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_a_damaged_cache_does_not_break_a_run(tmp_path, suffix, damage):
    run_one_kernel(tmp_path)
    files = [path for path in tmp_path.rglob(f"*{suffix}") if "copy_runs" in path.name]
    assert files
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content[:20] if damage == "cut off" else b"\x00" * len(content))
    compiled.discard_damaged(tmp_path)
    run_one_kernel(tmp_path)


@pytest.fixture
def compiling(monkeypatch) -> list[int]:
    """Calls of what takes a minute; it is tested in core/test_warm.py."""
    calls: list[int] = []
    monkeypatch.setattr(compiled, "warm", lambda: calls.append(1))
    monkeypatch.delenv(machine.KERNELS, raising=False)
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    return calls


def test_compiling_is_said_once(tmp_path, monkeypatch, caplog, compiling):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    with caplog.at_level(logging.INFO, logger="bids_tract"):
        compiled.ensure_compiled()
        compiled.ensure_compiled()
    assert compiling == [1]
    assert sum("compiling the kernels" in record.message for record in caplog.records) == 1


def test_another_kind_of_cpu_is_compiled_for(tmp_path, monkeypatch, compiling):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    compiled.ensure_compiled()
    monkeypatch.setenv("NUMBA_CPU_NAME", "another")
    compiled.ensure_compiled()
    assert compiling == [1, 1]


def test_what_an_image_brings_is_copied(tmp_path, monkeypatch, compiling, caplog):
    brought, cache = tmp_path / "brought", tmp_path / "cache"
    assert run_one_kernel(brought) == 0
    (brought / compiled.mark_name()).touch()
    make_read_only(brought)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(cache))
    monkeypatch.setenv(machine.KERNELS, str(brought))
    with caplog.at_level(logging.INFO, logger="bids_tract"):
        compiled.ensure_compiled()
    assert compiling == []
    assert caplog.records == []
    assert run_one_kernel(cache) == 1
    assert [*cache.rglob(".*")] == []


def test_what_an_image_brings_for_other_cpus_is_left(tmp_path, monkeypatch, compiling):
    brought = tmp_path / "brought"
    brought.mkdir()
    (brought / "compiled-for-another").touch()
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv(machine.KERNELS, str(brought))
    compiled.ensure_compiled()
    assert compiling == [1]


def make_read_only(folder: Path) -> None:
    for path in folder.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)


def test_the_cache_goes_where_it_can_be_written(tmp_path):
    blocked = tmp_path / "a file"
    blocked.write_text("in the way")
    home = tmp_path / "home"
    home.mkdir()
    environ = {"HOME": str(home), "NUMBA_CACHE_DIR": str(blocked / "cache")}
    notes = machine.prepare_environment(tmp_path / "work", environ)
    assert environ["NUMBA_CACHE_DIR"] == str(home / ".cache" / "bids_tract" / "kernels")
    assert any("NUMBA_CACHE_DIR" in note for note in notes)
    given = {"HOME": str(home), "NUMBA_CACHE_DIR": str(tmp_path / "mine")}
    assert machine.prepare_environment(tmp_path / "work", given) == []
    assert given["NUMBA_CACHE_DIR"] == str(tmp_path / "mine")
