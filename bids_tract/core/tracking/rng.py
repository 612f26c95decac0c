"""Random numbers by counter: functions of (run seed, stream, index, draw), not of a state.

The generator is the finaliser of SplitMix64 (Steele et al. 2014, doi:10.1145/2714064.2660195)
applied to a counter; the same arguments give the same number in any order and on any machine.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Float64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class Stream(IntEnum):
    """What the numbers are for, so that no two uses share them."""

    SEED_POSITION = 1
    SEED_ORDER = 2
    SEED_JITTER = 3
    TRACKER = 4


def _mix(z: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def bits(run_seed: int, stream: Stream, index: NDArray[np.int64], draw: int) -> NDArray[np.uint64]:
    """64 random bits for each index.

    Parameters
    ----------
    run_seed : int
        The seed of the run, from 0 up.
    stream : Stream
        The use.
    index : (N,) int64 array
        Which item (seed number, voxel number ...).
    draw : int
        Which number of that item.

    Returns
    -------
    (N,) uint64 array

    """
    with np.errstate(over="ignore"):  # wrapping around is what the generator does
        key = _mix(np.array([run_seed], np.uint64) + _GOLDEN)
        key = _mix(key + np.uint64(stream) * _GOLDEN)
        state = _mix(key + np.asarray(index).astype(np.uint64) * _GOLDEN)
        return _mix(state + np.uint64(draw + 1) * _GOLDEN)


def uniform(run_seed: int, stream: Stream, index: NDArray[np.int64], draw: int) -> Float64:
    """Random numbers in [0, 1), one for each index; arguments as for ``bits``."""
    numbers: Float64 = (bits(run_seed, stream, index, draw) >> np.uint64(11)) * np.float64(
        2.0**-53
    )
    return numbers
