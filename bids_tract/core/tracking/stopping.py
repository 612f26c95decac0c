"""Where streamlines end: a threshold on a map, a binary mask, or tissue maps (CMC, ACT)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from bids_tract.core.tracking import kernels
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


def kernel_rule(
    rule: StopRule, step_mm: float, voxel_sizes: Float64
) -> tuple[kernels.Rule, tuple[Float32, Float32]]:
    """A rule as the kernels take it.

    The background is no end region, other than in DIPY's ``CmcStoppingCriterion.from_pve``: a
    streamline that runs out of the brain without meeting grey matter has no valid end.

    Parameters
    ----------
    rule : StopRule
    step_mm : float
    voxel_sizes : (3,) float64 array
        In mm.

    Returns
    -------
    rule : kernels.Rule
    maps : two (X, Y, Z) float32 arrays
        What it reads: map, mask or grey matter; and CSF.

    """
    if isinstance(rule, MapStop):
        maps = rule.values.astype(np.float32), np.zeros_like(rule.values, np.float32)
        return kernels.Rule(kernels.BY_MAP, float(rule.threshold), 0.0), maps
    if isinstance(rule, MaskStop):
        maps = rule.mask.astype(np.float32), np.zeros(rule.mask.shape, np.float32)
        return kernels.Rule(kernels.BY_MASK, 0.5, 0.0), maps
    kind = kernels.BY_CMC if rule.rule == "cmc" else kernels.BY_ACT
    # Girard's criterion is stated for steps of a voxel; shorter ones stop as often per mm.
    power = step_mm / float(np.mean(voxel_sizes))
    return kernels.Rule(kind, 0.0, power), (rule.tissue.gm, rule.tissue.csf)
