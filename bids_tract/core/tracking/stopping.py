"""Where streamlines end: a threshold on a map, a binary mask, or tissue maps (CMC, ACT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from dipy.tracking.stopping_criterion import (
    ActStoppingCriterion,
    BinaryStoppingCriterion,
    CmcStoppingCriterion,
    StoppingCriterion,
    ThresholdStoppingCriterion,
)
from scipy.ndimage import map_coordinates

from bids_tract.core.types import Bool, Float32, Float64, Tissue


@dataclass(frozen=True, eq=False)
class MapStop:
    """Go on while a map, interpolated trilinearly, is above a threshold.

    Attributes
    ----------
    values : (X, Y, Z) float32 array
        FA, GFA, a white matter fraction ...
    threshold : float
        Streamlines end where the map is at or below it.

    """

    values: Float32
    threshold: float


@dataclass(frozen=True, eq=False)
class MaskStop:
    """Go on while the nearest voxel belongs to a mask.

    Attributes
    ----------
    mask : (X, Y, Z) bool array

    """

    mask: Bool


@dataclass(frozen=True, eq=False)
class TissueStop:
    """Stop by tissue: streamlines end in grey matter and never in CSF.

    Attributes
    ----------
    tissue : Tissue
        Partial volumes on the tracking grid.
    rule : {"cmc", "act"}
        Continuous map criterion (Girard 2014, doi:10.1016/j.neuroimage.2014.04.074), which stops
        at random by the fractions, or anatomically constrained tracking (Smith 2012,
        doi:10.1016/j.neuroimage.2012.06.005), which stops where a fraction passes one half.

    """

    tissue: Tissue
    rule: Literal["cmc", "act"]


StopRule: TypeAlias = MapStop | MaskStop | TissueStop


def criterion(rule: StopRule, step_mm: float, voxel_sizes: Float64) -> StoppingCriterion:
    """DIPY's criterion for a rule.

    The background is not an end region here, other than in ``CmcStoppingCriterion.from_pve``:
    a streamline that runs out of the brain without meeting grey matter has no valid end.
    """
    if isinstance(rule, MapStop):
        return ThresholdStoppingCriterion(rule.values.astype(np.float64), rule.threshold)
    if isinstance(rule, MaskStop):
        return BinaryStoppingCriterion(rule.mask)
    include, exclude = (m.astype(np.float64) for m in (rule.tissue.gm, rule.tissue.csf))
    if rule.rule == "act":
        return ActStoppingCriterion(include, exclude)
    return CmcStoppingCriterion(include, exclude, step_mm, float(np.mean(voxel_sizes)))


def inside(points: Float64, shape: tuple[int, ...]) -> Bool:
    """Which points (N, 3), in voxel coordinates, lie inside the image."""
    return np.all((points >= -0.5) & (points < np.array(shape) - 0.5), axis=1)


def interpolate(values: Float32, points: Float64) -> Float64:
    """A map at points (N, 3) in voxel coordinates: trilinear, constant outside."""
    return map_coordinates(values.astype(np.float64), points.T, order=1, mode="nearest")


def continues(rule: MapStop | MaskStop, points: Float64) -> Bool:
    """Whether streamlines go on at points (N, 3), given in voxel coordinates."""
    if isinstance(rule, MapStop):
        return interpolate(rule.values, points) > rule.threshold
    nearest = np.clip(np.rint(points).astype(np.intp), 0, np.array(rule.mask.shape) - 1)
    return rule.mask[tuple(nearest.T)]
