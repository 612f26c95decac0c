"""What a stage cost: its wall time, and the most memory that its process held meanwhile."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Sequence
from pathlib import Path

from bids_tract.files.sidecars import read_json, write_json
from bids_tract.names import sidecar_path

LOGGER = logging.getLogger(__name__)
_RESET_PEAK = "5"  # see proc_pid_clear_refs(5)


class Effort:
    """The time and the memory of what happens from its making on.

    Memory is that of this process, pages of mapped files included; worker processes are not in it.
    Where the system does not let the peak be reset, it is that since the process began: an upper
    bound.
    """

    def __init__(self) -> None:
        self.started = time.monotonic()
        try:
            Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
        except OSError as error:
            LOGGER.debug("the peak of memory is that of all stages so far: %s", error)

    @property
    def seconds(self) -> float:
        """How long it has lasted."""
        return time.monotonic() - self.started

    @property
    def peak_gb(self) -> float:
        """The most memory held at once, in units of 1e9 bytes."""
        return _peak_kib() * 1024 / 1e9

    def record(self, outputs: Sequence[Path]) -> None:
        """Write time and memory into the sidecar of the last file of a stage that is complete.

        Into that one only: a sum over sidecars is then the time of all stages.

        Parameters
        ----------
        outputs : sequence of pathlib.Path
            The files of the stage, each with its sidecar.

        """
        path = sidecar_path(outputs[-1])
        own = {"WallTime": round(self.seconds, 2), "PeakMemoryGB": round(self.peak_gb, 2)}
        write_json(path, read_json(path) | own)


def _peak_kib() -> int:
    """Of this process since its peak was reset."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    # Some sandboxes leave the line out. This number may be that of the process that started ours.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
