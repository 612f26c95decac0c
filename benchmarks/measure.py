"""One measurement in one fresh process: CPU time, wall time and peak memory.

``python -m benchmarks.measure PROGRAM SCENE OPTIONS`` runs a program once and prints a line of
JSON. This module imports no more than the standard library: what a program it starts takes of
memory is counted from what its parent has.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeAlias

# Threads of linear algebra would blur what one thread is, for all programs.
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Outcome:
    """What a program did.

    Attributes
    ----------
    units : int
        Voxels fitted, or points of the streamlines kept.
    streamlines : int
        Streamlines kept; 0 for fits.

    """

    units: int
    streamlines: int = 0


Work: TypeAlias = Callable[[], Outcome]


@dataclass(frozen=True)
class Measurement:
    """What one run took.

    Attributes
    ----------
    units, streamlines : int
        See `Outcome`.
    cpu_s, wall_s : float
        CPU time of all threads, and time passed, in seconds.
    peak_mb : float
        The most memory that the process held, in MB.
    load : float
        The machine's load average over the last minute, before the run.

    """

    units: int
    streamlines: int
    cpu_s: float
    wall_s: float
    peak_mb: float
    load: float

    @property
    def cpu_us(self) -> float:
        """CPU time of a unit in microseconds."""
        return 1e6 * self.cpu_s / max(self.units, 1)

    @property
    def wall_us(self) -> float:
        """Time passed for a unit in microseconds."""
        return 1e6 * self.wall_s / max(self.units, 1)


def measure(program: str, scene: Path, options: dict[str, Any]) -> Measurement:
    """Run a program in a fresh process.

    Parameters
    ----------
    program : str
        ``module:function`` of this package.
    scene : pathlib.Path
        What `simulate.build` wrote.
    options : dict
        Arguments of the function.

    Raises
    ------
    RuntimeError
        When the program fails; with what it said.

    """
    answer = run_child("benchmarks.measure", program, str(scene), json.dumps(options))
    return Measurement(**json.loads(answer.splitlines()[-1]))


def run_child(module: str, *arguments: str) -> str:
    """Run a module of this package in a process of its own; what it wrote to its output."""
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env={**os.environ, **_ONE_THREAD, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)}:\n{done.stderr[-2000:]}")
    return done.stdout


def _cpu_seconds() -> float:
    used = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_mb(of_child: bool) -> float:
    if of_child:
        return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    # Not ru_maxrss: that counts what the parent held when this process was started.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def run_here(program: str, scene: Path, options: dict[str, Any]) -> Measurement:
    """Run a program in this process; see `measure`."""
    module, function = program.split(":")
    work: Work = getattr(importlib.import_module(f"benchmarks.{module}"), function)(
        scene, **options
    )
    load = os.getloadavg()[0]
    cpu, wall = _cpu_seconds(), time.perf_counter()
    outcome = work()
    cpu, wall = _cpu_seconds() - cpu, time.perf_counter() - wall
    peak = _peak_mb(of_child=module == "mrtrix")
    return Measurement(outcome.units, outcome.streamlines, cpu, wall, peak, load)


if __name__ == "__main__":
    result = run_here(sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3]))
    sys.stdout.write(json.dumps(asdict(result)) + "\n")
