"""Run every compiled function once on a few voxels, so that later runs find it in the cache."""

from __future__ import annotations

import numpy as np

from bids_tract.core.density import Density
from bids_tract.core.drawing.camera import VIEWS, look_from
from bids_tract.core.drawing.views import cameras_for, draw_views
from bids_tract.core.models.csa import fit_csa
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.peaks import find_peaks
from bids_tract.core.sphere import tracking_sphere
from bids_tract.core.tracking.params import TrackParams
from bids_tract.core.tracking.stopping import MaskStop, StopRule, TissueStop
from bids_tract.core.tracking.walk import Walker
from bids_tract.core.types import Gradients, Streamlines, Tissue


def warm() -> None:
    """Compile the kernels of models, tracking and drawing, or load them from numba's cache."""
    directions = tracking_sphere().vertices[::5]
    bvals = np.concatenate([[0.0], np.full(len(directions), 1000.0)])
    gradients = Gradients(bvals, np.vstack([np.zeros((1, 3)), directions]), 50.0)
    # One fibre along x, a little different from voxel to voxel.
    along = gradients.bvecs[:, 0] ** 2
    signal = np.exp(-bvals * (0.3e-3 + 1.4e-3 * along))
    scale = 1 + 0.01 * np.arange(27).reshape(3, 3, 3, 1)
    data = (1000 * scale * signal).astype(np.float32)
    mask = np.ones((3, 3, 3), bool)
    csa, _ = fit_csa(data, gradients, mask, 6)
    peaks = find_peaks(csa, mask, relative_threshold=0.5, min_separation_deg=25)
    evals = np.array([1.7e-3, 0.3e-3, 0.3e-3])
    fods = [fit_csd(data, gradients, mask, order, evals, 1000.0)[0] for order in (4, 6, 8)]
    grey = np.zeros(mask.shape, np.float32)
    grey[[0, -1]] = 1
    tissue = Tissue(1 - grey, grey, np.where(grey > 0, np.float32(0.01), np.float32(0.0)))
    for method in ("det", "prob", "pft", "eudx"):
        params = TrackParams(
            method=method, step_mm=0.5, max_angle_deg=30.0, min_length_mm=0.0, max_length_mm=20.0,
            pmf_threshold=0.1, pft_back_mm=2.0, pft_front_mm=1.0, particles=15, select=None,
            random_seed=0,
        )  # fmt: skip
        rule: StopRule = TissueStop(tissue, "cmc") if method == "pft" else MaskStop(mask)
        walker = Walker(fods[-1], rule, params, np.eye(4), peaks=peaks)
        walker.walk(np.ones((2, 3)), 0)
    _warm_drawing()


def _warm_drawing() -> None:
    line = np.array([[0, 0, 0], [1, 1, 1], [2, 1, 1]], np.float32)
    streamlines = Streamlines.from_list([line], np.zeros(1, np.int64))
    draw_views(streamlines, cameras_for(streamlines, [look_from(*VIEWS["left"])], 20), (0.0,) * 4)
    Density((3, 3, 3), np.eye(4)).add(streamlines)
