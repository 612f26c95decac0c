from __future__ import annotations

import numpy as np

from bids_tract.core.anatomy.field import FieldFit, white_level

SIZES = np.array([2.0, 2.0, 3.0])


def ball() -> np.ndarray:
    x, y, z = np.indices((40, 44, 30)) - np.array([20, 22, 15]).reshape(3, 1, 1, 1)
    return np.asarray(x**2 + y**2 + (1.5 * z) ** 2 < 18**2)


def coordinates() -> np.ndarray:
    return np.stack(np.nonzero(ball())).astype(np.float32)


def test_a_polynomial_is_found_as_it_is():
    x, y, z = coordinates() / 20
    truth = (0.3 + 0.4 * x - 0.2 * x * y + 0.3 * z * z).astype(np.float32)
    found = FieldFit(ball(), SIZES, 2)(truth, np.ones_like(truth))
    # Blocks stand for their voxels by the mean of their places, and the ridge: 0.0004 off.
    np.testing.assert_allclose(found, truth, atol=0.001)


def test_voxels_without_weight_do_not_count():
    x, _, _ = coordinates() / 20
    values = x.copy()
    spoilt = np.random.default_rng(0).random(len(x)) < 0.3
    values[spoilt] += 5
    fit = FieldFit(ball(), SIZES, 2)
    found = fit(values, (~spoilt).astype(np.float32))
    np.testing.assert_allclose(found, x, atol=0.02)
    assert np.max(np.abs(fit(values, np.ones_like(x)) - x)) > 0.5


def test_white_level_is_that_of_the_brighter():
    """Two tissues at random places under a slope: the level lies near the brighter one."""
    x, _, _ = coordinates() / 40
    white = np.random.default_rng(1).random(len(x)) < 0.4
    values = (0.5 * x + np.where(white, 0, np.log(0.65))).astype(np.float32)
    level = white_level(values, FieldFit(ball(), SIZES, 2), np.ones_like(x))
    np.testing.assert_allclose(level, 0.5 * x, atol=0.06)
