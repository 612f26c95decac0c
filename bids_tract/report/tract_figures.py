"""Pictures of a tractogram: where its streamlines pass, on cuts and from three sides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bids_tract.core.drawing.camera import VIEWS, look_from
from bids_tract.core.drawing.colours import blend, scale
from bids_tract.core.drawing.mosaic import Tile
from bids_tract.core.drawing.slices import see
from bids_tract.core.drawing.text import text_width, write
from bids_tract.core.drawing.views import cameras_for, draw_views
from bids_tract.core.drawing.zbuffer import draw_streamlines
from bids_tract.core.types import Float32, Streamlines
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.sidecars import read_json
from bids_tract.files.tractograms.stream import TractogramStream, open_tractogram
from bids_tract.names import density_path, sidecar_path
from bids_tract.report.map_figures import Drawn, Maps, paint

# What fills a picture; more only hides what is inside.
MOST_DRAWN = 20_000
_LEFT_BACK_TOP = ("left", "back", "top")
_VIEW_SIZE = 620  # pixels of the longest side
_LINE_MM = 0.6  # of streamlines on cuts
_THINNEST_SLAB_MM = 2.0
_BAR = (220, 10)  # pixels


class Tracts:
    """One tractogram with the maps of its scan.

    Parameters
    ----------
    path : pathlib.Path
        TRX, TRK or TCK.
    maps : Maps
        Of the scan.

    """

    def __init__(self, path: Path, maps: Maps) -> None:
        self.path, self.maps = path, maps

    @cached_property
    def stream(self) -> TractogramStream:
        """The opened file.

        Raises
        ------
        DataError
            It holds no streamline.

        """
        stream = open_tractogram(self.path)
        if not stream.count:
            raise DataError(f"{self.path.name} holds no streamline")
        return stream

    @cached_property
    def shown(self) -> Streamlines:
        """The streamlines that are drawn."""
        return self.stream.evenly(MOST_DRAWN)

    @cached_property
    def density(self) -> Float32:
        """(X, Y, Z) float32 array: how many streamlines pass through each voxel, upright.

        Raises
        ------
        MissingInputError
            The density was not measured.

        """
        path = density_path(self.path)
        if not path.is_file():
            raise MissingInputError(f"there is no {path.name}, in which streamlines are counted")
        return self.maps.read(path)

    @property
    def counted(self) -> int:
        """The streamlines that `density` counts."""
        return int(read_json(sidecar_path(density_path(self.path))).get("Streamlines", 0))

    def how_many(self) -> str:
        """``20,000 of 100,000 streamlines, evenly chosen``."""
        if len(self.shown) < self.stream.count:
            return f"{len(self.shown):,} of {self.stream.count:,} streamlines, evenly chosen"
        return f"All {self.stream.count:,} streamlines"


def _density(tracts: Tracts) -> Drawn:
    maps, counts = tracts.maps, tracts.density
    filled = counts[counts > 0]
    if not len(filled):
        raise DataError(f"{tracts.path.name} holds no streamline")
    top = max(2.0, float(np.percentile(filled, 99.5)))
    ground = maps.ground(0.35)

    def tile_of(tile: Tile) -> Float32:
        seen = see(counts, maps.upright.affine, tile.camera)
        picture = ground(tile.camera)
        colours = scale(np.log(np.maximum(seen, 1)) / np.log(top))
        blend(picture, colours, np.clip(2 * seen - 0.5, 0, 1))
        return picture

    sheet = paint(maps.many_cuts, tile_of)
    _bar(sheet, top)
    return Drawn(
        sheet,
        f"How many of all {tracts.counted:,} streamlines pass through a voxel, on a "
        "logarithmic scale. Both sides should look alike, and no tract should end at a straight "
        f"border.{maps.remark()}",
        "Cuts through the brain coloured by the number of streamlines.",
    )


def _bar(sheet: Float32, top: float) -> None:
    """Draw the colours of 1 to `top` streamlines with the powers of ten, in place."""
    long, high = _BAR
    left, bottom = 10, len(sheet) - 3
    share = np.linspace(0, 1, long)
    sheet[bottom - 22 : bottom - 22 + high - 2, left : left + long] = scale(share)[None]
    for power in range(int(np.log10(top)) + 1):
        word = str(10**power)
        place = left + long * np.log(10**power) / np.log(top)
        sheet[bottom - 14 : bottom - 11, int(min(place, left + long - 1))] = 1.0
        start = max(left, place - text_width(word, 8) / 2)
        write(sheet, word, start, bottom - 9, 8)


def _slices(tracts: Tracts) -> Drawn:
    maps = tracts.maps
    ground = maps.ground(0.8)
    shown = tracts.shown

    def tile_of(tile: Tile) -> Float32:
        picture = ground(tile.camera)
        slab = max(float(maps.upright.voxel_sizes[tile.axis]), _THINNEST_SLAB_MM)
        drawn = draw_streamlines(
            shown.points, shown.offsets, tile.camera, width_mm=_LINE_MM, slab_mm=slab,
            shaded=False,
        )  # fmt: skip
        blend(picture, drawn[..., :3] / 255, drawn[..., 3] / 255)
        return picture

    return Drawn(
        paint(maps.few_cuts, tile_of),
        f"What lies within a voxel of the cuts, on {maps.ground_name}: red left-right, green "
        "front-back, blue up-down. Streamlines should follow the white matter and leave the "
        f"ventricles free. {tracts.how_many()}.{maps.remark()}",
        f"Cuts through {maps.ground_name} with the streamlines near them.",
    )


def _views(tracts: Tracts) -> Drawn:
    axes = [look_from(*VIEWS[view]) for view in _LEFT_BACK_TOP]
    cameras = cameras_for(tracts.shown, axes, _VIEW_SIZE)
    sheet = draw_views(tracts.shown, cameras, (0, 0, 0, 1))[..., :3]
    return Drawn(
        sheet,
        "From the left, from the back and from above: red left-right, green front-back, blue "
        "up-down. Both sides should look alike, without holes and without bundles that end at a "
        f"flat border. {tracts.how_many()}.",
        "The tractogram from the left, from the back and from above.",
    )


@dataclass(frozen=True)
class TractFigure:
    """A picture that a tractogram gives; see `report.map_figures.MapFigure`."""

    name: str
    title: str
    draw: Callable[[Tracts], Drawn]


TRACT_FIGURES = (
    TractFigure("density", "Streamline density", _density),
    TractFigure("slices", "Streamlines on cuts", _slices),
    TractFigure("views", "Streamlines from three sides", _views),
)
