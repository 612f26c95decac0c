"""What will be computed, what is reused, and where everything goes. Pure: reads no image.

A job is one diffusion scan; its stages are what the workflow will run. Each stage has a digest of
all that its result depends on (contents of the inputs, settings, version of the program, digests
of the stages before); the sidecars of its outputs carry it. Same digest: the stage is reused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from bids_tract import __version__
from bids_tract.dataset import Dataset, Scan
from bids_tract.errors import MissingInputError
from bids_tract.names import output_path
from bids_tract.resolved import (
    Corrections,
    corrections,
    maps_used,
    needs_registration,
    needs_tissue,
    runs_of,
    tissue_rule,
    track_params,
    uses_stop_map,
)
from bids_tract.settings import SCALAR_MAPS, Settings, TrackingName

Fingerprint = Callable[[Path], str]
"""File -> digest of its content."""
Recorded = Callable[[Path], str | None]
"""Output -> the digest that its sidecar carries, None when either is missing."""

MODEL_FIELD = {"csa": "csa_odf", "csd": "csd_fod"}


@dataclass(frozen=True)
class Stage:
    """One step of a job.

    Attributes
    ----------
    name : str
        ``prepare``, ``anatomy``, ``tensor``, ``csa``, ``csd``, ``masks`` or ``track-prob-csd``.
    outputs : dict of str to Path
        Kind (or format, for tractograms) -> file.
    digest : str
        Of everything that the outputs depend on.
    reuse : bool
        Whether the outputs are there already.
    reason : str
        Why it is computed or not, for the log.

    """

    name: str
    outputs: Mapping[str, Path]
    digest: str
    reuse: bool
    reason: str


@dataclass(frozen=True)
class Job:
    """All that is done with one scan.

    Attributes
    ----------
    scan : Scan
        What comes in.
    settings : Settings
        What was asked for.
    corrections : Corrections
        What is done to its series first.
    stages : dict of str to Stage
        By name, in the order of the work.
    mem_gb : float
        Estimate of the memory that the largest stage takes.
    roots : dict of str to Path
        The datasets that files come from, by the name that BIDS URIs give them; "" is our own.

    """

    scan: Scan
    settings: Settings
    corrections: Corrections
    stages: Mapping[str, Stage]
    mem_gb: float
    roots: Mapping[str, Path]

    @property
    def label(self) -> str:
        """Short name: ``sub-01_ses-1_dir-AP``."""
        return self.scan.label

    @property
    def reuse(self) -> bool:
        """Whether there is nothing to do."""
        return all(stage.reuse for stage in self.stages.values())

    def sentence(self) -> str:
        """What is done and why, in one line: the stages by reason."""
        if self.reuse:
            return "unchanged, all outputs are reused"
        by_reason: dict[str, list[str]] = {}
        for stage in self.stages.values():
            by_reason.setdefault(stage.reason, []).append(stage.name)
        return "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())

    def output(self, stage: str, key: str) -> Path:
        """A file of a stage."""
        return self.stages[stage].outputs[key]

    @property
    def series(self) -> tuple[Path, ...]:
        """The images that the models are fitted to: the corrected one, or those that came in."""
        corrected = self.stages["prepare"].outputs.get("preproc_dwi")
        return (corrected,) if corrected else tuple(run.dwi for run in runs_of(self.scan))

    def map_path(self, chosen: str) -> Path:
        """The file of a map that seeds or stops are made from: fa, gfa, wm, or a file's name."""
        stages = {"fa": ("tensor", "tensor_fa"), "gfa": ("csa", "csa_gfa")}
        stages["wm"] = ("anatomy", "wm_probseg")
        return self.output(*stages[chosen]) if chosen in stages else Path(chosen)


