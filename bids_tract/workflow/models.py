"""Stages ``tensor``, ``csa`` and ``csd``: from the series to orientations."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from bids_tract.core.gradients import Shell, choose_shell, direction_cosines, resolve_order
from bids_tract.core.models.csa import SMOOTH, fit_csa
from bids_tract.core.models.csd import CONVERGENCE, LAMBDA, TAU, fit_csd
from bids_tract.core.models.peaks import CSA_PEAKS, CSD_PEAKS, find_peaks
from bids_tract.core.models.response import ResponseFunction, estimate_response
from bids_tract.core.models.tensor import fit_tensor
from bids_tract.core.types import Bool, Float32, Gradients, SHField, Volumes
from bids_tract.derivatives import colour_encoding, peaks_encoding, sh_encoding
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map
from bids_tract.plan import Job
from bids_tract.settings import Response
from bids_tract.workflow.interface import StageInterface, save_map
from bids_tract.workflow.progress import Progress
from bids_tract.workflow.series import load_series, naming

LOGGER = logging.getLogger(__name__)
# The orders that the papers' authors and the field use.
DEFAULT_ORDER = {"csa": 6, "csd": 8}


def _mask_and_grid(job: Job) -> tuple[Bool, Grid]:
    path = job.output("prepare", "brain_mask")
    grid = read_grid(path)
    return read_map(path, grid) > 0, grid


def _shell_data(
    job: Job, scratch: Path, model: str
) -> tuple[Volumes, Gradients, Shell, int, list[str]]:
    """The volumes that a single-shell model uses, their gradients, and the order they carry."""
    series, gradients = load_series(scratch)
    with naming(job.scan.dwi):
        volumes, shell, notes = choose_shell(gradients, job.settings.gradients.shell)
        order, order_notes = resolve_order(
            job.settings.model.sh_order, DEFAULT_ORDER[model], shell.n_unique
        )
    for note in [*notes, *order_notes]:
        LOGGER.warning("%s: %s: %s", job.label, model, note)
    chosen = Volumes(series, volumes)
    return chosen, gradients.select(volumes), shell, order, [*notes, *order_notes]


def _peaks(
    field: SHField, mask: Bool, bounds: tuple[float, float], progress: Progress, threads: int
) -> Float32:
    threshold, separation = bounds
    return find_peaks(
        field, mask, relative_threshold=threshold, min_separation_deg=separation,
        progress=progress.advance, n_threads=threads,
    )  # fmt: skip


class Tensor(StageInterface):
    """Fit the diffusion tensor: FA, MD, and main directions as colours."""

    stage_name = "tensor"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        mask, grid = _mask_and_grid(job)
        series, gradients = load_series(scratch)
        rotation = direction_cosines(grid.affine)
        title = f"{job.label}: tensor"
        with naming(job.scan.dwi), Progress(title, int(mask.sum()), "voxels") as progress:
            maps = fit_tensor(
                series, gradients, mask, rotation=rotation, progress=progress.advance
            )
        fa = maps.fa[mask]
        LOGGER.info(
            "%s: tensor: FA %.2f in the median, %.2f at the 95th percentile",
            job.label, np.median(fa), np.percentile(fa, 95),
        )  # fmt: skip
        fit = {"Model": {"Description": "Diffusion tensor", "Parameters": {"FitMethod": "wls"}}}
        sources = [*job.series, job.output("prepare", "brain_mask")]
        for kind, data, more in (
            ("tensor_fa", maps.fa, {}),
            ("tensor_md", maps.md, {"Units": "mm^2/s"}),
            ("tensor_colfa", maps.colfa, colour_encoding()),
        ):
            save_map(job, "tensor", kind, data, grid, sources=sources, more={**fit, **more})


class Csa(StageInterface):
    """Fit the constant solid angle ODF; GFA and peaks."""

    stage_name = "csa"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        mask, grid = _mask_and_grid(job)
        data, gradients, shell, order, notes = _shell_data(job, scratch, "csa")
        threads = self.inputs.n_threads
        with Progress(f"{job.label}: csa", int(mask.sum()), "voxels") as progress:
            field, gfa = fit_csa(data, gradients, mask, order, progress.advance, threads)
        LOGGER.info(
            "%s: csa: order %d on b=%.0f, %s voxels; GFA %.2f in the median",
            job.label, order, shell.b, f"{mask.sum():,}", np.median(gfa[mask]),
        )  # fmt: skip
        with Progress(f"{job.label}: csa peaks", int(mask.sum()), "voxels") as progress:
            peaks = _peaks(field, mask, CSA_PEAKS, progress, threads)
        fit = {
            "Model": {
                "Description": "Constant solid angle ODF",
                "URL": "https://doi.org/10.1002/mrm.22365",
                "Parameters": {"Shell": shell.b, "Smoothing": SMOOTH},
            }
        }
        sources = [*job.series, job.output("prepare", "brain_mask")]
        for kind, values, more in (
            ("csa_gfa", gfa, {}),
            ("csa_peaks", peaks, peaks_encoding(peaks.shape[-1] // 3)),
            ("csa_odf", field.coeffs, sh_encoding(order)),
        ):
            save_map(
                job, "csa", kind, values, grid, sources=sources, notes=notes, more={**fit, **more}
            )


class Csd(StageInterface):
    """Estimate the response, deconvolve, find peaks."""

    stage_name = "csd"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        mask, grid = _mask_and_grid(job)
        data, gradients, shell, order, notes = _shell_data(job, scratch, "csd")
        fa_path = job.output("tensor", "tensor_fa")
        response, response_notes = self._response(
            job, data, gradients, mask, read_map(fa_path, grid)
        )
        with Progress(f"{job.label}: csd", int(mask.sum()), "voxels") as progress:
            field, n_failed = fit_csd(
                data, gradients, mask, order, response.evals, response.s0,
                progress=progress.advance, n_threads=self.inputs.n_threads,
                axes=direction_cosines(grid.affine),
            )  # fmt: skip
            seconds = progress.seconds
        if n_failed:
            response_notes.append(f"the fit failed in {n_failed:,} voxels, which are zero")
        LOGGER.info(
            "%s: csd: order %d on b=%.0f, %s voxels in %.1f s; response %s mm²/s, S0 %.0f (%s)",
            job.label, order, shell.b, f"{mask.sum():,}", seconds,
            "/".join(f"{v:.2e}" for v in response.evals), response.s0, response.source,
        )  # fmt: skip
        for note in response_notes:
            LOGGER.warning("%s: csd: %s", job.label, note)
        with Progress(f"{job.label}: csd peaks", int(mask.sum()), "voxels") as progress:
            peaks = _peaks(field, mask, CSD_PEAKS, progress, self.inputs.n_threads)
        fit = {
            "Model": {
                "Description": "Constrained spherical deconvolution",
                "URL": "https://doi.org/10.1016/j.neuroimage.2007.02.016",
                "Parameters": {
                    "Shell": shell.b,
                    "Lambda": LAMBDA,
                    "Tau": TAU,
                    "Iterations": CONVERGENCE,
                },
            },
            "NonNegativity": "constrained",
            "ResponseFunction": {
                "Type": "eigen",
                "Coefficients": [*map(float, response.evals), response.s0],
                "Source": response.source,
                "Voxels": response.n_voxels,
                "Threshold": response.fa_threshold,
            },
        }
        sources = [*job.series, job.output("prepare", "brain_mask"), fa_path]
        for kind, values, more in (
            ("csd_peaks", peaks, peaks_encoding(peaks.shape[-1] // 3)),
            ("csd_fod", field.coeffs, sh_encoding(order)),
        ):
            save_map(
                job, "csd", kind, values, grid, sources=sources,
                notes=[*notes, *response_notes], more={**fit, **more},
            )  # fmt: skip

    @staticmethod
    def _response(
        job: Job, data: Volumes, gradients: Gradients, mask: Bool, fa: Float32
    ) -> tuple[ResponseFunction, list[str]]:
        asked: Response | None = job.settings.model.response
        if asked is not None:
            given = ResponseFunction(
                evals=np.array(asked.evals), s0=asked.s0, n_voxels=0, fa_threshold=0.0,
                source="given",
            )  # fmt: skip
            return given, []
        with naming(job.scan.dwi):
            return estimate_response(data, gradients, mask, fa)
