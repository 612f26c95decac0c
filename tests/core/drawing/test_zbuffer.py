from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.core.drawing.camera import VIEWS, Camera, look_from
from bids_tract.core.drawing.zbuffer import draw_streamlines


def camera(view="top", size=(61, 41), scale=1.0, centre=(0.0, 0.0, 0.0)):
    return Camera(look_from(*VIEWS[view]), np.array(centre), scale, size)


def draw(*lines, at=None, **options):
    options = {"width_mm": 3.0, "shaded": False} | options
    arrays = [np.asarray(line, np.float32).reshape(-1, 3) for line in lines]
    offsets = np.concatenate([[0], np.cumsum([len(a) for a in arrays])]).astype(np.int64)
    return draw_streamlines(np.concatenate(arrays), offsets, at or camera(), **options)


def line(start, end, n=2):
    return np.linspace(start, end, n)


def hue(pixel):
    """The colour relative to its strongest component."""
    return (pixel[:3] / pixel[:3].max()).round(2).tolist()


# --- Where -------------------------------------------------------------------------------------


def test_a_known_line_at_known_pixels():
    # From 10 mm left to 14 mm right, 6 mm to the front, from above at 2 pixels a mm: row 20 - 12,
    # columns 30 - 20 to 30 + 28, 3 pixels thick, with half circles at the ends.
    opacity = draw(line((-10, 6, 0), (14, 6, 0)), at=camera(scale=2.0), width_mm=1.5)[..., 3]
    rows, columns = np.nonzero(opacity == 255)
    assert set(rows) == {7, 8, 9}
    assert (columns.min(), columns.max()) == (9, 59)
    assert not opacity[:7].any() and not opacity[10:].any()  # as thick as asked for
    assert not opacity[:, :9].any() and not opacity[:, 60:].any()
    assert (opacity[7:10, 10:59] == 255).all()


@pytest.mark.parametrize("view", VIEWS)
def test_a_bundle_is_drawn_where_the_camera_projects_it(view):
    at = camera(view, scale=1.5, centre=(3, -4, 5))
    middle = np.array([10.0, -9.0, 11.0])
    opacity = draw(line(middle - 1e-2, middle + 1e-2), at=at)[..., 3].astype(float)
    rows, columns = np.mgrid[: at.size[1], : at.size[0]]
    found = [(opacity * places).sum() / opacity.sum() for places in (columns, rows)]
    # A ball of 4.5 pixels: its centre of mass is exact but for the steps of opacity.
    np.testing.assert_allclose(found, at.project(middle[None])[0, :2], atol=0.1)


def test_edges_are_smooth():
    opacity = draw(line((-20, -15, 0), (20, 12, 0)))[..., 3]
    assert len(np.unique(opacity)) == 5  # of 2 x 2: none to four


def test_edges_are_less_opaque_and_not_darker():
    picture = draw(line((-20, -15, 0), (20, 12, 0)))
    edge = picture[(picture[..., 3] > 0) & (picture[..., 3] < 255)]
    assert len(edge) > 20
    # The rim of a tube has 0.4 of the brightness of its middle, and red is 0.83 of this direction.
    assert edge[:, 0].min() >= int(0.4 * 0.83 * 255)


def test_a_thin_line_is_a_pixel_thick():
    opacity = draw(line((-20, 0, 0), (20, 0, 0)), width_mm=0.01)[..., 3]
    assert opacity[:, 30].astype(int).sum() == 255


def test_what_lies_outside_is_cut_off():
    picture = draw(line((-5000, 0, 0), (1e9, 0, 0)), line((0, 900, 0), (0, 905, 0)))
    assert (picture[20, :, 3] == 255).all()
    assert not picture[:15, :, 3].any()


@given(st.integers(2, 400))
def test_the_distance_of_points_changes_nothing(n):
    ends = (-20, -10, -5), (20, 10, 5)
    few, many = draw(line(*ends)), draw(line(*ends, n))
    # Rounded coordinates move an edge by less than a part of 2 x 2, at few pixels.
    assert (np.abs(few[..., 3].astype(int) - many[..., 3]) > 64).sum() == 0
    assert (few[..., 3] != many[..., 3]).mean() < 0.01


# --- What colour -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "colour"),
    [((1, 0, 0), [1, 0, 0]), ((0, -1, 0), [0, 1, 0]), ((0, 0, 1), [0, 0, 1]),
     ((1, -1, 0), [1, 1, 0]), ((-3, 0, 4), [0.75, 0, 1])],
)  # fmt: skip
@pytest.mark.parametrize("view", VIEWS)
def test_the_direction_is_the_colour_from_everywhere(direction, colour, view):
    step = 8 * np.array(direction) / np.linalg.norm(direction)
    picture = draw(line(-step, step), at=camera(view), width_mm=5.0)
    # Whole numbers of a brightness of 180 or more.
    np.testing.assert_allclose(hue(picture[20, 30]), colour, atol=0.02)


