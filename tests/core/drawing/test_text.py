from __future__ import annotations

import itertools

import numpy as np
import pytest

from bids_tract.core.drawing.text import text_width, write

ALL = "0123456789ACFGILMPRSWmxyz=-."


def written(text, shape=(30, 200), left=5.0, top=5.0, height=14.0, channels=3, **options):
    picture = np.full((*shape, channels), 0.5, np.float32)
    write(picture, text, left, top, height, **options)
    return picture


def test_letters_differ():
    pictures = [written(letter, (30, 30)) for letter in ALL]
    for (a, one), (b, other) in itertools.combinations(zip(ALL, pictures, strict=True), 2):
        assert np.abs(one - other).max() > 0.2, (a, b)


def test_a_text_takes_up_its_width():
    white = written("LRLR", left=10, top=6, height=12).min(axis=2) > 0.9
    rows, columns = np.nonzero(white)
    assert columns.min() == pytest.approx(10, abs=1)
    assert columns.max() == pytest.approx(10 + text_width("LRLR", 12), abs=2)
    assert (rows.min(), rows.max()) == (pytest.approx(6, abs=1), pytest.approx(18, abs=1))


def test_letters_are_white_within_a_dark_rim():
    picture = written("L", (40, 40), height=20)
    assert picture.max() == 1
    assert picture.min() < 0.05


def test_a_colour_can_be_chosen():
    picture = written("L", (40, 40), height=20, colour=(1.0, 0.5, 0.0))
    assert (np.abs(picture - np.float32([1, 0.5, 0])).max(axis=2) < 1e-3).any()


@pytest.mark.parametrize(("left", "top"), [(-200, 5), (5, -90), (500, 5), (5, 90)])
def test_what_lies_outside_is_left_out(left, top):
    assert (written("L=-1", left=left, top=top) == 0.5).all()


def test_a_text_at_the_border_is_cut_off():
    whole, cut = written("RRR", left=20), written("RRR", left=-10)
    np.testing.assert_allclose(cut[:, :100], whole[:, 30:130], atol=1e-6)


def test_an_empty_text_changes_nothing():
    assert (written("") == 0.5).all()


def test_letters_on_transparent_ground_are_opaque():
    picture = np.zeros((40, 40, 4), np.float32)
    write(picture, "L", 5, 5, 20)
    assert picture[..., 3].max() == 1
    assert picture[..., 3].min() == 0
