from __future__ import annotations

import numpy as np
import pytest
from dipy.tracking.utils import density_map

from bids_tract.core.density import Density
from bids_tract.core.types import Streamlines

OBLIQUE = np.array(
    [[-1.9, 0.4, 0.3, 12], [0.3, 1.4, -0.6, -9], [0.2, 0.3, 3.9, -14], [0, 0, 0, 1]]
)
SHAPE = (14, 15, 9)


def bundle(*lines):
    arrays = [np.asarray(one, np.float32).reshape(-1, 3) for one in lines]
    return Streamlines.from_list(arrays, np.arange(len(arrays)))


def walks(n):
    rng = np.random.default_rng(4)
    centre = OBLIQUE[:3, :3] @ [6, 7, 4] + OBLIQUE[:3, 3]
    lines = [
        centre + rng.uniform(-3, 3, 3) + 0.05 * rng.normal(size=(600, 3)).cumsum(0)
        for _ in range(n)
    ]
    return bundle(*lines)


def counted(affine, *blocks, shape=SHAPE):
    density = Density(shape, affine)
    for block in blocks:
        density.add(block)
    return density.counts


def test_counts_are_those_of_dipy():
    lines = walks(40)
    inside = [one for one in lines if np.isfinite(one).all()]
    voxels = (
        np.concatenate(inside) @ np.linalg.inv(OBLIQUE)[:3, :3].T + np.linalg.inv(OBLIQUE)[:3, 3]
    )
    assert ((voxels > -0.5) & (voxels < np.array(SHAPE) - 0.5)).all()  # as DIPY demands
    expected = density_map(inside, OBLIQUE, SHAPE)
    assert expected.max() > 2
    np.testing.assert_array_equal(counted(OBLIQUE, lines), expected)


def test_blocks_change_nothing():
    lines = walks(30)
    parts = [bundle(*[lines[n] for n in range(k, k + 10)]) for k in (0, 10, 20)]
    np.testing.assert_array_equal(counted(OBLIQUE, *parts), counted(OBLIQUE, lines))


def test_a_streamline_counts_once_in_a_voxel():
    there_and_back = [(1, 1, 1), (4, 1, 1), (1, 1, 1)]
    counts = counted(np.eye(4), bundle(there_and_back, there_and_back))
    assert counts[1:5, 1, 1].tolist() == [2, 2, 2, 2]
    assert counts.sum() == 8


def test_between_distant_points_no_voxel_is_missed():
    counts = counted(np.eye(4), bundle([(0, 5, 5), (13, 5, 5)]))
    assert counts[:, 5, 5].tolist() == [1] * 14


@pytest.mark.parametrize("odd", [(np.nan, 1, 1), (1e9, 1, 1), (-3, 1, 1)])
def test_what_lies_nowhere_or_outside_does_not_count(odd):
    counts = counted(np.eye(4), bundle([odd, odd], [(1, 1, 1), (2, 1, 1)]))
    assert counts.sum() == 2


def test_a_line_of_distant_points_passes_where_its_quarters_of_a_voxel_lie():
    """On an image whose axes are not the world's, and from the first point on."""
    rng = np.random.default_rng(6)
    ends = rng.uniform((0, 0, 0), np.array(SHAPE) - 1, (60, 2, 3))
    looks = [1 + int(np.abs(end - start).max() / 0.25) for start, end in ends]
    fine = [np.linspace(*pair, n + 1) for pair, n in zip(ends, looks, strict=True)]
    to_world = OBLIQUE[:3, :3].T
    expected = density_map([one @ to_world + OBLIQUE[:3, 3] for one in fine], OBLIQUE, SHAPE)
    assert expected.max() > 2
    found = counted(OBLIQUE, bundle(*(pair @ to_world + OBLIQUE[:3, 3] for pair in ends)))
    np.testing.assert_array_equal(found, expected)


def test_a_point_that_went_astray_costs_nothing():
    lines = bundle([(1, 1, 1), (2, 1, 1), (1e12, 1e12, 1), (3, 1, 1)])
    counts = counted(np.eye(4), lines)  # by walking there it would take hours
    assert counts[1:4, 1, 1].tolist() == [1, 1, 1]
    assert counts.sum() == 3


def test_a_step_through_the_whole_image_is_walked():
    counts = counted(np.eye(4), bundle([(0, 3, 3), (13, 3, 3)]))
    assert counts[:, 3, 3].tolist() == 14 * [1]
