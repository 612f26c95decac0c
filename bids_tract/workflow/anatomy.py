"""Stage ``anatomy``: tissue fractions on the grid of the diffusion series."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bids_tract.core.anatomy.segmentation import segment_t1w
from bids_tract.core.masks import mean_of
from bids_tract.core.registration import LEAST_QUALITY, Registration, register_rigid
from bids_tract.core.tissue import check_in_mask, doubts, fill, from_5tt, from_probseg
from bids_tract.core.types import Bool, Float32, Float64, Tissue
from bids_tract.dataset import Anatomical, TissueFiles
from bids_tract.derivatives import common_sidecar
from bids_tract.errors import DataError
from bids_tract.files.atomic import remove
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map
from bids_tract.files.resample import resample_array
from bids_tract.files.sidecars import write_json
from bids_tract.files.transforms import write_itk_affine
from bids_tract.names import KINDS, sidecar_path
from bids_tract.plan import Job
from bids_tract.resolved import needs_registration
from bids_tract.workflow.interface import StageInterface, save_map, uri, warnings_of_files
from bids_tract.workflow.series import load_series, naming

LOGGER = logging.getLogger(__name__)
_NAMES = ("wm", "gm", "csf")


class Anatomy(StageInterface):
    """Tissue from the maps of a derivative, or from a T1w image, on the diffusion grid."""

    stage_name = "anatomy"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        mask_path = job.output("prepare", "brain_mask")
        grid = read_grid(mask_path)
        mask = read_map(mask_path, grid) > 0
        facts: dict[str, Any] = {}
        notes: list[str] = []
        transform = None
        with warnings_of_files() as odd_files:
            if needs_registration(job.scan):
                registration = _register(job, scratch, mask, grid, self.inputs.n_threads)
                transform = registration.matrix
                facts["Registration"] = _save_transform(job, registration)
            files, t1w = job.scan.tissue, job.scan.t1w
            if files is not None:
                sources: Sequence[Path] = files.files
                facts["TissueSource"] = files.kind
                tissue = read_tissue(files, grid, transform)
            else:
                assert t1w is not None  # the plan makes no anatomy stage without one of both
                sources = t1w.files
                facts["TissueSource"] = "T1w"
                tissue, notes = _segment(t1w, mask, grid, transform)
        with naming(sources[0]):
            check_in_mask(tissue, mask)
        shares = {name: float(getattr(tissue, name)[mask].mean()) for name in _NAMES}
        LOGGER.info(
            "%s: anatomy: tissue from %s (%s) on the diffusion grid; inside the brain mask "
            "WM %.0f %%, GM %.0f %%, CSF %.0f %%",
            job.label, facts["TissueSource"], sources[0], *(100 * s for s in shares.values()),
        )  # fmt: skip
        notes = [*odd_files, *notes, *doubts(tissue, float(np.prod(grid.voxel_sizes)))]
        for note in notes:
            LOGGER.warning("%s: anatomy: %s", job.label, note)
        for name in _NAMES:
            values = getattr(tissue, name)
            volume = float(values.sum(dtype=np.float64) * np.prod(grid.voxel_sizes) / 1000)
            own = {
                "Volume": round(volume, 1), "VolumeUnits": "ml",
                "ShareOfBrainMask": round(shares[name], 4),
            }  # fmt: skip
            save_map(
                job, "anatomy", f"{name}_probseg", values, grid, sources=sources, notes=notes,
                more={**own, **facts},
            )  # fmt: skip


# --- Maps of a derivative ----------------------------------------------------------------------


def read_tissue(files: TissueFiles, grid: Grid, transform: Float64 | None = None) -> Tissue:
    """Read tissue maps and resample them to the grid of a diffusion series.

    Parameters
    ----------
    files : TissueFiles
    grid : Grid
        Of the series.
    transform : (4, 4) float64 array, optional
        RAS+ mm of the series to RAS+ mm of the maps, where they lie in another space.

    Raises
    ------
    DataError
        Naming the file, when the maps are no fractions, or hold nothing on that grid.

    """
    stored = [_fractions(files, path) for path in files.files]
    if files.kind == "probseg" and all(_is_label(part) for (part,) in stored):
        names = ", ".join(path.name for path in files.files)
        raise DataError(
            f"{files.files[0].parent}: {names} hold only 0 and 1. They are labels, not fractions: "
            "fMRIPrep 20.2 with FreeSurfer writes such. Make them anew with a later version, or "
            "leave them out, so that the T1w image is used."
        )
    parts = []
    for path, maps in zip(files.files, stored, strict=True):
        affine = read_grid(path).affine
        moved = [resample_array(part, affine, grid, transform=transform) for part in maps]
        if not any(part.any() for part in moved):
            raise DataError(
                f"{path} is zero everywhere on the grid of the diffusion series; is it in another "
                "space?"
            )
        parts += moved
    with naming(files.files[0]):
        return fill(from_5tt(np.stack(parts, -1)) if files.kind == "5tt" else from_probseg(*parts))


def _is_label(values: Float32) -> bool:
    return bool(np.isin(values, (0, 1)).all() and values.any())


def _fractions(files: TissueFiles, path: Path) -> list[Float32]:
    """The volumes of a file as fractions: five tissues, one, or those that the labels say."""
    if files.kind == "5tt":
        return list(np.moveaxis(read_map(path, ndim=4), -1, 0))
    values = read_map(path)
    if files.kind == "probseg":
        return [values]
    return [np.isin(values, files.labels[name]).astype(np.float32) for name in _NAMES]


# --- A T1w image -------------------------------------------------------------------------------


def _image(job: Job) -> Anatomical:
    """The T1w image that is registered: that of the tissue maps, or the participant's."""
    image = job.scan.tissue.reference if job.scan.tissue is not None else job.scan.t1w
    assert image is not None  # where it is not there, nothing has to be registered
    return image


