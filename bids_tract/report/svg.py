"""Small charts as inline SVG; their colours are the page's, so that they follow light and dark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 480, 170  # in units of the drawing: it scales with the page
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 12, 36
# As many marks on an axis as their words leave room for.
_X_MARKS, _Y_MARKS = 6, 3


def histogram(
    bins: Mapping[str, Any], *, label: str, unit: str, marks: Sequence[tuple[float, str]] = ()
) -> str:
    """Bars of equal width.

    Parameters
    ----------
    bins : mapping
        ``Start``, ``Width`` (in `unit`) and ``Counts``.
    label : str
        What the values are, for the axis and for those who do not see the chart.
    unit : str
        Their unit; may be empty.
    marks : sequence of (float, str)
        Values to be marked by a line, each with its name.

    Returns
    -------
    str
        An ``svg`` element.

    Raises
    ------
    ValueError
        There is no bar.

    """
    counts = [int(count) for count in bins["Counts"]]
    if not counts:
        raise ValueError("a histogram without bars")
    start, width = float(bins["Start"]), float(bins["Width"])
    chart = _Chart((start, start + width * len(counts)), (0.0, float(max(max(counts), 1))))
    suffix = f" {unit}" if unit else ""
    bars = []
    for number, count in enumerate(counts):
        low = start + number * width
        left, right = chart.x(low), chart.x(low + width)
        top = chart.y(count)
        bars.append(
            f'<rect class="bar" x="{left + 0.5:.1f}" y="{top:.1f}" '
            f'width="{max(right - left - 1, 0.5):.1f}" height="{chart.bottom - top:.1f}">'
            f"<title>{_number(low)} to {_number(low + width)}{escape(suffix)}: {count:,}</title>"
            "</rect>"
        )
    most = start + (max(range(len(counts)), key=counts.__getitem__) + 0.5) * width
    said = (
        f"Histogram of {label}: {sum(counts):,} values, most near {_number(most)}{suffix}"
        + "".join(f"; {name} {_number(value)}{suffix}" for value, name in marks)
    )
    lines = [chart.mark(value, f"{name} {_number(value)}") for value, name in marks]
    return chart.drawn("".join([*bars, *lines]), said, f"{label}{f' ({unit})' if unit else ''}")


def trace(values: Sequence[float | None], *, label: str, unit: str, axis: str) -> str:
    """One value after the other as a line; it is broken where a value is missing.

    Parameters
    ----------
    values : sequence of float or None
        In order.
    label, unit : str
        What they are, and in what.
    axis : str
        What they follow: "volume".

    Raises
    ------
    ValueError
        There is no value.

    """
    known = [value for value in values if value is not None]
    if not known:
        raise ValueError("a line without a point")
    chart = _Chart((0.0, float(max(len(values) - 1, 1))), (0.0, max(max(known), 1e-6)))
    path, broken = [], True
    for number, value in enumerate(values):
        if value is not None:
            path.append(f"{'M' if broken else 'L'}{chart.x(number):.1f} {chart.y(value):.1f}")
        broken = value is None
    said = f"{label} by {axis}: {len(known)} values, at most {_number(max(known))} {unit}"
    return chart.drawn(
        f'<path class="line" d="{" ".join(path)}"/>', said, axis, f"{label} ({unit})"
    )


class _Chart:
    """Two axes, and where values lie between them."""

    def __init__(self, x_range: tuple[float, float], y_range: tuple[float, float]) -> None:
        self.x_range, self.y_range = x_range, y_range
        self.bottom = _HEIGHT - _BOTTOM

    def x(self, value: float) -> float:
        low, high = self.x_range
        return _LEFT + (value - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.bottom - (value - low) / (high - low) * (self.bottom - _TOP)

    def mark(self, value: float, name: str) -> str:
        """A vertical line with a name."""
        low, high = self.x_range
        x = self.x(min(max(value, low), high))
        left = x > _WIDTH * 0.7
        return (
            f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{self.bottom}"/>'
            f'<text x="{x + (-4 if left else 4):.1f}" y="{_TOP + 8}" '
            f'text-anchor="{"end" if left else "start"}">{escape(name)}</text>'
        )

    def drawn(self, content: str, said: str, x_label: str, y_label: str = "") -> str:
        """The whole drawing."""
        parts = []
        for value in _ticks(*self.y_range, _Y_MARKS):
            y = self.y(value)
            parts.append(
                f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" '
                f'y2="{y:.1f}"/><text x="{_LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">'
                f"{_number(value)}</text>"
            )
        parts += [
            f'<text x="{self.x(value):.1f}" y="{self.bottom + 15}" text-anchor="middle">'
            f"{_number(value)}</text>"
            for value in _ticks(*self.x_range, _X_MARKS)
        ]
        title = f"{x_label}; up: {y_label}" if y_label else x_label
        parts.append(
            f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 5}" '
            f'text-anchor="middle">{escape(title)}</text>'
        )
        return (
            f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(said)}">{"".join(parts)}{content}</svg>'
        )


def _ticks(low: float, high: float, about: int) -> list[float]:
    """Round values between two bounds, about so many."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 5, 10) if step * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    """Without needless decimals; thousands are set apart."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
