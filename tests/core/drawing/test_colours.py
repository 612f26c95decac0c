from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.core.drawing.colours import blend, grey, scale, window_of


def lightness(colours):
    """CIE L* of sRGB colours."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    y = linear @ [0.2126, 0.7152, 0.0722]
    return np.where(y > 0.008856, 116 * np.cbrt(y) - 16, 903.3 * y)


def test_the_scale_grows_evenly_from_dark_to_bright():
    light = lightness(scale(np.linspace(0, 1, 101)).astype(float))
    steps = np.diff(light)
    assert light[0] < 15 and light[-1] > 90
    assert steps.min() > 0.4 * steps.mean()
    assert steps.max() < 1.6 * steps.mean()


def test_the_scale_goes_from_blue_to_yellow():
    low, high = scale(np.array([0.0, 1.0]))
    assert low[2] > 2 * max(low[0], low[1])
    assert high[2] < 0.7 * min(high[0], high[1])


@given(st.floats(-10, 10))
def test_beyond_the_ends_the_scale_stays(value):
    colour = scale(np.array(value))
    assert colour.shape == (3,)
    np.testing.assert_array_equal(colour, scale(np.clip(value, 0, 1)))


def test_grey_runs_through_the_window():
    shown = grey(np.array([-1, 0, 5, 10, 20, np.nan], np.float32), (0.0, 10.0))
    np.testing.assert_array_equal(shown, np.repeat([[0], [0], [0.5], [1], [1], [0]], 3, axis=1))


def test_the_window_leaves_out_what_is_rare():
    values = np.concatenate([np.full(995, 7.0), np.full(5, 1e6), [np.nan]]).astype(np.float32)
    assert window_of(values, np.ones(1001, bool)) == (0.0, 7.0)
    assert window_of(values, np.zeros(1001, bool)) == (0.0, 1.0)
    assert window_of(np.zeros(9, np.float32), np.ones(9, bool)) == (0.0, 1.0)
    even = np.arange(101, dtype=np.float32)
    assert window_of(even, np.ones(101, bool)) == (0.0, 99.0)


def test_blending_covers_as_much_as_asked():
    picture = np.zeros((1, 3, 3), np.float32)
    blend(picture, (1.0, 0.5, 0.0), np.array([[0.0, 0.5, 1.0]]))
    np.testing.assert_allclose(picture[0], [[0, 0, 0], [0.5, 0.25, 0], [1, 0.5, 0]])
