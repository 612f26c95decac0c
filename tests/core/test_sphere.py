from __future__ import annotations

import numpy as np

from bids_tract.core.sphere import tracking_sphere


def test_362_directions_cover_the_hemisphere():
    sphere = tracking_sphere()
    assert sphere is tracking_sphere()
    assert sphere.vertices.shape == (362, 3)
    directions = np.random.default_rng(0).normal(size=(5000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    nearest = np.abs(directions @ sphere.vertices.T).max(axis=1)
    assert np.rad2deg(np.arccos(nearest)).max() < 5.5
