"""Pictures of maps: what was masked, segmented and fitted, and where tracking started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bids_tract.core.drawing.camera import Camera
from bids_tract.core.drawing.colours import (
    ORANGE,
    SKY_BLUE,
    VERMILLION,
    YELLOW,
    Colour,
    blend,
    grey,
    window_of,
)
from bids_tract.core.drawing.mosaic import Cut, Mosaic, Tile, box_of, even_cuts, lay_out
from bids_tract.core.drawing.slices import Upright, outline, see
from bids_tract.core.drawing.text import text_width, write
from bids_tract.core.drawing.zbuffer import UInt8, draw_streamlines
from bids_tract.core.gradients import direction_cosines
from bids_tract.core.types import Bool, Float32, Float64
from bids_tract.errors import MissingInputError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map
from bids_tract.report.brain import beside

# Enough for 2 pixels a millimetre of a brain in rows of six.
SHEET = 1240
# A voxel of fewer pixels has no room for sticks.
_STICK_PIXELS = 9
_LARGEST_SHEET = 2000
_LINE = 1.6  # pixels, of outlines
_TURNED = 1.0  # degrees from which the reader is told
# What lies under outlines and streamlines, the best first.
_GROUNDS = {"dwiref": "the mean b0", "tensor_fa": "FA", "csa_gfa": "GFA"}

Painter = Callable[[Camera], Float32]


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture (H, W, 3), values between 0 and 1, and what is said about it."""

    picture: Float32
    caption: str
    alt: str


