"""What a report needs of a tractogram: measures by streaming, and a sample to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bids_tract.core.types import Bool, Float32, Streamlines
from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.tractograms import read_streamlines
from bids_tract.files.tractograms.trx import open_trx

# Streamlines of a histogram's bar differ by less than this (mm).
_BAR_MM = 5.0
# TRK and TCK are read whole: beyond this size (bytes) that is no task for a report.
_WHOLE_FILE_LIMIT = 1 << 30


def blocks(path: Path) -> Iterator[Streamlines]:
    """The streamlines of a file, some at a time where it is TRX.

    Raises
    ------
    DataError, MissingInputError
        As `read_streamlines`; or a TRK or TCK file is too large to be read whole.

    """
    if path.suffix == ".trx":
        yield from open_trx(path).blocks()
        return
    if path.stat().st_size > _WHOLE_FILE_LIMIT:
        raise DataError(
            f"{path} is larger than 1 GB and would have to be read whole; have TRX among the "
            "formats (--format trx), which is read piece by piece"
        )
    yield read_streamlines(path)


def measure_tractogram(
    path: Path, grid: Grid | None, target: tuple[Bool, str] | None
) -> dict[str, Any]:
    """Lengths of the streamlines, and how much of a volume they visit.

    Parameters
    ----------
    path : pathlib.Path
        A TRX, TRK or TCK file.
    grid : Grid, optional
        Where `target` lies.
    target : ((X, Y, Z) bool array, str), optional
        The voxels that should be visited, and what they are.

    Returns
    -------
    dict
        ``Streamlines``, ``Length`` and ``Visited``; see `report.measures`.

    Raises
    ------
    DataError, MissingInputError
        The file cannot be read.

    """
    lengths: list[Float32] = []
    visited = None if grid is None else np.zeros(grid.shape, bool)
    for block in blocks(path):
        lengths.append(block.lengths_mm)
        if visited is not None and grid is not None:
            _visit(visited, block.points, grid)
    all_lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.float32)
    found: dict[str, Any] = {"Streamlines": len(all_lengths)}
    if len(all_lengths):
        found["Length"] = _distribution(all_lengths)
    if visited is not None and target is not None:
        mask, words = target
        found["Visited"] = {"Share": float(visited[mask].mean()), "Of": words}
    return found


def _visit(visited: Bool, points: Float32, grid: Grid) -> None:
    """Mark the voxels that hold a point. Steps are shorter than voxels: few are jumped over."""
    to_voxel = np.linalg.inv(grid.affine)
    voxels = np.rint(points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(np.intp)
    inside = ((voxels >= 0) & (voxels < grid.shape)).all(axis=1)
    visited[tuple(voxels[inside].T)] = True


def _distribution(lengths: Float32) -> dict[str, Any]:
    low, median, high = np.percentile(lengths, (5, 50, 95))
    n_bars = int(lengths.max() // _BAR_MM) + 1
    counts, _ = np.histogram(lengths, n_bars, (0.0, n_bars * _BAR_MM))
    return {
        "Mean": float(lengths.mean(dtype=np.float64)),
        "Median": float(median),
        "Percentile5": float(low),
        "Percentile95": float(high),
        "Longest": float(lengths.max()),
        "Histogram": {"Start": 0.0, "Width": _BAR_MM, "Counts": counts.tolist()},
    }


def sample(path: Path, wanted: int) -> tuple[list[Float32], int]:
    """Streamlines at even distances through a tractogram, and how many it holds.

    Parameters
    ----------
    path : pathlib.Path
        A TRX, TRK or TCK file.
    wanted : int
        At most so many.

    Returns
    -------
    lines : list of (n, 3) float32 arrays
        RAS+ mm.
    total : int
        The streamlines of the whole file.

    Raises
    ------
    DataError, MissingInputError
        The file cannot be read.

    """
    if path.suffix == ".trx":
        tractogram = open_trx(path)
        total = len(tractogram)
        return [tractogram.part(i, i + 1).points for i in evenly(total, wanted)], total
    (whole,) = blocks(path)
    return [whole[i] for i in evenly(len(whole), wanted)], len(whole)


def evenly(total: int, wanted: int) -> list[int]:
    """At most `wanted` numbers below `total`, at even distances."""
    count = min(total, wanted)
    return [int((i + 0.5) * total / count) for i in range(count)]
