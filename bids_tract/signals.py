"""An orderly end when the system asks for one by SIGTERM: ``docker stop``, ``scancel``.

SIGTERM takes the way of Ctrl-C: what is being written is removed on the way out, and what is
complete stays for the next run.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

EXIT_CODE = 128 + signal.SIGTERM  # as shells and batch systems have it: 143
# Docker kills ten seconds after it has asked; SLURM by default after thirty.
GRACE_S = 6.0
LOGGER = logging.getLogger(__name__)


@contextmanager
def orderly_end() -> Iterator[None]:
    """Let SIGTERM end the body as Ctrl-C does, its worker processes with it.

    For the main thread of the program. A thread that does not come back, or a library that keeps
    the exception to itself, delays the end by `GRACE_S` at most.

    Raises
    ------
    SystemExit
        With `EXIT_CODE`, when SIGTERM has ended the body.

    """
    asked = threading.Event()

    def end(*_: Any) -> None:
        if asked.is_set():  # batch systems tell every process, and init programs tell it again
            return
        asked.set()
        watch = threading.Timer(GRACE_S, _end_at_once)
        watch.daemon = True
        watch.start()
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    except KeyboardInterrupt:
        end_workers(GRACE_S / 2)
        if not asked.is_set():
            raise
        LOGGER.error("ended by SIGTERM; what is complete will be reused by the next run")
        raise SystemExit(EXIT_CODE) from None
    finally:
        if not asked.is_set():
            signal.signal(signal.SIGTERM, former)


@contextmanager
def orderly_end_of_worker() -> Iterator[None]:
    """Let SIGTERM end the body in a worker process, and the process after it.

    The workflow engine would take the exception for the body's failure and go on.
    """
    asked = threading.Event()

    def end(*_: Any) -> None:
        if not asked.is_set():
            asked.set()
            raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)
        if asked.is_set():
            os._exit(EXIT_CODE)


def end_workers(grace_s: float) -> None:
    """Ask all worker processes to end; kill those that have not within `grace_s` seconds."""
    workers = multiprocessing.active_children()
    for worker in workers:
        # Its handle may be closed by the pool meanwhile.
        with suppress(ValueError):
            worker.terminate()
    for worker in workers:
        with suppress(ValueError):
            worker.join(grace_s / len(workers))
            worker.kill()


def _end_at_once() -> None:
    for worker in multiprocessing.active_children():
        with suppress(ValueError):
            worker.kill()
    os._exit(EXIT_CODE)
