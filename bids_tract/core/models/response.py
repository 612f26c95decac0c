"""The response of a single fibre, from the voxels that look most like one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from dipy.reconst.csdeconv import response_from_mask_ssst
from numpy.typing import NDArray

from bids_tract.core.gradients import to_dipy
from bids_tract.core.types import Bool, Float32, Float64, Gradients, Signals
from bids_tract.errors import DataError

_RADIUS = 10  # voxels about the centre, and
_FA = 0.7  # the bound: DIPY's auto_response_ssst
_ENOUGH = 30  # voxels; the mean of fewer is noise
_SHARE = 0.01  # of the mask, where too few voxels reach the bound:
_FEWEST = 10  # a small crop holds few single fibres; and
_MOST = 300  # as MRtrix's `dwi2response tournier` takes
_FLATTEST = 0.85  # ratio of eigenvalues above which there is nothing to deconvolve with
_USUAL = (0.05, 0.5)  # ratio in living white matter


@dataclass(frozen=True, eq=False)
class ResponseFunction:
    """The axially symmetric tensor of a single fibre.

    Attributes
    ----------
    evals : (3,) float64 array
        Eigenvalues in mm²/s: along, across, across.
    s0 : float
        Mean b0 signal.
    n_voxels : int
        Voxels it is the mean of.
    fa_threshold : float
        Their lowest FA, or the bound on it.
    source : str
        Where they lie, in words.

    """

    evals: Float64
    s0: float
    n_voxels: int
    fa_threshold: float
    source: str


def estimate_response(
    data: Signals, gradients: Gradients, mask: Bool, fa: Float32
) -> tuple[ResponseFunction, list[str]]:
    """Estimate the response as DIPY's ``auto_response_ssst`` does, with a stated fallback.

    Voxels with FA above 0.7 within 10 voxels of the centre of the image; where those are fewer
    than 30, such voxels of the whole mask; where those are fewer as well, the hundredth of the
    mask with the highest FA (10 to 300 voxels). In the whole mask, voxels with an FA above 0.95
    or a b0 signal below a third of the median are left out: they are noise at the rim.

    Parameters
    ----------
    data : Signals
        (X, Y, Z, N) float32: b0 volumes and one shell.
    gradients : Gradients
        Its N volumes.
    mask : (X, Y, Z) bool array
        Brain or white matter.
    fa : (X, Y, Z) float32 array

    Returns
    -------
    response : ResponseFunction
    notes : list of str
        Which fallback was taken and why; an unusual shape.

    Raises
    ------
    DataError
        When no voxel looks like a fibre.

    """
    chosen, bound, source, notes = _choose(data, gradients, mask, fa)
    (evals, s0), ratio = response_from_mask_ssst(to_dipy(gradients), data, chosen)
    found = f"the highest FA in the mask is {float(fa[mask].max(initial=0.0)):.2f}"
    if not (np.all(np.isfinite(evals)) and np.isfinite(s0) and s0 > 0 and 0 < ratio <= _FLATTEST):
        raise DataError(
            f"no response of a single fibre: the {np.count_nonzero(chosen)} most anisotropic "
            f"voxels have a ratio of eigenvalues of {ratio:.2f}, which is no fibre ({found}); "
            "give one with --response"
        )
    if not _USUAL[0] <= ratio <= _USUAL[1]:
        notes.append(
            f"The response is unusual: diffusion across is {ratio:.2f} of that along the fibre, "
            f"in living white matter {_USUAL[0]:g} to {_USUAL[1]:g}."
        )
    response = ResponseFunction(
        evals=np.asarray(evals, np.float64),
        s0=float(s0),
        n_voxels=int(np.count_nonzero(chosen)),
        fa_threshold=bound,
        source=source,
    )
    return response, notes


def _choose(
    data: Signals, gradients: Gradients, mask: Bool, fa: Float32
) -> tuple[Bool, float, str, list[str]]:
    """Choose the voxels: those, the bound on their FA, where they lie, and a word why."""
    high = mask & (fa > _FA)
    central = high & _centre(mask.shape)
    n_central = np.count_nonzero(central)
    if n_central >= _ENOUGH:
        return central, _FA, f"FA > {_FA} within {_RADIUS} voxels of the centre", []
    why = (
        f"The centre of the image holds {n_central} voxels with FA above {_FA} (expected at least "
        f"{_ENOUGH}): the response is the mean of "
    )
    # Plane by plane: the b0 volumes alone may be more than fits in memory.
    b0 = np.stack([data[x][..., gradients.is_b0].mean(axis=-1) for x in range(len(mask))])
    sound = mask & (fa <= 0.95) & (b0 > np.median(b0[mask]) / 3) if np.any(mask) else mask
    n_high = np.count_nonzero(high & sound)
    if n_high >= _ENOUGH:
        return (
            high & sound,
            _FA,
            f"FA > {_FA} in the whole mask",
            [f"{why}the {n_high} voxels of the whole mask."],
        )
    if np.count_nonzero(sound) < _FEWEST:
        raise DataError(
            f"no response of a single fibre: the mask holds {np.count_nonzero(mask)} voxels, "
            f"{np.count_nonzero(sound)} of them with sound signal; expected at least {_FEWEST} "
            f"(the highest FA is {float(fa[mask].max(initial=0.0)):.2f}); give one with --response"
        )
    chosen, lowest = _highest(fa, sound)
    n_chosen = np.count_nonzero(chosen)
    return (
        chosen,
        lowest,
        f"the {n_chosen} voxels of the highest FA in the mask",
        [f"{why}the {n_chosen} voxels with the highest FA in the mask, above {lowest:.2f}."],
    )


def _centre(shape: tuple[int, ...]) -> Bool:
    """The cuboid about the centre."""
    region = np.zeros(shape, bool)
    region[tuple(slice(max(n // 2 - _RADIUS, 0), n // 2 + _RADIUS + 1) for n in shape)] = True
    return region


def _highest(fa: Float32, among: Bool) -> tuple[Bool, float]:
    """The share of voxels with the highest FA, and the lowest FA among them."""
    count = int(np.clip(_SHARE * np.count_nonzero(among), _FEWEST, _MOST))
    where: NDArray[np.intp] = np.flatnonzero(among)
    best = where[np.argsort(-fa.ravel()[where], kind="stable")[:count]]
    chosen = np.zeros(fa.size, bool)
    chosen[best] = True
    return chosen.reshape(fa.shape), float(fa.ravel()[best].min())
