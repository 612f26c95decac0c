from __future__ import annotations

import dataclasses
import itertools

import nibabel as nib
import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_tract.tools.phantom import (
    FIBRE_DIFFUSIVITY,
    Bundle,
    Ellipsoid,
    Fissure,
    Matter,
    Phantom,
    arc,
    end_labels,
    half_sphere_directions,
    head,
    simulate,
    t1w,
    tissue_fractions,
)
from tests.phantoms import (
    BVAL,
    Scene,
    X,
    Y,
    Z,
    bend,
    centred_affine,
    crossing,
    exact_copies,
    rigid,
    same_region,
    scan,
    straight,
    uniform,
)

HEAD_SHAPE = (40, 48, 36)
HEAD_AFFINE = centred_affine(HEAD_SHAPE, (3.0, 3.0, 3.0))


@pytest.fixture(scope="module")
def head_tissue():
    return tissue_fractions(head(), HEAD_AFFINE, HEAD_SHAPE)


def tensor_directions(scene: Scene, voxels) -> np.ndarray:
    """Principal directions that DIPY finds, in the world of the scene."""
    table = gradient_table(scene.bvals, bvecs=scene.gradients.bvecs)
    evecs = TensorModel(table).fit(scene.data[tuple(np.transpose(voxels))]).evecs
    return evecs[..., 0] @ scene.axes.T


