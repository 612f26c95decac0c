"""Strip plots as inline SVG: every dot is a scan, and leads to its report.

Places are in percent of the width and in pixels of the height, so that dots and words keep their
size on a phone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from zlib import crc32

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.report.group_columns import Column
from bids_tract.report.group_outliers import Z_BOUND, scale_of

_TOP, _BOTTOM, _HEIGHT = 10, 48, 66  # pixels: the dots' band, and the words below it
_MARGIN = 2.0  # percent
# One wild value must not press all others together: what is farther out stands at the edge.
_EDGE_Z = 6.0
# Flagged dots of one plot; beyond, a study has another problem.
_MOST_FLAGGED = 200


def strip(
    values: Float64,
    flagged: Collection[int],
    column: Column,
    labels: Sequence[str],
    pages: Sequence[str],
    most: int,
) -> str:
    """One strip plot.

    Parameters
    ----------
    values : (N,) float64 array
        One for each scan, NaN where it has none.
    flagged : collection of int
        The scans that differ from the others: diamonds, never left out below 200.
    column : Column
        What the values are.
    labels, pages : sequence of str
        Names of the scans, and the files of their reports.
    most : int
        At most so many of the others get a dot: evenly by rank, so that the shape stays.

    Returns
    -------
    str
        A row with name, ``svg`` and summary.

    """
    rows = np.flatnonzero(np.isfinite(values))
    rows = rows[np.argsort(values[rows], kind="stable")]
    known = values[rows]
    low, quarter, median, three_quarters, high = np.percentile(known, (0, 25, 50, 75, 100))
    axis = _Axis(*_ends(values, column, float(low), float(high)))
    is_flagged = np.isin(rows, [*flagged])
    usual = rows[~is_flagged]
    if len(usual) > most:
        usual = usual[np.linspace(0, len(usual) - 1, most).round().astype(int)]
    special = rows[is_flagged]
    if len(special) > _MOST_FLAGGED:  # the farthest out on either side
        special = np.concatenate([special[: _MOST_FLAGGED // 2], special[-_MOST_FLAGGED // 2 :]])
    shown = np.sort(np.concatenate([usual, special]))
    shown = shown[np.argsort(values[shown], kind="stable")]
    special_rows = set(special.tolist())
    dots = [
        _dot(int(row), axis.x(values[row]), row in special_rows, column.shown(values[row]),
             labels[row], pages[row])
        for row in shown
    ]  # fmt: skip
    farther = int(((known < axis.low) | (known > axis.high)).sum())
    note = f"; {len(shown):,} drawn" if len(shown) < len(rows) else ""
    note += f"; {farther:,} farther out" if farther else ""
    spread = f"{_number(column, quarter)} to {_number(column, three_quarters)}"
    said = (
        f"{column.full_title}: {len(rows):,} scans, median {column.shown(median)}, half of them "
        f"{spread}, {len(flagged)} flagged"
    )
    unit = f' <span class="unit">{escape(column.shown_units)}</span>' if column.shown_units else ""
    left, right = axis.x(quarter), axis.x(three_quarters)
    return (
        f'<div class="strip"><div class="name">{escape(column.title)}{unit}</div>'
        f'<svg height="{_HEIGHT}" role="group" aria-label="{escape(said)}">'
        f'<rect class="half" x="{left:.2f}%" width="{max(right - left, 0.2):.2f}%" '
        f'y="{_TOP - 6}" height="{_BOTTOM - _TOP + 12}"/>'
        f"{_bounds(values, column, axis)}"
        f"{_line('median', axis.x(median))}{''.join(dots)}"
        f'<text x="{_MARGIN}%" y="{_HEIGHT - 1}">{_number(column, axis.low)}</text>'
        f'<text x="{100 - _MARGIN}%" y="{_HEIGHT - 1}" text-anchor="end">'
        f"{_number(column, axis.high)}</text></svg>"
        f'<div class="middle"><b>{_number(column, median)}</b> {spread}'
        f"<span>{len(rows):,} scans{note}</span></div></div>"
    )


def _number(column: Column, value: float) -> str:
    """A value for people without its unit, which stands beside the name."""
    return column.shown(float(value)).removesuffix(f" {column.shown_units}")


class _Axis:
    """From values to percent of the width."""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def x(self, value: float) -> float:
        inside = min(max(float(value), self.low), self.high)
        share = (inside - self.low) / (self.high - self.low)
        return _MARGIN + share * (100 - 2 * _MARGIN)


def _ends(values: Float64, column: Column, low: float, high: float) -> tuple[float, float]:
    scale = scale_of(values, column)
    if scale is not None:
        low, high = max(low, scale.at(-_EDGE_Z)), min(high, scale.at(_EDGE_Z))
    if high - low > 1e-9 * abs(high):
        return low, high
    room = 0.05 * abs(low) or 1.0  # all but some far away are equal
    return low - room, high + room


def _bounds(values: Float64, column: Column, axis: _Axis) -> str:
    """Beyond these lines a scan is flagged; none where they lie outside."""
    scale = scale_of(values, column)
    if scale is None:
        return ""
    sides = {"low": (-1,), "high": (1,), "both": (-1, 1), "": ()}[column.suspect]
    places = (scale.at(side * Z_BOUND) for side in sides)
    return "".join(_line("bound", axis.x(one)) for one in places if axis.low < one < axis.high)


def _line(kind: str, x: float) -> str:
    return f'<line class="{kind}" x1="{x:.2f}%" x2="{x:.2f}%" y1="{_TOP - 6}" y2="{_BOTTOM + 6}"/>'


def _dot(row: int, x: float, flagged: bool, value: str, label: str, page: str) -> str:
    # A scan has the same height in all plots, so that the eye finds it again.
    y = _TOP + crc32(label.encode()) % (_BOTTOM - _TOP + 1)
    mark = (
        f'<svg x="{x:.2f}%" y="{y}"><path d="M0-6 6 0 0 6-6 0z"/></svg>'
        if flagged
        else f'<circle cx="{x:.2f}%" cy="{y}" r="4"/>'
    )
    kind = ' class="flag"' if flagged else ""
    link = f' href="{escape(page)}"' if page else ' role="img"'
    said = f"{label}: {value}{', flagged' if flagged else ''}"
    return f'<a{kind}{link} data-i="{row}" aria-label="{escape(said)}">{mark}</a>'
