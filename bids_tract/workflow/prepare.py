"""Stage ``prepare``: the series and its gradient table, checked, and the brain mask."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from bids_tract.core.gradients import check_world, find_shells, make_gradients
from bids_tract.core.masks import brain_mask, sanitise
from bids_tract.core.types import Bool, Float32, Gradients
from bids_tract.dataset import Scan
from bids_tract.errors import DataError
from bids_tract.files.gradients import read_b_table, read_bvals, read_bvecs
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_dwi, read_map
from bids_tract.plan import Job
from bids_tract.workflow.interface import StageInterface, save_map, warnings_of_files

LOGGER = logging.getLogger(__name__)


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
    try:
        gradients, notes = make_gradients(
            bvals, bvecs, grid.affine, convention=scan.convention, b0_threshold=b0_threshold
        )
        if scan.bvec is not None and scan.b_table is not None:
            table_bvals, table_vectors = read_b_table(scan.b_table, n_volumes)
            check_world(gradients, grid.affine, table_vectors, table_bvals)
    except DataError as error:
        raise DataError(f"{scan.bvec or scan.b_table}: {error}") from error
    return gradients, notes


def _mask_of(
    scan: Scan, data: Float32, gradients: Gradients, grid: Grid
) -> tuple[Bool, list[str], list[Path]]:
    if scan.brain_mask is None:
        mask, notes = brain_mask(data, gradients)
        return mask, notes, [scan.dwi]
    mask = read_map(scan.brain_mask, grid) > 0
    if not mask.any():
        raise DataError(f"{scan.brain_mask}: the brain mask is empty.")
    return mask, [], [scan.brain_mask]


def load_series(scratch: Path) -> tuple[Float32, Gradients]:
    """What ``Prepare`` left: the series (X, Y, Z, N) as a memory map, and its gradients."""
    table = np.load(scratch / "gradients.npz")
    gradients = Gradients(table["bvals"], table["bvecs"], float(table["b0_threshold"]))
    return np.load(scratch / "dwi.npy", mmap_mode="r"), gradients


class Prepare(StageInterface):
    """Read the series, undo the gradient convention, check everything, find the brain."""

    stage_name = "prepare"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        scan, threshold = job.scan, job.settings.gradients.b0_threshold
        with warnings_of_files() as odd_files:
            data, grid = read_dwi(scan.dwi, scratch / "dwi.npy")
            gradients, notes = read_gradients(scan, data.shape[3], grid, threshold)
        try:
            mask, mask_notes, sources = _mask_of(scan, data, gradients, grid)
            data_notes = sanitise(data, mask)
        except DataError as error:
            raise DataError(f"{scan.dwi}: {error}") from error
        np.savez(
            scratch / "gradients.npz",
            bvals=gradients.bvals, bvecs=gradients.bvecs, b0_threshold=gradients.b0_threshold,
        )  # fmt: skip
        shells = ", ".join(
            f"{len(s.volumes)} of b={s.b:.0f} ({s.n_unique} directions)"
            for s in find_shells(gradients)
        )
        volume_ml = mask.sum() * np.prod(grid.voxel_sizes) / 1000
        LOGGER.info(
            "%s: prepare: %s volumes: %d b0, %s; bvec convention %s (%s); mask %s voxels, %.0f ml",
            job.label, data.shape[3], gradients.is_b0.sum(), shells, scan.convention,
            scan.convention_reason, f"{mask.sum():,}", volume_ml,
        )  # fmt: skip
        notes += [*data_notes, *mask_notes]
        for note in notes:
            LOGGER.warning("%s: prepare: %s", job.label, note)
        if job.stages["prepare"].reuse:
            return  # it ran for the series, which a model needs again; the mask is there
        save_map(
            job, "prepare", "brain_mask", mask, grid, dtype=np.uint8, sources=sources,
            notes=[*scan.notes, *odd_files, *notes],
            more={
                "Type": "Brain",
                "BvecConvention": scan.convention,
                "BvecConventionReason": scan.convention_reason,
                "Volume": round(float(volume_ml), 1),
                "VolumeUnits": "ml",
            },
        )  # fmt: skip