def angle_deg(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.rad2deg(np.arccos(np.clip(np.abs(np.sum(a * b, axis=-1)), 0, 1)))


def middle_of(scene: Scene) -> tuple[int, int, int]:
    """The voxel at the centre of the region, whatever the order of the axes."""
    return tuple(np.array(scene.shape) // 2)


# --- Bundles -----------------------------------------------------------------------------------


def test_arc_is_a_circle_with_its_tangents():
    bundle = Bundle("b", arc((1, 2, 3), 25, X, Z, -20, 140), 4)
    offset = bundle.line - [1, 2, 3]
    np.testing.assert_allclose(np.linalg.norm(offset, axis=1), 25, atol=1e-4)
    assert np.abs(np.sum(offset / 25 * bundle.tangents, axis=1)).max() < 1e-3
    np.testing.assert_allclose(np.linalg.norm(bundle.tangents, axis=1), 1)


def test_two_points_make_a_straight_line():
    bundle = Bundle("b", np.array([[0.0, 0, 0], [0, 6, 8]]), 1)
    np.testing.assert_allclose(bundle.line[[0, -1]], bundle.control)
    np.testing.assert_allclose(bundle.tangents, np.broadcast_to([0, 0.6, 0.8], (201, 3)))


@settings(max_examples=25, deadline=None)
@given(
    st.floats(1, 9),
    st.lists(st.tuples(*[st.floats(-60, 60)] * 3), min_size=1, max_size=20),
)
def test_nearest_agrees_with_the_distance_to_a_circle(within, points):
    points = np.array(points)
    bundle = Bundle("b", arc((0, 0, 0), 30, X, Y, 0, 360), 4)
    in_plane = np.hypot(points[:, 0], points[:, 1])
    distance = np.hypot(in_plane - 30, points[:, 2])
    which, site = bundle.nearest(points, within)
    unclear = np.abs(distance - within) < 1e-2
    expected = set(np.flatnonzero((distance < within) & ~unclear))
    assert expected <= set(which) <= expected | set(np.flatnonzero(unclear))
    to_line = np.linalg.norm(bundle.line[site] - points[which], axis=1)
    np.testing.assert_allclose(to_line, distance[which], atol=1e-2)


# --- Surfaces ----------------------------------------------------------------------------------


def test_depth_below_a_sphere_is_exact():
    points = np.array([[0.0, 0, 0], [5, 0, 0], [0, 11, 0], [6, 0, 8]])
    depth = Ellipsoid((0, 0, 0), (10, 10, 10)).depth(points)
    np.testing.assert_allclose(depth, [10, 5, -1, 0], atol=0.15)
    np.testing.assert_allclose(depth[[0, 3]], [10, 0], atol=1e-12)


def test_distance_from_the_fissure():
    fissure = Fissure(half_width_mm=1.0, floor_mm=10.0)
    points = np.array([[4.0, 0, 20], [0, 0, 7], [4, 5, 6], [0, 0, 20], [0.0, 0, 10.5]])
    np.testing.assert_allclose(fissure.distance(points), [3, 3, 5, -1, -0.5])


# --- Signals -----------------------------------------------------------------------------------


def test_signal_of_one_fibre_is_the_tensor_equation():
    direction = np.array([1.0, 2.0, 2.0]) / 3
    scene = scan(uniform(direction), shape=(2, 2, 2))
    along, across = FIBRE_DIFFUSIVITY
    cosine = scene.gradients_world @ direction
    expected = np.exp(-scene.bvals * (across + (along - across) * cosine**2))
    np.testing.assert_allclose(scene.data, np.broadcast_to(expected, scene.data.shape), rtol=1e-5)


def test_crossing_fibres_share_the_volume_equally():
    scene = scan(crossing(60.0, radius_mm=100.0), shape=(2, 2, 2))
    second = np.array([0.5, np.sqrt(3) / 2, 0])
    alone = [scan(uniform(d), shape=(2, 2, 2)).data for d in (X, second)]
    np.testing.assert_allclose(scene.data, (alone[0] + alone[1]) / 2, rtol=1e-4)


def test_partial_volume_at_a_wall_in_the_middle_of_a_voxel():
    # One voxel, half in the bundle: a wall at x = 0 of a tube so wide that the wall is flat.
    line = np.array([[-1000.0, -5, 0], [-1000, 5, 0]])
    phantom = Phantom((Bundle("b", line, 1000.0),))
    args = (np.eye(4), (1, 1, 1), np.array([Y, X]), np.array([BVAL, BVAL]))
    half = simulate(phantom, *args)[0, 0, 0]
    fibre = np.exp(-BVAL * np.array(FIBRE_DIFFUSIVITY))
    np.testing.assert_allclose(half, (fibre + np.exp(-BVAL * 0.8e-3)) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    "direction", [X, np.array([1.0, 1, 0]) / np.sqrt(2), (X + Y + Z) / 3**0.5]
)
def test_tensor_fit_finds_the_world_direction_on_every_grid(direction):
    for scene in exact_copies(scan(straight(direction))):
        found = tensor_directions(scene, [middle_of(scene)]) @ scene.to_reference[:3, :3].T
        assert angle_deg(found, direction)[0] < 0.05, scene.name


def test_tensor_fit_follows_the_arc():
    scene = scan(bend(30.0))
    centre = np.array([-30.0, -30.0, 0]) / np.sqrt(2)
    voxels = np.argwhere(np.ones(scene.shape))
    points = nib.affines.apply_affine(scene.affine, voxels)
    radius = np.linalg.norm((points - centre)[:, :2], axis=1)
    inner = (np.abs(radius - 30) < 4) & (np.abs(points[:, 2]) < 4)
    assert inner.sum() > 100
    tangent = np.cross(Z, points[inner] - centre)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    assert angle_deg(tensor_directions(scene, voxels[inner]), tangent).max() < 0.3


def test_noise_is_rician_with_the_asked_for_ratio():
    air = Phantom((), brain=Ellipsoid((0, 0, 500), (1, 1, 1)))
    arguments = (centred_affine((30, 30, 30), (1, 1, 1)), (30, 30, 30), np.zeros((1, 3)), [0.0])
    background = simulate(air, *arguments, snr=20, seed=3)
    white = simulate(uniform(), *arguments, snr=20, seed=3)
    # Rayleigh: mean sigma * sqrt(pi / 2). With signal 1: mean sqrt(1 + sigma^2), spread sigma.
    assert background.mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.02)
    assert white.std() == pytest.approx(0.05, rel=0.02)
    assert white.mean() == pytest.approx(1 + 0.05**2 / 2, abs=0.001)


def test_noise_follows_the_seed():
    first, again, other = (
        scan(straight(), shape=(4, 4, 4), snr=30, seed=seed).data for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).mean() > 0.01


# --- Grids and poses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "phantom", [straight(), bend(), crossing(60)], ids=lambda p: p.bundles[0].name
)
def test_exact_copies_are_what_a_scanner_would_see(phantom):
    # Simulated afresh on the grid of the copy, from its own phantom and gradients.
    reference, *copies = exact_copies(scan(phantom, shape=(12, 10, 6)))
    assert [nib.aff2axcodes(c.affine) for c in copies[:4]] == [tuple(c.name) for c in copies[:4]]
    for copy in copies:
        afresh = simulate(copy.phantom, copy.affine, copy.shape, copy.gradients_world, copy.bvals)
        difference = np.abs(afresh - copy.data)
        # A sample that rounding puts on the other side of a wall changes one voxel by 1/8.
        assert np.mean(difference > 1e-4) < 0.01, copy.name
        np.testing.assert_allclose(
            copy.in_reference(corners(copy)).min(0), corners(reference).min(0), atol=1e-9
        )


def corners(scene: Scene) -> np.ndarray:
    far = list(itertools.product(*((0, n - 1) for n in scene.shape)))
    return nib.affines.apply_affine(scene.affine, far)


