"""Stage ``prepare``: the series and its gradient table, checked and corrected; the brain mask."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_tract.core.gradients import find_shells, make_gradients, to_image_axes
from bids_tract.core.masks import mean_of, sanitise
from bids_tract.core.orientation import Axes, OrientationCheck, check_orientation
from bids_tract.core.types import Bool, Float64, Gradients
from bids_tract.derivatives import common_sidecar
from bids_tract.errors import DataError
from bids_tract.files.atomic import remove
from bids_tract.files.gradients import read_bvals, read_bvecs, write_bvals, write_bvecs
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_dwi, read_map, write_map
from bids_tract.files.sidecars import read_json, write_json
from bids_tract.files.tables import write_table
from bids_tract.names import KINDS, sidecar_path
from bids_tract.plan import Job
from bids_tract.resolved import runs_of
from bids_tract.workflow.corrections import CONFOUNDS, correct_motion_of, correct_run
from bids_tract.workflow.interface import StageInterface, save_map, uri, warnings_of_files
from bids_tract.workflow.progress import Progress
from bids_tract.workflow.series import (
    Series,
    find_brain,
    join,
    leave_series,
    naming,
    read_series,
)

LOGGER = logging.getLogger(__name__)


class Prepare(StageInterface):
    """Read the series, find the brain, check the gradient table, correct what is raw."""

    stage_name = "prepare"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        threads = self.inputs.n_threads
        if job.stages["prepare"].reuse:
            _restore(job, scratch, threads)
            return
        with warnings_of_files() as odd_files:
            series, said = _read(job, scratch, threads)
        mask, mask_notes, mask_source = _brain_of(job, series)
        with naming(job.scan.dwi):
            mask_notes += sanitise(series.data, mask)
        series, check = _check_gradients(job, series, mask)
        confounds = None
        if job.corrections.motion:
            series, confounds, said["MotionCorrection"] = correct_motion_of(
                job, series, mask, threads
            )
            # The brain lies still now.
            mask, mask_notes, mask_source = _brain_of(job, series)
            with naming(job.scan.dwi):
                mask_notes += sanitise(series.data, mask)
        notes = [*series.notes, *mask_notes]
        for note in notes:
            LOGGER.warning("%s: prepare: %s", job.label, note)
        for note in job.corrections.reasons:
            LOGGER.info("%s: prepare: %s", job.label, note)
        notes = [*job.scan.notes, *odd_files, *notes, *job.corrections.reasons]
        if job.corrections.steps:
            _save_series(job, series, notes, said | check)
        if confounds is not None:
            _save_confounds(job, confounds)
        save_map(
            job, "prepare", "dwiref", mean_of(series.data, series.gradients.is_b0), series.grid,
            sources=job.series,
        )  # fmt: skip
        facts = {**_describe(job, series, mask), **check}
        save_map(
            job, "prepare", "brain_mask", mask, series.grid, dtype=np.uint8,
            sources=[mask_source], notes=notes, more={"Type": "Brain", **facts},
        )  # fmt: skip
        leave_series(_saved_gradients(job, series), scratch)


# --- Reading -----------------------------------------------------------------------------------


def _read(job: Job, scratch: Path, n_threads: int) -> tuple[Series, dict[str, Any]]:
    """Read the runs, denoise and unring each, and join them; what to say of the first."""
    runs, threshold = runs_of(job.scan), job.settings.gradients.b0_threshold
    said: dict[str, Any] = {}
    parts, places = [], [scratch / f"run-{number}.npy" for number in range(len(runs))]
    whole = scratch / "dwi.npy"
    for run, place in zip(runs, places if len(runs) > 1 else [whole], strict=True):
        part = read_series(run, place, threshold)
        with naming(run.dwi):
            part, more = correct_run(job, part, n_threads)
        parts.append(part)
        said = said or more
    if len(parts) == 1:
        return parts[0], said
    joined = join(parts, whole)
    del parts
    for place in places:
        place.unlink()
    return joined, said


def _brain_of(job: Job, series: Series) -> tuple[Bool, list[str], Path]:
    """The mask that came with the scan, or what the signal shows; notes, and the source."""
    scan = job.scan
    if scan.brain_mask is not None:
        mask = read_map(scan.brain_mask, series.grid) > 0
        if not mask.any():
            raise DataError(f"{scan.brain_mask}: the brain mask is empty.")
        return mask, [], scan.brain_mask
    with naming(scan.dwi):
        mask, notes = find_brain(series)
    return mask, notes, scan.dwi


def _restore(job: Job, scratch: Path, n_threads: int) -> None:
    """Make the series again for the models from what an earlier run left."""
    mask_path, corrected = job.output("prepare", "brain_mask"), job.corrections.steps
    if corrected:
        data, grid = read_dwi(job.output("prepare", "preproc_dwi"), scratch / "dwi.npy")
        series = Series(data, _gradients_of_output(job, data.shape[3], grid), grid)
    else:
        series, _ = _read(job, scratch, n_threads)
        axes = Axes.from_text(read_json(sidecar_path(mask_path))["BvecAxes"])
        series = replace(series, gradients=_along(series.gradients, axes))
    with naming(job.scan.dwi):
        sanitise(series.data, read_map(mask_path, series.grid) > 0)
    leave_series(series.gradients, scratch)


# --- The gradient table ------------------------------------------------------------------------


def _along(gradients: Gradients, axes: Axes) -> Gradients:
    return replace(gradients, bvecs=axes.apply(gradients.bvecs))


def _check_gradients(job: Job, series: Series, mask: Bool) -> tuple[Series, dict[str, Any]]:
    """Compare the directions with the course of the fibres; the series, and what to say of it."""
    asked = job.settings.gradients
    axes = Axes.from_text(asked.bvec_axes)
    gradients = _along(series.gradients, axes)
    if asked.gradient_check == "off":
        said = {"BvecAxes": str(axes), "GradientCheck": {"Verdict": "off"}}
        return replace(series, gradients=gradients), said
    title = f"{job.label}: gradient check"
    with naming(job.scan.dwi), Progress(title, int(mask.sum()), "voxels") as progress:
        check = check_orientation(
            series.data, gradients, mask, series.grid.voxel_sizes, progress.advance
        )
    LOGGER.info("%s: prepare: %s\n%s", job.label, check.reason, check.table())
    better, notes, applied = axes.then(check.best), [], False
    if check.verdict == "wrong":
        table = job.scan.bvec or job.scan.b_table
        if asked.gradient_check == "error":
            raise DataError(
                f"{table}: {check.reason} --bvec-axes {better} would put it right; "
                "--gradient-check warn goes on with the table as it is."
            )
        if asked.gradient_check == "fix":
            axes, gradients, applied = better, _along(series.gradients, better), True
            notes.append(f"The gradient table was turned to the axes {axes}. {check.reason}")
        else:
            notes.append(
                f"The gradient table {table} seems wrong, and was used as it is. {check.reason} "
                f"--bvec-axes {better} would put it right; --gradient-check fix does so by itself."
            )
    said = {"BvecAxes": str(axes), "GradientCheck": _of_check(check, str(axes), applied)}
    return replace(series, gradients=gradients, notes=(*series.notes, *notes)), said


def _of_check(check: OrientationCheck, used: str, applied: bool) -> dict[str, Any]:
    return {
        "Verdict": check.verdict,
        "Reason": check.reason,
        "Best": str(check.best),
        "Used": used,
        "Applied": applied,
        "Scores": [{"Axes": str(axes), "Score": round(score, 4)} for axes, score in check.scores],
    }


def _gradients_of_output(job: Job, n_volumes: int, grid: Grid) -> Gradients:
    """The table of the corrected series, as its files have it."""
    gradients, _ = make_gradients(
        read_bvals(job.output("prepare", "preproc_bval"), n_volumes),
        read_bvecs(job.output("prepare", "preproc_bvec"), n_volumes),
        grid.affine, convention="fsl", b0_threshold=job.settings.gradients.b0_threshold,
    )  # fmt: skip
    return gradients


def _saved_gradients(job: Job, series: Series) -> Gradients:
    """What the models are to see: the same numbers as in a later run that reads the files."""
    if not job.corrections.steps:
        return series.gradients
    return _gradients_of_output(job, len(series.gradients), series.grid)


# --- Writing -----------------------------------------------------------------------------------


def _describe(job: Job, series: Series, mask: Bool) -> dict[str, Any]:
    """Say what the series is, in the log and for the sidecar."""
    scan, shells = job.scan, find_shells(series.gradients)
    n_b0 = int(series.gradients.is_b0.sum())
    volume_ml = round(float(mask.sum() * np.prod(series.grid.voxel_sizes) / 1000), 1)
    text = ", ".join(f"{len(s.volumes)} of b={s.b:.0f} ({s.n_unique} directions)" for s in shells)
    LOGGER.info(
        "%s: prepare: %s volumes: %d b0, %s; bvec convention %s (%s); mask %s voxels, %.0f ml",
        job.label, len(series.gradients), n_b0, text, scan.convention, scan.convention_reason,
        f"{mask.sum():,}", volume_ml,
    )  # fmt: skip
    return {
        "BvecConvention": scan.convention,
        "BvecConventionReason": scan.convention_reason,
        "Volume": volume_ml,
        "VolumeUnits": "ml",
        "Gradients": {
            "B0Volumes": n_b0,
            "Shells": [
                {"b": s.b, "Volumes": len(s.volumes), "Directions": s.n_unique} for s in shells
            ],
        },
    }


def _save_series(job: Job, series: Series, notes: Sequence[str], said: dict[str, Any]) -> None:
    """Write the corrected series, its table in FSL's convention, and what was done to it."""
    path = job.output("prepare", "preproc_dwi")
    remove(sidecar_path(path))
    write_bvals(job.output("prepare", "preproc_bval"), series.gradients.bvals)
    fsl = to_image_axes(series.gradients.bvecs, series.grid.affine, "fsl") + 0.0  # its own inverse
    write_bvecs(job.output("prepare", "preproc_bvec"), fsl)
    write_map(path, series.data, series.grid)
    write_json(
        sidecar_path(path),
        {
            **job.scan.metadata,
            **_common(job, "preproc_dwi", notes),
            "SkullStripped": False,
            **said,
        },
    )


def _save_confounds(job: Job, columns: Mapping[str, Float64]) -> None:
    path = job.output("prepare", "confounds")
    remove(sidecar_path(path))
    write_table(path, columns)
    about = {name: CONFOUNDS[name] for name in columns}
    write_json(sidecar_path(path), {**about, **_common(job, "confounds", ())})


def _common(job: Job, kind: str, notes: Sequence[str]) -> dict[str, Any]:
    return common_sidecar(
        digest=job.stages["prepare"].digest,
        sources=[uri(job, run.dwi) for run in runs_of(job.scan)],
        description=KINDS[kind].description,
        notes=notes,
    )
