"""A matrix to look at: a drawing that shows its pairs when they are pointed at, and a table."""

from __future__ import annotations

import gzip
import io
import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from bids_tract.core.drawing.colours import scale
from bids_tract.core.types import Float64
from bids_tract.report.matrices import Network

# In units of the drawing. A row of 8 can still be read; 84 regions (Desikan and Killiany's cortex
# with what lies below it) are the most that have their names beside the drawing.
_SIDE, _LEAST_ROW, _LEAST_WIDE_ROW = 672, 8, 18
_TOP, _BAR, _EDGE = 68, 14, 6
_LONGEST_NAME = 24
_LETTER = 0.56  # width over height, about
# More cells than a screen has room for are laid together.
_MOST_CELLS = 400
# Values of many sizes, as counts are, are told apart by their logarithm.
_MANY_SIZES = 10.0
_COLOURS, _UNKNOWN, _NONE = 254, 254, 255
_GREY = (128, 138, 148)
# What the page says with its own colours, a file must say itself.
_STYLE = """\
svg { color-scheme: light dark; background: #fff; font: 12px system-ui, sans-serif }
text { fill: #17212b; font-size: 12px } .names text { font-size: inherit }
.cross { display: none }
@media (prefers-color-scheme: dark) { svg { background: #1b232c } text { fill: #e6ebf0 } }
"""
_XML = 'xmlns="http://www.w3.org/2000/svg"'


@dataclass(frozen=True)
class MatrixView:
    """A matrix drawn.

    Attributes
    ----------
    html : str
        For a page with the assets ``matrix.css`` and ``matrix.js``.
    file : str
        The same as an SVG file of its own.
    data : str
        Base64: what the page's script shows of a pair that is pointed at.

    """

    html: str
    file: str
    data: str


def matrix_view(
    network: Network, name: str, alt: str, unit: str = "", *, half: bool = False
) -> MatrixView:
    """Draw a matrix.

    Parameters
    ----------
    network : Network
    name : str
        By which the page's script finds the data.
    alt : str
        What those learn who cannot see it.
    unit : str
        What the values are, beside the colours.
    half : bool
        Whether it gets half of the page's width: names are larger then, or left out.

    """
    names, values = _laid_together(network)
    colours = _Colours.of(values)
    step = -(-len(network.names) // len(names))
    said = [unit] if unit else []
    said += ["logarithmic"] if colours.logarithmic else []
    said += [f"a cell is the largest of {step} by {step} pairs"] if step > 1 else []
    least = _LEAST_WIDE_ROW if half else _LEAST_ROW
    row = _SIDE / len(names)
    font = min(0.9 * row, 1.6 * least) if row >= least else 0.0
    short = [one if len(one) <= _LONGEST_NAME else f"{one[: _LONGEST_NAME - 1]}…" for one in names]
    room = math.ceil(_LETTER * font * max(map(len, short))) + 2 * _EDGE if font else _EDGE
    width, height = room + _SIDE + _EDGE, _TOP + _SIDE + room
    content = (
        f'<rect x="{room}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="#dfe5ea"/>'
        f'<image class="cells" x="{room}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" '
        'preserveAspectRatio="none" style="image-rendering:pixelated" '
        f'href="{_png(colours.codes(values), len(names))}"/>'
        f"{_bar(colours, room, ', '.join(said))}{_names(short, room, row, font) if font else ''}"
        f'<path class="cross" d=""/>'
    )
    head = f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt)}"'
    # Where there is no room for names, the page shows the cells and the colours only.
    shape = (
        f"--left:{room / _SIDE:.4f};--whole:{width / _SIDE:.4f};"
        f"--tall:{(_TOP + _SIDE) / _SIDE:.4f}"
    )
    kind = "matrix half" if half else "matrix"
    html = (
        f'<div class="{kind}" data-values="{escape(name)}" style="{shape}">'
        f'<svg {head} tabindex="0">{content}</svg></div>'
    )
    size = f'width="{width}" height="{height}"'
    file = (
        f"<svg {_XML} {size} {head}><title>{escape(alt)}</title><style>{_STYLE}</style>"
        f"{content}</svg>\n"
    )
    return MatrixView(html, file, _packed(names, values, network.directed))


def pairs_table(network: Network, columns: Mapping[str, Float64], most: int = 10) -> str:
    """The strongest pairs by name; `columns` are further matrices to be shown beside."""
    rows = ""
    for row, column in network.strongest(most):
        cells = "".join(
            f'<td class="number">{number_text(float(values[row, column]))}</td>'
            for values in columns.values()
        )
        first, second = escape(network.names[row]), escape(network.names[column])
        rows += f'<tr><th scope="row">{first}</th><td>{second}</td>{cells}</tr>\n'
    if not rows:
        return ""
    ends = ("From", "To") if network.directed else ("Region", "Region")
    head = "".join(f'<th scope="col">{escape(one)}</th>' for one in (*ends, *columns))
    return f'<table class="pairs"><thead><tr>{head}</tr></thead><tbody>\n{rows}</tbody></table>'


def number_text(value: float) -> str:
    """A value for people: three digits that count, or a whole number."""
    if not math.isfinite(value):
        return "n/a"
    if abs(value) >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass(frozen=True)
