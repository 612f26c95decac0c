"""Cuts through an image side by side: rows of tiles on one sheet, in one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bids_tract.core.drawing.camera import Camera
from bids_tract.core.drawing.slices import Upright
from bids_tract.core.drawing.text import text_width, write
from bids_tract.core.types import Bool, Float32

# A cut: the axis that it is perpendicular to (0 left-right, 1 back-front, 2 bottom-top), and the
# number of the voxel.
Cut = tuple[int, int]

_GAP = 6  # pixels between tiles
_LETTER = 14  # height of letters, in pixels: a third of them is left on a phone
_POSITION = 11  # height of the position of a cut
_FOOT = 26  # pixels for the scale bar and legends
# Of a thin stack, only the cuts along its planes say something.
_FEWEST_VOXELS = 6
_THINNEST = 0.15


@dataclass(frozen=True, eq=False)
class Tile:
    """One cut on the sheet.

    Attributes
    ----------
    camera : Camera
        What sees the cut.
    left, top : int
        Its first pixel on the sheet.
    cut : Cut
        What it shows.
    first : bool
        Whether it is the first of its row.

    """

    camera: Camera
    left: int
    top: int
    cut: Cut
    first: bool

    @property
    def axis(self) -> int:
        """The axis that the cut is perpendicular to."""
        return self.cut[0]

    @property
    def place(self) -> tuple[slice, slice]:
        """Its rows and columns on the sheet."""
        width, height = self.camera.size
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass(frozen=True, eq=False)
class Mosaic:
    """Tiles on a sheet of `width` x `height` pixels, `scale` pixels per mm."""

    tiles: tuple[Tile, ...]
    width: int
    height: int
    scale: float

    def sheet(self) -> Float32:
        """A black picture (height, width, 3) float32."""
        return np.zeros((self.height, self.width, 3), np.float32)

    def mark(self, sheet: Float32) -> None:
        """Write sides, positions and a scale bar, in place."""
        for tile in self.tiles:
            mark_sides(sheet[tile.place], tile.camera, vertical=tile.first)
            height = tile.camera.size[1]
            position = f"{'xyz'[tile.axis]}={tile.camera.centre[tile.axis]:.0f}"
            write(
                sheet[tile.place],
                position.replace("=-0", "=0"),
                4,
                height - _POSITION - 5,
                _POSITION,
                (0.9,) * 3,
            )
        mark_scale(sheet, self.scale)


def box_of(mask: Bool, margin: int = 1) -> tuple[tuple[int, int], ...]:
    """First voxel and the one after the last that a mask fills along each axis.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        Of an empty one the box is the whole.
    margin : int
        Voxels added on each side, where there are any.

    """
    if not mask.any():
        return tuple((0, length) for length in mask.shape)
    box = []
    for axis, length in enumerate(mask.shape):
        filled = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        box.append((max(0, int(filled[0]) - margin), min(length, int(filled[-1]) + 1 + margin)))
    return tuple(box)


def even_cuts(mask: Bool, axis: int, count: int) -> list[Cut]:
    """Cuts at even distances through what a mask fills, at most as many as there are voxels."""
    low, high = box_of(mask, 0)[axis]
    count = min(count, high - low)
    return [(axis, int(low + (high - low) * (n + 0.5) / count)) for n in range(count)]


def lay_out(
    upright: Upright, box: Sequence[tuple[int, int]], rows: Sequence[Sequence[Cut]], width: int
) -> Mosaic:
    """Place cuts on a sheet.

    Parameters
    ----------
    upright : Upright
        The image.
    box : three pairs of int
        What is shown of it; see `box_of`.
    rows : sequence of sequences of Cut
        From top to bottom and left to right. Cuts across a thin stack are left out, unless there
        is nothing else.
    width : int
        Pixels of the sheet.

    """
    size_mm = [
        (high - low) * size for (low, high), size in zip(box, upright.voxel_sizes, strict=True)
    ]
    rows = [[cut for cut in row if _says_something(cut[0], box, size_mm)] for row in rows]
    rows = [row for row in rows if row] or [[(2, (box[2][0] + box[2][1] - 1) // 2)]]
    scale = min(
        (width - _GAP * (len(row) + 1)) / sum(size_mm[_RIGHT[axis]] for axis, _ in row)
        for row in rows
    )
    tiles: list[Tile] = []
    top = _GAP
    for row in rows:
        cameras = [_camera(upright, box, size_mm, cut, scale) for cut in row]
        room = width - sum(camera.size[0] for camera in cameras)
        gap = min((room - 2 * _GAP) / max(1, len(row) - 1), 4 * _GAP)
        left = (room - gap * (len(row) - 1)) / 2
        for n, (camera, cut) in enumerate(zip(cameras, row, strict=True)):
            tiles.append(Tile(camera, int(left), top, cut, n == 0))
            left += camera.size[0] + gap
        top += max(camera.size[1] for camera in cameras) + _GAP
    return Mosaic(tuple(tiles), width, top + _FOOT, scale)


# Which axis of the world runs to the right and which upwards in a cut: left is on the left.
_RIGHT, _UP, _TOWARDS = (1, 0, 0), (2, 2, 1), ((0, 1), (1, -1), (2, 1))


def _says_something(axis: int, box: Sequence[tuple[int, int]], size_mm: Sequence[float]) -> bool:
    """Whether a cut is more than a narrow strip."""
    sides = [side for side in range(3) if side != axis]
    fewest = min(box[side][1] - box[side][0] for side in sides)
    thinness = min(size_mm[side] for side in sides) / max(size_mm[side] for side in sides)
    return fewest >= _FEWEST_VOXELS and thinness >= _THINNEST


def _camera(
    upright: Upright,
    box: Sequence[tuple[int, int]],
    size_mm: Sequence[float],
    cut: Cut,
    scale: float,
) -> Camera:
    axis, number = cut
    voxel = np.array([(low + high - 1) / 2 for low, high in box])
    voxel[axis] = number
    towards, sign = _TOWARDS[axis]
    axes = np.stack(
        [upright.axes[_RIGHT[axis]], upright.axes[_UP[axis]], sign * upright.axes[towards]]
    )
    size = (
        max(1, round(scale * size_mm[_RIGHT[axis]])), max(1, round(scale * size_mm[_UP[axis]]))
    )  # fmt: skip
    centre = upright.affine[:3, :3] @ voxel + upright.affine[:3, 3]
    return Camera(axes, centre, scale, size)


def mark_sides(
    picture: Float32, camera: Camera, *, vertical: bool = True, letter: int = _LETTER
) -> None:
    """Name the sides of a picture by letters of LRPAIS, in place; see `Camera.sides`."""
    height, width = picture.shape[:2]
    left, right, top, bottom = camera.sides()
    beside = text_width("L", letter)
    write(picture, left, 4, (height - letter) / 2, letter)
    write(picture, right, width - beside - 4, (height - letter) / 2, letter)
    if vertical:
        write(picture, top, (width - beside) / 2, 3, letter)
        write(picture, bottom, (width - beside) / 2, height - letter - 3, letter)


def mark_scale(picture: Float32, scale: float, *, letter: int = _LETTER) -> None:
    """Draw a bar of a round number of mm at the lower right, in place."""
    height, width = picture.shape[:2]
    lengths = [mm for mm in (1, 2, 5, 10, 20, 50, 100) if mm * scale <= width / 10]
    mm = lengths[-1] if lengths else 1
    right, bottom = width - 10, height - 8
    left = max(0, right - round(mm * scale))
    picture[bottom - letter // 3 - 2 : bottom + 2, max(0, left - 2) : right + 2, :3] = 0
    picture[bottom - letter // 3 - 2 : bottom + 2, max(0, left - 2) : right + 2, 3:] = 1
    picture[bottom - letter // 3 : bottom, left:right, :3] = 1
    text = f"{mm} mm"
    write(picture, text, left - letter / 2 - text_width(text, letter), bottom - letter, letter)
