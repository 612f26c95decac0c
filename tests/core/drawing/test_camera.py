from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.core.drawing.camera import VIEWS, Camera, extent, fit_camera, look_from

angles = st.tuples(st.floats(-360, 360), st.floats(-90, 90))


def camera(view: str, size=(101, 81), scale=2.0) -> Camera:
    return Camera(look_from(*VIEWS[view]), np.array([10.0, -20.0, 30.0]), scale, size)


# A point 4 mm to the right, 6 mm to the front and 8 mm up of the centre, at 2 pixels a mm:
# the column, the row and the depth relative to the middle of the picture.
SEEN = {
    "left": (-12, -16, -8),
    "right": (12, -16, 8),
    "front": (-8, -16, 12),
    "back": (8, -16, -12),
    "top": (8, -12, 16),
    "bottom": (-8, -12, -16),
}


@pytest.mark.parametrize("view", VIEWS)
def test_a_point_falls_on_its_pixel(view):
    found = camera(view).project(np.array([[14.0, -14.0, 38.0]]))
    np.testing.assert_allclose(found, [np.add((50, 40, 0), SEEN[view])], atol=1e-9)


@pytest.mark.parametrize(
    ("view", "sides"),
    [("left", "APSI"), ("right", "PASI"), ("front", "RLSI"), ("back", "LRSI"), ("top", "LRAP"),
     ("bottom", "RLAP")],
)  # fmt: skip
def test_sides_are_named(view, sides):
    assert "".join(camera(view).sides()) == sides


def test_a_side_between_two_is_not_named():
    assert Camera(look_from(45, 0), np.zeros(3), 1.0, (5, 5)).sides() == ("", "", "S", "I")


@given(angles)
def test_axes_are_a_right_handed_frame(angle):
    axes = look_from(*angle)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[1, 2] >= -1e-9  # up is never down


def test_named_views_are_exact():
    for view in VIEWS.values():
        assert set(np.abs(look_from(*view)).ravel().tolist()) == {0.0, 1.0}


@given(angles)
def test_the_plane_is_what_the_pixels_show(angle):
    one = Camera(look_from(*angle), np.array([5.0, -3.0, 7.0]), 1.7, (6, 4))
    found = one.project(one.plane().reshape(-1, 3)).reshape(4, 6, 3)
    rows, columns = np.mgrid[:4, :6]
    np.testing.assert_allclose(found, np.dstack([columns, rows, np.zeros((4, 6))]), atol=1e-8)


def test_a_finer_picture_splits_pixels():
    coarse = camera("left", (7, 5))
    fine = coarse.finer(2).plane()
    assert fine.shape == (10, 14, 3)
    mean = fine.reshape(5, 2, 7, 2, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(mean, coarse.plane(), atol=1e-9)


def test_what_is_to_be_seen_fits_within_the_margin():
    points = np.random.default_rng(1).normal(0, 30, (50, 3)).astype(np.float32)
    axes = look_from(33, 12)
    one = fit_camera(axes, *extent(points, axes), 1.5, 9)
    seen = one.project(points.astype(np.float64))
    low, high = seen.min(axis=0), seen.max(axis=0)
    # The picture is a whole number of pixels, so that there is up to half of one more each side.
    np.testing.assert_allclose(low[:2], 9 - 0.5, atol=0.51)
    np.testing.assert_allclose(np.array(one.size) - 1 - high[:2], 9 - 0.5, atol=0.51)
    assert low[2] == pytest.approx(-high[2], abs=1e-3)


def test_points_that_are_not_finite_do_not_count():
    points = np.array([[1, 2, 3], [np.nan, 0, 0], [4, -5, 6], [0, np.inf, 0]], np.float32)
    low, high = extent(points, np.eye(3))
    assert low.tolist() == [1, -5, 3]
    assert high.tolist() == [4, 2, 6]


def test_of_nothing_the_extent_is_a_point():
    low, high = extent(np.zeros((0, 3), np.float32), np.eye(3))
    assert low.tolist() == high.tolist() == [0, 0, 0]
