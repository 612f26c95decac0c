"""The table, what the requirements make of it, and the machine's description."""

from __future__ import annotations

import os
import platform
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import mrtrix
from benchmarks.cases import (
    CSA,
    CSD,
    DET,
    DIPY,
    MEMORY,
    MRTRIX,
    OURS,
    PFT,
    PROB,
    STUDY,
    TWO_THREADS,
    VIEWS,
)
from benchmarks.measure import Measurement

_HEADER = (
    "data", "work", "program", "units", "streamlines", "CPU s", "CPU µs/unit", "wall s",
    "peak MB", "CPU/unit ÷ ours",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """All repetitions of one program on one scene.

    Attributes
    ----------
    scene, work, unit, program : str
        Names, as in `cases`.
    runs : tuple of Measurement
        At least one.

    """

    scene: str
    work: str
    unit: str
    program: str
    runs: tuple[Measurement, ...]

    def median(self, of: Callable[[Measurement], float]) -> float:
        """The median over the repetitions."""
        return statistics.median(of(run) for run in self.runs)

    @property
    def cpu_us(self) -> float:
        """CPU time of a unit in microseconds, median."""
        return self.median(lambda run: run.cpu_us)


def table(rows: Sequence[Row]) -> str:
    """Rows as Markdown; medians, and the CPU time of a unit over that of ours."""
    cells = [_HEADER, ("---",) * len(_HEADER)]
    for row in rows:
        ours = next(r for r in rows if (r.scene, r.work) == (row.scene, row.work))
        streamlines = row.median(lambda run: run.streamlines)
        cells.append((
            row.scene, row.work, row.program,
            f"{row.median(lambda run: run.units):,.0f} {row.unit}s",
            f"{streamlines:,.0f}" if streamlines else "",
            f"{row.median(lambda run: run.cpu_s):.2f}",
            f"{row.cpu_us:.3g}",
            f"{row.median(lambda run: run.wall_s):.2f}",
            f"{row.median(lambda run: run.peak_mb):.0f}",
            f"{row.cpu_us / ours.cpu_us:.3g}" if ours.cpu_us else "",
        ))  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


@dataclass(frozen=True)
class Reading:
    """A requirement against its figure."""

    sentence: str
    figure: float
    bound: float
    at_most: bool = False

    def __str__(self) -> str:
        met = self.figure <= self.bound if self.at_most else self.figure >= self.bound
        sign = "at most" if self.at_most else "at least"
        said = "met" if met else "NOT met"
        return f"{self.sentence}: {self.figure:.3g}, expected {sign} {self.bound:g}: {said}"


def readings(rows: Sequence[Row], scene: str) -> list[Reading]:
    """What the requirements make of the rows of one scene, as far as they were measured."""
    found = []
    for work, program, whose, bound in (
        (CSD, MRTRIX, "dwi2fod csd", 6), (CSD, DIPY, "DIPY's fit", 8),
        (CSA, DIPY, "DIPY's peaks_from_model", 40),
        (PROB, MRTRIX, "tckgen iFOD1", 10), (PROB, DIPY, "DIPY's probabilistic_tracking(sf=)", 5),
        (DET, MRTRIX, "tckgen SD_Stream", 8), (PFT, DIPY, "DIPY's pft_tracking(sf=)", 6),
    ):  # fmt: skip
        ours, other = _row(rows, scene, work, OURS), _row(rows, scene, work, program)
        if ours and other:
            sentence = f"{work}: CPU time per {ours.unit} of {whose} over ours"
            found.append(Reading(sentence, other.cpu_us / ours.cpu_us, bound))
    one, two = _row(rows, scene, PFT, OURS), _row(rows, scene, PFT, TWO_THREADS)
    if one and two:
        gain = _wall(one) / _wall(two)
        found.append(Reading(f"{PFT}: wall time of 1 thread over that of 2", gain, 1.8))
    if sizes := _sizes(rows, scene, MEMORY):
        few, many = (row.median(lambda run: run.peak_mb) for row in sizes)
        streamlines = f"{sizes[1].runs[0].streamlines:,} streamlines"
        found.append(Reading(f"{MEMORY}: peak MB of {streamlines}", many, 2000, at_most=True))
        sentence = f"{MEMORY}: peak of {streamlines} over that of a tenth"
        found.append(Reading(sentence, many / few, 1.1, at_most=True))
    if sizes := _sizes(rows, scene, STUDY):
        few, many = (row.median(lambda run: run.peak_mb) for row in sizes)
        more = sizes[1].runs[0].units - sizes[0].runs[0].units
        # A row of the table, which medians need, and its part of the page.
        sentence = f"{STUDY}: growth of the peak in kB a scan"
        found.append(Reading(sentence, 1000 * (many - few) / more, 5, at_most=True))
        seconds = sizes[1].median(lambda run: run.wall_s)
        scans = f"{sizes[1].runs[0].units:,} scans"
        found.append(Reading(f"{STUDY}: seconds of {scans}", seconds, 300, at_most=True))
    if drawn := _row(rows, scene, VIEWS, OURS):
        found.append(Reading(f"{VIEWS}: seconds a view", _wall(drawn) / 1e6, 2, at_most=True))
    return found


def _sizes(rows: Sequence[Row], scene: str, work: str) -> tuple[Row, ...]:
    """The rows of the same work in two sizes."""
    found = tuple(row for row in rows if (row.scene, row.work) == (scene, work))
    return found if len(found) == 2 else ()


def _wall(row: Row) -> float:
    return row.median(lambda run: run.wall_us)


def _row(rows: Sequence[Row], scene: str, work: str, program: str) -> Row | None:
    """The first row of a program whose name begins so."""
    return next(
        (r for r in rows if (r.scene, r.work) == (scene, work) and r.program.startswith(program)),
        None,
    )


def machine() -> str:
    """CPU, cores, memory, and the versions that matter, as a list in Markdown."""
    model = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    packages = ("dipy", "numba", "llvmlite", "numpy", "scipy", "nibabel")
    versions = [f"{name} {version(name)}" for name in packages]
    return "\n".join((
        f"- {model[1] if model else platform.processor()}, {os.cpu_count()} cores, "
        f"{memory:.0f} GB of memory",
        f"- {platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"- {', '.join(versions)}, MRtrix3 {mrtrix.version() or 'not installed'}",
    ))  # fmt: skip


_NOTES = """\
- A run is a process of its own, warmed up on a few voxels or seeds, so that compiling and imports
  do not count. The programs of a case take turns. CPU time is that of all threads, user and
  system; peak memory is that of the whole process, libraries included. One thread unless said.
- Ours: for fits, from the series and the mask in memory to the maps; for tracking, from field and
  masks in memory to the last block: seeds, the table of amplitudes, streamlines in mm (float32),
  length limits, and the reason of each end and each lost seed.
- DIPY: the same, but that its field was sampled on its sphere before is not counted. Seeds are
  moved by up to a fifth of their spacing and the random seed is 1,000,003: DIPY derives its
  random state from the sum of a seed's coordinates, and seeds on a grid would share states. Its
  slow ways get every fourth voxel or seed of the simulated brain.
- MRtrix3: the whole command with `-nthreads 0`, reading and writing included (uncompressed).
  `-cutoff` is absolute: 0.1 of the median over the white matter of each voxel's maximum.
- Same voxels, seeds (a grid in each voxel), mask, step (1 mm; particle filtering 0.5 mm), 30
  degrees, 10 to 200 mm, FODs. Points are those of streamlines kept. SD_Stream starts in a random
  direction and follows the peak that Newton's method reaches from it; ours and DIPY's take the
  highest direction. It keeps fewer and shorter streamlines, and what it spends on lost seeds
  counts for those kept.
- Views: 620 pixels, streamlines in memory, one thread. Group level: measures of made-up scans on
  the disk to table, dictionary and page; one thread. Nobody else makes the same.
- `simulated` is a head of seven bundles at 1.7 mm (64 directions, b = 1000 s/mm², SNR 25); its
  white matter between the bundles has no direction. `xa30` is a real scan (20 directions,
  b = 2500 s/mm², 3 mm), which carries order 4."""


def document(rows: Sequence[Row], command: str, started: str) -> str:
    """What stands in RESULTS.md.

    Parameters
    ----------
    rows : sequence of Row
    command : str
        How they were asked for.
    started : str
        When.

    """
    loads = [run.load for row in rows for run in row.runs]
    repetitions = max(len(row.runs) for row in rows)
    said = [
        f"- {scene}: {reading}"
        for scene in dict.fromkeys(row.scene for row in rows)
        for reading in readings(rows, scene)
    ]
    return "\n".join((
        "# Results", "",
        f"`{command}`, started {started} UTC; medians of {repetitions} repetitions. Load average "
        f"before the runs: median {statistics.median(loads):.1f}, {min(loads):.1f} to "
        f"{max(loads):.1f}; about 1 of it is ours.",
        "", machine(), "", table(rows), "",
        "## Requirements", "", *said, "",
        "## What is measured", "", _NOTES, "",
    ))  # fmt: skip
