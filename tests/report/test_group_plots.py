from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from bids_tract.report.group_columns import Column
from bids_tract.report.group_plots import strip

COLUMN = Column("x", "Size <of>", "A size.", dict, "mL", suspect="both")


def drawn(values, flagged=(), *, most=1000, pages=None, column=COLUMN):
    labels = [f"sub-{number:03d}" for number in range(len(values))]
    pages = pages or [f"{label}.html" for label in labels]
    html = strip(np.array(values, float), flagged, column, labels, pages, most)
    return ElementTree.fromstring(html), html


def dots(root):
    """Row, place in percent, and whether it is a diamond, of each dot in order."""
    found = []
    for link in root.iter("a"):
        mark = link[0]
        place = mark.get("x") or mark.get("cx")
        found.append((int(link.get("data-i")), float(place.rstrip("%")), mark.tag == "svg"))
    return found


def test_every_scan_is_a_dot_at_its_value():
    root, _ = drawn([4.0, 1.0, np.nan, 3.0, 2.0], [3])
    assert [(row, flagged) for row, _, flagged in dots(root)] == [
        (1, False), (4, False), (3, True), (0, False),
    ]  # fmt: skip
    places = [place for _, place, _ in dots(root)]
    np.testing.assert_allclose(places, [2, 34, 66, 98])
    (median,) = [line for line in root.iter("line") if line.get("class") == "median"]
    np.testing.assert_allclose(float(median.get("x1").rstrip("%")), 50)


def test_dots_say_and_open_what_they_are():
    root, html = drawn([1.0, 2.0, 5000.0], [2], pages=["sub-000.html", "", "a&b.html"])
    first, second, third = root.iter("a")
    assert first.get("href") == "sub-000.html"
    assert first.get("aria-label") == "sub-000: 1 ml"
    assert second.get("href") is None
    assert third.get("href") == "a&b.html"
    assert third.get("aria-label") == "sub-002: 5,000 ml, flagged"
    assert "Size &lt;of&gt;: 3 scans, median 2 ml" in html


def test_the_height_of_a_dot_is_that_of_its_scan():
    labels = ["sub-01", "sub-02", "sub-03"]

    def heights(labels):
        html = strip(np.arange(len(labels), dtype=float), (), COLUMN, labels, labels, 9)
        marks = [link[0] for link in ElementTree.fromstring(html).iter("a")]
        return {label: mark.get("cy") for label, mark in zip(labels, marks, strict=True)}

    assert heights(labels) == heights(labels[::-1])
    assert len(set(heights(labels).values())) == 3


def test_a_wild_value_stands_at_the_edge_and_presses_nobody_together():
    values = [*np.linspace(90, 110, 21), 1e9]
    root, html = drawn(values, [21])
    places = [place for _, place, _ in dots(root)]
    assert places[-1] == 98
    assert places[-2] - places[0] > 30
    assert "1 farther out" in html
    assert [line.get("class") for line in root.iter("line")] == ["bound", "median"]
    root, html = drawn([*values[:-1], -1e9, -2e9], [21, 22])
    assert [place for _, place, _ in dots(root)][:2] == [2, 2]
    assert "2 farther out" in html


@pytest.mark.parametrize(("suspect", "places"), [("low", [10]), ("high", [90]), ("", [])])
def test_the_bound_stands_on_the_suspect_side(suspect, places):
    values = [*np.linspace(90, 110, 21), -1e9, 1e9]  # both ends of the axis lie at a score of 6
    root, _ = drawn(values, column=replace(COLUMN, suspect=suspect))
    bounds = [line.get("x1") for line in root.iter("line") if line.get("class") == "bound"]
    assert [round(float(place.rstrip("%")) / 10) * 10 for place in bounds] == [
        20 if place == 10 else 80 for place in places
    ]


def test_of_very_many_that_are_flagged_those_farthest_out_are_drawn():
    values = np.linspace(0, 100, 601)
    flagged = [*range(250), *range(351, 601)]
    root, html = drawn(values, flagged)
    found = [row for row, _, diamond in dots(root) if diamond]
    assert found == [*range(100), *range(501, 601)]
    assert "601 scans; 301 drawn" in html


def test_of_thousands_some_are_drawn_and_all_that_are_flagged():
    rng = np.random.default_rng(1)
    values = rng.normal(100, 10, 5000)
    flagged = rng.choice(5000, 20, replace=False).tolist()
    root, html = drawn(values, flagged, most=100)
    found = dots(root)
    assert len(found) == 120
    assert {row for row, _, diamond in found if diamond} == set(flagged)
    assert "5,000 scans; 120 drawn" in html
    usual = values[[row for row, _, diamond in found if not diamond]]
    # A hundred evenly ranked values: quartiles within a rank of the whole's.
    np.testing.assert_allclose(
        np.percentile(usual, (25, 50, 75)), np.percentile(values, (25, 50, 75)), atol=0.5
    )


@pytest.mark.parametrize("values", [[7.0] * 6, [0.0] * 6, [7.0] * 6 + [9.0]])
def test_equal_values(values):
    root, html = drawn(values, [6] if len(values) == 7 else [])
    assert "nan" not in html
    assert all(2 <= place <= 98 for _, place, _ in dots(root))


def test_shares_are_percent():
    column = Column("x", "Part", "A part.", dict, "1", share=True)
    _, html = drawn([0.1, 0.2, 0.3], column=column)
    assert re.search(r"<b>20</b> 15 to 25<", html)
    assert 'class="unit">%<' in html
