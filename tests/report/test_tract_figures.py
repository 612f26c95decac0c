from __future__ import annotations

import numpy as np
import pytest

from bids_tract.core.drawing.camera import VIEWS, look_from
from bids_tract.core.drawing.colours import scale
from bids_tract.core.drawing.views import cameras_for, draw_views
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.grids import Grid
from bids_tract.names import density_path
from bids_tract.report import tract_figures
from bids_tract.report.map_figures import Maps
from bids_tract.report.tract_figures import TRACT_FIGURES, Tracts
from tests.report.scans import CENTRE, GRIDS, make_scan, make_tractogram

DRAW = {figure.name: figure.draw for figure in TRACT_FIGURES}


@pytest.fixture(scope="module", params=GRIDS)
def tracts(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    grid = GRIDS[request.param]
    return Tracts(make_tractogram(folder, grid), Maps(make_scan(folder, grid)))


def inside(places, margin):
    """Whether places in RAS+ mm are within the bundle and a margin."""
    return (np.abs(places - CENTRE) <= np.array([20, 4, 4]) + margin).all(axis=-1)


def test_the_density_is_where_the_bundle_is(tracts):
    picture = DRAW["density"](tracts).picture
    strongest = scale(np.array([0.8, 0.9, 1.0])).mean(axis=0)
    found = brightest = every = 0
    for tile in tracts.maps.many_cuts.tiles:
        part = picture[tile.place]
        places = tile.camera.plane()
        coloured = np.ptp(part, axis=2) > 0.2  # letters are grey
        yellow = coloured & (np.abs(part - strongest).max(axis=2) < 0.25)
        # Interpolation reaches into the neighbouring voxels, of up to 4 mm.
        assert inside(places[yellow], 6).all()
        # Where no streamline is, nothing is laid over the grey.
        assert np.ptp(part[~inside(places, 8)], axis=1).max() < 1e-3
        found += yellow.sum()
        brightest += (np.abs(part - scale(np.array(1.0))).max(axis=2) < 0.02).sum()
        every += coloured.sum()
    assert found > 300
    assert 0 < brightest < 0.1 * every  # the scale ends where few voxels are beyond


def test_a_single_streamline_has_a_colour(tmp_path):
    grid = GRIDS["LAS"]
    tracts = Tracts(make_tractogram(tmp_path, grid, 1), Maps(make_scan(tmp_path, grid)))
    picture = DRAW["density"](tracts).picture
    assert np.isfinite(picture).all()


def test_the_bar_names_powers_of_ten(tracts):
    picture = DRAW["density"](tracts).picture
    bar = picture[-25:, 10:230]
    np.testing.assert_allclose(bar[5, 0], scale(np.array(0.0)), atol=1e-6)
    np.testing.assert_allclose(bar[5, -1], scale(np.array(1.0)), atol=1e-6)
    assert bar[-10:].max() > 0.9


def test_streamlines_on_cuts_are_red_where_the_bundle_is(tracts):
    picture = DRAW["slices"](tracts).picture
    found = 0
    for tile in tracts.maps.few_cuts.tiles:
        part = picture[tile.place]
        red = (part[..., 0] > 0.35) & (part[..., 1:].max(axis=2) < 0.15)
        # Within half a slab of the cut; the oblique cuts are turned by up to 17 degrees.
        assert inside(tile.camera.plane()[red], 3).all()
        found += red.sum()
    assert found > 300


def test_three_views_show_the_bundle(tracts):
    picture = DRAW["views"](tracts).picture
    assert ((picture[..., 0] > 0.5) & (picture[..., 1:].max(axis=2) < 0.2)).sum() > 5000


def test_the_three_views_are_those_that_the_caption_names(tracts):
    drawn = DRAW["views"](tracts)
    assert drawn.caption.startswith("From the left, from the back and from above")
    axes = [look_from(*VIEWS[view]) for view in ("left", "back", "top")]
    sheet = draw_views(tracts.shown, cameras_for(tracts.shown, axes, 620), (0, 0, 0, 1))
    np.testing.assert_array_equal(drawn.picture, sheet[..., :3])


def test_captions_say_how_many_are_shown(tracts, monkeypatch):
    assert "All 30 streamlines." in DRAW["views"](tracts).caption
    assert "all 30 streamlines" in DRAW["density"](tracts).caption
    monkeypatch.setattr(tract_figures, "MOST_DRAWN", 10)
    few = Tracts(tracts.path, tracts.maps)
    assert "10 of 30 streamlines, evenly chosen." in DRAW["slices"](few).caption


def test_the_density_of_another_image_is_not_drawn(tracts, tmp_path):
    affine = GRIDS["LAS"].affine.copy()
    affine[:3, 3] += 500
    maps = Maps(make_scan(tmp_path, Grid(GRIDS["LAS"].shape, affine)))
    with pytest.raises(DataError, match="another grid"):
        DRAW["density"](Tracts(tracts.path, maps))


def test_the_density_is_drawn_without_the_tractogram(tmp_path):
    grid = GRIDS["oblique ASR"]
    tracts = Tracts(make_tractogram(tmp_path, grid), Maps(make_scan(tmp_path, grid)))
    whole = DRAW["density"](tracts).picture
    tracts.path.unlink()
    again = DRAW["density"](Tracts(tracts.path, tracts.maps)).picture
    np.testing.assert_array_equal(again, whole)


def test_a_density_that_was_not_measured_is_named(tmp_path):
    grid = GRIDS["LAS"]
    tracts = Tracts(make_tractogram(tmp_path, grid), Maps(make_scan(tmp_path, grid)))
    density_path(tracts.path).unlink()
    with pytest.raises(MissingInputError, match="param-density_desc-prob_dwimap"):
        DRAW["density"](tracts)
