"""What a tracking run works with, fully resolved: mm, degrees and counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class TrackParams:
    """Resolved parameters of one tracking run.

    Attributes
    ----------
    method : {"det", "prob", "pft", "eudx"}
        Maximum of the ODF in the cone, a draw from it, a draw with particle filtering, or the
        nearest peaks of the voxels around.
    step_mm : float
        Distance between points.
    max_angle_deg : float
        Largest turn at one step.
    min_length_mm, max_length_mm : float
        Streamlines outside these lengths are rejected.
    pmf_threshold : float
        Directions below this share of the ODF's maximum are not followed.
    pft_back_mm, pft_front_mm : float
        How far particle filtering goes back, and ahead.
    particles : int
        Number of particles.
    select : int or None
        Stop at this many kept streamlines.
    random_seed : int
        Start of the random numbers.

    """

    method: Literal["det", "prob", "pft", "eudx"]
    step_mm: float
    max_angle_deg: float
    min_length_mm: float
    max_length_mm: float
    pmf_threshold: float
    pft_back_mm: float
    pft_front_mm: float
    particles: int
    select: int | None
    random_seed: int
