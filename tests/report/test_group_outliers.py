from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.report.group_columns import Column
from bids_tract.report.group_outliers import outliers, scale_of


def column(**more):
    return Column("x", "Size", "A size.", dict, "mL", **{"suspect": "both", **more})


def rows(values, **more):
    return [one.row for one in outliers(np.array(values, np.float64), column(**more))]


def test_the_modified_z_score_of_iglewicz_and_hoaglin():
    # Median 3, absolute deviations 2 1 0 1 97: their median is 1.
    values = np.array([1.0, 2, 3, 4, 100])
    scale = scale_of(values, column())
    np.testing.assert_allclose(scale.z(values), 0.6745 * (values - 3))
    (one,) = outliers(values, column())
    assert (one.row, one.value, one.median) == (4, 100, 3)
    assert one.sentence() == "Size: 100 ml; the median is 3 ml (robust z +65.4)."


def test_the_bound_is_three_and_a_half():
    step = 3.5 / 0.6745
    values = [1.0, 2, 3, 4, 3 + step * 0.999]
    assert rows(values) == []
    assert rows([*values[:4], 3 + step * 1.001]) == [4]


@pytest.mark.parametrize(("suspect", "wanted"), [("low", [5]), ("high", [6]), ("", [])])
def test_only_the_suspect_side_counts(suspect, wanted):
    assert rows([10.0, 11, 12, 13, 14, -100, 100], suspect=suspect) == wanted


def test_where_most_are_equal_five_percent_may_differ():
    assert rows([4, 4, 4, 4, 4, 3]) == [5]
    assert rows([64, 64, 64, 64, 64, 62]) == []
    assert rows([64, 64, 64, 64, 64, 60]) == [5]
    assert rows([0.0] * 9) == []


def test_a_floor_in_units():
    values = [0.0, 0.0, 0.0, 0.0, 0.05]
    assert rows(values) == [4]
    assert rows(values, floor=0.01) == []
    assert rows([0.0, 0.0, 0.0, 0.0, 0.06], floor=0.01) == [4]


def test_a_floor_in_units_where_factors_count():
    values = [0.1, 0.1, 0.1, 0.1, 0.2]
    assert rows(values, relative=True) == [4]
    assert rows(values, relative=True, floor=0.02) == []
    assert rows([0.1, 0.1, 0.1, 0.1, 0.5], relative=True, floor=0.02) == [4]


def test_few_scans_have_no_outlier():
    assert rows([1.0, 1.0, 1.0, 1000.0]) == []
    assert rows([1.0, 1.0, 1.0, 1000.0, None]) == []
    assert rows([1.0, 1.0, 1.0, 1.0, 1000.0]) == [4]


def test_a_tenth_of_a_count_that_varies_much():
    counts = [20_000, 26_000, 31_000, 37_000, 42_000, 47_000, 3_100]
    assert rows(counts) == []
    assert rows(counts, relative=True) == [6]
    assert rows([*counts[:6], 0], relative=True) == [6]


def test_scans_without_a_value_are_passed_over():
    assert rows([np.nan, 1.0, np.nan, 2.0, 3.0, 4.0, 100.0, np.nan]) == [6]


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=30),
    st.floats(1e-3, 1e3),
    st.booleans(),
)
def test_units_change_nothing(values, factor, relative):
    # Without a floor in units; as far from the bound as rounding reaches.
    numbers = np.array(values)
    if relative:
        numbers = np.abs(numbers) + 1
    one, other = (
        scale_of(numbers, column(relative=relative)),
        scale_of(numbers * factor, column(relative=relative)),
    )
    if one.spread > 1e-6 and other.spread > 1e-6:
        np.testing.assert_allclose(one.z(numbers), other.z(numbers * factor), rtol=1e-4, atol=1e-6)


@given(st.lists(st.floats(1, 1e6), min_size=5, max_size=30), st.floats(-8, 8), st.booleans())
def test_the_value_of_a_score_has_that_score(values, z, relative):
    scale = scale_of(np.array(values), column(relative=relative))
    value = scale.at(z)
    if scale.least is None or value > scale.least:
        np.testing.assert_allclose(scale.z(np.array([value])), [z], rtol=1e-6, atol=1e-6)
