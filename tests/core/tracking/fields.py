"""Orientation fields and walkers for the tracking tests."""

from __future__ import annotations

import numpy as np

from bids_tract.core.models.csa import fit_csa
from bids_tract.core.tracking.outcome import Block, Counts
from bids_tract.core.tracking.params import TrackParams
from bids_tract.core.tracking.seeds import Seeds
from bids_tract.core.tracking.stopping import MaskStop, StopRule
from bids_tract.core.tracking.walk import Walker, track
from bids_tract.core.types import Float64, SHField, Streamlines
from tests.phantoms import Scene

DEFAULTS = TrackParams(
    method="det", step_mm=0.5, max_angle_deg=30.0, min_length_mm=0.0, max_length_mm=300.0,
    pmf_threshold=0.1, pft_back_mm=2.0, pft_front_mm=1.0, particles=15, select=None,
    random_seed=42,
)  # fmt: skip


def params(**changes) -> TrackParams:
    return TrackParams(**{**DEFAULTS.__dict__, **changes})


def sh_field(scene: Scene) -> SHField:
    """The CSA field of a scene, everywhere (phantoms fill their grid or are zero outside)."""
    field, _ = fit_csa(
        np.maximum(scene.data, 1e-3), scene.gradients, np.any(scene.data > 0.05, axis=3), 6
    )
    return field


def walker(scene: Scene, rule: StopRule | None = None, threads: int = 1, **changes) -> Walker:
    field = sh_field(scene)
    rule = rule or MaskStop(np.any(field.coeffs, axis=-1))
    return Walker(field, rule, params(**changes), scene.affine, threads)


def seeds_at(points_mm: Float64, scene: Scene) -> Float64:
    """World points as voxel coordinates of a scene."""
    inverse = np.linalg.inv(scene.affine @ np.eye(4))
    return np.atleast_2d(points_mm) @ inverse[:3, :3].T + inverse[:3, 3]


def run(one: Walker, seeds: Seeds) -> tuple[Streamlines, Counts, list[Block]]:
    """All blocks of a run, joined."""
    counts, blocks = Counts(), list(track(one, seeds))
    for block in blocks:
        counts.add(block)
    lines = [line for block in blocks for line in map(block.streamlines.__getitem__,
                                                     range(len(block.streamlines)))]  # fmt: skip
    numbers = np.concatenate([block.streamlines.seed_index for block in blocks])
    return Streamlines.from_list(lines, numbers), counts, blocks
