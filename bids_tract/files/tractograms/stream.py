"""Tractograms of any format block by block, with one block in memory at a time."""

from __future__ import annotations

import itertools
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.streamlines.header import Field
from nibabel.streamlines.tractogram_file import DataError as StreamlineDataError
from nibabel.streamlines.tractogram_file import HeaderError, HeaderWarning
from numpy.typing import NDArray

from bids_tract.core.types import Float32, Streamlines
from bids_tract.errors import DataError
from bids_tract.files.present import require_content
from bids_tract.files.tractograms.trx import TrxFile, open_trx

_BLOCK = 10_000
# What nibabel raises on files that are damaged, cut off or of another kind.
_UNREADABLE = (
    HeaderError, StreamlineDataError, EOFError, IndexError, OSError, TypeError, ValueError,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class TractogramStream:
    """An opened tractogram that is read as it is walked through.

    Attributes
    ----------
    path : pathlib.Path
        The file.
    count : int
        How many streamlines it holds.

    """

    path: Path
    count: int
    _trx: TrxFile | None = None

    def blocks(self) -> Iterator[Streamlines]:
        """All streamlines in their order, RAS+ mm.

        Their numbers are the seed indices, unless a TRX file holds others.

        Raises
        ------
        DataError
            The file turns out damaged or cut off.

        """
        if self._trx is not None:
            yield from self._trx.blocks(_BLOCK)
            return
        items = _items(self.path)
        for first in range(0, self.count, _BLOCK):
            lines = list(itertools.islice(items, min(_BLOCK, self.count - first)))
            if len(lines) < min(_BLOCK, self.count - first):
                raise DataError(
                    f"{self.path} announces {self.count} streamlines and holds "
                    f"{first + len(lines)}: it is cut off; copy or compute it again"
                )
            yield Streamlines.from_list(lines, first + np.arange(len(lines)))

    def evenly(self, count: int) -> Streamlines:
        """`count` streamlines at even distances in the file, or all where there are not more.

        The seed indices are their numbers. Of a TRX file, nothing else is read.

        Raises
        ------
        DataError
            The file turns out damaged or cut off.

        """
        chosen = even_numbers(self.count, count)
        if self._trx is not None:
            lines = [self._trx.part(n, n + 1).points for n in chosen.tolist()]
            return Streamlines.from_list(lines, chosen)
        lines = []
        for first, block in zip(itertools.count(0, _BLOCK), self.blocks(), strict=False):
            low, high = np.searchsorted(chosen, [first, first + _BLOCK])
            lines += [block[n] for n in (chosen[low:high] - first).tolist()]
        return Streamlines.from_list(lines, chosen)


def open_tractogram(path: Path) -> TractogramStream:
    """Open a TRX, TRK or TCK file.

    A TRK or TCK file whose header does not say how many streamlines it holds is read through
    once to count them.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is of another kind, or is damaged.

    """
    if path.suffix == ".trx":
        trx = open_trx(path)
        return TractogramStream(path, len(trx), trx)
    if path.suffix not in (".trk", ".tck"):
        raise DataError(f"{path} is not a tractogram; expected .trx, .trk or .tck")
    require_content(path)
    with reading(path):
        header = _load(path).header
        announced = int(header.get("count", header.get(Field.NB_STREAMLINES, 0)))
    return TractogramStream(path, announced or sum(1 for _ in _items(path)))


def even_numbers(total: int, count: int) -> NDArray[np.int64]:
    """`count` of the numbers below `total` at even distances, or all where there are not more."""
    count = min(count, total)
    return (np.arange(count) * total + total // 2) // max(1, count)


def _load(path: Path) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", HeaderWarning)
        return nib.streamlines.load(path, lazy_load=True)


def _items(path: Path) -> Iterator[Float32]:
    """The points of each streamline, RAS+ mm."""
    with reading(path):
        for line in _load(path).streamlines:
            yield np.asarray(line, np.float32)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what nibabel raises on a file that it cannot read into one sentence.

    Raises
    ------
    DataError
        Naming the file.

    """
    try:
        yield
    except _UNREADABLE as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{path} cannot be read as a tractogram ({reason}); it is damaged, cut off or of "
            "another kind; copy or convert it again"
        ) from error
