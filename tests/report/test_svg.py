import xml.etree.ElementTree as ET
from itertools import pairwise

import pytest

from bids_tract.report.svg import histogram, trace

BINS = {"Start": 10.0, "Width": 5.0, "Counts": [1, 4, 0, 2]}


def parsed(text):
    return ET.fromstring(text)


def of_class(drawing, name):
    return [one for one in drawing.iter() if one.get("class") == name]


def test_bars_are_as_high_as_their_counts():
    bars = of_class(parsed(histogram(BINS, label="length", unit="mm")), "bar")
    heights = [float(bar.get("height")) for bar in bars]
    assert heights == pytest.approx([heights[1] / 4, heights[1], 0, heights[1] / 2], abs=0.1)
    bottoms = {round(float(bar.get("y")) + float(bar.get("height")), 1) for bar in bars}
    assert len(bottoms) == 1


def test_bars_stand_side_by_side_in_the_drawing():
    drawing = parsed(histogram(BINS, label="length", unit="mm"))
    width = float(drawing.get("viewBox").split()[2])
    places = [float(bar.get("x")) for bar in of_class(drawing, "bar")]
    steps = [right - left for left, right in pairwise(places)]
    assert steps == pytest.approx([steps[0]] * 3, abs=0.11)
    assert places[0] > 0
    assert places[-1] + steps[0] < width


def test_each_bar_tells_its_range_and_count():
    bars = of_class(parsed(histogram(BINS, label="length", unit="mm")), "bar")
    assert [bar[0].text for bar in bars][1] == "15 to 20 mm: 4"


def test_those_who_do_not_see_it_are_told():
    drawing = parsed(histogram(BINS, label="length", unit="mm", marks=[(17.0, "median")]))
    assert drawing.get("role") == "img"
    said = drawing.get("aria-label")
    assert "7 values" in said
    assert "most near 17.5 mm" in said
    assert "median 17 mm" in said


def test_a_mark_stands_at_its_value():
    drawing = parsed(histogram(BINS, label="length", unit="mm", marks=[(15.0, "median")]))
    (mark,) = of_class(drawing, "mark")
    second = of_class(drawing, "bar")[1]
    assert float(mark.get("x1")) == pytest.approx(float(second.get("x")) - 0.5, abs=0.11)


def test_words_are_escaped():
    text = histogram(BINS, label="<a> & b", unit="", marks=[(12.0, "<m>")])
    assert parsed(text).get("aria-label").startswith("Histogram of <a> & b")
    assert "<a>" not in text
    assert "<m>" not in text


def test_empty_bars_are_drawn_flat():
    bars = of_class(parsed(histogram(BINS | {"Counts": [0, 0]}, label="x", unit="")), "bar")
    assert [float(bar.get("height")) for bar in bars] == [0, 0]


def test_no_bar_is_an_error():
    with pytest.raises(ValueError, match="without bars"):
        histogram(BINS | {"Counts": []}, label="x", unit="")


def test_a_trace_is_broken_where_a_value_is_missing():
    drawing = parsed(trace([None, 1.0, 2.0, None, 0.5], label="x", unit="mm", axis="volume"))
    (line,) = of_class(drawing, "line")
    assert line.get("d").count("M") == 2
    assert line.get("d").count("L") == 1
    assert "at most 2 mm" in drawing.get("aria-label")


@pytest.mark.parametrize("values", [[1.0], [0.0, 0.0]])
def test_traces_of_little_are_drawn(values):
    assert of_class(parsed(trace(values, label="x", unit="mm", axis="volume")), "line")


def test_a_trace_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="without a point"):
        trace([None], label="x", unit="mm", axis="volume")
