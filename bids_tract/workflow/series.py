"""A diffusion series between the stages: read from its files, joined from runs, handed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_tract.core.gradients import check_world, make_gradients
from bids_tract.core.masks import brain_mask, mean_of, without_scalp
from bids_tract.core.types import Bool, Float32, Gradients
from bids_tract.dataset import Scan
from bids_tract.errors import DataError
from bids_tract.files.gradients import read_b_table, read_bvals, read_bvecs
from bids_tract.files.grids import Grid
from bids_tract.files.images import make_series, read_dwi


@dataclass(frozen=True, eq=False)
class Series:
    """A diffusion series on the disk.

    Attributes
    ----------
    data : (X, Y, Z, N) float32 memory map
    gradients : Gradients
    grid : Grid
    notes : tuple of str
        What is odd about it, in sentences.

    """

    data: Float32
    gradients: Gradients
    grid: Grid
    notes: tuple[str, ...] = ()


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put a file's name before what the core says of its content."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_series(scan: Scan, place: Path, b0_threshold: float) -> Series:
    """Read one series and its gradient table.

    Parameters
    ----------
    scan : Scan
        A single run.
    place : Path
        Where the values go; see `files.images.read_dwi`.
    b0_threshold : float
        s/mm².

    Raises
    ------
    DataError
        Naming the file, when something cannot be used.

    """
    data, grid = read_dwi(scan.dwi, place)
    gradients, notes = read_gradients(scan, data.shape[3], grid, b0_threshold)
    return Series(data, gradients, grid, tuple(notes))


def read_gradients(
    scan: Scan, n_volumes: int, grid: Grid, b0_threshold: float
) -> tuple[Gradients, list[str]]:
    """Read the gradient table of a scan into image axes.

    Raises
    ------
    DataError
        Naming the file, when the table cannot be used or contradicts its ``.b`` table.

    """
    if scan.bvec is None:
        assert scan.b_table is not None  # a scan has one or the other
        bvals, bvecs = read_b_table(scan.b_table, n_volumes)
    else:
        bvals, bvecs = read_bvals(scan.bval, n_volumes), read_bvecs(scan.bvec, n_volumes)
    with naming(scan.bvec or scan.bval):
        gradients, notes = make_gradients(
            bvals, bvecs, grid.affine, convention=scan.convention, b0_threshold=b0_threshold
        )
        if scan.bvec is not None and scan.b_table is not None:
            table_bvals, table_vectors = read_b_table(scan.b_table, n_volumes)
            check_world(gradients, grid.affine, table_vectors, table_bvals)
    return gradients, notes


def join(runs: Sequence[Series], place: Path) -> Series:
    """Put runs behind each other, brought to the brightness of the first.

    Scanners adjust their gain to each run: without this, the models would take the difference
    for diffusion.

    Parameters
    ----------
    runs : sequence of Series
        On one grid.
    place : Path
        Where the joined series goes, a ``.npy`` file.

    """
    brain, _ = find_brain(runs[0])
    levels = [float(np.median(mean_of(run.data, run.gradients.is_b0)[brain])) for run in runs]
    total = sum(len(run.gradients) for run in runs)
    data = make_series(place, (*runs[0].grid.shape, total))
    start = 0
    for run, level in zip(runs, levels, strict=True):
        stop = start + len(run.gradients)
        for plane, source in zip(data, run.data, strict=True):
            np.multiply(source, np.float32(levels[0] / level), out=plane[..., start:stop])
        start = stop
    gradients = Gradients(
        np.concatenate([run.gradients.bvals for run in runs]),
        np.concatenate([run.gradients.bvecs for run in runs]),
        runs[0].gradients.b0_threshold,
    )
    shares = ", ".join(f"{levels[0] / level:.3f}" for level in levels)
    notes = [note for run in runs for note in run.notes]
    notes.append(f"{len(runs)} runs were joined, scaled to the b0 signal of the first: {shares}.")
    return Series(data, gradients, runs[0].grid, tuple(notes))


def find_brain(series: Series) -> tuple[Bool, list[str]]:
    """The brain as the signal shows it, and what is odd about it."""
    mask, notes = brain_mask(series.data, series.gradients)
    if notes:  # there is no background, hence no head with a scalp
        return mask, notes
    b0 = mean_of(series.data, series.gradients.is_b0)
    return without_scalp(mask, b0, series.grid.voxel_sizes), notes


def leave_series(gradients: Gradients, scratch: Path) -> None:
    """Hand a series on to the models: its values are in ``dwi.npy`` already."""
    np.savez(
        scratch / "gradients.npz",
        bvals=gradients.bvals, bvecs=gradients.bvecs, b0_threshold=gradients.b0_threshold,
    )  # fmt: skip


def load_series(scratch: Path) -> tuple[Float32, Gradients]:
    """What ``Prepare`` left: the series (X, Y, Z, N) as a memory map, and its gradients."""
    table = np.load(scratch / "gradients.npz")
    gradients = Gradients(table["bvals"], table["bvecs"], float(table["b0_threshold"]))
    return np.load(scratch / "dwi.npy", mmap_mode="r"), gradients
