"""The diffusion tensor: FA, MD and the colour map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from dipy.reconst.dti import TensorModel
from numpy.typing import NDArray

from bids_tract.core.gradients import to_dipy, unique_directions
from bids_tract.core.masks import slabs
from bids_tract.core.types import Bool, Float32, Float64, Gradients
from bids_tract.errors import DataError

# Above this the logarithm of the signal is no longer linear in b, and the tensor no longer fits.
_MAX_B = 1600.0
_SLAB = 10_000


@dataclass(frozen=True, eq=False)
class TensorMaps:
    """What the tensor says in each voxel; zero outside the mask.

    Attributes
    ----------
    fa : (X, Y, Z) float32 array
        Fractional anisotropy, 0 to 1.
    md : (X, Y, Z) float32 array
        Mean diffusivity in mm²/s.
    colfa : (X, Y, Z, 3) float32 array
        FA times the absolute components of the main direction in world axes: red left-right,
        green front-back, blue up-down; 0 to 1.

    """

    fa: Float32
    md: Float32
    colfa: Float32


def tensor_volumes(gradients: Gradients) -> NDArray[np.intp]:
    """The volumes that the tensor is fitted to.

    The b0 volumes and those with b up to 1600 s/mm², where they have the six directions that a
    tensor needs; otherwise all.

    Raises
    ------
    DataError
        When even all volumes do not determine a tensor.

    """
    low = gradients.bvals <= _MAX_B
    for keep in (low, np.ones_like(low)):
        volumes = np.flatnonzero(keep)
        if _determined(gradients.select(volumes)):
            return volumes
    weighted = gradients.bvecs[~gradients.is_b0]
    raise DataError(
        f"the {unique_directions(weighted)} unique directions of the diffusion-weighted volumes "
        "do not determine a tensor; it needs at least six, well spread"
    )


def _determined(gradients: Gradients) -> bool:
    """Whether the directions fix all six components."""
    v = gradients.bvecs[~gradients.is_b0]
    if unique_directions(v) < 6:
        return False
    design = np.stack([v[:, i] * v[:, j] for i in range(3) for j in range(i, 3)], axis=1)
    return bool(np.linalg.cond(design) < 1e3)


def fit_tensor(
    data: Float32,
    gradients: Gradients,
    mask: Bool,
    *,
    rotation: Float64,
    progress: Callable[[int], None] | None = None,
) -> TensorMaps:
    """Fit the tensor by weighted least squares (Chung 2006, doi:10.1016/j.neuroimage.2006.07.009).

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        Positive and finite within the mask.
    gradients : Gradients
    mask : (X, Y, Z) bool array
    rotation : (3, 3) float64 array
        Directions of the image axes in the world; see `core.gradients.direction_cosines`.
    progress : callable, optional
        Called with the number of voxels done since the last call.

    Raises
    ------
    DataError
        When the directions do not determine a tensor.

    """
    volumes = tensor_volumes(gradients)
    model = TensorModel(to_dipy(gradients.select(volumes)))
    fa = np.zeros(mask.shape, np.float32)
    md = np.zeros(mask.shape, np.float32)
    colfa = np.zeros((*mask.shape, 3), np.float32)
    for voxels in slabs(mask, _SLAB):
        fit = model.fit(data[voxels][:, volumes])
        anisotropy = np.clip(np.nan_to_num(fit.fa), 0.0, 1.0)
        main = np.nan_to_num(fit.evecs[..., :, 0]) @ rotation.T
        fa[voxels] = anisotropy
        md[voxels] = np.nan_to_num(fit.md)
        colfa[voxels] = np.clip(np.abs(main) * anisotropy[:, None], 0.0, 1.0)
        if progress is not None:
            progress(len(voxels[0]))
    return TensorMaps(fa=fa, md=md, colfa=colfa)
