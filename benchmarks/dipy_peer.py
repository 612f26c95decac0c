"""DIPY on the same work, one thread, in its fastest way that gives what ours gives."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import numpy as np
from dipy.data import default_sphere
from dipy.direction import peaks_from_model
from dipy.reconst.csdeconv import ConstrainedSphericalDeconvModel
from dipy.reconst.shm import CsaOdfModel, sh_to_sf
from dipy.tracking.stopping_criterion import BinaryStoppingCriterion, CmcStoppingCriterion
from dipy.tracking.tracker import deterministic_tracking, pft_tracking, probabilistic_tracking

from benchmarks.measure import Outcome, Work
from benchmarks.ours import (
    BACK_MM,
    FRONT_MM,
    MAX_ANGLE_DEG,
    MAX_LENGTH_MM,
    MIN_LENGTH_MM,
    PARTICLES,
    STEP_MM,
)
from benchmarks.simulate import PMF_THRESHOLD, Scene, load
from bids_tract.core.gradients import to_dipy
from bids_tract.core.models.csa import SMOOTH
from bids_tract.core.models.peaks import CSA_PEAKS
from bids_tract.core.types import Bool, Float64

# DIPY's random state is the whole part of (2x + 3y + 5z) times this, in voxels: large, so that
# jittered seeds have states of their own; small enough for 32 bits.
_RANDOM_SEED = 1_000_003


def csd(folder: Path, every: int = 1) -> Work:
    """`ConstrainedSphericalDeconvModel.fit` in every so-manieth voxel of the white matter."""
    scene = load(folder)
    evals, s0 = np.array(scene.facts["evals"]), scene.facts["s0"]
    mask, data = _thinned(scene.mask, every), np.array(scene.data)
    model = ConstrainedSphericalDeconvModel(
        to_dipy(scene.gradients), (evals, s0), sh_order_max=scene.facts["order"]
    )
    return lambda: _of_voxels(model.fit(data, mask=mask), mask)


def csa(folder: Path, every: int = 1) -> Work:
    """`peaks_from_model` of `CsaOdfModel`: coefficients, GFA and peaks."""
    scene = load(folder)
    order = scene.facts["csa_order"]
    threshold, separation = CSA_PEAKS
    mask, data = _thinned(scene.mask, every), np.array(scene.data)
    model = CsaOdfModel(to_dipy(scene.gradients), order, smooth=SMOOTH)

    def work() -> Outcome:
        found = peaks_from_model(
            model, data, default_sphere, threshold, separation, mask=mask, sh_order_max=order,
            npeaks=5,
        )  # fmt: skip
        return _of_voxels(found, mask)

    return work


def tracking(
    folder: Path, method: Literal["det", "prob", "pft"], every: int = 1, grid: int = 1
) -> Work:
    """``*_tracking(sf=...)``; that the field is sampled before is not counted."""
    scene = load(folder)
    seeds = _seeds(scene, grid)[::every]
    shared: dict[str, Any] = {
        "step_size": STEP_MM[method], "max_angle": MAX_ANGLE_DEG, "pmf_threshold": PMF_THRESHOLD,
        "min_len": MIN_LENGTH_MM, "max_len": MAX_LENGTH_MM, "sphere": default_sphere,
        "sf": _sampled(scene), "nbr_threads": 1, "random_seed": _RANDOM_SEED,
    }  # fmt: skip
    if method != "pft":
        run = deterministic_tracking if method == "det" else probabilistic_tracking
        stop = BinaryStoppingCriterion(scene.mask)
        return lambda: _consume(run(seeds, stop, scene.affine, **shared))
    assert scene.tissue is not None
    maps = (scene.tissue.wm, scene.tissue.gm, scene.tissue.csf)
    cmc = CmcStoppingCriterion.from_pve(
        *(np.asarray(values, np.float64) for values in maps),
        step_size=STEP_MM[method],
        average_voxel_size=float(np.mean(scene.facts["spacing"])),
    )
    return lambda: _consume(
        pft_tracking(
            seeds,
            cmc,
            scene.affine,
            **shared,
            max_cross=1,
            return_all=False,
            pft_back_tracking_dist=BACK_MM,
            pft_front_tracking_dist=FRONT_MM,
            particle_count=PARTICLES,
        )
    )


def _thinned(mask: Bool, every: int) -> Bool:
    chosen = np.zeros(mask.size, bool)
    chosen[np.flatnonzero(mask)[::every]] = True
    return chosen.reshape(mask.shape)


def _of_voxels(fitted: object, mask: Bool) -> Outcome:
    assert fitted is not None
    return Outcome(int(mask.sum()))


def _seeds(scene: Scene, grid: int) -> Float64:
    """A grid in each voxel, in mm; a little off, or all seeds would share some hundred states."""
    edge = (np.arange(grid) + 0.5) / grid - 0.5
    within = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), -1).reshape(-1, 3)
    places = (np.argwhere(scene.mask)[:, None] + within).reshape(-1, 3)
    jitter = np.random.default_rng(0).uniform(-0.2, 0.2, places.shape) / grid
    seeds: Float64 = (places + jitter) * scene.facts["spacing"]
    return seeds


def _sampled(scene: Scene) -> Float64:
    """Amplitudes (X, Y, Z, V) on DIPY's sphere, none negative."""
    field = np.zeros((*scene.mask.shape, len(default_sphere.vertices)))
    order = scene.facts["order"]
    for x, coeffs in enumerate(scene.coeffs):
        field[x] = sh_to_sf(coeffs, default_sphere, sh_order_max=order, legacy=True)
    return np.maximum(field, 0.0, out=field)


def _consume(streamlines: Iterable[Any]) -> Outcome:
    n_points = n_streamlines = 0
    for line in streamlines:
        n_points += len(line)
        n_streamlines += 1
    return Outcome(n_points, n_streamlines)
