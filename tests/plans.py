"""Scans, settings and plans without any file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bids_tract.dataset.types import Dataset, Scan, TissueFiles
from bids_tract.errors import MissingInputError
from bids_tract.plan import Job, Plan, build_plan
from bids_tract.settings import Settings, build, parse_value
from bids_tract.settings import all_options as options

RAW, OUT = Path("/data/raw"), Path("/data/out")
TISSUE = TissueFiles(
    "probseg", tuple(Path(f"/data/anat/{name}.nii.gz") for name in ("wm", "gm", "csf")), "anat"
)


def make_scan(tissue: TissueFiles | None = None, **entities: str) -> Scan:
    """A scan by its entities, ``sub-01`` when none are given."""
    named = entities or {"sub": "01"}
    stem = str(RAW / ("_".join(f"{key}-{label}" for key, label in named.items()) + "_dwi"))
    return Scan(
        dwi=Path(f"{stem}.nii.gz"),
        bval=Path(f"{stem}.bval"),
        bvec=Path(f"{stem}.bvec"),
        b_table=None,
        shape=(10, 10, 10, 7),
        entities=named,
        metadata={},
        convention="fsl",
        convention_reason="a test",
        brain_mask=RAW / "mask.nii.gz",
        tissue=tissue,
        t1w=None,
        dataset_root=RAW,
        dataset_name="raw",
        preprocessed=False,
        notes=(),
    )


def make_dataset(*scans: Scan) -> Dataset:
    """A dataset of these scans."""
    return Dataset(
        root=RAW,
        name="raw data",
        description={},
        is_derivative=False,
        derivatives={"anat": Path("/data/anat")},
        scans=scans,
        skipped=(),
        notes=(),
        participants=tuple(scan.entities["sub"] for scan in scans),
    )


def asked(**said: Any) -> Settings:
    """Settings by the names of their fields: ``asked(model=("csa",), seeds=8)``."""
    layer: dict[str, dict[str, Any]] = {}
    for section, setting in options():
        if setting.name in said:
            value = parse_value(setting, said.pop(setting.name))
            layer.setdefault(section, {})[setting.name] = value
    assert not said, f"no such options: {said}"
    return build(layer)


def plan_all(
    settings: Settings,
    *scans: Scan,
    contents: Mapping[Path, str] | None = None,
    recorded: Mapping[Path, str] | None = None,
) -> tuple[Plan, dict[str, MissingInputError]]:
    """Plan scans whose files hold their own names, unless `contents` says otherwise."""
    held, found = contents or {}, recorded or {}
    return build_plan(
        make_dataset(*(scans or (make_scan(TISSUE),))),
        settings,
        OUT,
        fingerprint=lambda path: held.get(path, path.name),
        recorded=found.get,
    )


def plan_one(settings: Settings, scan: Scan | None = None, **found: Mapping[Path, str]) -> Job:
    """The job of one scan, which has tissue maps unless another is given."""
    plan, missing = plan_all(settings, scan or make_scan(TISSUE), **found)
    assert not missing
    return plan.jobs[0]


def records(job: Job, *stages: str) -> dict[Path, str]:
    """What lies in the output folder once these stages of a job (all, if none) are done."""
    return {
        path: stage.digest
        for stage in job.stages.values()
        if not stages or stage.name in stages
        for path in stage.outputs.values()
    }


def without(job: Job, stage: str) -> dict[Path, str]:
    """What lies in the output folder when one stage has not been done."""
    return records(job, *(name for name in job.stages if name != stage))


def change(scan: Scan, **fields: Any) -> Scan:
    """The scan with other fields."""
    return replace(scan, **fields)
