"""Gibbs ringing: the ripples beside edges that a k-space cut off leaves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dipy.denoise.gibbs import gibbs_removal

from bids_tract.core.preprocess.processes import in_order
from bids_tract.core.types import Float32


def unring(
    data: Float32,
    slice_axis: int,
    *,
    n_threads: int,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Remove Gibbs ringing by local subvoxel shifts, in place.

    Kellner 2016 (doi:10.1002/mrm.26054), as DIPY does it. It works on single slices, on the grid
    that they were acquired on, and assumes that k-space was covered in full: see `unring_advised`.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        Finite. May be a memory map: it is walked in slices, or in planes across them.
    slice_axis : int
        The axis across the slices, 0 to 2.
    n_threads : int
        Worker processes at most; with 1, none is started. (Two threads take 1.2 times as long as
        one.) The result does not depend on it.
    progress : callable, optional
        Called with the number of slices done since the last call.

    """
    # The volumes of one slice position lie beside each other in memory: they are read once.
    positions = np.moveaxis(data, slice_axis, 0)
    copies = (np.array(position) for position in positions)
    for number, (_, corrected) in enumerate(in_order(_unring_slices, copies, n_threads)):
        positions[number] = corrected
        if progress is not None:
            progress(corrected.shape[-1])


def _unring_slices(slices: Float32) -> Float32:
    """(A, B, N) slices, one after the other."""
    return np.asarray(gibbs_removal(slices, slice_axis=2, inplace=False, num_processes=1))


def unring_advised(metadata: Mapping[str, Any]) -> tuple[bool, str]:
    """Whether the method fits how a series was acquired.

    Parameters
    ----------
    metadata : mapping
        The sidecar.

    Returns
    -------
    advised : bool
    reason : str
        Why, as a part of a sentence.

    """
    share = metadata.get("PartialFourier")
    if isinstance(share, int | float) and 0 < share < 1:
        return False, (
            f"only {share:g} of k-space was acquired (PartialFourier), and the method assumes "
            "all of it"
        )
    if share == 1:
        return True, "k-space was covered in full"
    return True, "the sidecar does not say that k-space was covered in part (PartialFourier)"


def slice_axis_of(metadata: Mapping[str, Any]) -> int:
    """The image axis across the slices: SliceEncodingDirection of BIDS; k by default."""
    direction = str(metadata.get("SliceEncodingDirection", "k"))
    return {"i": 0, "j": 1, "k": 2}.get(direction.removesuffix("-"), 2)