def test_same_region_covers_the_same_box_with_equal_values():
    scenes = same_region(uniform(np.array([0.6, 0.8, 0])))
    for scene in scenes:
        voxel = np.linalg.norm(scene.affine[:3, :3], axis=0)
        np.testing.assert_allclose(voxel * scene.shape, [40, 40, 24])
        np.testing.assert_allclose(
            nib.affines.apply_affine(scene.affine, (np.array(scene.shape) - 1) / 2), 0, atol=1e-12
        )
        np.testing.assert_allclose(
            scene.data, np.broadcast_to(scenes[0].data[0, 0, 0], scene.data.shape), rtol=1e-6
        )


def test_a_moved_phantom_is_the_phantom_on_a_grid_moved_back():
    motion = rigid(10, -15, (2, 1, -3))
    scene = scan(crossing(60), shape=(8, 8, 6))
    back = np.linalg.inv(motion)
    moved = simulate(
        scene.phantom.moved(motion), scene.affine, scene.shape, scene.gradients_world, scene.bvals
    )
    other = simulate(
        scene.phantom,
        back @ scene.affine,
        scene.shape,
        scene.gradients_world @ back[:3, :3].T,
        scene.bvals,
    )
    np.testing.assert_allclose(moved, other, atol=1e-5)


def test_directions_cover_the_sphere_evenly():
    directions = half_sphere_directions(64)
    np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1)
    cosines = np.abs(directions @ directions.T) - 2 * np.eye(64)
    nearest = np.rad2deg(np.arccos(cosines.max(axis=1)))
    # 64 axes spread perfectly are about 18 degrees apart.
    assert nearest.min() > 10
    np.testing.assert_allclose(directions.T @ directions / 64, np.eye(3) / 3, atol=0.01)


# --- The head ----------------------------------------------------------------------------------


def test_fractions_sum_to_one_in_the_brain(head_tissue):
    total = head_tissue.wm + head_tissue.gm + head_tissue.csf
    voxels = np.argwhere(np.ones(HEAD_SHAPE))
    depth = head().brain.depth(nib.affines.apply_affine(HEAD_AFFINE, voxels)).reshape(HEAD_SHAPE)
    np.testing.assert_array_equal(total[depth > 0], 1)
    np.testing.assert_array_equal(total[depth < -10], 0)


def test_every_bundle_runs_from_cortex_to_cortex_through_white_matter():
    phantom = head()
    for bundle in phantom.bundles:
        matter = phantom.matter(bundle.line)
        runs = matter[np.flatnonzero(np.diff(matter, prepend=-1))]
        inside = [Matter.GM, Matter.WM, Matter.GM]
        assert runs.tolist() == [Matter.AIR, Matter.CSF, *inside, Matter.CSF, Matter.AIR]


def test_head_is_symmetric():
    scene = scan(head(), affine=HEAD_AFFINE, shape=HEAD_SHAPE, directions=6)
    b0 = scene.data[..., 0]
    np.testing.assert_allclose(b0, b0[::-1], atol=1e-6)


def test_bundles_cross_at_right_angles():
    phantom = head()
    named = {bundle.name: bundle for bundle in phantom.bundles}
    crossing_point = np.array([[22.0, -16.0, 12.0]])
    tangents = []
    for name in ("projection_right", "association_right"):
        which, site = named[name].nearest(crossing_point, 1.0)
        assert len(which) == 1
        tangents.append(named[name].tangents[site[0]])
    assert angle_deg(*tangents) == pytest.approx(90)


def test_end_regions_are_apart_and_hold_the_ends_of_their_bundle():
    phantom = head()
    labels, truth = end_labels(phantom, HEAD_AFFINE, HEAD_SHAPE)
    assert sorted(truth["labels"].values()) == list(range(1, 15))
    assert len(truth["valid_pairs"]) == 7
    alone = 0
    for bundle in phantom.bundles:
        one, _ = end_labels(
            dataclasses.replace(phantom, bundles=(bundle,)), HEAD_AFFINE, HEAD_SHAPE
        )
        alone += np.count_nonzero(one)
        matter = phantom.matter(bundle.line)
        white = bundle.line[matter == Matter.WM]
        to_voxel = np.linalg.inv(HEAD_AFFINE)
        found = labels[
            tuple(np.rint(nib.affines.apply_affine(to_voxel, white[[0, -1]])).astype(int).T)
        ]
        assert found.tolist() == [truth["labels"][name] for name in bundle.ends]
        middle = np.rint(nib.affines.apply_affine(to_voxel, white[len(white) // 2])).astype(int)
        assert labels[tuple(middle)] == 0
    assert np.count_nonzero(labels) == alone, "two end regions share a voxel"


def test_t1w_orders_the_tissues(head_tissue):
    image = t1w(head_tissue, snr=30, seed=1)
    means = [image[f > 0.99].mean() for f in (head_tissue.csf, head_tissue.gm, head_tissue.wm)]
    assert 0 < means[0] < means[1] < means[2]
