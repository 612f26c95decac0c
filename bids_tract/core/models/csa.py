"""The constant solid angle ODF (Aganj 2010, doi:10.1002/mrm.22365)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from dipy.reconst.shm import CsaOdfModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.masks import slabs
from bids_tract.core.types import Bool, Float32, Gradients, SHField

SMOOTH = 0.006  # Laplace-Beltrami regularisation: Descoteaux 2007, doi:10.1002/mrm.21277
_SLAB = 20_000


def fit_csa(
    data: Float32,
    gradients: Gradients,
    mask: Bool,
    sh_order: int,
    progress: Callable[[int], None] | None = None,
) -> tuple[SHField, Float32]:
    """Fit the ODF and its generalised fractional anisotropy.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        b0 volumes and one shell.
    gradients : Gradients
        Its N volumes.
    mask : (X, Y, Z) bool array
    sh_order : int
        Highest harmonic order; see `core.gradients.resolve_order`.
    progress : callable, optional
        Called with the number of voxels done since the last call.

    Returns
    -------
    field : SHField
    gfa : (X, Y, Z) float32 array
        0 to 1. Both are zero outside the mask and where the signal is not finite.

    """
    model = CsaOdfModel(to_dipy(gradients), sh_order_max=sh_order, smooth=SMOOTH)
    n_coeffs = (sh_order + 1) * (sh_order + 2) // 2
    coeffs = np.zeros((*mask.shape, n_coeffs), np.float32)
    gfa = np.zeros(mask.shape, np.float32)
    for voxels in slabs(mask, _SLAB):
        fit = model.fit(data[voxels])
        finite = np.all(np.isfinite(fit.shm_coeff), axis=-1)
        coeffs[voxels] = np.where(finite[:, None], fit.shm_coeff, 0.0)
        gfa[voxels] = np.where(finite, fit.gfa, 0.0)
        if progress is not None:
            progress(len(finite))
    return SHField(coeffs), gfa
