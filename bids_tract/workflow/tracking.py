"""Stages ``masks`` and ``track-*``: from orientations to streamlines in files."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nipype.interfaces.base import traits

from bids_tract.core.masks import interface, is_binary, resolve_threshold, threshold_mask
from bids_tract.core.tracking.outcome import Counts
from bids_tract.core.tracking.params import TrackParams
from bids_tract.core.tracking.seeds import Seeds, make_seeds
from bids_tract.core.tracking.stopping import MapStop, MaskStop, StopRule, TissueStop
from bids_tract.core.tracking.walk import Walker, track
from bids_tract.core.types import Bool, SHField, Tissue
from bids_tract.derivatives import common_sidecar, tractogram_sidecar
from bids_tract.errors import DataError
from bids_tract.files.atomic import remove
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map
from bids_tract.files.sidecars import read_json, write_json
from bids_tract.files.tractograms import write_tractogram
from bids_tract.files.tractograms.trx import TrxWriter
from bids_tract.names import KINDS, sidecar_path
from bids_tract.plan import MODEL_FIELD, Job
from bids_tract.resolved import tissue_rule, track_params, uses_stop_map
from bids_tract.settings import SCALAR_MAPS, Threshold
from bids_tract.workflow.interface import StageInputs, StageInterface, save_map, uri
from bids_tract.workflow.progress import Progress

LOGGER = logging.getLogger(__name__)
# A binary mask is above one half inside.
HALF = 0.5


def _choose_voxels(
    path: Path, chosen: str, asked: Threshold, grid: Grid
) -> tuple[Bool, float, bool]:
    """Voxels of a map above the bound, the bound, and whether it is a mask that the user gave."""
    values = read_map(path, grid)
    binary = chosen not in SCALAR_MAPS and is_binary(values)
    try:
        bound = (
            HALF if binary else resolve_threshold(values, value=asked.value, percent=asked.percent)
        )
        return threshold_mask(values, value=bound), bound, binary
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


class Masks(StageInterface):
    """Where streamlines start, and where they may go."""

    stage_name = "masks"

    def stage(self, job: Job, scratch: Path) -> None:  # noqa: ARG002 (the stages' signature)
        """Do the work."""
        brain_path = job.output("prepare", "brain_mask")
        grid = read_grid(brain_path)
        brain = read_map(brain_path, grid) > 0
        self._seed_mask(job, brain, grid)
        if uses_stop_map(job.settings):
            self._stop_mask(job, brain, grid)

    @staticmethod
    def _seed_mask(job: Job, brain: Bool, grid: Grid) -> None:
        asked = job.settings.seeding
        more: dict[str, Any]
        if asked.seeding == "interface":
            sources = [job.output("anatomy", f"{name}_probseg") for name in ("wm", "gm")]
            mask = interface(*(read_map(path, grid) for path in sources)) & brain
            more = {"Seeding": "interface of white and grey matter"}
        else:
            path = job.map_path(asked.seed_mask)
            sources = [path]
            mask, threshold, _ = _choose_voxels(path, asked.seed_mask, asked.seed_threshold, grid)
            mask &= brain
            more = {"Map": uri(job, path), "Threshold": threshold}
        if not mask.any():
            names = ", ".join(str(path) for path in sources)
            raise DataError(
                f"{names}: no voxel of the brain mask is left to seed; lower --seed-threshold or "
                "give another --seed-mask."
            )
        LOGGER.info("%s: masks: %s voxels to seed", job.label, f"{mask.sum():,}")
        save_map(
            job, "masks", "seed_mask", mask, grid, sources=sources, dtype=np.uint8,
            more={"Type": "ROI", **more},
        )  # fmt: skip

    @staticmethod
    def _stop_mask(job: Job, brain: Bool, grid: Grid) -> None:
        asked = job.settings.stopping
        path = job.map_path(asked.stop_mask)
        mask, threshold, binary = _choose_voxels(path, asked.stop_mask, asked.stop_threshold, grid)
        rule = asked.stopping
        if rule not in ("threshold", "mask"):  # not said, or for other methods only
            rule = "mask" if binary else "threshold"
        LOGGER.info(
            "%s: masks: stop by %s above %.3g, %s voxels of the brain",
            job.label, rule, threshold, f"{(mask & brain).sum():,}",
        )  # fmt: skip
        save_map(
            job, "masks", "stop_mask", mask, grid, sources=[path], dtype=np.uint8,
            more={"Type": "ROI", "Map": uri(job, path), "Threshold": threshold, "Rule": rule},
        )  # fmt: skip


def _stop_rule(
    job: Job, tissue: Literal["cmc", "act"] | None, grid: Grid
) -> tuple[StopRule, dict[str, Any]]:
    """The stop rule of a method, and what its sidecar says of it."""
    if tissue is not None:
        paths = [job.output("anatomy", f"{name}_probseg") for name in ("wm", "gm", "csf")]
        maps = Tissue(*(read_map(path, grid) for path in paths))
        said: dict[str, Any] = {
            "rule": tissue,
            "source": [uri(job, p) for p in paths],
            "threshold": None,
        }
        return TissueStop(maps, tissue), said
    mask_path = job.output("masks", "stop_mask")
    made = read_json(sidecar_path(mask_path))
    if made["Rule"] == "mask":
        said = {"rule": "mask", "source": [uri(job, mask_path)], "threshold": None}
        return MaskStop(read_map(mask_path, grid) > 0), said
    path = job.map_path(job.settings.stopping.stop_mask)
    said = {
        "rule": "threshold", "source": [uri(job, path)], "threshold": made["Threshold"],
        "metric": Path(job.settings.stopping.stop_mask).name,
    }  # fmt: skip
    return MapStop(read_map(path, grid), made["Threshold"]), said


class _TrackInputs(StageInputs):
    method = traits.Enum("det", "prob", "pft", "eudx", mandatory=True, desc="how to track")
    model = traits.Enum("csa", "csd", mandatory=True, desc="which field to follow")


class Track(StageInterface):
    """Track one model's field by one method, straight into files."""

    input_spec = _TrackInputs

    @property
    def stage_name(self) -> str:  # type: ignore[override]
        """``track-prob-csd``."""
        return f"track-{self.inputs.method}-{self.inputs.model}"

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        method, model = self.inputs.method, self.inputs.model
        field_path = job.output(model, MODEL_FIELD[model])
        grid = read_grid(field_path)
        seed_path = job.output("masks", "seed_mask")
        asked = job.settings.seeding
        params = track_params(job.settings, method)
        rule, said = _stop_rule(job, tissue_rule(job.settings, method), grid)
        seeds = make_seeds(
            read_map(seed_path, grid) > 0,
            layout="random" if asked.seeding == "interface" else asked.seeding,
            seeds=asked.seeds, select=params.select, run_seed=params.random_seed,
        )  # fmt: skip
        field = SHField(read_map(field_path, grid, ndim=4))
        peaks_path = job.output(model, f"{model}_peaks")
        walker = Walker(
            field, rule, params, grid.affine, self.inputs.n_threads,
            peaks=read_map(peaks_path, grid, ndim=4) if method == "eudx" else None,
        )  # fmt: skip
        trx = scratch / f"{self.stage_name}.trx"
        counts = self._run(job, walker, seeds, trx, grid)
        self._write(job, trx)
        sidecar = common_sidecar(
            digest=job.stages[self.stage_name].digest,
            sources=[uri(job, p) for p in (field_path, seed_path)] + said["source"],
            description=KINDS["tractogram"].description,
        )
        sidecar |= tractogram_sidecar(
            tracking={**asdict(params), "field": uri(job, field_path)},
            seeding={
                "layout": asked.seeding, "per_voxel": seeds.per_voxel, "count": seeds.count,
                "mask": uri(job, seed_path), "voxels": len(seeds.voxels),
            },
            stopping=said,
            counts=counts.as_dict(),
        )  # fmt: skip
        first = next(iter(job.stages[self.stage_name].outputs.values()))
        write_json(sidecar_path(first), sidecar)

    def _run(self, job: Job, walker: Walker, seeds: Seeds, trx: Path, grid: Grid) -> Counts:
        """Track into a TRX file; what became of the seeds."""
        counts, n_points = Counts(), 0
        title = f"{job.label}: {self.stage_name}"
        wanted = walker.params.select
        total, unit = (wanted, "streamlines") if wanted else (seeds.count, "seeds")
        with Progress(title, total, unit) as progress, TrxWriter(trx, grid) as writer:
            for block in track(walker, seeds):
                writer.append(block.streamlines)
                counts.add(block)
                n_points += len(block.streamlines.points)
                rate = n_points / max(progress.seconds, 1e-3)
                progress.advance(
                    len(block.streamlines) if wanted else len(block.fates),
                    f"{counts.kept:,} streamlines kept, {rate:,.0f} points/s",
                )
            seconds = progress.seconds
        LOGGER.info(
            "%s: %s points in %.1f s from %s", title, f"{n_points:,}", seconds, counts.sentence()
        )
        self._warn(title, walker.params, counts)
        return counts

    @staticmethod
    def _warn(title: str, params: TrackParams, counts: Counts) -> None:
        if counts.kept == 0:
            LOGGER.warning("%s: no streamline was kept; the files are valid and empty", title)
        elif params.select is not None and counts.kept < params.select:
            LOGGER.warning(
                "%s: the seeds gave %s of the %s streamlines asked for by --select; give more "
                "--seeds", title, f"{counts.kept:,}", f"{params.select:,}",
            )  # fmt: skip

    def _write(self, job: Job, trx: Path) -> None:
        outputs = job.stages[self.stage_name].outputs.values()
        first = next(iter(outputs))
        # Neither the former sidecar nor the new one may vouch for what another run left.
        remove(sidecar_path(first))
        for extension in KINDS["tractogram"].extensions:
            if (former := first.with_suffix(extension)) not in outputs:
                remove(former)
        for path in outputs:
            write_tractogram(trx, path)
        trx.unlink()
