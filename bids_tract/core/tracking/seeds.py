"""Where streamlines start: seeds made in blocks, each a function of its number only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.tracking.rng import Stream, bits, uniform
from bids_tract.core.types import Bool, Float64
from bids_tract.errors import DataError

# With --select and no number of seeds, give up after this many attempts for each streamline
# wanted (the bound that MRtrix3's tckgen uses).
ATTEMPTS_PER_STREAMLINE = 1000


@dataclass(frozen=True, eq=False)
class Seeds:
    """Seeds in the voxels of a mask.

    Attributes
    ----------
    voxels : (V, 3) int64 array
        The voxels of the mask, in the order in which they are served.
    layout : {"grid", "random", "total"}
        `per_voxel` seeds on a grid in each voxel; as many at random in each; or at random
        anywhere in the mask.
    per_voxel : int
        Seeds in each voxel; a cube for "grid", not used for "total".
    count : int
        How many seeds there are.
    run_seed : int
        Start of the random numbers.

    """

    voxels: NDArray[np.int64]
    layout: Literal["grid", "random", "total"]
    per_voxel: int
    count: int
    run_seed: int

    def block(self, start: int, stop: int) -> Float64:
        """The seeds with the numbers from `start` to before `stop`.

        Returns
        -------
        (N, 3) float64 array
            Voxel coordinates; (0, 0, 0) is the centre of the first voxel.

        """
        number = np.arange(start, min(stop, self.count), dtype=np.int64)
        if self.layout == "grid":
            edge = round(self.per_voxel ** (1 / 3))
            place = np.stack(np.unravel_index(number % self.per_voxel, (edge,) * 3), axis=1)
            within = (np.asarray(place, np.float64) + 0.5) / edge - 0.5
            return self.voxels[number // self.per_voxel] + within
        if self.layout == "random":
            voxel = number // self.per_voxel % len(self.voxels)
        else:
            u = uniform(self.run_seed, Stream.SEED_POSITION, number, 3)
            voxel = (u * len(self.voxels)).astype(np.int64)
        offsets = [uniform(self.run_seed, Stream.SEED_POSITION, number, d) for d in range(3)]
        return self.voxels[voxel] + (np.stack(offsets, axis=1, dtype=np.float64) - 0.5)


def make_seeds(
    mask: Bool,
    *,
    layout: Literal["grid", "random", "total"],
    seeds: int | None,
    select: int | None,
    run_seed: int,
) -> Seeds:
    """Lay out seeds in a mask.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        Voxels to seed.
    layout : {"grid", "random", "total"}
        See `Seeds`.
    seeds : int or None
        Seeds per voxel, or in all for "total". None: one per voxel; for "total" as many as
        `select` may take, or 100,000.
    select : int or None
        How many streamlines are wanted. The voxels are then served in a random order, so that
        those kept first are not all from one side of the head.
    run_seed : int
        Start of the random numbers.

    Raises
    ------
    DataError
        When the mask is empty.

    """
    voxels = np.argwhere(mask).astype(np.int64)
    if len(voxels) == 0:
        raise DataError("the seed mask is empty: no streamline can start")
    if select is not None:
        numbers = np.arange(len(voxels), dtype=np.int64)
        order = np.argsort(bits(run_seed, Stream.SEED_ORDER, numbers, 0), kind="stable")
        voxels = voxels[order]
    if layout == "total":
        unlimited = select * ATTEMPTS_PER_STREAMLINE if select else 100_000
        return Seeds(voxels, layout, 0, seeds or unlimited, run_seed)
    per_voxel = seeds or 1
    return Seeds(voxels, layout, per_voxel, per_voxel * len(voxels), run_seed)
