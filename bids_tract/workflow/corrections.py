"""What is done to a raw series before the models see it, and what its sidecar says of that."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.masks import mean_of, sanitise
from bids_tract.core.preprocess.denoise import denoise_mppca, denoise_patch2self
from bids_tract.core.preprocess.displacement import phase_axis_of, restricted_displacement
from bids_tract.core.preprocess.motion import Motion, correct_motion
from bids_tract.core.preprocess.unring import unring
from bids_tract.core.types import Bool, Float64
from bids_tract.plan import Job
from bids_tract.workflow.progress import Progress
from bids_tract.workflow.series import Series, find_brain

LOGGER = logging.getLogger(__name__)
# Voxels around the mask are corrected as well: the mask is found anew afterwards.
_MARGIN = 2


def correct_run(job: Job, series: Series, n_threads: int) -> tuple[Series, dict[str, Any]]:
    """Denoise one run and remove its ringing, in place; the series and what to say of it."""
    todo = job.corrections
    said: dict[str, Any] = {}
    if not (todo.denoise or todo.unring is not None):
        return series, said
    brain, _ = find_brain(series)
    mask = ndimage.binary_dilation(brain, iterations=_MARGIN)
    notes = sanitise(series.data, brain)
    sanitise(series.data, mask)  # beside the brain, dark voxels are nothing odd
    if todo.denoise:
        said["Denoising"] = _denoise(job, series, mask, brain, n_threads)
    if todo.unring is not None:
        slices = series.data.shape[todo.unring] * series.data.shape[3]
        with Progress(f"{job.label}: unringing", slices, "slices") as progress:
            unring(series.data, todo.unring, n_threads=n_threads, progress=progress.advance)
            LOGGER.info("%s: prepare: ringing removed in %.0f s", job.label, progress.seconds)
        said["GibbsUnringing"] = {
            "Method": "local subvoxel shifts",
            "SliceAxis": "ijk"[todo.unring],
        }
    return replace(series, notes=(*series.notes, *notes)), said


def _denoise(job: Job, series: Series, mask: Bool, brain: Bool, n_threads: int) -> dict[str, Any]:
    """Denoise in place; what the sidecar says of it."""
    method, data, gradients = job.corrections.denoise, series.data, series.gradients
    with Progress(f"{job.label}: denoising", int(mask.sum()), "voxels") as progress:
        if method == "patch2self":
            denoise_patch2self(data, gradients)
            said: dict[str, Any] = {
                "Method": "patch2self",
                "Reference": "doi:10.48550/arXiv.2011.01355",
            }
        else:
            sigma = denoise_mppca(data, mask, n_threads=n_threads, progress=progress.advance)
            inside = brain & (sigma > 0)
            noise = float(np.median(sigma[inside]))
            snr = float(np.median(mean_of(data, gradients.is_b0)[inside] / sigma[inside]))
            said = {
                "Method": "Marchenko-Pastur PCA",
                "Reference": "doi:10.1016/j.neuroimage.2016.08.016",
                "NoiseLevel": noise,
                "SNR": round(snr, 1),
            }
        LOGGER.info(
            "%s: prepare: denoised by %s in %.0f s%s", job.label, method, progress.seconds,
            f"; b0 signal to noise was {said['SNR']}" if "SNR" in said else "",
        )  # fmt: skip
    return said


def correct_motion_of(
    job: Job, series: Series, mask: Bool, n_threads: int
) -> tuple[Series, dict[str, Float64], dict[str, Any]]:
    """Register the volumes, in place.

    Returns
    -------
    series : Series
        Its directions turned with the head.
    confounds : dict of str to (N,) float64 array
        The columns of the confounds table, as `CONFOUNDS` describes them.
    said : dict
        For the sidecar.

    """
    kind = job.corrections.motion
    with Progress(f"{job.label}: motion", len(series.gradients), "volumes") as progress:
        gradients, motion = correct_motion(
            series.data, series.gradients, mask, series.grid.affine,
            eddy=kind == "eddy", n_threads=n_threads, progress=progress.advance,
        )  # fmt: skip
        seconds = progress.seconds
    shifts = np.linalg.norm(motion.parameters[:, :3], axis=1)
    turns = np.rad2deg(Rotation.from_matrix(motion.rotations).magnitude())
    columns = _confounds(job, series, motion)
    displacement = {
        f"{which}{name}": round(float(measure(columns[column][1:])), 3)
        for column, name in _DISPLACEMENTS.items()
        if column in columns
        for which, measure in (("Mean", np.mean), ("Max", np.max))
    }
    LOGGER.info(
        "%s: prepare: %s estimated in %.0f s; the head moved by %.1f mm and %.1f degrees at most",
        job.label, "motion and eddy currents" if kind == "eddy" else "motion", seconds,
        shifts.max(), turns.max(),
    )  # fmt: skip
    for note in motion.notes:
        LOGGER.info("%s: prepare: %s", job.label, note)
    said = {
        "Method": "rigid and affine registration" if kind == "eddy" else "rigid registration",
        "Applied": motion.applied,
        **displacement,
        "MaxTranslation": round(float(shifts.max()), 3),
        "MaxRotation": round(float(turns.max()), 3),
        "Units": "mm, degrees",
        "Notes": list(motion.notes),
    }
    return replace(series, gradients=gradients), columns, said


# What the columns of the confounds table are, as BIDS tables are described.
CONFOUNDS: Mapping[str, Mapping[str, str]] = {
    **{
        f"trans_{axis}": {
            "Description": f"Translation of the brain's middle along world axis {axis} (RAS+)",
            "Units": "mm",
        }
        for axis in "xyz"
    },
    **{
        f"rot_{axis}": {
            "Description": f"Rotation about world axis {axis}; x first, then y, then z",
            "Units": "rad",
        }
        for axis in "xyz"
    },
    "framewise_displacement": {
        "Description": "Sum of the absolute changes since the volume before; rotations as arcs on "
        "a sphere of 50 mm (doi:10.1016/j.neuroimage.2011.10.018)",
        "Units": "mm",
    },
    "restricted_displacement": {
        "Description": "The same without what eddy currents make as well: shifts along the "
        "phase-encoding axis, and what shears along it add to the rotation",
        "Units": "mm",
    },
}
# How their summaries are called in the sidecar, after Mean and Max.
_DISPLACEMENTS = {
    "framewise_displacement": "FramewiseDisplacement",
    "restricted_displacement": "RestrictedDisplacement",
}


def _confounds(job: Job, series: Series, motion: Motion) -> dict[str, Float64]:
    """The columns of the confounds table; the last only where the phase-encoding axis is known."""
    columns = [*motion.parameters.T, motion.framewise_displacement]
    axis = phase_axis_of(job.scan.metadata)
    if axis is not None:
        along = direction_cosines(series.grid.affine)[:, axis]
        columns.append(restricted_displacement(motion.parameters, motion.transforms, along))
    return dict(zip(CONFOUNDS, columns, strict=False))
