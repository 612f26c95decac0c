"""Letters for marks in pictures: strokes, so that they are smooth in any size."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Float32, Float64

# Strokes on a grid 4 wide and 6 high: two digits are a column and a row (from the top), a slash
# lifts the pen.
_GLYPHS = {
    "0": "10 30 41 45 36 16 05 01 10", "1": "11 20 26 / 16 36", "2": "01 10 30 41 42 06 46",
    "3": "00 40 22 32 43 45 36 16 05", "4": "36 30 04 44", "5": "40 00 02 32 43 45 36 16 05",
    "6": "30 10 01 05 16 36 45 43 32 12 03", "7": "00 40 16",
    "8": "10 30 41 42 33 13 02 01 10 / 13 04 05 16 36 45 44 33",
    "9": "16 36 45 41 30 10 01 03 14 34 43",
    "A": "06 20 46 / 14 34", "C": "41 30 10 01 05 16 36 45", "F": "40 00 06 / 03 33",
    "G": "41 30 10 01 05 16 36 45 43 23", "I": "10 30 / 20 26 / 16 36", "L": "00 06 46",
    "M": "06 00 23 40 46", "P": "06 00 30 41 42 33 03", "R": "06 00 30 41 42 33 03 / 23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05", "W": "00 16 22 36 40",
    "m": "06 02 / 03 12 23 26 / 23 32 43 46", "x": "02 46 / 42 06", "y": "02 24 / 42 08",
    "z": "02 42 06 46", "=": "02 42 / 04 44", "-": "03 33", ".": "26 26", " ": "",
}  # fmt: skip
_HEIGHT = 6
_ADVANCE = 6.0
_STROKE = 0.9  # thickness on the same grid
_HALO = 2.6  # of the dark rim that keeps letters readable on any ground


def text_width(text: str, height: float) -> int:
    """How many pixels a text takes up in width."""
    return int(np.ceil((_ADVANCE * len(text) - (_ADVANCE - 4)) * height / _HEIGHT))


def write(
    picture: Float32,
    text: str,
    left: float,
    top: float,
    height: float,
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> None:
    """Write a text with a dark rim into a picture, in place; what lies outside is cut off.

    Parameters
    ----------
    picture : (H, W, 3) or (H, W, 4) float32 array
        Values between 0 and 1; the fourth is the opacity.
    text : str
        Of digits, ``ACFGILMPRSWmxyz=-.`` and blanks.
    left, top, height : float
        Pixels; the height is that of a capital.
    colour : (float, float, float)
        Of the letters.

    """
    scale = height / _HEIGHT
    rim = int(np.ceil(_HALO * scale))
    shape = (int(np.ceil(height * 8 / _HEIGHT)) + 2 * rim, text_width(text, height) + 2 * rim)
    row, column = round(top) - rim, round(left) - rim
    distance = _distances(text, scale, shape, rim)
    high, wide = picture.shape[:2]
    rows = slice(max(row, 0), min(row + shape[0], high))
    columns = slice(max(column, 0), min(column + shape[1], wide))
    seen = distance[
        rows.start - row : rows.stop - row, columns.start - column : columns.stop - column
    ]
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = picture[rows, columns]
    for radius, ink in ((_HALO * scale / 2, (0.0, 0.0, 0.0)), (_stroke(scale) / 2, colour)):
        cover = np.clip(radius + 0.5 - seen, 0, 1)[..., None].astype(np.float32)
        part += cover * (np.array([*ink, 1.0][: part.shape[2]], np.float32) - part)


def _stroke(scale: float) -> float:
    return max(_STROKE * scale, 1.2)  # thinner strokes fade


def _distances(text: str, scale: float, shape: tuple[int, int], rim: int) -> Float64:
    """How far each pixel of a box is from the nearest stroke."""
    row, column = np.mgrid[: shape[0], : shape[1]].astype(np.float64) - rim
    nearest = np.full(shape, np.inf)
    for place, letter in enumerate(text):
        for start, end in _segments(_GLYPHS[letter]):
            (x, y), (dx, dy) = start * scale, (end - start) * scale
            ex, ey = column - x - place * _ADVANCE * scale, row - y
            square = dx * dx + dy * dy
            along = np.clip((ex * dx + ey * dy) / square, 0, 1) if square else 0.0
            np.minimum(nearest, np.hypot(ex - along * dx, ey - along * dy), out=nearest)
    return nearest


def _segments(glyph: str) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    strokes = [
        [np.array([float(point[0]), float(point[1])]) for point in stroke.split()]
        for stroke in glyph.split("/")
    ]
    return [pair for stroke in strokes for pair in itertools.pairwise(stroke)]
