"""``python -m benchmarks``: one table of our stages against DIPY and MRtrix3."""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks import mrtrix
from benchmarks.cases import GROUPS, MRTRIX, REAL_GROUPS, Case, Program, cases
from benchmarks.measure import Measurement, measure, run_child
from benchmarks.report import Row, document, table

LOGGER = logging.getLogger("benchmarks")
_XA30 = Path(__file__).parents[2] / "shared/data/xa30"
_QUICK_COUNTS, _COUNTS, _FULL_COUNTS = (500, 5_000), (50_000, 500_000), (500_000, 5_000_000)
_QUICK_SCANS = (20, 200)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for and print the table."""
    asked = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    started = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
    with _folder(asked.cache) as cache:
        rows = list(_rows(asked, cache))
    sys.stdout.write(table(rows) + "\n")
    if asked.save is not None:
        options = sys.argv[1:] if arguments is None else arguments
        command = " ".join(["python -m benchmarks", *options])
        asked.save.write_text(document(rows, command, started), encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("--only", type=_groups, default=GROUPS, metavar=",".join(GROUPS))
    parser.add_argument("--repeat", type=int, default=3, help="repetitions; the median counts")
    parser.add_argument("--data", type=Path, default=_XA30, help="folder of the scan xa30")
    parser.add_argument("--cache", type=Path, help="keep the simulation here for the next run")
    parser.add_argument("--save", type=Path, help="write machine, table and readings here")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--full", action="store_true", help="write 5 million streamlines, once")
    size.add_argument("--quick", action="store_true", help="a small simulation, nothing real")
    return parser


def _groups(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if unknown := set(chosen) - set(GROUPS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))}: not of {GROUPS}")
    return chosen


@contextmanager
def _folder(asked: Path | None) -> Iterator[Path]:
    if asked is not None:
        yield asked
        return
    folder = Path(tempfile.mkdtemp(prefix="benchmarks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rows(asked: argparse.Namespace, cache: Path) -> Iterator[Row]:
    if asked.quick:
        work = cases(counts=_QUICK_COUNTS, scans=_QUICK_SCANS)
        yield from _compare(_scene("quick", cache), work, asked)
        return
    work = cases(every=4, counts=_FULL_COUNTS if asked.full else _COUNTS)
    yield from _compare(_scene("simulated", cache), work, asked)
    series = sorted(asked.data.glob("sub-*/dwi/*dir-AP_dwi.nii.gz"))
    if not series:
        LOGGER.warning("%s holds no scan: left out", asked.data)
        return
    # A small head: several seeds in a voxel, so that starting up does not count.
    work = tuple(case for case in cases(grid=2) if case.group in REAL_GROUPS)
    yield from _compare(_scene("xa30", cache, series[0]), work, asked)


def _scene(name: str, cache: Path, source: Path | None = None) -> Path:
    folder = (cache / name).resolve()
    if not (folder / "scene.json").exists():
        LOGGER.info("making %s", folder)
        run_child("benchmarks.simulate", name, str(folder), *([str(source)] if source else []))
    return folder


def _compare(scene: Path, work: Sequence[Case], asked: argparse.Namespace) -> Iterator[Row]:
    for case in work:
        if case.group in asked.only:
            programs = [p for p in case.programs if _available(p)]
            repeat = 1 if case.once else asked.repeat
            # Turn by turn: what else the machine does then burdens all alike.
            turns = [[_run(p, scene) for p in programs] for _ in range(repeat)]
            for program, runs in zip(programs, zip(*turns, strict=True), strict=True):
                yield Row(scene.name, case.name, case.unit, program.name, runs)


def _available(program: Program) -> bool:
    return mrtrix.version() is not None or not program.name.startswith(MRTRIX)


def _run(program: Program, scene: Path) -> Measurement:
    result = measure(program.function, scene, program.options)
    LOGGER.info(
        "%s: %s %s: %.3g us a unit, %.1f s",
        scene.name, program.name, program.options, result.cpu_us, result.wall_s,
    )  # fmt: skip
    return result


if __name__ == "__main__":
    raise SystemExit(main())
