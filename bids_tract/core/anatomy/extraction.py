"""The brain in a T1-weighted image of the head, by a mask of the diffusion series."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from bids_tract.core.anatomy.field import FieldFit, white_level
from bids_tract.core.types import Bool, Float32, Float64
from bids_tract.errors import DataError

# How far the brain may reach beyond the prior mask: a voxel or two of a diffusion series, and
# what its distortions displace.
_MARGIN_MM = 6.0
# So deep in the prior mask there is brain, and no skull or scalp, for all its distortions.
_SURE_MM = 10.0
# Between these shares of the brightness of white matter lies tissue: CSF has 0.2 to 0.35 and
# compact bone less; fat and marrow have 1.3 and more.
_DARK, _BRIGHT = 0.40, 1.25
# Half the thickness of the bridges (dura, vessels, nerves) that are cut.
_BRIDGE_MM = 3.0
# Half the width of the gaps (sulci, fissures) that belong to the brain.
_SULCUS_MM = 6.0
# The CSF around it that is kept.
_RIM_MM = 1.5
# The polynomial that brightness is fitted with: a low one, as it goes on beyond where it is known.
_ORDER = 4


def extract_brain(t1w: Float32, voxel_sizes: Float64, prior_mask: Bool) -> Bool:
    """Find the brain near a mask that is nearly right.

    Tissue is what is about as bright as brain, once the uneven brightness of the image is
    evened out. It is eroded until dura and vessels break, the largest piece grown back, and its
    sulci and ventricles filled.

    Parameters
    ----------
    t1w : (X, Y, Z) float32 array
        The head, or a part of it.
    voxel_sizes : (3,) float64 array
        mm.
    prior_mask : (X, Y, Z) bool array
        The brain mask of a diffusion series on this grid. It may be off by several millimetres
        where the series is distorted; where its field of view ends, the brain ends.

    Returns
    -------
    (X, Y, Z) bool array
        The brain with a thin rim of CSF.

    Raises
    ------
    DataError
        When there is nothing like a brain at the mask.

    """
    reach = _grown(prior_mask, _MARGIN_MM, voxel_sizes) & (t1w > 0)
    sure = reach & _shrunk(prior_mask, _SURE_MM, voxel_sizes)
    if not np.any(sure):
        raise DataError(
            "no voxel of the T1-weighted image with signal lies deep in the brain mask; expected "
            "the mask to cover the brain in the image: check that both are of one person and "
            "session"
        )
    level = _relative_brightness(t1w, reach, sure, voxel_sizes)
    dark, bright = level < _DARK, level > _BRIGHT
    tissue = reach & ~dark & ~bright
    core = _largest(_shrunk(tissue, _BRIDGE_MM, voxel_sizes) | (sure & ~bright))
    core = tissue & _grown(core, 1.5 * _BRIDGE_MM, voxel_sizes) | (sure & ~bright)
    closed = _shrunk(_grown(core, _SULCUS_MM, voxel_sizes), _SULCUS_MM, voxel_sizes)
    filled = ndimage.binary_fill_holes(closed | core)
    rim = _grown(filled, _RIM_MM, voxel_sizes) & reach & dark
    inside = _shrunk(filled, _BRIDGE_MM, voxel_sizes)
    return _largest(rim | (filled & (inside | ~bright)))


def _relative_brightness(t1w: Float32, reach: Bool, sure: Bool, voxel_sizes: Float64) -> Float32:
    """Brightness as a share of that of white matter nearby, where the brain may be."""
    values = np.log(t1w[reach])
    fit = FieldFit(reach, voxel_sizes, _ORDER)
    level = np.zeros(t1w.shape, np.float32)
    level[reach] = np.exp(values - white_level(values, fit, sure[reach].astype(np.float32)))
    return level


def _grown(mask: Bool, by_mm: float, voxel_sizes: Float64) -> Bool:
    far = ndimage.distance_transform_edt(~mask, sampling=voxel_sizes)
    return np.asarray(far <= by_mm)


def _shrunk(mask: Bool, by_mm: float, voxel_sizes: Float64) -> Bool:
    deep = ndimage.distance_transform_edt(mask, sampling=voxel_sizes)
    return np.asarray(deep > by_mm)


def _largest(mask: Bool) -> Bool:
    labels, count = ndimage.label(mask)
    if count == 0:
        return mask
    return np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))
