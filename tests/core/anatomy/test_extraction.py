from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_tract.core.anatomy.extraction import extract_brain
from bids_tract.errors import DataError
from tests.core.anatomy.heads import grid, make_head

SCAN = make_head(*grid())


def test_the_brain_is_found_without_scalp():
    """From a prior that is 3 mm off and reaches into the bone."""
    brain = extract_brain(SCAN.image, SCAN.voxel_sizes, SCAN.prior)
    tissue = SCAN.truth.wm + SCAN.truth.gm
    assert np.mean(brain[tissue > 0.5]) > 0.99  # reached 1.0
    assert not np.any(brain & SCAN.scalp)
    inside = SCAN.truth.wm + SCAN.truth.gm + SCAN.truth.csf
    assert np.mean(inside[brain] > 0) > 0.99


def test_ventricles_and_fissure_belong_to_the_brain():
    brain = extract_brain(SCAN.image, SCAN.voxel_sizes, SCAN.prior)
    points = [(8.0, -16.0, -6.0), (-8.0, -16.0, -6.0), (0.0, 0.0, 30.0), (0.0, 0.0, 42.0)]
    for point in points:
        voxel = np.round(np.linalg.inv(SCAN.affine) @ (*point, 1))[:3].astype(int)
        assert brain[tuple(voxel)], point


def test_the_brain_is_one_piece():
    brain = extract_brain(SCAN.image, SCAN.voxel_sizes, SCAN.prior)
    assert ndimage.label(brain)[1] == 1


def test_scalp_that_the_prior_covers_is_left_out():
    """As where a distorted series lies 8 mm beside the head."""
    shifted = np.roll(SCAN.prior, 4, axis=1)
    brain = extract_brain(SCAN.image, SCAN.voxel_sizes, shifted)
    assert np.mean(brain[SCAN.scalp]) < 1e-3
    assert np.mean(brain[SCAN.truth.wm > 0.5]) > 0.99


def test_no_brain_at_the_mask_is_an_error():
    with pytest.raises(DataError, match="deep in the brain mask"):
        extract_brain(np.zeros_like(SCAN.image), SCAN.voxel_sizes, SCAN.prior)


def test_a_wide_sulcus_belongs_to_the_brain():
    """8 mm of CSF between cortex, from the front 16 mm into the brain."""
    image = SCAN.image.copy()
    centre = np.array(image.shape) // 2
    x, y, z = np.indices(image.shape) - centre.reshape(3, 1, 1, 1)
    sulcus = (np.abs(x) <= 2) & (y >= 25) & (np.abs(z) <= 8) & SCAN.head
    image[sulcus] = 0.25 * 700
    brain = extract_brain(image, SCAN.voxel_sizes, SCAN.prior)
    deeper = sulcus & (y < 31)
    assert np.mean(brain[deeper]) > 0.95
