"""Warming up leaves nothing to compile."""

from __future__ import annotations

import subprocess
import sys

WARM = """
from numba.core import event
from bids_tract.core.warm import warm
compiled = []
class Listener(event.Listener):
    def on_start(self, event):
        compiled.append(event.data["dispatcher"].py_func.__name__)
    def on_end(self, event):
        pass
event.register("numba:compile", Listener())
warm()
print(len(compiled))
"""


def compiled_functions():
    """How many functions a new process compiles to warm up, with the cache that tests share."""
    done = subprocess.run(
        [sys.executable, "-c", WARM], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


def test_after_warming_nothing_is_compiled():
    compiled_functions()
    assert compiled_functions() == 0
