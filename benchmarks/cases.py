"""What is compared with what."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS, DIPY, MRTRIX = "bids_tract", "DIPY", "MRtrix3"


@dataclass(frozen=True)
class Program:
    """One way to do the work.

    Attributes
    ----------
    name : str
        As in the table; the first word tells whose it is.
    function : str
        ``module:function``; see `measure`.
    options : dict
        Arguments of the function.

    """

    name: str
    function: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Case:
    """Work that several programs do; the first one is what others are compared with.

    Attributes
    ----------
    group : str
        What ``--only`` takes.
    name : str
        As in the table.
    unit : str
        What is counted.
    programs : tuple of Program
    once : bool
        Whether one repetition is enough, whatever is asked for.

    """

    group: str
    name: str
    unit: str
    programs: tuple[Program, ...]
    once: bool = False


GROUPS = ("csd", "csa", "peaks", "tracking", "pft", "memory", "reports")
# The real scan has no tissue maps, and is too small for millions of streamlines.
REAL_GROUPS = GROUPS[:4]
# Millions of streamlines are written once: their peak of memory is what counts, not their time.
ONCE_ABOVE = 1_000_000
CSD, CSA, PEAKS = "CSD fit", "CSA fit + GFA + peaks", "peaks of FODs"
DET, PROB, PFT, MEMORY = "deterministic", "probabilistic", "particle filtering", "memory"
VIEWS, STUDY = "three views", "group level"
# What the requirements name: streamlines in a picture.
_DRAWN = 50_000
# How the rows that a requirement names are called.
WRITTEN, TWO_THREADS = f"{OURS}, written to TRX", f"{OURS}, 2 threads"


def cases(
    *,
    every: int = 1,
    grid: int = 1,
    counts: tuple[int, int] = (50_000, 500_000),
    scans: tuple[int, int] = (1_000, 10_000),
) -> tuple[Case, ...]:
    """All comparisons.

    Parameters
    ----------
    every : int
        DIPY's slow ways get every so-manieth voxel or seed.
    grid : int
        Seeds per voxel and axis.
    counts : two ints
        Streamlines that are written for the growth of memory.
    scans : two ints
        Of the studies that the group level is made of.

    """
    return (
        Case("csd", CSD, "voxel", (
            Program(OURS, "ours:csd"),
            Program(f"{DIPY} ConstrainedSphericalDeconvModel", "dipy_peer:csd", {"every": every}),
            Program(f"{MRTRIX} dwi2fod csd", "mrtrix:csd"),
        )),
        Case("csa", CSA, "voxel", (
            Program(OURS, "ours:csa"),
            Program(f"{DIPY} peaks_from_model", "dipy_peer:csa", {"every": every}),
        )),
        Case("peaks", PEAKS, "voxel", (
            Program(OURS, "ours:peaks"),
            Program(f"{MRTRIX} sh2peaks", "mrtrix:peaks"),
        )),
        _tracking(DET, "det", "deterministic_tracking", "SD_Stream", grid),
        _tracking(PROB, "prob", "probabilistic_tracking", "iFOD1", grid),
        Case("pft", PFT, "point", (
            Program(OURS, "ours:tracking", {"method": "pft", "grid": grid}),
            Program(TWO_THREADS, "ours:tracking",
                    {"method": "pft", "grid": grid, "n_threads": 2}),
            Program(f"{DIPY} pft_tracking(sf=)", "dipy_peer:tracking",
                    {"method": "pft", "grid": grid, "every": every}),
        )),
        Case("memory", MEMORY, "point", tuple(
            Program(f"{OURS}, {count:,} streamlines to TRX, 2 threads", "ours:many_to_trx",
                    {"select": count})
            for count in counts
        ), once=counts[-1] > ONCE_ABOVE),
        # Nobody else draws or compares the same: these stand for themselves.
        Case("reports", VIEWS, "view", (
            Program(f"{OURS}, {min(_DRAWN, counts[0]):,} streamlines", "ours:views",
                    {"count": min(_DRAWN, counts[0])}),
        )),
        Case("reports", STUDY, "scan", tuple(
            Program(f"{OURS}, {count:,} scans", "study:group", {"scans": count}) for count in scans
        )),
    )  # fmt: skip


def _tracking(name: str, method: str, dipy: str, algorithm: str, grid: int) -> Case:
    options: dict[str, Any] = {"method": method, "grid": grid}
    return Case("tracking", name, "point", (
        Program(OURS, "ours:tracking", options),
        Program(WRITTEN, "ours:tracking_to_trx", options),
        Program(TWO_THREADS, "ours:tracking", {**options, "n_threads": 2}),
        Program(f"{DIPY} {dipy}(sf=)", "dipy_peer:tracking", options),
        Program(f"{MRTRIX} tckgen {algorithm}", "mrtrix:track",
                {"algorithm": algorithm, "grid": grid}),
    ))  # fmt: skip
