from __future__ import annotations

import gzip
import io
import json
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from bids_tract.core.drawing.colours import scale
from bids_tract.report.matrices import as_network
from bids_tract.report.matrix_view import matrix_view, number_text, pairs_table
from tests.report.networks import counts, region_names
from tests.report.test_document import Reader

SVG = "{http://www.w3.org/2000/svg}"


def view(values, **more):
    return matrix_view(as_network(region_names(len(values)), values), "m", "A <matrix>", **more)


def cells(drawn):
    """(N, N, 4): the pixels of the cells."""
    (image,) = [one for one in parsed(drawn).iter(f"{SVG}image") if one.get("class") == "cells"]
    data = b64decode(image.get("href").removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGBA"))


def parsed(drawn):
    return ElementTree.fromstring(drawn.file)


def texts(drawn):
    return [one.text for one in parsed(drawn).iter(f"{SVG}text") if one.text]


def data(drawn):
    return json.loads(gzip.decompress(b64decode(drawn.data)))


def test_counts_are_drawn_by_their_logarithm():
    values = np.zeros((6, 6))
    for column, value in enumerate((1.0, 10.0, 100.0, 1.0, 1.0), start=1):
        values[0, column] = values[column, 0] = value
    values[2, 3] = values[3, 2] = np.nan
    values[5, 5] = 1e6  # a region with itself: beyond the scale
    drawn = view(values, unit="count")
    pixels = cells(drawn)
    ends = np.rint(255 * scale(np.array([0, 0.5, 1]))).astype(int)
    np.testing.assert_allclose(pixels[0, [1, 2, 3], :3], ends, atol=2)
    assert (pixels[0, 1:, 3] == 255).all()
    assert pixels[1, 2, 3] == 0  # nothing
    np.testing.assert_array_equal(pixels[2, 3], [128, 138, 148, 255])  # not known
    np.testing.assert_allclose(pixels[5, 5, :3], ends[2], atol=2)
    shown = texts(drawn)
    assert {"1", "10", "100", "count, logarithmic", "none", "n/a"} <= {*shown}


def test_values_of_one_size_and_signs_are_drawn_as_they_are():
    values = np.array([[1.0, -0.5, 0], [-0.5, 1, 0.5], [0, 0.5, 1]])
    drawn = view(values, unit="r")
    ends = np.rint(255 * scale(np.array([0, 0.5, 1]))).astype(int)
    np.testing.assert_allclose(cells(drawn)[[0, 0, 1], [1, 2, 2], :3], ends, atol=2)
    assert {"-0.5", "0", "0.5", "r"} <= {*texts(drawn)}
    assert "none" not in texts(drawn)  # zero is a value here


@pytest.mark.parametrize(
    "values", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.ones((1, 1)), -np.ones((4, 4))]
)
def test_matrices_without_anything_are_drawn(values):
    drawn = view(values)
    assert cells(drawn).shape == (*values.shape, 4)
    assert data(drawn)["names"] == [*region_names(len(values))]


def test_the_page_gets_each_pair_once():
    values = counts(5, np.random.default_rng(0)) / 3
    values[0, 1] = values[1, 0] = np.nan
    found = data(view(values))
    assert found["directed"] is False
    upper = values[np.triu_indices(5)]
    assert found["values"][1] is None
    known = [one for one in found["values"] if one is not None]
    np.testing.assert_allclose(known, upper[np.isfinite(upper)], rtol=1e-3)
    directed = np.arange(9.0).reshape(3, 3)
    assert data(view(directed))["values"] == [*range(9)]


def test_names_stand_beside_the_cells_where_they_fit():
    rng = np.random.default_rng(0)
    assert texts(view(counts(84, rng))).count("rh-cingulate6") == 2
    assert "lh-frontal1" not in texts(view(counts(85, rng)))
    assert "lh-frontal1" in texts(view(counts(37, rng), half=True))
    assert "lh-frontal1" not in texts(view(counts(38, rng), half=True))
    long = as_network(("x" * 99, "b"), np.ones((2, 2)))
    assert max(map(len, texts(matrix_view(long, "m", "")))) == 24


def test_very_many_regions_share_cells():
    values = np.zeros((900, 900))
    values[0, 899] = values[899, 0] = 7
    drawn = view(values)
    assert cells(drawn).shape[:2] == (300, 300)
    found = data(drawn)
    assert (found["names"][0], found["values"][299]) == ("lh-frontal1 to lh-temporal1", 7)
    assert "a cell is the largest of 3 by 3 pairs" in texts(drawn)


def test_words_of_the_data_are_escaped():
    network = as_network(("<img src=x>", "a&b"), np.array([[0, 2], [2, 0.0]]))
    drawn = matrix_view(network, "m", "An 'alt' & \"more\" <b>", "<u>")
    assert {"<img src=x>", "a&b", "<u>"} <= {*texts(drawn)}
    assert parsed(drawn).get("aria-label") == "An 'alt' & \"more\" <b>"
    for html in (drawn.html, pairs_table(network, {"<v>": network.values})):
        assert not {"img", "b", "u", "v"} & {tag for tag, _ in Reader(html).elements}


def test_the_table_of_pairs():
    network = as_network(("a", "b"), np.array([[0, 1234.5], [0.5, 0]]), directed=True)
    html = pairs_table(network, {"Mean": network.values, "Scans": np.full((2, 2), 3.0)})
    assert "From" in html
    assert html.index("1,23") < html.index("0.5")
    assert html.count('number">3<') == 2
    assert pairs_table(as_network(("a", "b"), np.zeros((2, 2))), {}) == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (12.0, "12"), (0.01234, "0.0123"), (12345.6, "12,346"), (np.nan, "n/a"),
     (-0.5, "-0.5")],
)  # fmt: skip
def test_numbers_for_people(value, text):
    assert number_text(value) == text
