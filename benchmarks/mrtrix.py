"""MRtrix3's commands. Standard library only: see `measure`."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from benchmarks.measure import Outcome, Work

_POINT = 12  # bytes


def version() -> str | None:
    """The version of MRtrix3, or None where it is not installed."""
    if shutil.which("tckgen") is None:
        return None
    said = subprocess.run(["tckgen", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[2]


def csd(folder: Path) -> Work:
    """``dwi2fod csd`` in the white matter."""
    facts = json.loads((folder / "scene.json").read_text())
    return _fit(
        folder,
        f"dwi2fod csd dwi.nii response.txt OUT.nii -grad gradients.b -lmax {facts['order']}",
    )


def peaks(folder: Path) -> Work:
    """``sh2peaks``: five peaks of the FODs of the white matter."""
    return _fit(folder, "sh2peaks fod.nii OUT.nii -num 5")


def track(folder: Path, algorithm: str, grid: int = 1, max_length_mm: float = 200.0) -> Work:
    """``tckgen``, `grid` cubed seeds in each voxel of the white matter."""
    facts = json.loads((folder / "scene.json").read_text())
    command = (
        f"tckgen -algorithm {algorithm} fod.nii OUT.tck -seed_grid_per_voxel mask.nii {grid} "
        f"-mask mask.nii -step 1 -angle 30 -cutoff {facts['cutoff']} -minlength 10 "
        f"-maxlength {max_length_mm} -select 0"
    )

    def work() -> Outcome:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            result = Path(scratch) / "result.tck"
            _call(folder, command.replace("OUT.tck", str(result)))
            return _count(result)

    return work


def _fit(folder: Path, command: str) -> Work:
    n_voxels = json.loads((folder / "scene.json").read_text())["n_voxels"]

    def work() -> Outcome:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            result = Path(scratch) / "result.nii"
            _call(folder, f"{command} -mask mask.nii".replace("OUT.nii", str(result)))
        return Outcome(n_voxels)

    return work


def _call(folder: Path, command: str) -> None:
    subprocess.run([*command.split(), "-quiet", "-nthreads", "0"], cwd=folder, check=True)


def _count(path: Path) -> Outcome:
    """Points and streamlines of a tck file, from its header and its size."""
    with path.open("rb") as stream:
        lines = dict(
            line.decode().strip().split(": ", 1)
            for line in iter(stream.readline, b"END\n")
            if b": " in line
        )
    n_streamlines = int(lines["count"])
    n_triplets = (path.stat().st_size - int(lines["file"].split()[1])) // _POINT
    # One more after each streamline, and one at the end.
    return Outcome(n_triplets - n_streamlines - 1, n_streamlines)