def _register(job: Job, scratch: Path, mask: Bool, grid: Grid, n_threads: int) -> Registration:
    """Register the T1w image, of the maps or the participant's, to the diffusion series."""
    image = _image(job)
    own = read_grid(image.t1w)
    series, gradients = load_series(scratch)
    brain = read_map(image.brain_mask, own) > 0 if image.brain_mask is not None else None
    with naming(image.t1w):
        registration = register_rigid(
            mean_of(series, ~gradients.is_b0), grid.affine, mask,
            read_map(image.t1w), own.affine, moving_mask=brain, n_threads=n_threads,
        )  # fmt: skip
    LOGGER.info(
        "%s: anatomy: %s registered to the series: quality %.2f (at least %.2f), %d of %d starts "
        "agree",
        job.label, image.t1w.name, registration.quality, LEAST_QUALITY, registration.agreeing,
        registration.refined,
    )  # fmt: skip
    return registration


def _save_transform(job: Job, registration: Registration) -> dict[str, Any]:
    """Write the transform; what the sidecars say of it."""
    said = {
        "Method": "rigid, mutual information",
        "Quality": round(registration.quality, 3),
        "Bound": LEAST_QUALITY,
        "StartsRefined": registration.refined,
        "StartsAgreeing": registration.agreeing,
    }
    path = job.output("anatomy", "t1w_xfm")
    remove(sidecar_path(path))
    write_itk_affine(path, registration.matrix)
    common = common_sidecar(
        digest=job.stages["anatomy"].digest,
        sources=[uri(job, _image(job).t1w), *(uri(job, path) for path in job.series)],
        description=KINDS["t1w_xfm"].description,
    )
    write_json(sidecar_path(path), {**common, **said})
    return said


def _segment(
    image: Anatomical, mask: Bool, grid: Grid, transform: Float64 | None
) -> tuple[Tissue, list[str]]:
    """Segment the T1w image where the diffusion series shows the brain; and what is odd."""
    own = read_grid(image.t1w)
    brain = read_map(image.brain_mask, own) > 0 if image.brain_mask is not None else None
    back = None if transform is None else np.asarray(np.linalg.inv(transform), np.float64)
    prior = resample_array(mask.astype(np.float32), grid.affine, own, transform=back) > 0.5
    with naming(image.t1w):
        found = segment_t1w(read_map(image.t1w), own.affine, prior, brain=brain)
    parts = (getattr(found.tissue, name) for name in _NAMES)
    moved = [resample_array(part, own.affine, grid, transform=transform) for part in parts]
    with naming(image.t1w):
        return fill(from_probseg(*moved)), list(found.notes)
