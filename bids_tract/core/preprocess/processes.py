"""Work shared among processes, for loops in Python that keep threads waiting for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], n_workers: int
) -> Iterator[tuple[_Item, _Result]]:
    """Each item with what a function makes of it; few are held at a time.

    Parameters
    ----------
    function : callable
        Of a module's top level, so that workers find it.
    items : iterable
        Taken as workers become free; sent to them as copies.
    n_workers : int
        Processes; with 1, none is started.

    """
    if n_workers == 1:
        for item in items:
            yield item, function(item)
        return
    # A fork of a process that has threads may hang.
    with ProcessPoolExecutor(n_workers, mp_context=get_context("forkserver")) as pool:
        waiting: list[tuple[_Item, Future[_Result]]] = []
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) > 2 * n_workers:  # more would only take memory
                first, result = waiting.pop(0)
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()
