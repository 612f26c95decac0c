"""Peaks: the local maxima of orientation functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from dipy.direction.peaks import peak_directions
from dipy.reconst.shm import sh_to_sf_matrix

from bids_tract.core.masks import slabs
from bids_tract.core.sphere import tracking_sphere
from bids_tract.core.types import Bool, Float32, SHField

# (relative threshold, separation in degrees): FODs are sharp, ODFs of solid angle are not.
CSD_PEAKS = (0.5, 25.0)
CSA_PEAKS = (0.8, 45.0)
_SLAB = 5000


def find_peaks(
    field: SHField,
    mask: Bool,
    *,
    relative_threshold: float,
    min_separation_deg: float,
    n_peaks: int = 5,
    progress: Callable[[int], None] | None = None,
) -> Float32:
    """Find the highest peaks of each voxel on the tracking sphere.

    Parameters
    ----------
    field : SHField
    mask : (X, Y, Z) bool array
    relative_threshold : float
        Peaks below this share of the highest (above the minimum) are dropped.
    min_separation_deg : float
        Of two peaks closer than this, the higher is kept.
    n_peaks : int
        At most so many.
    progress : callable, optional
        Called with the number of voxels done since the last call.

    Returns
    -------
    (X, Y, Z, 3 * n_peaks) float32 array
        Unit directions in image axes times the amplitude, the highest first; zero where none.

    """
    sphere = tracking_sphere()
    sampling = sh_to_sf_matrix(
        sphere, sh_order_max=field.lmax, basis_type="descoteaux07", legacy=True, return_inv=False
    )
    peaks = np.zeros((*mask.shape, n_peaks, 3), np.float32)
    for voxels in slabs(mask, _SLAB):
        amplitudes = field.coeffs[voxels].astype(np.float64) @ sampling
        found = np.zeros((len(amplitudes), n_peaks, 3))
        for voxel, odf in enumerate(amplitudes):
            directions, values, _ = peak_directions(
                odf,
                sphere,
                relative_peak_threshold=relative_threshold,
                min_separation_angle=min_separation_deg,
            )
            count = min(n_peaks, len(values))
            found[voxel, :count] = directions[:count] * values[:count, None]
        peaks[voxels] = found
        if progress is not None:
            progress(len(amplitudes))
    return peaks.reshape(*mask.shape, 3 * n_peaks)
