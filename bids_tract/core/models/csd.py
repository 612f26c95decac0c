"""Constrained spherical deconvolution (Tournier 2007, doi:10.1016/j.neuroimage.2007.02.016)."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from dipy.reconst.csdeconv import ConstrainedSphericalDeconvModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.masks import slabs
from bids_tract.core.types import Bool, Float32, Float64, Gradients, SHField
from bids_tract.errors import DataError

LAMBDA = 1.0  # weight of the constraint
TAU = 0.1  # amplitudes below this share of the mean count as negative
CONVERGENCE = 50  # iterations at most
_SLAB = 5000


def fit_csd(
    data: Float32,
    gradients: Gradients,
    mask: Bool,
    sh_order: int,
    evals: Float64,
    s0: float,
    progress: Callable[[int], None] | None = None,
) -> tuple[SHField, int]:
    """Fit fibre orientation distributions.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        b0 volumes and one shell.
    gradients : Gradients
        Its N volumes.
    mask : (X, Y, Z) bool array
    sh_order : int
        Highest harmonic order; see `core.gradients.resolve_order`.
    evals : (3,) float64 array
        Eigenvalues of the response in mm²/s.
    s0 : float
        Its b0 signal.
    progress : callable, optional
        Called with the number of voxels done since the last call.

    Returns
    -------
    field : SHField
        Zero outside the mask and in voxels whose fit is not finite.
    n_failed : int
        The number of the latter.

    Raises
    ------
    DataError
        When more than half of the voxels fail.

    """
    model = ConstrainedSphericalDeconvModel(
        to_dipy(gradients),
        (np.asarray(evals, np.float64), float(s0)),
        sh_order_max=sh_order,
        lambda_=LAMBDA,
        tau=TAU,
        convergence=CONVERGENCE,
    )
    n_coeffs = (sh_order + 1) * (sh_order + 2) // 2
    coeffs = np.zeros((*mask.shape, n_coeffs), np.float32)
    n_failed = n_voxels = 0
    with warnings.catch_warnings():
        # A voxel that still changes a direction after 50 iterations is as good as its neighbours.
        warnings.filterwarnings("ignore", message="maximum number of iterations exceeded")
        for voxels in slabs(mask, _SLAB):
            signal = data[voxels]
            usable = np.all(np.isfinite(signal), axis=-1)
            fitted = np.zeros((len(signal), n_coeffs))
            if np.any(usable):
                fitted[usable] = model.fit(signal[usable]).shm_coeff
            finite = usable & np.all(np.isfinite(fitted), axis=-1)
            coeffs[voxels] = np.where(finite[:, None], fitted, 0.0)
            n_failed += int(np.count_nonzero(~finite))
            n_voxels += len(finite)
            if progress is not None:
                progress(len(finite))
    if n_failed > n_voxels / 2:
        raise DataError(
            f"deconvolution failed in {n_failed} of {n_voxels} voxels; check the image and the "
            "response"
        )
    return SHField(coeffs), n_failed
