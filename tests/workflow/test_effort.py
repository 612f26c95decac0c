from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bids_tract.files.grids import Grid
from bids_tract.files.sidecars import write_json
from bids_tract.plan import Job, build_plan
from bids_tract.workflow.effort import Effort
from bids_tract.workflow.interface import StageInterface, save_map
from tests.plans import asked, make_dataset, make_scan

GRID = Grid((3, 4, 5), np.diag([2.0, 2, 2, 1]))
MAPS = ("tensor_fa", "tensor_md", "tensor_colfa")


class Maps(StageInterface):
    """Writes three maps, and takes its time."""

    stage_name = "tensor"

    def stage(self, job: Job, scratch: Path) -> None:  # noqa: ARG002 (the stages' signature)
        if job.stages["tensor"].reuse:
            return
        time.sleep(0.05)
        for kind in MAPS:
            save_map(job, "tensor", kind, np.ones(GRID.shape), GRID, sources=[])


def job_in(folder: Path, recorded: dict[Path, str] | None = None) -> Job:
    plan, _ = build_plan(
        make_dataset(make_scan()), asked(), folder,
        fingerprint=lambda path: path.name, recorded=(recorded or {}).get,
    )  # fmt: skip
    return plan.jobs[0]


def sidecars(job: Job) -> list[dict[str, Any]]:
    paths = [path.with_name(path.name.replace(".nii.gz", ".json")) for path in outputs(job)]
    return [json.loads(path.read_text()) for path in paths]


def outputs(job: Job) -> list[Path]:
    return [*job.stages["tensor"].outputs.values()]


def run(job: Job, folder: Path) -> None:
    Maps(job=job, scratch=str(folder / "scratch")).run()


def test_a_stage_with_three_maps_says_once_what_it_cost(tmp_path):
    job = job_in(tmp_path)
    before = time.monotonic()
    run(job, tmp_path)
    took = time.monotonic() - before
    said = [one for one in sidecars(job) if "WallTime" in one or "PeakMemoryGB" in one]
    assert said == [sidecars(job)[-1]]  # of the file that is written last
    assert 0.05 <= said[0]["WallTime"] <= took + 0.01
    assert 0.02 < said[0]["PeakMemoryGB"] < 10
    assert {one["Digest"] for one in sidecars(job)} == {job.stages["tensor"].digest}


def test_a_stage_that_is_reused_keeps_what_it_said(tmp_path):
    first = job_in(tmp_path)
    run(first, tmp_path)
    before = sidecars(first)
    again = job_in(tmp_path, dict.fromkeys(outputs(first), first.stages["tensor"].digest))
    assert again.stages["tensor"].reuse
    run(again, tmp_path)
    assert sidecars(again) == before


def test_files_of_several_formats_have_one_sidecar(tmp_path):
    write_json(tmp_path / "a_tractogram.json", {"Digest": "x", "Count": 3})
    Effort().record([tmp_path / "a_tractogram.trx", tmp_path / "a_tractogram.tck"])
    said = json.loads((tmp_path / "a_tractogram.json").read_text())
    assert list(said) == ["Digest", "Count", "WallTime", "PeakMemoryGB"]


def test_memory_is_that_since_the_beginning():
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        pytest.skip("this system does not let the peak be reset")
    large = np.ones(50_000_000)  # 0.4 GB, of another stage
    del large
    effort = Effort()
    before = effort.peak_gb
    small = np.ones(25_000_000)
    del small
    # Units of 1e9 bytes; 4 MB of other things meanwhile.
    assert effort.peak_gb - before == pytest.approx(0.2, abs=0.004)
