"""How the program talks: plain lines on standard error, everything in a file.

Both the program (app.py) and its worker processes call ``configure``; nobody else does.
"""

from __future__ import annotations

import logging
import sys
import warnings
from logging.handlers import MemoryHandler
from pathlib import Path

ROOT = "bids_tract"


def configure(level: int, file: Path | None, *, debug: bool) -> None:
    """Set up logging of this process.

    Parameters
    ----------
    level : int
        Lowest level that is shown on standard error.
    file : Path or None
        Gets everything, also what was said since it was called without a file; several processes
        may append to it.
    debug : bool
        Whether the libraries' own messages and warnings are shown too.

    """
    logger = logging.getLogger(ROOT)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    former = [*logger.handlers]
    for handler in former:
        logger.removeHandler(handler)
    screen = logging.StreamHandler(sys.stderr)
    screen.setLevel(level)
    screen.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(screen)
    if file is None:
        logger.addHandler(MemoryHandler(capacity=10_000, flushLevel=logging.CRITICAL + 1))
    else:
        record = logging.FileHandler(file, encoding="utf-8")
        record.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
        logger.addHandler(record)
        for handler in former:
            if isinstance(handler, MemoryHandler):
                handler.setTarget(record)
    for handler in former:
        handler.close()  # what was kept in memory goes to the file
    if not debug:
        # What matters of these is checked and said in our own words.
        warnings.simplefilter("ignore")
        for name in ("nipype", "nipype.workflow", "nipype.utils", "nipype.interface"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
