"""Compiles the kernels once for a machine, and says so: a first run is not to seem hung.

An image brings its kernels along, compiled for all CPUs of its kind (``machine.portable_target``).
They are copied to where this run may write, because numba refuses a cache that it cannot write.
"""

from __future__ import annotations

import hashlib
import logging
import os
import pickle
import shutil
import time
from pathlib import Path

import numba
from llvmlite.binding import get_host_cpu_name

from bids_tract import core, machine
from bids_tract.core.warm import warm
from bids_tract.files.atomic import hidden_beside

LOGGER = logging.getLogger(__name__)


def discard_damaged(folder: Path) -> None:
    """Delete cache files that a crash or a full disk has cut short: numba fails on them.

    They are pickles, whose last byte is a full stop. What is deleted is compiled anew.
    """
    for path in folder.rglob("*.nb[ic]"):
        try:
            if not path.read_bytes().endswith(pickle.STOP):
                LOGGER.warning("%s is damaged: deleted, to be compiled again", path)
                path.unlink()
        except OSError as error:  # another process may be renewing it
            LOGGER.debug("%s: %s", path, error)


def mark_name() -> str:
    """The name of the mark of a full cache: it differs where numba would compile anew.

    The cache may be shared: by several installations, and by CPUs of several kinds.
    """
    root = Path(core.__file__).parent
    cpu = os.environ.get("NUMBA_CPU_NAME") or get_host_cpu_name()
    what = hashlib.sha256(f"{root} {numba.__version__} {cpu}".encode())
    for path in sorted(root.rglob("*.py")):
        what.update(path.read_bytes())
    return f"compiled-{what.hexdigest()[:16]}"


def ensure_compiled() -> None:
    """Compile the kernels unless the cache folder, or the image, says that it holds them.

    The mark is one of courtesy only: numba itself looks whether what it has kept fits the source,
    the processor and its own version, and compiles anew where it does not.
    """
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    discard_damaged(folder)
    mark = folder / mark_name()
    if mark.exists():
        return
    started = time.monotonic()
    brought = Path(os.environ.get(machine.KERNELS) or os.devnull)
    if (brought / mark.name).exists():
        _copy(brought, folder)
        LOGGER.debug("kernels copied in %.2f s", time.monotonic() - started)
    else:
        LOGGER.info("compiling the kernels, once on this machine; it takes about a minute")
        folder.mkdir(parents=True, exist_ok=True)
        warm()
        LOGGER.info("compiled in %.0f s, kept in %s", time.monotonic() - started, folder)
    mark.touch()


def _copy(brought: Path, folder: Path) -> None:
    """Copy cache files, each in one step: another process may be reading or doing the same."""
    for path in brought.rglob("*.nb[ic]"):
        place = folder / path.relative_to(brought)
        place.parent.mkdir(parents=True, exist_ok=True)
        # Not flushed to the disk, which takes long for many files: a damaged one is discarded.
        temporary = hidden_beside(place)
        shutil.copyfile(path, temporary)
        temporary.replace(place)
