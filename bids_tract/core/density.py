"""How many streamlines pass through each voxel."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bids_tract.core.types import Float32, Float64, Streamlines

# Of a voxel, between two looks at where a streamline is. Corners that are cut by less are missed,
# as they are by DIPY and MRtrix with points of this distance.
_STEP = 0.25


class Density:
    """Counts streamlines in voxels, block by block.

    Parameters
    ----------
    shape : (int, int, int)
        Of the image.
    affine : (4, 4) float64 array
        Voxel index to RAS+ mm.

    Attributes
    ----------
    counts : (X, Y, Z) int32 array
        Streamlines so far; one counts once in a voxel, however often it comes by.

    """

    def __init__(self, shape: tuple[int, int, int], affine: Float64) -> None:
        self.counts = np.zeros(shape, np.int32)
        self._last = np.full(shape, -1, np.int64)
        self._to_voxel = np.linalg.inv(affine)[:3]
        self._n = 0

    def add(self, streamlines: Streamlines) -> None:
        """Count the streamlines of a block."""
        _count(
            streamlines.points, streamlines.offsets, self._n, self._to_voxel, self._last,
            self.counts,
        )  # fmt: skip
        self._n += len(streamlines)


@njit(cache=True, nogil=True, error_model="numpy")
def _count(
    points: Float32, offsets: NDArray[np.int64], first: int, to_voxel: Float64,
    last: NDArray[np.int64], counts: NDArray[np.int32],
) -> None:  # fmt: skip
    """Add to `counts`; `last` holds the number of the streamline that was last in a voxel."""
    here, step = np.empty(3), np.empty(3)
    farthest = counts.shape[0] + counts.shape[1] + counts.shape[2]
    for line in range(len(offsets) - 1):
        for n in range(offsets[line], offsets[line + 1]):
            following = min(n + 1, offsets[line + 1] - 1)
            longest = 0.0
            for k in range(3):
                here[k], step[k] = to_voxel[k, 3], 0.0
                for j in range(3):
                    here[k] += to_voxel[k, j] * points[n, j]
                    step[k] += to_voxel[k, j] * (points[following, j] - points[n, j])
                longest = max(longest, abs(step[k]))
            if not np.isfinite(here[0] + here[1] + here[2] + longest):
                continue
            looks = max(1, int(np.ceil(longest / _STEP)))
            if longest > farthest:  # astray: no step is longer than the image
                looks = 1
            for look in range(looks):
                share = look / looks
                i = int(np.floor(here[0] + share * step[0] + 0.5))
                j = int(np.floor(here[1] + share * step[1] + 0.5))
                k = int(np.floor(here[2] + share * step[2] + 0.5))
                if 0 <= i < counts.shape[0] and 0 <= j < counts.shape[1] and (
                    0 <= k < counts.shape[2] and last[i, j, k] != first + line
                ):  # fmt: skip
                    last[i, j, k] = first + line
                    counts[i, j, k] += 1
