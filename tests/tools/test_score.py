from __future__ import annotations

import numpy as np

from bids_tract.core.types import Streamlines
from bids_tract.files.grids import Grid
from bids_tract.tools.score import Score, score_ends

GRID = Grid((4, 1, 1), np.diag([-2.0, 2, 2, 1]))
LABELS = np.array([1, 2, 0, 3]).reshape(4, 1, 1)


def lines(*ends):
    """Streamlines between voxels of the first axis, by way of a far point."""
    points = [
        np.array([[-2.0 * a, 0, 0], [100, 0, 0], [-2.0 * b, 0, 0]], np.float32) for a, b in ends
    ]
    return Streamlines.from_list(points, np.arange(len(points)))


def test_each_kind_of_ending_is_counted_once():
    tractogram = lines((0, 1), (1, 0), (0, 3), (0, 0), (2, 0), (9, 0), (0.4, 1.4))
    expected = Score(valid=3, invalid=1, none=3, bundles=2, bundles_found=1)
    assert score_ends(tractogram, LABELS, GRID, [(2, 1), (3, 2)]) == expected


def test_no_streamlines():
    assert score_ends(lines(), LABELS, GRID, [(1, 2)]) == Score(0, 0, 0, 1, 0)
