"""Whether a mask holds the brain: arrays in, numbers out."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_tract.core.types import Bool, Float32, Float64

# Bright is what exceeds this share of the median b0 signal within the mask. At a half, whole
# brains (3 T, 3 mm, skull on; a phantom in oil) leave out 0.3 and 2 % of their mask, masks that
# lost a tenth, a quarter or a half of the brain 14, 36 and 90 to 120 %.
_BRIGHT = 0.5
# The rim of fluid around a brain and the scalp are thin: what one step of erosion removes.
_THIN = 1
# So near to the mask (voxels) tissue belongs to it; eyes and neck mostly do not.
_NEAR = 2
# Half of a mask's outermost voxels may be stray: extents run between these percentiles.
_EXTENT_PERCENT = (1.0, 99.0)


def left_out(b0: Float32, mask: Bool) -> float:
    """How much bright tissue a mask leaves out beside it, as a share of its own volume.

    Parameters
    ----------
    b0 : (X, Y, Z) float32 array
        Mean of the volumes without diffusion weighting, background included.
    mask : (X, Y, Z) bool array
        At least one voxel.

    Returns
    -------
    float
        Volume of the tissue `beside` the mask, divided by that of the mask: about 1 where half of
        a brain is missing. 0 where the background was removed before.

    """
    return float(beside(b0, mask).sum() / mask.sum())


def beside(b0: Float32, mask: Bool) -> Bool:
    """The bright tissue that a mask leaves out beside it.

    Parameters
    ----------
    b0 : (X, Y, Z) float32 array
        Mean of the volumes without diffusion weighting, background included.
    mask : (X, Y, Z) bool array
        At least one voxel.

    Returns
    -------
    (X, Y, Z) bool array
        The thick bright pieces that touch the mask.

    """
    bright = (b0 > _BRIGHT * np.median(b0[mask])) & ~mask
    # What lies beyond the image counts as bright: thin images would lose all in the erosion.
    thick = ndimage.binary_erosion(bright, iterations=_THIN, border_value=1)
    thick = ndimage.binary_dilation(thick, iterations=_THIN) & bright
    labels, _ = ndimage.label(thick)
    near = ndimage.binary_dilation(mask, iterations=_NEAR)
    return np.isin(labels, np.unique(labels[near & thick]))


def extent_mm(mask: Bool, affine: Float64) -> tuple[float, float, float]:
    """How far a mask reaches from left to right, back to front and bottom to top, in mm.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        At least one voxel.
    affine : (4, 4) float64 array
        Voxel index to RAS+ mm.

    """
    points = np.argwhere(mask) @ affine[:3, :3].T
    low, high = np.percentile(points, _EXTENT_PERCENT, axis=0)
    right, front, top = (float(length) for length in high - low)
    return right, front, top
