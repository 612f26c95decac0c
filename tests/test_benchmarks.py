from __future__ import annotations

import importlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from benchmarks import mrtrix
from benchmarks.cases import (
    CSD,
    MEMORY,
    MRTRIX,
    OURS,
    PFT,
    PROB,
    STUDY,
    TWO_THREADS,
    VIEWS,
    Case,
    Program,
    cases,
)
from benchmarks.measure import Measurement, Outcome, measure, run_here
from benchmarks.mrtrix import _count
from benchmarks.report import Row, document, readings, table
from benchmarks.simulate import build, load

CASES = cases(every=2, counts=(20, 50), scans=(6, 30))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("toy")
    build("toy", folder)
    return folder


def _programs(case: Case) -> list[Program]:
    installed = mrtrix.version() is not None
    return [p for p in case.programs if installed or not p.name.startswith(MRTRIX)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_program_does_the_work(case: Case, toy: Path) -> None:
    done = {p.name: run_here(p.function, toy, p.options) for p in _programs(case)}
    n_voxels = load(toy).facts["n_voxels"]
    for program in _programs(case):
        result = done[program.name]
        if case.unit == "view":
            assert (result.units, result.streamlines) == (3, 20)
        elif case.unit == "scan":
            assert result.units == program.options["scans"]
        elif case.unit == "voxel":
            assert result.units == -(-n_voxels // program.options.get("every", 1))
        else:
            assert result.units > result.streamlines > 0
        assert result.cpu_s > 0
        assert result.peak_mb > 1
    ours = [r for name, r in done.items() if name.startswith(OURS)]
    if case.name == MEMORY:  # each program has its own number of streamlines
        assert [r.streamlines for r in ours] == [20, 50]
    elif case.name != STUDY:  # or of scans
        assert len({(r.units, r.streamlines) for r in ours}) == 1


def test_functions_of_peers_exist_where_they_cannot_run() -> None:
    for program in (p for case in CASES for p in case.programs):
        module, function = program.function.split(":")
        assert callable(getattr(importlib.import_module(f"benchmarks.{module}"), function))


def test_a_measurement_in_a_process_of_its_own(toy: Path) -> None:
    result = measure("ours:csa", toy, {})
    assert result.units == load(toy).facts["n_voxels"]
    assert 50 < result.peak_mb < 2000


def test_a_failure_says_what_failed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"scene\.json"):
        measure("mrtrix:csd", tmp_path, {})


def test_points_of_a_tck_are_counted_from_its_size(tmp_path: Path) -> None:
    lines = [np.ones((n, 3), np.float32) for n in (2, 5, 11)]
    tractogram = nib.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nib.streamlines.save(tractogram, str(tmp_path / "t.tck"))
    assert _count(tmp_path / "t.tck") == Outcome(18, 3)


def _row(
    work: str, program: str, cpu_s: float, wall_s: float = 1.0, units: int = 1000, mb: float = 100
) -> Row:
    runs = [Measurement(units, 10, cpu_s * factor, wall_s, mb, 0.5) for factor in (1, 0.5, 9)]
    return Row("simulated", work, "voxel", program, tuple(runs))


ROWS = (
    _row(CSD, OURS, 0.01),
    _row(CSD, f"{MRTRIX} dwi2fod csd", 0.0595),
    _row(PROB, OURS, 0.01),
    _row(PROB, f"{MRTRIX} tckgen iFOD1", 0.2),
    _row(PFT, OURS, 0.01, wall_s=1.9),
    _row(PFT, TWO_THREADS, 0.01, wall_s=1.0),
    _row(VIEWS, f"{OURS}, 50,000 streamlines", 0.01, wall_s=2500.0),
    _row(STUDY, f"{OURS}, 1,000 scans", 0.01),
    _row(STUDY, f"{OURS}, 10,000 scans", 0.1, wall_s=200.0, units=10_000, mb=190),
)


def test_the_table_has_medians_and_ratios() -> None:
    lines = table(ROWS).splitlines()
    assert len(lines) == 2 + len(ROWS)
    assert len({line.count("|") for line in lines}) == 1
    assert [line.split("|")[-2].strip() for line in lines[2:]] == [
        "1",
        "5.95",
        "1",
        "20",
        "1",
        "1",
        "1",
        "1",
        "1",
    ]
    assert lines[2].split("|")[7].strip() == "10"  # the median of 5, 10 and 90 us


def test_requirements_are_read_from_the_rows() -> None:
    csd, prob, threads, growth, study, view = readings(ROWS, "simulated")
    assert str(csd).endswith("5.95, expected at least 6: NOT met")
    assert str(prob).endswith("20, expected at least 10: met")
    assert str(threads).endswith("1.9, expected at least 1.8: met")
    assert str(growth).endswith("growth of the peak in kB a scan: 10, expected at most 5: NOT met")
    assert str(view).endswith("seconds a view: 2.5, expected at most 2: NOT met")
    assert str(study).endswith("seconds of 10,000 scans: 200, expected at most 300: met")


def test_results_name_command_machine_and_load() -> None:
    text = document(ROWS, "python -m benchmarks --full", "2030-01-01 10:00")
    for part in (
        "python -m benchmarks --full",
        "2030-01-01",
        "cores",
        "dipy 1.",
        "Load",
        "NOT met",
    ):
        assert part in text
