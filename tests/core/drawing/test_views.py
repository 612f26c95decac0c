from __future__ import annotations

import numpy as np
import pytest

from bids_tract.core.drawing.camera import VIEWS, look_from
from bids_tract.core.drawing.views import cameras_for, draw_views
from bids_tract.core.types import Streamlines

AXES = [look_from(*VIEWS[view]) for view in ("left", "back", "top")]


def bundle(low, high):
    """Streamlines along all edges of a box."""
    low, high = np.array(low, float), np.array(high, float)
    lines = [
        np.linspace(low, high, 50).astype(np.float32),
        np.linspace(np.where([1, 0, 0], high, low), np.where([1, 0, 0], low, high), 50),
    ]
    return Streamlines.from_list([one.astype(np.float32) for one in lines], np.arange(2))


def test_views_have_one_scale_and_the_largest_the_size_asked_for():
    cameras = cameras_for(bundle((-60, -80, -50), (60, 100, 50)), AXES, 500)
    assert len({camera.scale for camera in cameras}) == 1
    assert max(side for camera in cameras for side in camera.size) == pytest.approx(500, abs=1)


def test_more_can_be_asked_into_the_picture():
    small = bundle((0, 0, 0), (5, 5, 5))
    corners = np.array([[-60, -60, -60], [60, 60, 60]], np.float32)
    (camera,) = cameras_for(small, AXES[:1], 300, corners)
    assert camera.scale == pytest.approx((300 - 40) / 120)
    np.testing.assert_allclose(camera.centre, 0, atol=1e-6)


def test_pictures_stand_in_a_row_and_low_ones_below_each_other():
    high = bundle((-60, -80, -50), (60, 100, 50))
    flat = bundle((-60, -80, -5), (60, 80, 5))
    for lines, columns in ((high, (0, 1, 2)), (flat, (0, 2))):
        cameras = cameras_for(lines, AXES, 200)
        sheet = draw_views(lines, cameras, (0, 0, 0, 1))
        assert sheet.shape[0] == max(camera.size[1] for camera in cameras)
        assert sheet.shape[1] == sum(cameras[n].size[0] for n in columns)


@pytest.mark.parametrize("filling", [(0, 0, 0, 1), (1, 1, 1, 1), (0, 0, 0, 0)])
def test_streamlines_are_drawn_on_the_filling(filling):
    lines = bundle((-50, -50, 0), (50, 50, 0))
    sheet = draw_views(lines, cameras_for(lines, AXES[2:], 200), filling)
    np.testing.assert_array_equal(sheet[40, 100], np.float32(filling))
    # The streamlines cross in the middle; at 1.6 pixels a mm they fill 160 rows.
    distance = np.abs(sheet - np.float32(filling)).max(axis=2)
    rows, columns = np.nonzero(distance[20:160, 20:-20] > 0.3)
    off = np.minimum(np.abs(rows - columns), np.abs(rows + columns - 159))
    assert off.max() <= 2
    assert len(set(rows)) == 140  # all rows down to the scale bar
    edge = sheet[60, (sheet[60, :, 3] > 0) & (distance[60] > 0.1)]
    if filling[3] == 0:  # half covered pixels are half transparent, not darker
        assert edge[edge[:, 3] < 0.6, 0].min() > 0.3
    middle = sheet[100, 100]
    assert middle[3] > 0.5 and middle[2] < 0.3 < middle[0]


def test_the_colour_of_what_is_empty_and_not_seen_is_nowhere():
    lines = bundle((-50, -50, 0), (50, 50, 0))
    cameras = cameras_for(lines, AXES[2:], 200)
    black, white = (
        draw_views(lines, cameras, (*[one] * 3, 0.0))[30:150, 30:-30] for one in (0.0, 1.0)
    )
    seen = black[..., 3] > 0
    assert (seen & (black[..., 3] < 1)).any()
    np.testing.assert_allclose(black[seen], white[seen], atol=1e-6)


def test_the_ground_is_behind_the_streamlines():
    lines = bundle((-50, -50, 0), (50, 50, 0))
    cameras = cameras_for(lines, AXES[2:], 200)

    def ground(camera):
        return np.broadcast_to(np.float32([0, 0, 1, 1]), (*camera.size[::-1], 4))

    plain = draw_views(lines, cameras, (0, 0, 0, 1))
    over = draw_views(lines, cameras, (0, 0, 0, 1), ground)
    assert over[40, 100].tolist() == [0, 0, 1, 1]
    bright = plain[60:140, 60:140, 0] > 0.6
    assert bright.any()
    assert (over[60:140, 60:140, 0][bright] > 0.6).all()


def test_a_single_point_is_no_trouble():
    dot = Streamlines.from_list([np.ones((2, 3), np.float32)], np.zeros(1, np.int64))
    assert draw_views(dot, cameras_for(dot, AXES, 60), (0, 0, 0, 1)).shape[2] == 4
