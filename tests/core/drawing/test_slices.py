from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_tract.core.drawing.camera import VIEWS, Camera, look_from
from bids_tract.core.drawing.slices import Upright, outline, see


def affine_of(rotation, sizes, origin):
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(sizes)
    affine[:3, 3] = origin
    return affine


TURN = Rotation.from_euler("xyz", [12, -31, 8], degrees=True).as_matrix()
AFFINES = {
    "RAS": affine_of(np.eye(3), (2, 2, 2), (-10, -12, -8)),
    "LAS": affine_of(np.eye(3), (-2, 2, 2.5), (10, -12, -8)),
    "LPI": affine_of(np.eye(3), (-1, -2, -3), (10, 12, 8)),
    "ASR": affine_of(np.eye(3)[:, [1, 2, 0]], (3, 1, 2), (-10, -12, -8)),
    "oblique": affine_of(TURN, (-2, 1.5, 4), (8, -11, -4)),
    "oblique ASL": affine_of(TURN @ np.eye(3)[:, [1, 2, 0]], (3, 1, -2), (8, -11, -4)),
}
SHAPE = (10, 12, 8)


@pytest.fixture(params=AFFINES)
def affine(request):
    return AFFINES[request.param]


def test_upright_is_what_nibabel_makes(affine):
    data = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    expected = nib.as_closest_canonical(nib.Nifti1Image(data, affine))
    upright = Upright.of(SHAPE, affine)
    assert upright.shape == expected.shape
    np.testing.assert_array_equal(upright.bring(data), expected.get_fdata())
    np.testing.assert_allclose(upright.affine, expected.affine, atol=1e-9)


def test_further_axes_stay(affine):
    data = np.random.default_rng(0).random((*SHAPE, 3))
    upright = Upright.of(SHAPE, affine)
    np.testing.assert_array_equal(upright.bring(data)[..., 2], upright.bring(data[..., 2]))


def test_the_tilt_is_the_largest_angle():
    turned = affine_of(
        Rotation.from_euler("z", 20, degrees=True).as_matrix(), (-1, 2, 3), (0,) * 3
    )
    assert Upright.of(SHAPE, turned).tilt == pytest.approx(20)
    assert Upright.of(SHAPE, AFFINES["ASR"]).tilt == pytest.approx(0)


@pytest.mark.parametrize("view", [*VIEWS.values(), (30, 40)])
def test_a_voxel_is_seen_at_its_place_in_mm(affine, view):
    voxel = (6, 3, 5)
    volume = np.zeros(SHAPE, np.float32)
    volume[voxel] = 1
    place = affine[:3, :3] @ voxel + affine[:3, 3]
    axes = look_from(*view)
    # The camera's centre is elsewhere in the same plane, so that the place is off the middle.
    camera = Camera(axes, place - 6 * axes[0] + 3 * axes[1], 4.0, (101, 81))
    seen = see(volume, affine, camera)
    column, row, _ = camera.project(place[None])[0]
    assert (column, row) == (pytest.approx(74), pytest.approx(52))
    assert np.unravel_index(seen.argmax(), seen.shape) == (52, 74)
    assert seen[52, 74] == pytest.approx(1, abs=1e-5)


def test_voxels_reach_to_their_edges_and_nothing_beyond():
    volume = np.ones((4, 4, 1), np.float32)
    camera = Camera(look_from(*VIEWS["top"]), np.array([1.5, 1.5, 0.0]), 2.0, (20, 20))
    for order in (0, 1):
        seen = see(volume, np.eye(4), camera, order)
        assert seen.sum() == 8 * 8
        assert (seen[6:14, 6:14] == 1).all()


def test_between_voxels_values_are_interpolated():
    volume = np.broadcast_to(np.arange(4, dtype=np.float32)[:, None, None], (4, 4, 4)).copy()
    camera = Camera(look_from(*VIEWS["top"]), np.array([1.5, 1.0, 1.0]), 2.0, (4, 1))
    np.testing.assert_allclose(see(volume, np.eye(4), camera)[0], [0.75, 1.25, 1.75, 2.25])


def test_channels_stay_apart():
    volume = np.random.default_rng(0).random((4, 5, 6, 3)).astype(np.float32)
    camera = Camera(look_from(*VIEWS["top"]), np.array([2.0, 2.0, 3.0]), 3.0, (9, 7))
    seen = see(volume, np.eye(4), camera)
    assert seen.shape == (7, 9, 3)
    np.testing.assert_array_equal(seen[..., 1], see(volume[..., 1], np.eye(4), camera))


# --- Outlines ----------------------------------------------------------------------------------

ROWS, COLUMNS = np.mgrid[:60, :60]
DISC = (20 - np.hypot(ROWS - 30, COLUMNS - 30)).astype(np.float32)  # 0 at 20 pixels, slope 1


def test_the_outline_follows_the_level():
    line = outline(DISC, 5.0, 2.0)
    rows, columns = np.nonzero(line > 0.5)
    radius = np.hypot(rows - 30, columns - 30)
    assert (np.abs(radius - 15) <= 1.1).all()
    # The area of a ring of that width; the gradient of a disc is 1 to within a percent.
    assert line.sum() == pytest.approx(2 * np.pi * 15 * 2, rel=0.03)


def test_an_outline_inside_leaves_room_for_the_neighbours():
    line, other = outline(DISC, 5.0, 2.0, inside=True), outline(-DISC, -5.0, 2.0, inside=True)
    assert line[30, 30 + 14] == pytest.approx(1) == other[30, 30 + 16]
    assert line[30, 30 + 16] == pytest.approx(0, abs=1e-5) == other[30, 30 + 14]


def test_a_flat_picture_has_no_outline():
    assert not outline(np.full((5, 5), 0.5, np.float32), 0.5, 2.0).any()