class _Colours:
    """Which colour a value has."""

    low: float
    high: float
    logarithmic: bool
    blank: bool  # whether zero is nothing rather than a value

    @classmethod
    def of(cls, values: Float64) -> _Colours:
        """By the values of the pairs: those of a region with itself may be far larger."""
        off = values[~np.eye(len(values), dtype=bool) & np.isfinite(values)]
        positive = off[off > 0]
        low = float(off.min(initial=0.0))
        high = float(off.max(initial=low))
        if low >= 0 and positive.size and high > _MANY_SIZES * float(np.median(positive)):
            return cls(float(positive.min()), high, logarithmic=True, blank=True)
        return cls(low, high if high > low else low + 1, logarithmic=False, blank=low >= 0)

    def share(self, values: Float64) -> Float64:
        """Where values are on the scale, 0 to 1."""
        if self.logarithmic:
            inside = np.clip(values, self.low, self.high)
            return np.asarray(np.log(inside / self.low) / math.log(self.high / self.low))
        return np.asarray(np.clip((values - self.low) / (self.high - self.low), 0, 1))

    def codes(self, values: Float64) -> bytes:
        """A byte for each cell."""
        codes = np.rint((_COLOURS - 1) * self.share(np.nan_to_num(values))).astype(np.uint8)
        codes[np.isnan(values)] = _UNKNOWN
        if self.blank:
            codes[values == 0] = _NONE
        return codes.tobytes()

    def marks(self) -> Iterator[tuple[float, float]]:
        """Values to be written at the scale, and their places."""
        if self.logarithmic:
            tens = 10.0 ** np.arange(math.ceil(math.log10(self.low)), math.log10(self.high))
            tens = tens[:: len(tens) // 4 + 1]
        else:
            tens = np.array([0.0 if self.low < 0 < self.high else (self.low + self.high) / 2])
        between = [one for one in tens.tolist() if 0.1 < float(self.share(np.array(one))) < 0.85]
        for value in (self.low, *between, self.high):
            yield value, float(self.share(np.array(value)))


def _laid_together(network: Network) -> tuple[list[str], Float64]:
    """Names and values, where there are very many regions those of neighbours in one cell."""
    step = -(-len(network.names) // _MOST_CELLS)
    if step == 1:
        return [*network.names], network.values
    starts = range(0, len(network.names), step)
    blocks = [network.names[start : start + step] for start in starts]
    names = [f"{block[0]} to {block[-1]}" for block in blocks]
    largest = np.fmax.reduceat(np.fmax.reduceat(network.values, starts, axis=0), starts, axis=1)
    return names, largest


def _png(codes: bytes, width: int) -> str:
    """Cells as base64 of a PNG."""
    image = Image.frombytes("P", (width, len(codes) // width), codes)
    colours = np.rint(255 * scale(np.linspace(0, 1, _COLOURS))).astype(np.uint8)
    image.putpalette(colours.tobytes() + bytes(_GREY) + bytes(3))
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=_NONE, optimize=True)
    return f"data:image/png;base64,{b64encode(stream.getvalue()).decode('ascii')}"


def _bar(colours: _Colours, left: int, said: str) -> str:
    """The scale above the cells, with numbers and what they are."""
    signs = [("#dfe5ea", "none")] if colours.blank else []
    signs.append((f"rgb({','.join(map(str, _GREY))})", "n/a"))
    width = _SIDE - 90 * len(signs)
    marks = "".join(
        f'<text x="{left + share * width:.1f}" y="{_BAR + 18}" text-anchor="'
        f'{"start" if share < 0.05 else "end" if share > 0.95 else "middle"}">'
        f"{number_text(value)}</text>"
        for value, share in colours.marks()
    )
    key = "".join(
        f'<rect x="{place}" y="0" width="{_BAR}" height="{_BAR}" fill="{colour}"/>'
        f'<text x="{place + 20}" y="{_BAR - 1}">{word}</text>'
        for place, (colour, word) in zip(range(left + width + 26, 10**4, 90), signs, strict=False)
    )
    return (
        f'<g class="key"><image x="{left}" y="0" width="{width}" height="{_BAR}" '
        f'preserveAspectRatio="none" href="{_png(bytes(range(_COLOURS)), _COLOURS)}"/>{marks}{key}'
        f'<text x="{left}" y="{_TOP - 10}">{escape(said)}</text></g>'
    )


def _names(names: Sequence[str], room: float, row: float, font: float) -> str:
    """Those of the rows at the left, those of the columns below."""
    bottom = _TOP + _SIDE + _EDGE
    texts = []
    for number, name in enumerate(names):
        middle = (number + 0.5) * row
        text = escape(name)
        texts.append(f'<text x="{room - _EDGE}" y="{_TOP + middle:.1f}">{text}</text>')
        texts.append(
            f'<text transform="translate({room + middle:.1f} {bottom}) rotate(-90)">{text}</text>'
        )
    return (
        f'<g class="names" style="font-size:{font:.1f}px" font-size="{font:.1f}" '
        f'text-anchor="end" dominant-baseline="central">{"".join(texts)}</g>'
    )


def _packed(names: Sequence[str], values: Float64, directed: bool) -> str:
    """Names and values for the page's script."""
    rows, columns = np.indices(values.shape)
    kept = values[rows <= columns] if not directed else values.ravel()
    said: dict[str, Any] = {
        "names": [*names],
        "directed": directed,
        "values": [_short(value) for value in kept.tolist()],
    }
    text = json.dumps(said, separators=(",", ":"), ensure_ascii=False)
    return b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def _short(value: float) -> float | int | None:
    """Four digits that count; whole numbers stay whole."""
    if not math.isfinite(value):
        return None
    return int(value) if value == int(value) else float(f"{value:.4g}")
