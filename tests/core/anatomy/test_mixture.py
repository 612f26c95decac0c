from __future__ import annotations

import numpy as np
from scipy.stats import truncnorm

from bids_tract.core.anatomy.mixture import _expect, unmix

SIZES = np.full(3, 2.0)
MEANS = np.array([0.3, 0.65, 1.0])


def folds(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slabs across x, again and again: WM, a mixture with GM, GM, one with CSF, CSF, and back."""
    wm = np.array([1, 1, 1, 1, 0.3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.3])
    csf = np.array([0, 0, 0, 0, 0, 0, 0, 0, 0.5, 1, 1, 0.5, 0, 0, 0, 0])
    across = np.tile(np.stack([csf, 1 - wm - csf, wm]), 3)
    fractions = np.tile(across[:, :, None, None], (1, 1, 32, 32))
    rng = np.random.default_rng(2)
    image = np.tensordot(MEANS, fractions, 1)
    image = image + noise * rng.standard_normal(image.shape)
    return (500 * image).astype(np.float32), np.ones(image.shape, bool), fractions


def test_tissues_and_their_mixtures():
    image, brain, truth = folds(0.02)
    found = unmix(image, brain, SIZES)
    fractions = found.fractions.reshape(truth.shape)
    # Reached 0.015: the noise, and that a mixture near a pure tissue may be called pure.
    np.testing.assert_allclose(fractions.mean(axis=(2, 3)), truth.mean(axis=(2, 3)), atol=0.03)
    np.testing.assert_allclose(found.means, MEANS, atol=0.02)


def test_neighbours_tell_noise_from_mixture():
    """With much noise, fewer voxels of one tissue are taken for another than by brightness."""
    image, brain, truth = folds(0.12)
    fractions = unmix(image, brain, SIZES).fractions.reshape(truth.shape)
    pure = truth.max(axis=0) == 1
    right = np.argmax(fractions, axis=0) == np.argmax(truth, axis=0)
    by_brightness = np.argmin(np.abs(image / 500 - MEANS.reshape(3, 1, 1, 1)), axis=0)
    alone = by_brightness == np.argmax(truth, axis=0)
    assert np.mean(~right[pure]) < 0.8 * np.mean(~alone[pure])  # reached 0.073 of 0.107


def test_a_mixture_is_as_bright_as_a_cut_normal_distribution_has_it():
    relative = np.array([0.2, 0.32, 0.5, 0.65, 0.9, 1.05], np.float32)
    _, mixed, _ = _expect(relative, MEANS, 0.1, np.ones((6, 1), np.float32))
    for pair, (dark, bright) in enumerate(((0, 1), (1, 2), (0, 2))):
        low, high = (MEANS[dark] - relative) / 0.1, (MEANS[bright] - relative) / 0.1
        near = (low < 4) & (high > -4)  # further off, single precision does not reach
        expected = truncnorm(low, high, loc=relative, scale=0.1).mean()
        np.testing.assert_allclose(mixed[pair][near], expected[near], atol=2e-3)
