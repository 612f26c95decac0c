"""How many streamlines connect what is connected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Streamlines
from bids_tract.files.grids import Grid


@dataclass(frozen=True)
class Score:
    """Streamlines sorted by where they end.

    Attributes
    ----------
    valid, invalid, none : int
        Both ends in the regions of one bundle; in two regions that no bundle joins; the rest.
    bundles, bundles_found : int
        How many bundles there are, and how many have a valid streamline.

    """

    valid: int
    invalid: int
    none: int
    bundles: int
    bundles_found: int


def score_ends(
    streamlines: Streamlines,
    labels: NDArray[np.integer],
    grid: Grid,
    valid_pairs: Iterable[tuple[int, int]],
) -> Score:
    """Compare the ends of streamlines with known end regions.

    Parameters
    ----------
    streamlines : Streamlines
        RAS+ mm.
    labels : (X, Y, Z) int array
        A number for each end region, 0 elsewhere.
    grid : Grid
        Where the labels lie.
    valid_pairs : iterable of pairs of int
        The numbers of the two ends of each bundle.

    Returns
    -------
    Score

    """
    first = _labels_at(streamlines.points[streamlines.offsets[:-1]], labels, grid)
    last = _labels_at(streamlines.points[streamlines.offsets[1:] - 1], labels, grid)
    valid = {tuple(sorted(pair)) for pair in valid_pairs}
    pairs = Counter(
        (min(a, b), max(a, b))
        for a, b in zip(first.tolist(), last.tolist(), strict=True)
        if a and b and a != b
    )
    right = sum(count for pair, count in pairs.items() if pair in valid)
    wrong = pairs.total() - right
    return Score(
        right, wrong, len(streamlines) - right - wrong, len(valid), len(valid & set(pairs))
    )


def _labels_at(
    points_mm: NDArray[np.floating], labels: NDArray[np.integer], grid: Grid
) -> NDArray[np.integer]:
    """The label of the voxel that each point lies in, 0 outside the grid."""
    to_voxel = np.linalg.inv(grid.affine)
    voxels = np.rint(points_mm @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(int)
    inside = np.all((voxels >= 0) & (voxels < grid.shape), axis=1)
    found = np.zeros(len(points_mm), labels.dtype)
    found[inside] = labels[tuple(voxels[inside].T)]
    return found
