"""Compiles the kernels once for a machine, and says so: a first run is not to seem hung."""

from __future__ import annotations

import logging
import os
import pickle
import time
from pathlib import Path

import numba

from bids_tract import __version__
from bids_tract.core.warm import warm

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


def ensure_compiled() -> None:
    """Compile the kernels unless the cache folder says that it holds them.

    The mark is one of courtesy only: numba itself looks whether what it has kept fits the source,
    the processor and its own version, and compiles anew where it does not.
    """
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    discard_damaged(folder)
    mark = folder / f"compiled-{__version__}-numba-{numba.__version__}"
    if mark.exists():
        return
    LOGGER.info("compiling the kernels, once on this machine; it takes about a minute")
    started = time.monotonic()
    warm()
    mark.touch()
    LOGGER.info("compiled in %.0f s, kept in %s", time.monotonic() - started, folder)
