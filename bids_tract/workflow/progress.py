"""How a long stage shows that it moves: a bar on a terminal, now and then a line otherwise."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any

from tqdm import tqdm

LOGGER = logging.getLogger(__name__)
# Stages shorter than this are not worth a line; longer ones get one each time it has passed.
SECONDS_BETWEEN_LINES = 10.0

_several_processes = False


def in_worker() -> None:
    """Say that other processes write to the same terminal: bars would overwrite each other."""
    global _several_processes
    _several_processes = True


class Progress:
    """Progress of one stage, as a context manager.

    Parameters
    ----------
    what : str
        What is being done, with the scan's name.
    total : int
        How many units there are.
    unit : str
        Their name, in the plural.

    """

    def __init__(self, what: str, total: int, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done = 0
        self.bar: tqdm[Any] | None = None

    def __enter__(self) -> Progress:
        self.started = self.last_line = time.monotonic()
        if sys.stderr.isatty() and not _several_processes:
            self.bar = tqdm(total=self.total, desc=self.what, unit=f" {self.unit}", leave=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            self.bar.close()

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.monotonic() - self.started

    def advance(self, units: int, note: str = "") -> None:
        """Say that more units are done, with a word on what came of them."""
        self.done += units
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(units)
        elif time.monotonic() - self.last_line > SECONDS_BETWEEN_LINES:
            self.last_line = time.monotonic()
            share = 100 * self.done / max(self.total, 1)
            rest = f", {note}" if note else ""
            LOGGER.info(
                "%s: %s of %s %s (%.0f %%)%s",
                self.what, f"{self.done:,}", f"{self.total:,}", self.unit, share, rest,
            )  # fmt: skip
