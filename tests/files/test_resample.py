from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_tract.files.grids import Grid
from bids_tract.files.resample import resample_array
from tests.files.test_images import LAS, OBLIQUE, SHAPE, numbers


def finer(grid, factor):
    """The grid with each voxel cut into factor³."""
    within = np.diag([1 / factor, 1 / factor, 1 / factor, 1])
    within[:3, 3] = (1 / factor - 1) / 2
    return Grid(tuple(n * factor for n in grid.shape), grid.affine @ within)


@pytest.mark.parametrize("affine", [LAS, OBLIQUE])
@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_finer_image_is_averaged_over_each_voxel(affine, factor):
    grid = Grid(SHAPE, affine)
    data = numbers(*(n * factor for n in SHAPE))
    blocks = data.reshape(5, factor, 6, factor, 7, factor).mean(axis=(1, 3, 5))
    result = resample_array(data, finer(grid, factor).affine, grid)
    np.testing.assert_allclose(result, blocks, atol=2e-5)


@pytest.mark.parametrize("affine", [LAS, OBLIQUE])
@pytest.mark.parametrize("order", [0, 1])
def test_the_same_grid_gives_the_same_values(affine, order):
    data = numbers(*SHAPE)
    result = resample_array(data, affine, Grid(SHAPE, affine), order=order)
    np.testing.assert_allclose(result, data, atol=2e-5)
    assert result.dtype == np.float32


def test_a_coarser_image_keeps_its_values_up_to_its_faces():
    grid = Grid(SHAPE, LAS)
    result = resample_array(np.full(SHAPE, 3, np.float32), LAS, finer(grid, 2))
    np.testing.assert_allclose(result, 3, rtol=1e-6)


def test_outside_of_the_image_is_zero():
    shift = np.eye(4)
    shift[0, 3] = -2
    result = resample_array(np.ones(SHAPE, np.float32), LAS, Grid((8, 6, 7), LAS @ shift))
    np.testing.assert_array_equal(result[:, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0])


def test_a_ramp_in_world_space_stays_one_on_any_grid():
    source = Grid((30, 30, 30), OBLIQUE)
    target = Grid((6, 6, 6), np.diag([3, 2, 1.5, 1.0]))
    target.affine[:3, 3] = source.affine[:3] @ (15, 15, 15, 1) - (9, 6, 4)

    def ramp(grid):
        voxels = np.moveaxis(np.indices(grid.shape), 0, -1)
        return (voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]) @ (0.3, -0.2, 0.5)

    result = resample_array(ramp(source), OBLIQUE, target)
    np.testing.assert_allclose(result, ramp(target), atol=1e-4)


def test_labels_are_not_mixed():
    labels = np.random.default_rng(3).choice([0, 7, 2035], SHAPE).astype(np.int16)
    target = Grid((9, 9, 9), OBLIQUE @ np.diag([0.3, 0.3, 0.3, 1]))
    result = resample_array(labels, LAS, target, order=0)
    assert set(np.unique(result)) <= {0, 7, 2035}


def test_labels_are_not_mixed_on_a_coarser_grid():
    """A label is that of the voxel's middle, whatever lies around it."""
    labels = np.random.default_rng(3).choice([0, 7, 2035], (15, 18, 21)).astype(np.int16)
    grid = Grid(SHAPE, OBLIQUE)
    result = resample_array(labels, finer(grid, 3).affine, grid, order=0)
    np.testing.assert_array_equal(result, labels[1::3, 1::3, 1::3])


def test_points_are_as_many_along_each_axis_as_the_image_is_finer_there():
    """Four along the grid's first axis, which is the image's third, and one along the others."""
    affine = np.eye(4)[[2, 0, 1, 3]] @ np.diag([1, 1, 0.25, 1])
    affine[0, 3] = -0.375
    data = numbers(6, 7, 20)
    result = resample_array(data, affine, Grid((5, 6, 7), np.eye(4)))
    expected = data.reshape(6, 7, 5, 4).mean(axis=3).transpose(2, 0, 1)
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_half_as_fine_again_takes_two_points():
    data = np.zeros((6, 1, 1), np.float32)
    data[1] = 1
    result = resample_array(data, np.diag([2 / 3, 1, 1, 1]), Grid((4, 1, 1), np.eye(4)))
    # Points lie at -0.375 and 0.375, 1.125 and 1.875, ... of the image's voxels.
    np.testing.assert_allclose(result[:, 0, 0], [0.375 / 2, 1 / 2, 0, 0], atol=1e-6)


def test_voxels_that_are_not_finite_count_as_zero():
    data = np.ones(SHAPE, np.float32)
    data[2, 2, 2], data[3, 3, 3] = np.nan, np.inf
    expected = np.where(np.isfinite(data), data, 0)
    result = resample_array(data, LAS, Grid(SHAPE, LAS))
    np.testing.assert_allclose(result, expected, atol=2e-5)


MOTION = np.eye(4)
MOTION[:3, :3] = Rotation.from_euler("xyz", [25, -10, 40], degrees=True).as_matrix()
MOTION[:3, 3] = (7, -3, 12)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("factor", [1, 3])
def test_a_displaced_image_is_fetched_from_where_it_went(order, factor):
    """An image whose head moved gives the same as one that did not: averages, edges and all."""
    grid = Grid((7, 9, 8), LAS)
    source = finer(Grid(SHAPE, OBLIQUE), factor)
    source.affine[:3, 3] += grid.affine[:3] @ (3, 4, 4, 1) - source.affine[:3] @ (
        *np.multiply(source.shape, 0.47), 1
    )  # fmt: skip
    data = numbers(*source.shape)
    expected = resample_array(data, source.affine, grid, order=order)
    assert np.ptp(expected) > 1
    result = resample_array(data, MOTION @ source.affine, grid, order=order, transform=MOTION)
    np.testing.assert_allclose(result, expected, atol=0 if order == 0 else 1e-4)


def test_a_mask_in_memory_becomes_shares_of_voxels():
    grid = Grid(SHAPE, LAS)
    fine = finer(grid, 2)
    mask = numbers(*fine.shape) > 0
    blocks = mask.reshape(5, 2, 6, 2, 7, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(resample_array(mask, fine.affine, grid), blocks, atol=2e-5)
