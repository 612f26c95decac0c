"""Streamlines and grids for the tests of the file formats."""

from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from bids_tract.core.types import Streamlines
from bids_tract.files.grids import Grid
from bids_tract.files.tractograms.trx import TrxWriter

OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [12, -31, 8], degrees=True).as_matrix() * (-2, 1.5, 4)
OBLIQUE[:3, 3] = (88, -110, -41)

GRIDS = {
    "RAS": Grid(
        (50, 60, 40), np.array([[2, 0, 0, -50], [0, 2, 0, -60], [0, 0, 2, -40], [0, 0, 0, 1]])
    ),
    "LAS": Grid(
        (50, 60, 40), np.array([[-2, 0, 0, 50], [0, 2, 0, -60], [0, 0, 2, -40], [0, 0, 0, 1]])
    ),
    "oblique": Grid((90, 120, 30), OBLIQUE),
    # The image axes in another order than the world's.
    "ASR": Grid(
        (40, 50, 60), np.array([[0, 0, 2, -60], [3, 0, 0, -60], [0, 1, 0, -25], [0, 0, 0, 1]])
    ),
}

coordinates = st.floats(-200, 200, width=32)
lines = st.lists(
    hnp.arrays(np.float32, st.tuples(st.integers(2, 12), st.just(3)), elements=coordinates),
    max_size=8,
)


def streamlines(n: int, seed: int = 0, steps: int = 30) -> Streamlines:
    """Random walks of 2 to `steps` points."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(2, steps + 1, n)
    walks = [rng.uniform(-40, 40, 3) + rng.normal(size=(c, 3)).cumsum(axis=0) for c in counts]
    return Streamlines.from_list([w.astype(np.float32) for w in walks], 3 * np.arange(n) + 1)


def write(path: Path, grid: Grid, *blocks: Streamlines) -> Path:
    """A TRX file of the given blocks."""
    with TrxWriter(path, grid) as writer:
        for block in blocks:
            writer.append(block)
    return path


def points_and_counts(arrays) -> tuple[np.ndarray, list[int]]:
    """What any reader gives, as one array of points and the counts of points."""
    arrays = [np.asarray(a, np.float64).reshape(-1, 3) for a in arrays]
    return np.concatenate([*arrays, np.zeros((0, 3))]), [len(a) for a in arrays]
