"""Stage ``anatomy``: tissue fractions on the grid of the diffusion series."""

from __future__ import annotations

import logging
from pathlib import Path

from bids_tract.core.tissue import check_in_mask, doubts, fill, from_5tt, from_probseg
from bids_tract.core.types import Tissue
from bids_tract.dataset import TissueFiles
from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map, resample_to
from bids_tract.plan import Job
from bids_tract.workflow.interface import StageInterface, save_map, warnings_of_files

LOGGER = logging.getLogger(__name__)


def read_tissue(files: TissueFiles, grid: Grid) -> Tissue:
    """Read tissue maps and resample them to the grid of a diffusion series.

    Raises
    ------
    DataError
        Naming the file, when the maps are no fractions, or hold nothing on that grid.

    """
    volumes = range(5) if files.kind == "5tt" else None
    maps = [resample_to(path, grid, volumes) for path in files.files]
    for path, values in zip(files.files, maps, strict=True):
        if not values.any():
            raise DataError(
                f"{path} is zero everywhere on the grid of the diffusion series; is it in another "
                "space?"
            )
    try:
        return fill(from_5tt(maps[0]) if files.kind == "5tt" else from_probseg(*maps))
    except DataError as error:
        names = ", ".join(str(path) for path in files.files)
        raise DataError(f"{names}: {error}") from error


class Anatomy(StageInterface):
    """Bring the tissue maps of a derivative to the diffusion grid."""

    stage_name = "anatomy"

    def stage(self, job: Job, scratch: Path) -> None:  # noqa: ARG002 (the stages' signature)
        """Do the work."""
        files = job.scan.tissue
        assert files is not None  # the plan makes no anatomy stage without
        mask_path = job.output("prepare", "brain_mask")
        grid = read_grid(mask_path)
        with warnings_of_files() as odd_files:
            tissue = read_tissue(files, grid)
        mask = read_map(mask_path, grid) > 0
        try:
            check_in_mask(tissue, mask)
        except DataError as error:
            raise DataError(f"{files.files[0]}: {error}") from error
        LOGGER.info(
            "%s: anatomy: %s maps of %s on the diffusion grid; inside the brain mask "
            "WM %.0f %%, GM %.0f %%, CSF %.0f %%",
            job.label, files.kind, files.dataset,
            *(100 * float(m[mask].mean()) for m in (tissue.wm, tissue.gm, tissue.csf)),
        )  # fmt: skip
        notes = doubts(tissue)
        for note in notes:
            LOGGER.warning("%s: anatomy: %s", job.label, note)
        for name in ("wm", "gm", "csf"):
            save_map(
                job, "anatomy", f"{name}_probseg", getattr(tissue, name), grid,
                sources=files.files, notes=[*odd_files, *notes],
            )  # fmt: skip
