"""Compiles the kernels once for a machine, and says so: a first run is not to seem hung."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import numba

from bids_tract import __version__
from bids_tract.core.warm import warm

LOGGER = logging.getLogger(__name__)


def ensure_compiled() -> None:
    """Compile the kernels unless the cache folder says that it holds them.

    The mark is one of courtesy only: numba itself looks whether what it has kept fits the source,
    the processor and its own version, and compiles anew where it does not.
    """
    folder = Path(os.environ["NUMBA_CACHE_DIR"])
    mark = folder / f"compiled-{__version__}-numba-{numba.__version__}"
    if mark.exists():
        return
    LOGGER.info("compiling the kernels, once on this machine; it takes about a minute")
    started = time.monotonic()
    warm()
    mark.touch()
    LOGGER.info("compiled in %.0f s, kept in %s", time.monotonic() - started, folder)
