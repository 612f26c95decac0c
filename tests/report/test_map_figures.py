from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from bids_tract.core.drawing.colours import ORANGE, SKY_BLUE
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_map, write_map
from bids_tract.report.brain import beside
from bids_tract.report.map_figures import MAP_FIGURES, Maps, paint
from tests.report.scans import CENTRE, GRIDS, RADII, make_scan, places

DRAW = {figure.name: figure.draw for figure in MAP_FIGURES}


@pytest.fixture(scope="module", params=GRIDS)
def maps(request, tmp_path_factory):
    grid = GRIDS[request.param]
    return Maps(make_scan(tmp_path_factory.mktemp("scan"), grid))


def places_of(picture, tile, colour, tolerance=0.12):
    """RAS+ mm of the pixels of a tile that have a colour."""
    part = picture[tile.place]
    chosen = np.abs(part - np.float32(colour)).max(axis=2) < tolerance
    return tile.camera.plane()[chosen]


def test_the_mask_s_outline_lies_on_its_edge_in_mm(maps):
    picture = DRAW["mask"](maps).picture
    for tile in maps.many_cuts.tiles:
        found = places_of(picture, tile, ORANGE)
        if len(found) < 20:
            continue
        away = np.linalg.norm((found - CENTRE) / RADII, axis=-1)
        # The mask is of voxels up to 4 mm: its edge is off by half of one, of radii of 30 mm.
        assert abs(np.median(away) - 1) < 0.09
    assert len(found)


def test_half_a_brain_that_the_mask_lost_is_in_the_picture(maps, tmp_path):
    half = tmp_path / "mask.nii.gz"
    left = places(maps.grid)[..., 0] < CENTRE[0]
    write_map(half, read_map(maps.files["brain_mask"]) * left, maps.grid)
    damaged = Maps({**maps.files, "brain_mask": half})
    region = damaged.brain | beside(damaged["dwiref"], damaged.brain)
    picture, mosaic = DRAW["mask"](damaged).picture, damaged.many_cuts_with(region)
    assert picture.shape[:2] == (mosaic.height, mosaic.width)
    farthest = 0.0
    for tile in mosaic.tiles:
        seen = picture[tile.place].mean(axis=2)
        plane = tile.camera.plane()
        inside = np.linalg.norm((plane - CENTRE) / RADII, axis=-1) < 0.85  # without the edge
        lost = inside & (plane[..., 0] > CENTRE[0] + 5)
        if lost.sum() > 100:
            assert np.median(seen[lost]) > 0.3
            farthest = max(farthest, plane[..., 0][lost & (seen > 0.3)].max())
    assert farthest > CENTRE[0] + 0.8 * RADII[0]