def test_each_piece_of_a_line_has_its_own_colour():
    corner = np.concatenate(
        [line((-20, -10, 0), (10, -10, 0), 31), line((10, -9, 0), (10, 15, 0), 25)]
    )
    picture = draw(corner)
    assert hue(picture[30, 15]) == [1, 0, 0]
    assert hue(picture[15, 40]) == [0, 1, 0]


def test_the_middle_of_a_tube_is_brightest():
    column = draw(line((-20, 0, 0), (20, 0, 0)), width_mm=9.0)[:, 30, 0].astype(int)
    assert column.argmax() == 20
    assert column[20] > 240
    assert 80 < column[16] < column[18] < column[20]


# --- What is in front --------------------------------------------------------------------------

UPPER, LOWER = line((-15, 0, 5), (15, 0, 5)), line((0, -15, -5), (0, 15, -5))


@pytest.mark.parametrize(("view", "front"), [("top", [1, 0, 0]), ("bottom", [0, 1, 0])])
@pytest.mark.parametrize("shaded", [False, True])
def test_the_nearer_hides_the_farther(view, front, shaded):
    for lines in ((UPPER, LOWER), (LOWER, UPPER)):
        assert hue(draw(*lines, at=camera(view), shaded=shaded)[20, 30]) == front


def test_a_sloping_line_is_in_front_where_it_is_nearer():
    slope = line((0, -15, -15), (0, 15, 15))
    picture = draw(slope, line((-15, -8, 0), (15, -8, 0)), line((-15, 8, 0), (15, 8, 0)))
    assert hue(picture[28, 30]) == [1, 0, 0]  # y = -8, where the slope is at z = -8
    assert hue(picture[12, 30])[0] == 0


def test_less_than_a_tube_s_thickness_tells_the_nearer():
    # At y = -8 the slope, whose middle is nearer, lies 1 mm behind the other; tubes are of 3 mm.
    slope, other = line((0, -15, -15), (0, 15, 15)), line((-15, -8, -7), (15, -8, -7))
    assert hue(draw(slope, other)[28, 30]) == [1, 0, 0]


def test_the_farther_is_darker_when_shaded():
    lines = (line((-20, 10, 40), (20, 10, 40)), line((-20, -10, -40), (20, -10, -40)))
    shaded, plain = draw(*lines, shaded=True), draw(*lines)
    assert shaded[10, 30, 0] == plain[10, 30, 0]
    assert shaded[30, 30, 0] < 0.7 * plain[30, 30, 0]


def test_a_pit_between_bundles_is_darker_than_open_ground():
    floor = [line((-25, y, -30), (25, y, -30)) for y in range(-15, 16)]
    walls = [line((x, -15, z), (x, 15, z)) for x in (-2, 2) for z in range(-30, 31)]
    at = camera(size=(161, 161))
    elsewhere = [one + np.array([60, 0, 0]) for one in walls]
    open_ground = draw(*floor, *elsewhere, at=at, shaded=True)[80, 80, 0]
    assert draw(*floor, *walls, at=at, shaded=True)[80, 80, 0] < 0.9 * open_ground


@pytest.mark.parametrize(("slab", "drawn"), [(9.0, False), (11.0, True)])
def test_only_the_slab_is_drawn(slab, drawn):
    assert draw(UPPER, slab_mm=slab)[20, 30, 3] == 255 * drawn
    assert draw(LOWER, slab_mm=slab)[20, 30, 3] == 255 * drawn


def test_of_a_line_across_the_slab_what_is_within_is_drawn():
    row = draw(line((-20, 0, -20), (20, 0, 20)), slab_mm=10.0)[20, :, 3]
    # Depth is the column here: what lies up to 5 from the middle, which halves two pixels.
    assert np.flatnonzero(row == 255).tolist() == list(range(26, 35))
    assert 0 < row[25] == row[35] < 255
    assert not row[:25].any() and not row[36:].any()


# --- What cannot be drawn ----------------------------------------------------------------------


def test_no_streamline_is_an_empty_picture():
    assert not draw(np.zeros((0, 3)), shaded=True).any()


@pytest.mark.parametrize(
    "odd",
    [np.zeros((0, 3)), [(0, 0, 0)], [(5, 5, 5), (5, 5, 5)], [(np.nan, 0, 0), (5, 0, 0)],
     [(0, 0, 0), (0, np.inf, 0)]],
)  # fmt: skip
def test_odd_streamlines_are_left_out_and_the_others_drawn(odd):
    alone = draw(UPPER)
    np.testing.assert_array_equal(draw(odd, UPPER), alone)
    np.testing.assert_array_equal(draw(UPPER, odd), alone)


def test_after_a_point_that_is_not_finite_the_line_goes_on():
    broken = np.insert(line((-15, 0, 0), (15, 0, 0), 31), 15, np.nan, axis=0)
    row = draw(broken)[20, :, 3]
    assert row[17] == row[43] == 255
