from __future__ import annotations

import numpy as np
import pytest

from bids_tract.core.drawing.camera import Camera, look_from
from bids_tract.core.drawing.mosaic import (
    box_of,
    even_cuts,
    lay_out,
    mark_scale,
    mark_sides,
)
from bids_tract.core.drawing.slices import Upright, see
from bids_tract.core.drawing.text import write

AFFINE = np.diag([2.0, 2.0, 5.0, 1.0])
AFFINE[:3, 3] = (-40, -50, -60)
UPRIGHT = Upright.of((40, 50, 24), AFFINE)
WHOLE = ((0, 40), (0, 50), (0, 24))


def test_the_box_holds_the_mask_and_a_margin():
    mask = np.zeros((10, 10, 10), bool)
    mask[2:5, 0, 7:10] = True
    assert box_of(mask) == ((1, 6), (0, 2), (6, 10))
    assert box_of(mask, 0) == ((2, 5), (0, 1), (7, 10))


def test_an_empty_mask_shows_the_whole():
    assert box_of(np.zeros((3, 4, 5), bool)) == ((0, 3), (0, 4), (0, 5))


def test_cuts_are_even_and_within_the_mask():
    mask = np.zeros((30, 4, 3), bool)
    mask[10:20] = True
    assert even_cuts(mask, 0, 5) == [(0, n) for n in (11, 13, 15, 17, 19)]
    assert even_cuts(mask, 0, 1) == [(0, 15)]


def test_there_are_no_more_cuts_than_voxels():
    assert even_cuts(np.ones((9, 9, 3), bool), 2, 12) == [(2, 0), (2, 1), (2, 2)]


def test_each_cut_is_seen_from_its_side_at_its_place():
    mosaic = lay_out(UPRIGHT, WHOLE, [[(2, 7)], [(1, 20), (0, 3)]], 600)
    axial, coronal, sagittal = (tile.camera for tile in mosaic.tiles)
    assert axial.sides() == ("L", "R", "A", "P")
    assert coronal.sides() == ("L", "R", "S", "I")
    assert sagittal.sides() == ("P", "A", "S", "I")
    for camera in (axial, coronal, sagittal):  # not mirrored in depth
        assert np.linalg.det(camera.axes) == pytest.approx(1)
    assert axial.centre[2] == 7 * 5 - 60
    assert coronal.centre[1] == 20 * 2 - 50
    assert sagittal.centre[0] == 3 * 2 - 40
    np.testing.assert_allclose(axial.centre[:2], (39 - 40, 49 - 50))


def test_a_ball_is_round_on_every_cut_whatever_the_voxels():
    places = np.indices(UPRIGHT.shape).reshape(3, -1).T @ AFFINE[:3, :3] + AFFINE[:3, 3]
    centre = np.array([0.0, 0.0, -5.0])
    distance = np.linalg.norm(places - centre, axis=1).reshape(UPRIGHT.shape)
    ball = np.clip(26 - distance, 0, 25).astype(np.float32)
    mosaic = lay_out(UPRIGHT, WHOLE, [[(2, 11), (1, 25), (0, 20)]], 1500)
    for tile in mosaic.tiles:
        rows, columns = np.nonzero(see(ball, AFFINE, tile.camera) > 6)
        wide, high = np.ptp(columns), np.ptp(rows)
        # A diameter of 40 mm; interpolation between 5 mm voxels flattens it by part of one.
        assert wide == pytest.approx(40 * mosaic.scale, abs=1.5 * mosaic.scale)
        assert high == pytest.approx(40 * mosaic.scale, abs=1.5 * mosaic.scale)


def test_tiles_fill_the_width_and_do_not_overlap():
    rows = [even_cuts(np.ones(UPRIGHT.shape, bool), axis, 5) for axis in (2, 1, 0)]
    mosaic = lay_out(UPRIGHT, WHOLE, rows, 900)
    taken = np.zeros((mosaic.height, mosaic.width), int)
    for tile in mosaic.tiles:
        place = taken[tile.place]
        assert place.shape == tile.camera.size[::-1]
        place += 1
    assert taken.max() == 1
    filled = np.flatnonzero(taken.any(axis=0))
    assert filled[0] < 12 and filled[-1] > 900 - 12
    assert [tile.first for tile in mosaic.tiles] == [n % 5 == 0 for n in range(15)]


