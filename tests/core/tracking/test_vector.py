"""The vector operations do what their plain twin does."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from bids_tract.core.tracking import vector
from bids_tract.core.tracking.vector import WIDTH, cone_in_plain_words

N_DIRECTIONS, N_ROWS = 64, 9


@njit
def run_sum(rows, corners, lane, weights, directions, n, cone, c, b, patches, last, odf, parts):
    return vector.cone_sum(
        rows, corners, lane, weights, directions, n, cone, c, b, patches, 0, last, odf, parts
    )


@njit
def run_max(rows, corners, lane, weights, directions, n, cone, c, b, patches, last, odf, parts):
    return vector.cone_max(
        rows, corners, lane, weights, directions, n, cone, c, b, patches, 0, last, odf, parts
    )


@njit
def run_reaching(odf, place, left):
    return vector.lane_reaching(odf, place, left)


@njit
def run_equal(odf, place, value):
    return vector.lane_equal(odf, place, value)


@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
@pytest.mark.parametrize(("compiled", "combine"), [(run_sum, np.sum), (run_max, np.max)])
def test_a_cone_is_what_its_plain_twin_says(dtype, compiled, combine):
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 255, N_ROWS * N_DIRECTIONS).astype(dtype)
    corners = rng.integers(0, N_ROWS, 16) * N_DIRECTIONS
    weights = rng.dirichlet(np.ones(8)).astype(np.float32)
    directions = rng.normal(size=(3, N_DIRECTIONS))
    directions = (directions / np.linalg.norm(directions, axis=0)).astype(np.float32).ravel()
    cone = directions.reshape(3, -1)[:, 7].copy()
    patches = np.array([48, 0, 16], np.int32)
    results = []
    for run in ("plain", "compiled"):
        odf, parts = np.zeros(N_DIRECTIONS, np.float32), np.zeros(4, np.float32)
        shared = (rows, corners, 8, weights, directions)
        if run == "plain":
            total = cone_in_plain_words(
                *shared, cone, 0.5, 110.0, patches, odf, parts, combine=combine
            )
        else:
            total = compiled(
                *shared, N_DIRECTIONS, cone, np.float32(0.5), np.float32(110.0), patches, 3, odf,
                parts,
            )  # fmt: skip
        results.append((odf, parts[:3], total))
    plain, fast = results
    assert 0 < np.sum(plain[0] > 0) < 3 * WIDTH  # the cone and the bound both cut
    for expected, found in zip(plain, fast, strict=True):
        assert np.allclose(expected, found, rtol=1e-5)


def test_lanes_are_found():
    odf = np.array([0, 0, 2, 0, 3, 0, 0, 5] + [0] * 7 + [1], np.float32)
    running = np.cumsum(odf)
    for left in (0.0, 1.9, 2.0, 4.9, 5.0, 9.9, 10.0, 10.5):
        above = np.flatnonzero(running > left)
        assert run_reaching(odf, 0, np.float32(left)) == above[0]
    assert run_reaching(odf, 0, np.float32(11.0)) == WIDTH
    assert run_equal(odf, 0, np.float32(5.0)) == 7
    assert run_equal(odf, 0, np.float32(4.0)) == WIDTH
