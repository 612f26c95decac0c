"""What is measured of a tractogram, in one pass over it: lengths and density."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Bool, Float32
from bids_tract.errors import DataError
from bids_tract.files.atomic import remove
from bids_tract.files.grids import Grid
from bids_tract.files.images import write_map
from bids_tract.files.sidecars import bids_uri, write_json
from bids_tract.files.tractograms.stream import open_tractogram
from bids_tract.names import KINDS, density_path, sidecar_path

# Streamlines of a histogram's bar differ by less than this (mm).
_BAR_MM = 5.0


def measure_tractogram(
    path: Path, grid: Grid, target: tuple[Bool, str] | None
) -> tuple[dict[str, Any], NDArray[np.int32]]:
    """Lengths of the streamlines, and through which voxels they pass.

    Parameters
    ----------
    path : pathlib.Path
        A TRX, TRK or TCK file; it is read block by block.
    grid : Grid
        Where streamlines are counted.
    target : ((X, Y, Z) bool array, str), optional
        The voxels that should be visited, and what they are.

    Returns
    -------
    found : dict
        ``Streamlines``, ``Length`` and ``Visited``; see `report.measures`.
    counts : (X, Y, Z) int32 array
        Streamlines that pass through each voxel.

    Raises
    ------
    DataError, MissingInputError
        The file cannot be read.

    """
    # The group level reads measures and compiles nothing: numba would double its memory.
    from bids_tract.core.density import Density

    lengths: list[Float32] = []
    density = Density(grid.shape, grid.affine)
    for block in open_tractogram(path).blocks():
        lengths.append(block.lengths_mm)
        density.add(block)
    all_lengths = np.concatenate(lengths) if lengths else np.zeros(0, np.float32)
    found: dict[str, Any] = {"Streamlines": len(all_lengths)}
    if len(all_lengths):
        found["Length"] = _distribution(all_lengths)
    if target is not None:
        mask, words = target
        found["Visited"] = {"Share": float((density.counts[mask] > 0).mean()), "Of": words}
    return found, density.counts


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


def write_density(
    root: Path,
    tractogram: Path,
    counts: NDArray[np.int32],
    grid: Grid,
    *,
    streamlines: int,
    more: Mapping[str, Any],
) -> None:
    """Write the density map of a tractogram beside it, then its sidecar.

    Parameters
    ----------
    root : pathlib.Path
        The dataset that holds the tractogram.
    tractogram : pathlib.Path
        What was counted.
    counts : (X, Y, Z) int32 array
        As `measure_tractogram` gives them.
    grid : Grid
        Where they lie.
    streamlines : int
        How many the tractogram holds.
    more : mapping
        Further keys of the sidecar.

    Raises
    ------
    DataError
        There are streamlines, and none passes through the image.
    OutputError
        The files cannot be written.

    """
    if streamlines and not counts.any():
        raise DataError(
            "no streamline passes through the image; expected streamlines in RAS+ mm of the "
            "scan's space: track again, or put the tractogram that belongs here in its place"
        )
    path = density_path(tractogram)
    write_map(path, counts, grid, dtype=np.int32)
    sidecar = {
        "Description": KINDS["density"].description,
        "Sources": [bids_uri(tractogram, root)],
        "Streamlines": streamlines,
        "Units": "1",
        "SkullStripped": True,
    }
    write_json(sidecar_path(path), {**sidecar, **more})


def remove_density(tractogram: Path) -> None:
    """Remove the density map of a tractogram: none of a former one may stay beside it.

    Raises
    ------
    OutputError
        The folder may not be written.

    """
    path = density_path(tractogram)
    remove(sidecar_path(path))
    remove(path)


def has_density(tractogram: Path) -> bool:
    """Whether the density map of a tractogram is there and complete."""
    path = density_path(tractogram)
    return path.is_file() and sidecar_path(path).is_file()