def test_all_colours_of_tissues_are_there_and_nested(maps):
    picture = DRAW["tissue"](maps).picture
    tile = maps.many_cuts.tiles[len(maps.many_cuts.tiles) // 3]
    colours = {"wm": (0.941, 0.894, 0.259), "gm": (0.835, 0.369, 0.0), "csf": SKY_BLUE}
    distances = {
        name: np.linalg.norm((places_of(picture, tile, colour) - CENTRE) / RADII, axis=-1)
        for name, colour in colours.items()
    }
    assert 0.5 < np.median(distances["wm"]) < 0.65
    assert distances["gm"].min() > 0.5 and distances["gm"].max() < 0.95
    assert distances["csf"].max() < 1.12


def test_seeds_and_borders_enclose_the_white_matter(maps):
    for name, colour in (("seeds", ORANGE), ("gfa", SKY_BLUE)):
        picture = DRAW[name](maps).picture
        tile = maps.many_cuts.tiles[5]
        found = places_of(picture, tile, colour, tolerance=0.2)
        assert len(found) > 50
        assert np.linalg.norm((found - CENTRE) / RADII, axis=-1).max() < 0.75


def test_colours_of_directions_are_shown_as_saved(maps):
    picture = DRAW["colfa"](maps).picture
    seen = np.concatenate([picture[tile.place].reshape(-1, 3) for tile in maps.many_cuts.tiles])
    brightest = seen[seen[:, 0] > 0.9]
    # cos 30 degrees left-right, sin 30 up-down; letters are white.
    coloured = brightest[brightest[:, 1] < 0.3]
    assert len(coloured) > 1000
    np.testing.assert_allclose(np.median(coloured, axis=0), [1, 0, 0.577], atol=0.02)


def test_sticks_point_as_the_fibres_do(maps):
    picture = DRAW["peaks"](maps).picture
    coronal = next(tile for tile in maps.few_cuts.tiles if tile.axis == 1)
    assert coronal.camera.sides()[:2] == ("L", "R")
    sticks = (np.ptp(picture[coronal.place], axis=2) > 0.3)[30:-30, 30:-30]  # without letters
    labels, count = ndimage.label(sticks, np.ones((3, 3)))
    angles = []
    for number in range(1, count + 1):
        rows, columns = np.nonzero(labels == number)
        if len(rows) > 15:
            values, vectors = np.linalg.eigh(np.cov(columns, -rows))
            if values[1] > 4 * values[0]:
                angles.append(np.degrees(np.arctan(vectors[1, 1] / vectors[0, 1])))
    assert len(angles) > 20
    # 30 degrees up in the world; the cut's own axes are turned a little where it is oblique.
    expected = coronal.camera.axes[:2] @ [np.cos(np.pi / 6), 0, np.sin(np.pi / 6)]
    expected_angle = np.degrees(np.arctan2(expected[1], expected[0]))
    # A stick is about 13 pixels long and 3 wide: a pixel at its end is 4 degrees.
    assert np.median(angles) == pytest.approx(expected_angle, abs=4)


def with_peaks(maps, folder, values):
    path = folder / "peaks.nii.gz"
    write_map(path, values, maps.grid)
    return Maps({**maps.files, "csd_peaks": path})


def test_no_stick_is_longer_than_its_voxel(maps, tmp_path):
    peaks = read_map(maps.files["csd_peaks"], ndim=4)
    one_huge = peaks.copy()
    one_huge[tuple(np.argwhere(peaks.any(axis=3))[::50].T)] *= 50
    np.testing.assert_array_equal(
        DRAW["peaks"](with_peaks(maps, tmp_path, one_huge)).picture, DRAW["peaks"](maps).picture
    )


def test_sticks_are_short_where_there_is_little(maps, tmp_path):
    """A third of the voxels, as white matter is, tells what a whole voxel stands for."""
    peaks = read_map(maps.files["csd_peaks"], ndim=4)
    filled = np.argwhere(peaks.any(axis=3))
    little = peaks.copy()
    little[tuple(filled[: 2 * len(filled) // 3].T)] *= 0.1
    coloured = [
        (np.ptp(DRAW["peaks"](one).picture, axis=2) > 0.3).sum()
        for one in (maps, with_peaks(maps, tmp_path, little))
    ]
    assert coloured[1] < 0.75 * coloured[0]


def test_peaks_are_those_of_csd_and_where_there_are_none_of_csa(maps):
    csa = {"csa_peaks" if key == "csd_peaks" else key: path for key, path in maps.files.items()}
    assert "of the orientation distribution" in DRAW["peaks"](Maps(csa)).caption
    both = Maps({**maps.files, "csa_peaks": maps.files["dwiref"]})
    assert "of the fibre orientation distribution" in DRAW["peaks"](both).caption


def test_without_a_stop_mask_no_border_is_spoken_of(maps):
    files = {key: path for key, path in maps.files.items() if key != "stop_mask"}
    drawn = DRAW["gfa"](Maps(files))
    assert "border" not in drawn.caption and "stop mask" not in drawn.alt


def test_without_gfa_fa_is_shown(maps):
    files = {key: path for key, path in maps.files.items() if key != "csa_gfa"}
    assert DRAW["gfa"](Maps(files)).caption.startswith("FA, ")
    assert DRAW["gfa"](maps).caption.startswith("GFA, ")


def test_values_that_are_not_finite_do_no_harm(maps, tmp_path):
    grid = maps.grid
    broken = np.full(grid.shape, np.nan, np.float32)
    broken[10:15, 10:15, 10:15] = 1
    write_map(tmp_path / "fa.nii.gz", broken, grid)
    seen = DRAW["gfa"](Maps({"tensor_fa": tmp_path / "fa.nii.gz"})).picture
    assert np.isfinite(seen).all() and seen.max() == 1


def test_small_voxels_make_the_sheet_of_sticks_larger(maps, tmp_path):
    affine = maps.grid.affine @ np.diag([0.5, 0.5, 0.5, 1])
    n = [2 * length for length in maps.grid.shape]
    affine[:3, 3] -= affine[:3, :3] @ [0.5, 0.5, 0.5]
    fine = Maps(make_scan(tmp_path, Grid((n[0], n[1], n[2]), affine)))
    coarse_sheet, sheet = fine.few_cuts, fine.closer(fine.few_cuts, 12)
    assert sheet.width > coarse_sheet.width
    assert sheet.scale * fine.upright.voxel_sizes.min() == pytest.approx(12, rel=0.02)
    assert [tile.cut for tile in sheet.tiles] == [tile.cut for tile in coarse_sheet.tiles]
    assert maps.closer(maps.few_cuts, 5) is maps.few_cuts


def test_the_head_fills_the_sheet(maps):
    sheet = paint(maps.many_cuts, lambda tile: maps.ground()(tile.camera))
    filled = np.flatnonzero((sheet > 0.2).any(axis=(0, 2)))
    assert filled[0] < 40 and filled[-1] > sheet.shape[1] - 40
