"""Our stages, as the workflow calls them: each function prepares and warms up, then gives work."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.measure import Outcome, Work
from benchmarks.simulate import PMF_THRESHOLD, Scene, load
from bids_tract.core.drawing.camera import VIEWS, look_from
from bids_tract.core.drawing.views import cameras_for, draw_views
from bids_tract.core.models.csa import fit_csa
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.peaks import CSA_PEAKS, CSD_PEAKS, find_peaks
from bids_tract.core.tracking.outcome import Counts
from bids_tract.core.tracking.params import TrackParams
from bids_tract.core.tracking.seeds import Seeds, make_seeds
from bids_tract.core.tracking.stopping import MaskStop, StopRule, TissueStop
from bids_tract.core.tracking.walk import Walker, track
from bids_tract.core.types import Bool, SHField, Streamlines
from bids_tract.files.grids import Grid
from bids_tract.files.tractograms.trx import TrxWriter

STEP_MM = {"det": 1.0, "prob": 1.0, "pft": 0.5}
MAX_ANGLE_DEG = 30.0
MIN_LENGTH_MM, MAX_LENGTH_MM = 10.0, 200.0
PARTICLES, BACK_MM, FRONT_MM = 15, 2.0, 1.0
VIEW_SIDE = 620  # pixels of the longest, as in a report
_RUN_SEED = 1
_WARM_VOXELS = 200  # enough to reach every kernel


def csd(folder: Path) -> Work:
    """`fit_csd` in the white matter."""
    scene = load(folder)
    evals, s0 = np.array(scene.facts["evals"]), scene.facts["s0"]

    def fit(mask: Bool) -> Outcome:
        fit_csd(scene.data, scene.gradients, mask, scene.facts["order"], evals, s0)
        return Outcome(int(mask.sum()))

    fit(_few(scene.mask))
    return lambda: fit(scene.mask)


def csa(folder: Path) -> Work:
    """`fit_csa` with GFA, and the peaks, in the white matter."""
    scene = load(folder)
    threshold, separation = CSA_PEAKS

    def fit(mask: Bool) -> Outcome:
        field, _ = fit_csa(scene.data, scene.gradients, mask, scene.facts["csa_order"])
        find_peaks(field, mask, relative_threshold=threshold, min_separation_deg=separation)
        return Outcome(int(mask.sum()))

    fit(_few(scene.mask))
    return lambda: fit(scene.mask)


def peaks(folder: Path) -> Work:
    """`find_peaks` of the FODs of the white matter."""
    scene = load(folder)
    field = SHField(scene.coeffs)
    threshold, separation = CSD_PEAKS

    def find(mask: Bool) -> Outcome:
        find_peaks(field, mask, relative_threshold=threshold, min_separation_deg=separation)
        return Outcome(int(mask.sum()))

    find(_few(scene.mask))
    return lambda: find(scene.mask)


def tracking(
    folder: Path, method: Literal["det", "prob", "pft"], n_threads: int = 1, grid: int = 1
) -> Work:
    """Seeds, table, streamlines in mm with their reasons; nothing is written."""
    scene = load(folder)
    params = track_params(method)

    def run(mask: Bool, coeffs: Any) -> Outcome:
        seeds = _grid_seeds(mask, grid)
        walker = Walker(SHField(coeffs), _rule(scene, method), params, scene.affine, n_threads)
        return _consume(walker, seeds)

    run(*_corner(scene))
    return lambda: run(scene.mask, scene.coeffs)


def tracking_to_trx(folder: Path, method: Literal["det", "prob", "pft"], grid: int = 1) -> Work:
    """As `tracking`, into a TRX file."""
    scene = load(folder)
    params = track_params(method)

    def run(mask: Bool, coeffs: Any) -> Outcome:
        seeds = _grid_seeds(mask, grid)
        walker = Walker(SHField(coeffs), _rule(scene, method), params, scene.affine)
        return _write(walker, seeds, folder, _grid(scene))

    run(*_corner(scene))
    return lambda: run(scene.mask, scene.coeffs)


def many_to_trx(folder: Path, select: int, n_threads: int = 2) -> Work:
    """As many probabilistic streamlines as asked for, from seeds anywhere, into a TRX file."""
    scene = load(folder)

    def run(mask: Bool, coeffs: Any, wanted: int) -> Outcome:
        walker, seeds = _many(scene, mask, coeffs, wanted, n_threads)
        return _write(walker, seeds, folder, _grid(scene))

    run(*_corner(scene), 100)
    return lambda: run(scene.mask, scene.coeffs, select)


def views(folder: Path, count: int) -> Work:
    """The three views of a report, as `bids_tract.core.drawing` draws them, on one thread."""
    scene = load(folder)
    walker, seeds = _many(scene, scene.mask, scene.coeffs, count, n_threads=2)
    lines = [line for block in track(walker, seeds) for line in block.streamlines]
    drawn = Streamlines.from_list(lines, np.arange(len(lines)))
    axes = [look_from(*VIEWS[view]) for view in ("left", "back", "top")]

    def draw(streamlines: Streamlines) -> Outcome:
        draw_views(streamlines, cameras_for(streamlines, axes, VIEW_SIDE), (0, 0, 0, 1))
        return Outcome(len(axes), len(streamlines))

    draw(Streamlines.from_list(lines[:1], np.arange(1)))
    return lambda: draw(drawn)


def _many(
    scene: Scene, mask: Bool, coeffs: Any, wanted: int, n_threads: int
) -> tuple[Walker, Seeds]:
    """Seeds anywhere, until as many probabilistic streamlines are kept as wanted."""
    seeds = make_seeds(mask, layout="total", seeds=None, select=wanted, run_seed=_RUN_SEED)
    params = replace(track_params("prob"), select=wanted)
    walker = Walker(SHField(coeffs), _rule(scene, "prob"), params, scene.affine, n_threads)
    return walker, seeds


def track_params(method: Literal["det", "prob", "pft"]) -> TrackParams:
    """The parameters that all programs share."""
    return TrackParams(
        method=method, step_mm=STEP_MM[method], max_angle_deg=MAX_ANGLE_DEG,
        min_length_mm=MIN_LENGTH_MM, max_length_mm=MAX_LENGTH_MM, pmf_threshold=PMF_THRESHOLD,
        pft_back_mm=BACK_MM, pft_front_mm=FRONT_MM, particles=PARTICLES, select=None,
        random_seed=_RUN_SEED,
    )  # fmt: skip


def _rule(scene: Scene, method: str) -> StopRule:
    if method != "pft":
        return MaskStop(scene.mask)
    assert scene.tissue is not None
    return TissueStop(scene.tissue, "cmc")


def _grid_seeds(mask: Bool, grid: int) -> Seeds:
    return make_seeds(mask, layout="grid", seeds=grid**3, select=None, run_seed=_RUN_SEED)


def _grid(scene: Scene) -> Grid:
    x, y, z = scene.mask.shape
    return Grid((x, y, z), scene.affine)


def _consume(walker: Walker, seeds: Seeds) -> Outcome:
    counts, n_points = Counts(), 0
    for block in track(walker, seeds):
        counts.add(block)
        n_points += len(block.streamlines.points)
    return Outcome(n_points, counts.kept)


def _write(walker: Walker, seeds: Seeds, folder: Path, grid: Grid) -> Outcome:
    counts, n_points = Counts(), 0
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        with TrxWriter(Path(scratch) / "result.trx", grid) as writer:
            for block in track(walker, seeds):
                writer.append(block.streamlines)
                counts.add(block)
                n_points += len(block.streamlines.points)
        return Outcome(n_points, counts.kept)


def _few(mask: Bool) -> Bool:
    """Some voxels of the middle of a mask."""
    chosen = np.zeros(mask.size, bool)
    inside = np.flatnonzero(mask)
    first = len(inside) // 2
    chosen[inside[first : first + _WARM_VOXELS]] = True
    return chosen.reshape(mask.shape)


def _corner(scene: Scene) -> tuple[Bool, Any]:
    """Few seeds and the field near them: what compiles the kernels and holds no memory."""
    few = _few(scene.mask)
    where = np.nonzero(few)
    near = tuple(slice(max(axis.min() - 1, 0), axis.max() + 2) for axis in where)
    coeffs = np.zeros(scene.coeffs.shape, np.float32)
    coeffs[near] = scene.coeffs[near]
    return few, coeffs