def test_of_a_thin_stack_only_its_slices_are_shown():
    thin = Upright.of((64, 64, 3), np.diag([3.0, 3, 3, 1]))
    box = ((0, 64), (0, 64), (0, 3))
    mosaic = lay_out(thin, box, [[(2, 0), (2, 1), (2, 2)], [(1, 30)], [(0, 30)]], 600)
    assert [tile.cut for tile in mosaic.tiles] == [(2, 0), (2, 1), (2, 2)]
    more = Upright.of((64, 64, 8), np.diag([3.0, 3, 3, 1]))  # an eighth as high as wide
    mosaic = lay_out(more, ((0, 64), (0, 64), (0, 8)), [[(2, 4)], [(1, 30)], [(0, 30)]], 600)
    assert [tile.cut for tile in mosaic.tiles] == [(2, 4)]


def test_something_is_shown_of_the_thinnest():
    line = Upright.of((1, 64, 3), np.eye(4))
    mosaic = lay_out(line, ((0, 1), (0, 64), (0, 3)), [[(1, 30)], [(0, 0)]], 300)
    assert len(mosaic.tiles) == 1


# --- Marks -------------------------------------------------------------------------------------


def test_letters_stand_at_the_sides():
    picture = np.full((80, 120, 3), 0.4, np.float32)
    mark_sides(picture, Camera(look_from(180, 90), np.zeros(3), 1.0, (120, 80)))
    changed = (picture != np.float32(0.4)).any(axis=2)
    middle = changed[30:50, 40:80]
    assert not middle.any()
    for part in (changed[:, :20], changed[:, -20:], changed[:20], changed[-20:]):
        assert part.any()


def test_left_and_right_differ():
    picture = np.zeros((80, 120, 3), np.float32)
    mark_sides(picture, Camera(look_from(180, 90), np.zeros(3), 1.0, (120, 80)))
    turned = np.zeros((80, 120, 3), np.float32)
    mark_sides(turned, Camera(look_from(0, -90), np.zeros(3), 1.0, (120, 80)))
    assert (picture[:, :20] != turned[:, :20]).any()


@pytest.mark.parametrize(("scale", "mm"), [(0.5, 100), (1.0, 50), (2.5, 20), (60.0, 1)])
def test_the_bar_has_the_length_of_a_round_number_of_mm(scale, mm):
    picture = np.zeros((60, 600, 3), np.float32)
    mark_scale(picture, scale)
    row = picture[60 - 9, :, 0] == 1
    left = 590 - round(mm * scale)
    assert row[left:590].all()
    assert not row[left - 2 : left].any() and not row[590:].any()


def test_a_mosaic_is_marked_outside_and_inside_its_tiles():
    mosaic = lay_out(UPRIGHT, WHOLE, [[(2, 7), (2, 12)]], 500)
    sheet = mosaic.sheet()
    mosaic.mark(sheet)
    assert sheet.shape == (mosaic.height, 500, 3)
    first, second = (sheet[tile.place].any(axis=2) for tile in mosaic.tiles)
    assert first[:16].any() and not second[:16].any()  # the vertical sides once a row
    assert second[-16:].any()  # the position
    assert sheet[-20:].any()  # the scale


def test_the_position_of_a_cut_is_that_of_its_axis_in_mm():
    mosaic = lay_out(UPRIGHT, WHOLE, [[(2, 7), (1, 20), (0, 3)]], 900)
    sheet = mosaic.sheet()
    mosaic.mark(sheet)
    for tile, position in zip(mosaic.tiles, ("z=-25", "y=-10", "x=-34"), strict=True):
        expected = np.zeros_like(sheet[tile.place])
        write(expected, position, 4, len(expected) - 16, 11, (0.9,) * 3)
        # Below the letters of the sides.
        np.testing.assert_array_equal(sheet[tile.place][-18:, :60], expected[-18:, :60])