class Maps:
    """The saved maps of a scan, read when they are asked for, upright.

    Parameters
    ----------
    files : mapping of str to pathlib.Path
        By kind.

    """

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files
        self._read: dict[str, Float32] = {}

    def __contains__(self, key: str) -> bool:
        return key in self.files

    def __getitem__(self, key: str) -> Float32:
        """A map (X, Y, Z) upright."""
        if key not in self._read:
            self._read[key] = self.read(self.files[key])
        return self._read[key]

    def four_d(self, key: str) -> Float32:
        """A map (X, Y, Z, K) upright; it is not kept."""
        return self.read(self.files[key], 4)

    def read(self, path: Path, ndim: int = 3) -> Float32:
        """A map upright that may be none of the scan's kinds; it is not kept.

        Raises
        ------
        DataError, MissingInputError
            As `read_map`; or it lies on another grid.

        """
        values = read_map(path, self.grid, ndim=ndim)
        return self.upright.bring(np.nan_to_num(values, posinf=0.0, neginf=0.0))

    @cached_property
    def grid(self) -> Grid:
        """Where all maps lie."""
        for key in ("brain_mask", *_GROUNDS):
            if key in self.files:
                return read_grid(self.files[key])
        raise MissingInputError("there is neither a brain mask nor a map of the scan")

    @cached_property
    def upright(self) -> Upright:
        """How they are brought upright."""
        return Upright.of(self.grid.shape, self.grid.affine)

    @cached_property
    def brain(self) -> Bool:
        """(X, Y, Z) bool array: the brain mask, or where the ground is not zero."""
        return self["brain_mask" if "brain_mask" in self else self.ground_key] > 0

    @property
    def ground_key(self) -> str:
        """The kind of map that lies under outlines."""
        for key in _GROUNDS:
            if key in self.files:
                return key
        raise MissingInputError("there is no map to draw on: neither a mean b0 nor FA nor GFA")

    @property
    def ground_name(self) -> str:
        """What `ground` shows."""
        return _GROUNDS[self.ground_key]

    def ground(self, brightness: float = 1.0) -> Painter:
        """What paints the map under outlines, in grey."""
        return self.grey(self.ground_key, brightness)

    def grey(self, key: str, brightness: float = 1.0) -> Painter:
        """What paints a map in grey."""
        window = window_of(self[key], self.brain)
        return lambda camera: brightness * grey(self.seen(key, camera), window)

    def seen(self, key: str, camera: Camera) -> Float32:
        """What a camera sees of a map."""
        return see(self[key], self.upright.affine, camera)

    @cached_property
    def many_cuts(self) -> Mosaic:
        """Two rows of axial cuts, a coronal and a sagittal one."""
        return self.many_cuts_with(self.brain)

    def many_cuts_with(self, region: Bool) -> Mosaic:
        """The cuts of `many_cuts`, so wide that a region (X, Y, Z) is in them."""
        axial = even_cuts(self.brain, 2, 12)
        half = (len(axial) + 1) // 2 if len(axial) > 6 else len(axial)
        rows = [
            axial[:half], axial[half:], even_cuts(self.brain, 1, 6), even_cuts(self.brain, 0, 5)
        ]  # fmt: skip
        return lay_out(self.upright, box_of(region), rows, SHEET)

    @cached_property
    def few_cuts(self) -> Mosaic:
        """Two axial cuts, a coronal and a sagittal one, large."""
        axial = even_cuts(self.brain, 2, 5)
        low, high = axial[len(axial) // 2], axial[-2 if len(axial) > 2 else -1]
        middle = [even_cuts(self.brain, axis, 1)[0] for axis in (1, 0)]
        rows = [[low] if low == high else [low, high], middle]
        return self._lay_out(rows, SHEET)

    def _lay_out(self, rows: list[list[Cut]], width: int) -> Mosaic:
        return lay_out(self.upright, box_of(self.brain), rows, width)

    def closer(self, mosaic: Mosaic, pixels: float) -> Mosaic:
        """The same cuts, larger where a voxel has fewer pixels than that."""
        factor = pixels / (mosaic.scale * float(self.upright.voxel_sizes.min()))
        width = int(min(max(SHEET, SHEET * factor), _LARGEST_SHEET))
        return mosaic if width == SHEET else self._again(mosaic, width)

    def _again(self, mosaic: Mosaic, width: int) -> Mosaic:
        rows: dict[int, list[Cut]] = {}
        for tile in mosaic.tiles:
            rows.setdefault(tile.top, []).append(tile.cut)
        return self._lay_out(list(rows.values()), width)

    def remark(self) -> str:
        """What is said of an oblique image."""
        tilt = self.upright.tilt
        if tilt < _TURNED:
            return ""
        return f" The cuts follow the image's own axes, which are turned by up to {tilt:.0f}°."


def paint(mosaic: Mosaic, painter: Callable[[Tile], Float32]) -> Float32:
    """Fill the tiles of a sheet and mark it."""
    sheet = mosaic.sheet()
    for tile in mosaic.tiles:
        sheet[tile.place] = painter(tile)
    mosaic.mark(sheet)
    return sheet


def legend(sheet: Float32, entries: Mapping[str, Colour]) -> None:
    """Write words in their colours at the lower left, in place."""
    left = 10
    for word, colour in entries.items():
        write(sheet, word, left, len(sheet) - 19, 11, colour)
        left += text_width(word, 11) + 16


# --- The figures ---------------------------------------------------------------------------------


def _mask(maps: Maps) -> Drawn:
    ground = maps.ground()
    # Cut to the mask alone, the picture would not show what the mask lost.
    region = maps.brain
    if "dwiref" in maps and region.any():
        region = region | beside(maps["dwiref"], region)

    def tile_of(tile: Tile) -> Float32:
        picture = ground(tile.camera)
        blend(picture, ORANGE, outline(maps.seen("brain_mask", tile.camera), 0.5, _LINE))
        return picture

    return Drawn(
        paint(maps.many_cuts_with(region), tile_of),
        f"Orange: the outline of the mask, on {maps.ground_name}. It should follow the edge of "
        f"the brain: nothing cut off, no skull and no eyes inside.{maps.remark()}",
        f"Cuts through {maps.ground_name} with the outline of the brain mask.",
    )


def _tissue(maps: Maps) -> Drawn:
    ground = maps.ground()
    edges = {"WM": YELLOW, "GM": VERMILLION, "CSF": SKY_BLUE}
    keys = {"WM": "wm_probseg", "GM": "gm_probseg", "CSF": "csf_probseg"}

    def tile_of(tile: Tile) -> Float32:
        picture = ground(tile.camera)
        for name, key in keys.items():
            edge = outline(maps.seen(key, tile.camera), 0.5, _LINE, inside=True)
            blend(picture, edges[name], edge)
        return picture

    sheet = paint(maps.many_cuts, tile_of)
    legend(sheet, edges)
    return Drawn(
        sheet,
        f"Where white matter (yellow), grey matter (red) and fluid (blue) make up half of a "
        f"voxel, on {maps.ground_name}. The edges should lie on those of the image: if they are "
        f"shifted against it, the T1-weighted image was not aligned.{maps.remark()}",
        f"Cuts through {maps.ground_name} with the edges of three tissues.",
    )


def _colfa(maps: Maps) -> Drawn:
    colours = maps.four_d("tensor_colfa")[..., :3]
    _, brightest = window_of(colours.max(axis=-1), maps.brain)

    def tile_of(tile: Tile) -> Float32:
        return np.clip(see(colours, maps.upright.affine, tile.camera) / brightest, 0, 1)

    return Drawn(
        paint(maps.many_cuts, tile_of),
        "Main direction of diffusion: red left-right, green front-back, blue up-down; brighter "
        "where FA is higher. The corpus callosum must be red at the midline, the cingulum above "
        f"it green, the corticospinal tract blue.{maps.remark()}",
        "Cuts through the brain coloured by the main direction of diffusion.",
    )


def _gfa(maps: Maps) -> Drawn:
    key, name = ("csa_gfa", "GFA") if "csa_gfa" in maps else ("tensor_fa", "FA")
    ground = maps.grey(key)
    stops = "stop_mask" in maps

    def tile_of(tile: Tile) -> Float32:
        picture = ground(tile.camera)
        if stops:
            edge = outline(maps.seen("stop_mask", tile.camera), 0.5, _LINE)
            blend(picture, SKY_BLUE, edge)
        return picture

    border = (
        " Blue: the border that streamlines do not cross; it should enclose the white matter."
        if stops
        else ""
    )
    return Drawn(
        paint(maps.many_cuts, tile_of),
        f"{name}, brighter where fibres run alike.{border}{maps.remark()}",
        f"Cuts through {name}" + (" with the outline of the stop mask." if stops else "."),
    )


def _peaks(maps: Maps) -> Drawn:
    key = "csd_peaks" if "csd_peaks" in maps else "csa_peaks"
    of = "fibre orientation distribution" if key == "csd_peaks" else "orientation distribution"
    peaks = maps.four_d(key)
    vectors = peaks.reshape(*peaks.shape[:3], -1, 3)
    first = np.linalg.norm(vectors[..., 0, :], axis=-1)[maps.brain]
    # A voxel's length stands for what a quarter of the voxels reach: about the white matter.
    longest = float(np.percentile(first[first > 0], 75)) if (first > 0).any() else 1.0
    ground = maps.ground(0.5)
    mosaic = maps.closer(maps.few_cuts, _STICK_PIXELS)

    def tile_of(tile: Tile) -> Float32:
        picture = ground(tile.camera)
        points = _sticks(vectors, maps, tile, longest)
        offsets = np.arange(0, len(points) + 1, 2, dtype=np.int64)
        width = float(maps.upright.voxel_sizes.min()) / 5
        drawn = draw_streamlines(points, offsets, tile.camera, width_mm=width, shaded=False)
        blend(picture, _light(drawn[..., :3]), drawn[..., 3] / 255)
        return picture

    return Drawn(
        paint(mosaic, tile_of),
        f"The main directions of the {of} in each voxel, coloured like directions above; longer "
        "where there is more of it. Neighbouring sticks should line up along the tracts; sticks "
        f"that look mirrored or fan out of them mean a wrong gradient table.{maps.remark()}",
        "Cuts through the brain with a coloured stick for each fibre direction of a voxel.",
    )


def _sticks(vectors: Float32, maps: Maps, tile: Tile, longest: float) -> Float32:
    """(2 N, 3) float32 array: the ends of the sticks of a cut, RAS+ mm."""
    axis, number = tile.cut
    flat = [slice(None)] * 3
    flat[axis] = slice(number, number + 1)
    lengths = np.linalg.norm(vectors[tuple(flat)], axis=-1)
    voxels = np.argwhere((lengths > 0) & np.asarray(maps.brain[tuple(flat)])[..., None])
    shown = vectors[tuple(flat)][tuple(voxels.T)] / lengths[tuple(voxels.T)][:, None]
    world = shown @ direction_cosines(maps.grid.affine).T  # peaks are stored in image axes
    places = voxels[:, :3].astype(np.float64)
    places[:, axis] += number
    affine: Float64 = maps.upright.affine
    middles = places @ affine[:3, :3].T + affine[:3, 3]
    share = np.minimum(lengths[tuple(voxels.T)] / longest, 1)[:, None]
    half = 0.5 * float(maps.upright.voxel_sizes.min()) * share * world
    ends = np.stack([middles - half, middles + half], axis=1)
    return ends.reshape(-1, 3).astype(np.float32)


def _light(colours: UInt8) -> Float32:
    """Colours of directions (0 to 255), lightened so that blue is seen on black."""
    return np.asarray(0.25 + 0.75 * colours / 255, np.float32)


def _seeds(maps: Maps) -> Drawn:
    key = next((k for k in ("tensor_fa", "csa_gfa", "dwiref") if k in maps), maps.ground_key)
    ground = maps.grey(key)

    def tile_of(tile: Tile) -> Float32:
        picture = ground(tile.camera)
        seen = maps.seen("seed_mask", tile.camera)
        blend(picture, ORANGE, 0.4 * np.clip(2 * seen - 0.5, 0, 1))
        blend(picture, ORANGE, outline(seen, 0.5, _LINE))
        return picture

    return Drawn(
        paint(maps.many_cuts, tile_of),
        f"Orange: the voxels in which streamlines start, on {_GROUNDS[key]}. They should cover "
        f"the white matter, or its border with grey matter, on both sides.{maps.remark()}",
        f"Cuts through {_GROUNDS[key]} with the seed mask.",
    )


@dataclass(frozen=True)
class MapFigure:
    """A picture that maps give.

    Attributes
    ----------
    name, title : str
        See `report.figures.Figure`.
    needs : tuple of tuples of str
        It is drawn when all kinds of one of these are there.
    draw : callable
        Makes it.

    """

    name: str
    title: str
    needs: tuple[tuple[str, ...], ...]
    draw: Callable[[Maps], Drawn]


MAP_FIGURES = (
    MapFigure("mask", "Brain mask", (("brain_mask",),), _mask),
    MapFigure(
        "tissue", "Tissue edges", (("wm_probseg", "gm_probseg", "csf_probseg"),), _tissue
    ),
    MapFigure("colfa", "Colour FA", (("tensor_colfa",),), _colfa),
    MapFigure("gfa", "Anisotropy and where streamlines go", (("csa_gfa",), ("tensor_fa",)), _gfa),
    MapFigure("peaks", "Fibre directions", (("csd_peaks",), ("csa_peaks",)), _peaks),
    MapFigure("seeds", "Seeds", (("seed_mask",),), _seeds),
)  # fmt: skip