@dataclass(frozen=True)
class Plan:
    """All jobs of a run."""

    output_dir: Path
    dataset: Dataset
    jobs: tuple[Job, ...] = field(default=())

    def describe(self) -> str:
        """The plan as text, for ``--dry-run``."""
        lines = []
        for job in self.jobs:
            images = ", ".join(str(run.dwi) for run in runs_of(job.scan))
            lines.append(f"{job.label}  {images}  (about {job.mem_gb:.1f} GB)")
            for stage in job.stages.values():
                lines.append(f"  {stage.name:14} {stage.reason}")
                lines += [
                    f"    {path.relative_to(self.output_dir)}" for path in stage.outputs.values()
                ]
        lines += [f"skipped  {skipped.path}: {skipped.reason}" for skipped in self.dataset.skipped]
        return "\n".join(lines)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values, for ``plan.json``."""
        return {
            "Version": __version__,
            "Jobs": [
                {
                    "Label": job.label,
                    "Scan": str(job.scan.dwi),
                    "Corrections": list(job.corrections.steps),
                    "MemoryGB": round(job.mem_gb, 2),
                    "Stages": [
                        {
                            "Name": stage.name,
                            "Reuse": stage.reuse,
                            "Reason": stage.reason,
                            "Digest": stage.digest,
                            "Outputs": [str(path) for path in stage.outputs.values()],
                        }
                        for stage in job.stages.values()
                    ],
                }
                for job in self.jobs
            ],
            "Skipped": [
                {"Path": str(skipped.path), "Reason": skipped.reason}
                for skipped in self.dataset.skipped
            ],
        }


def _digest(*parts: Any) -> str:
    text = json.dumps([__version__, *parts], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class _Planner:
    """Plans the stages of one scan."""

    def __init__(
        self,
        scan: Scan,
        settings: Settings,
        output_dir: Path,
        fingerprint: Fingerprint,
        recorded: Recorded,
    ) -> None:
        self.scan, self.settings, self.output_dir = scan, settings, output_dir
        self.fingerprint, self.recorded = fingerprint, recorded
        self.corrections = corrections(scan, settings)
        self.stages: dict[str, Stage] = {}

    def path(self, kind: str, extension: str | None = None, **entities: str) -> Path:
        return self.output_dir / output_path(kind, self.scan.entities, extension, **entities)

    def add(self, name: str, outputs: dict[str, Path], *parts: Any) -> None:
        digest = _digest(name, *parts)
        found = [self.recorded(path) for path in outputs.values()]
        if all(record == digest for record in found):
            reuse, reason = True, "unchanged: reused"
        elif all(record is None for record in found):
            reuse, reason = False, "to be computed"
        elif any(record is None for record in found):
            reuse, reason = False, "incomplete: to be computed again"
        else:
            reuse, reason = False, "inputs, settings or version changed: to be computed again"
        self.stages[name] = Stage(name, outputs, digest, reuse, reason)

    def after(self, *names: str) -> list[str]:
        return [self.stages[name].digest for name in names]

    def files(self, *paths: Path | None) -> list[str]:
        return [self.fingerprint(path) for path in paths if path is not None]

    def plan(self) -> dict[str, Stage]:
        """Plan all stages, in the order of the work."""
        self.prepare()
        if needs_tissue(self.settings):
            self.anatomy()
        self.models()
        self.masks()
        for method, model in product(self.settings.tracking.tracking, self.settings.model.model):
            self.track(method, model)
        return self.stages

    def prepare(self) -> None:
        scan, asked, todo = self.scan, self.settings.gradients, self.corrections
        outputs = {}
        if todo.steps:
            outputs["preproc_dwi"] = self.path("preproc_dwi")
            outputs["preproc_bval"] = self.path("preproc_dwi", ".bval")
            outputs["preproc_bvec"] = self.path("preproc_dwi", ".bvec")
        if todo.motion:
            outputs["confounds"] = self.path("confounds")
        outputs |= {kind: self.path(kind) for kind in ("dwiref", "brain_mask")}
        self.add(
            "prepare",
            outputs,
            [self.files(run.dwi, run.bval, run.bvec, run.b_table) for run in runs_of(scan)],
            self.files(scan.brain_mask),
            [run.convention for run in runs_of(scan)],
            [asked.b0_threshold, asked.bvec_axes],
            # A warning or an error changes no number.
            asked.gradient_check == "fix",
            todo.steps,
        )

    def anatomy(self) -> None:
        tissue, t1w = self.scan.tissue, self.scan.t1w
        if tissue is None and t1w is None:
            raise MissingInputError(
                f"{self.label}: neither tissue maps nor a T1-weighted image were found, and "
                f"{self._wants_tissue()} needs one of them. Give a T1w image "
                "(anat/*_T1w.nii.gz), or with --derivatives a dataset with label-WM, label-GM "
                "and label-CSF probseg images or a 5TT image (seg-5tt_probseg); or track without "
                "them (--tracking prob, --stop-mask fa)."
                + "".join(f" {note}" for note in self.scan.notes)
            )
        outputs = {f"{t}_probseg": self.path(f"{t}_probseg") for t in ("wm", "gm", "csf")}
        if needs_registration(self.scan):
            outputs["t1w_xfm"] = self.path("t1w_xfm")
        image = t1w if tissue is None else tissue.reference
        self.add(
            "anatomy",
            outputs,
            self.after("prepare"),
            self.files(*(tissue.files if tissue is not None else ())),
            [tissue.kind, dict(tissue.labels)] if tissue is not None else "T1w",
            self.files(*image.files) if image is not None else [],
        )

    @property
    def label(self) -> str:
        return self.scan.label

    def _wants_tissue(self) -> str:
        settings = self.settings
        if "pft" in settings.tracking.tracking:
            return "--tracking pft"
        if settings.stopping.stopping in ("cmc", "act"):
            return f"--stopping {settings.stopping.stopping}"
        if settings.seeding.seeding == "interface":
            return "--seeding interface"
        return "the map 'wm'"

    def models(self) -> None:
        before, model = self.after("prepare"), self.settings.model
        shell = self.settings.gradients.shell
        kinds = ("tensor_fa", "tensor_md", "tensor_colfa")
        self.add("tensor", {kind: self.path(kind) for kind in kinds}, before)
        if "csa" in model.model or "gfa" in maps_used(self.settings):
            kinds = ("csa_odf", "csa_gfa", "csa_peaks")
            outputs = {kind: self.path(kind) for kind in kinds}
            self.add("csa", outputs, before, shell, model.sh_order)
        if "csd" in model.model:
            self.add(
                "csd",
                {kind: self.path(kind) for kind in ("csd_fod", "csd_peaks")},
                self.after("tensor"),
                shell,
                model.sh_order,
                str(model.response),
            )

    def _map_parts(self, chosen: str) -> list[str]:
        """What the result depends on when it uses a map."""
        if chosen == "wm":
            return self.after("anatomy")
        if chosen in SCALAR_MAPS:
            return self.after("csa" if chosen == "gfa" else "tensor")
        return self.files(Path(chosen))

    def masks(self) -> None:
        seeding, stopping = self.settings.seeding, self.settings.stopping
        outputs = {"seed_mask": self.path("seed_mask")}
        parts: list[Any] = [self.after("prepare")]
        if seeding.seeding == "interface":
            parts += ["interface", self.after("anatomy")]
        else:
            parts += [self._map_parts(seeding.seed_mask), str(seeding.seed_threshold)]
        if uses_stop_map(self.settings):
            outputs["stop_mask"] = self.path("stop_mask")
            parts += [
                self._map_parts(stopping.stop_mask),
                str(stopping.stop_threshold),
                stopping.stopping,
            ]
        self.add("masks", outputs, *parts)

    def track(self, method: TrackingName, model: str) -> None:
        seeding = self.settings.seeding
        rule = tissue_rule(self.settings, method)
        params = asdict(track_params(self.settings, method))
        if method != "pft":
            for name in ("pft_back_mm", "pft_front_mm", "particles"):
                del params[name]
        outputs: dict[str, Path] = {
            extension: self.path("tractogram", f".{extension}", track=method, desc=model)
            for extension in self.settings.output.format
        }
        self.add(
            f"track-{method}-{model}",
            outputs,
            self.after("masks", model),
            self.after("anatomy") if rule else [],
            rule,
            params,
            [seeding.seeding, seeding.seeds],
            sorted(self.settings.output.format),
        )


def _memory_gb(scan: Scan) -> float:
    """A bound on what the largest stage, tracking, holds at once; the series stays on the disk."""
    x, y, z, _ = scan.shape
    # Coefficients and a few maps; and amplitudes on 368 directions in float32 of the brain, which
    # fills at most half of the image.
    return 0.5 + 4 * (45 + 10 + 0.5 * 368) * x * y * z / 1e9


def build_plan(
    dataset: Dataset,
    settings: Settings,
    output_dir: Path,
    *,
    fingerprint: Fingerprint,
    recorded: Recorded,
) -> tuple[Plan, dict[str, MissingInputError]]:
    """Decide what is done with each scan.

    Parameters
    ----------
    dataset : Dataset
        What was found.
    settings : Settings
        What was asked for.
    output_dir : Path
        Where results go.
    fingerprint, recorded : callable
        How file contents and the digests of earlier outputs are looked up.

    Returns
    -------
    plan : Plan
        The jobs that can be done.
    missing : dict of str to MissingInputError
        Label of each scan that cannot, and why.

    """
    jobs, missing = [], {}
    for scan in dataset.scans:
        try:
            planner = _Planner(scan, settings, output_dir, fingerprint, recorded)
            stages = planner.plan()
        except MissingInputError as error:
            missing[scan.label] = error
        else:
            roots = {"": output_dir, "source": dataset.root, **dataset.derivatives}
            todo = planner.corrections
            jobs.append(Job(scan, settings, todo, stages, _memory_gb(scan), roots))
    return Plan(output_dir, dataset, tuple(jobs)), missing


def is_done(job: Job, recorded: Recorded) -> bool:
    """Whether all outputs of a job are there and carry its digests."""
    return all(
        recorded(path) == stage.digest
        for stage in job.stages.values()
        for path in stage.outputs.values()
    )
