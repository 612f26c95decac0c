"""Motion put into a simulated scan exactly (the head is moved, no image is) must be found."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.preprocess.motion import can_register, correct_motion, turn_back
from bids_tract.core.types import Float64, Gradients
from bids_tract.tools.phantom import half_sphere_directions, head, simulate, tissue_fractions
from tests.phantoms import centred_affine

SHAPE = (46, 54, 40)
SPACING = (3.0, 3.0, 3.0)
N = 18


def grid(name: str) -> tuple[Float64, tuple[int, int, int]]:
    """RAS and LAS at 3 mm; oblique at 3.5 x 4 x 4.5 mm."""
    if name == "oblique":
        shape = (38, 40, 27)
        affine = centred_affine(shape, (3.5, 4.0, 4.5))
        turn = np.eye(4)
        turn[:3, :3] = Rotation.from_euler("xyz", [12, -8, 15], degrees=True).as_matrix()
        return turn @ affine, shape
    affine = centred_affine(SHAPE, SPACING)
    if name == "LAS":
        affine[0] *= -1
    return affine, SHAPE


def rigid(shift_mm: Float64, degrees: Float64) -> Float64:
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
    motion[:3, 3] = shift_mm
    return motion


def drift_and_jump() -> Float64:
    """(N, 4, 4): a drift, and from volume 11 on a jump: up to 4 mm and 4 degrees on an axis."""
    way = np.linspace(0, 1, N)[:, None]
    jump = (np.arange(N) >= 11)[:, None]
    shifts = way * [1.5, -1.0, 2.0] + jump * [-2.0, 2.0, 2.0]
    degrees = way * [2.0, 1.0, -1.5] + jump * [2.0, -2.0, -2.0]
    return np.array([rigid(s, d) for s, d in zip(shifts, degrees, strict=True)])


def table(bval: float) -> tuple[Float64, Float64]:
    """b0s are volumes 0 and 12; world directions, both ends of the axes."""
    bvals = np.full(N, bval)
    bvals[[0, 12]] = 0
    directions = half_sphere_directions(N - 2) * np.where(np.arange(N - 2) % 2, 1, -1)[:, None]
    world = np.zeros((N, 3))
    world[bvals > 0] = np.random.default_rng(5).permutation(directions)
    return bvals, world


@cache
def acquired(name: str, bval: float, moving: bool, eddy: bool = False):
    """A scan with known motion: data, table as played out, mask of the reference, affine."""
    affine, shape = grid(name)
    bvals, world = table(bval)
    motions = drift_and_jump() if moving else np.tile(np.eye(4), (N, 1, 1))
    volumes = []
    for i, motion in enumerate(motions):
        distortion = strain(world[i]) if eddy else np.eye(4)
        volume = simulate(
            head().moved(motion), np.linalg.inv(distortion) @ affine, shape,
            world[[i]], bvals[[i]], snr=20, seed=i,
        )[..., 0]  # fmt: skip
        volumes.append(volume / np.linalg.det(distortion))
    tissue = tissue_fractions(head(), affine, shape)
    gradients = Gradients(bvals, world @ direction_cosines(affine), 50.0)
    return np.stack(volumes, -1).astype(np.float32), gradients, tissue.wm + tissue.gm > 0.5, affine


def strain(direction: Float64) -> Float64:
    """Shears and a stretch along y that follow the gradient, of up to 2 %."""
    matrix = np.eye(4)
    matrix[1, :3] += (
        np.array([[0.016, 0.006, 0], [-0.005, 0.014, 0.004], [0, -0.008, 0.015]]) @ direction
    )
    return matrix


def errors(transforms: Float64, truth: Float64, rotations: Float64) -> tuple[Float64, Float64]:
    """mm at the origin (the middle of the head), degrees."""
    shift = np.linalg.norm((transforms - truth)[:, :3, 3], axis=1)
    turn = Rotation.from_matrix(rotations @ truth[:, :3, :3].swapaxes(1, 2)).magnitude()
    return shift, np.rad2deg(turn)


@cache
def corrected(name: str, moving: bool, eddy: bool = False):
    data, gradients, mask, affine = acquired(name, 1000.0, moving, eddy)
    data = data.copy()
    table, motion = correct_motion(data, gradients, mask, affine, eddy=eddy, n_threads=2)
    return data, table, motion


# The bounds asked for: 0.3 mm and 0.5 degrees in every volume.


@pytest.mark.parametrize("name", ["LAS", "oblique"])
def test_shift_is_found(name: str) -> None:
    *_, motion = corrected(name, moving=True)
    shift, _ = errors(motion.transforms, drift_and_jump(), motion.rotations)
    assert motion.applied
    assert shift.max() < 0.3


@pytest.mark.parametrize("name", ["LAS", "oblique"])
def test_rotation_is_found(name: str) -> None:
    *_, motion = corrected(name, moving=True)
    _, turn = errors(motion.transforms, drift_and_jump(), motion.rotations)
    assert turn.max() < 0.5


def test_directions_follow_the_head() -> None:
    _, table, _ = corrected("oblique", moving=True)
    _, acquired_table, _, affine = acquired("oblique", 1000.0, True)
    axes = direction_cosines(affine)
    truth = np.einsum("nji,nj->ni", drift_and_jump()[:, :3, :3], acquired_table.bvecs @ axes.T)
    weighted = ~table.is_b0
    cosine = np.sum((table.bvecs @ axes.T) * truth, axis=1)[weighted]
    assert np.rad2deg(np.arccos(np.clip(cosine, -1, 1))).max() < 0.5
    assert np.all(table.bvecs[~weighted] == 0)


def test_turn_back_by_hand() -> None:
    """A head that turned by 90 degrees about z has its x axis along the world's y.

    A gradient along image axis i of an LAS grid is -x of the world, and thereby +y of the head.
    """
    quarter = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    gradients = Gradients(np.array([0.0, 1000.0]), np.array([[0.0, 0, 0], [1.0, 0, 0]]), 50.0)
    affine = np.diag([-2.0, 2.0, 3.0, 1.0])
    turned = turn_back(gradients, np.array([np.eye(3), quarter]), affine)
    np.testing.assert_allclose(turned.bvecs, [[0, 0, 0], [0, 1, 0]], atol=1e-12)


def test_volumes_come_to_lie_on_each_other() -> None:
    data, _, _ = corrected("LAS", moving=True)
    moved, _, mask, _ = acquired("LAS", 1000.0, True)
    still = acquired("LAS", 1000.0, False)[0]
    edge = ndimage.binary_dilation(mask, iterations=2) & ~ndimage.binary_erosion(mask)
    # The outline is where motion shows; fibres change with the gradient that the head meets.
    before, after = (
        np.abs(series[..., 11:] - still[..., 11:])[edge].mean() for series in (moved, data)
    )
    # 0.07 of 0.16 measured; two noises of SNR 20 differ by 0.056 on average.
    assert after < 0.5 * before
    assert np.array_equal(data[..., 0], moved[..., 0])  # the reference
    assert data.min() >= 0


def test_confounds() -> None:
    *_, motion = corrected("oblique", moving=True)
    shifts, angles = motion.parameters[:, :3], motion.parameters[:, 3:]
    truth = Rotation.from_matrix(drift_and_jump()[:, :3, :3]).as_euler("xyz")
    assert np.abs(angles - truth).max() < np.deg2rad(0.5)
    assert np.all(shifts[0] == 0)
    assert np.isnan(motion.framewise_displacement[0])
    jump = 2 + 2 + 2 + 50 * 3 * np.deg2rad(2.0)  # the drift of a volume adds up to 0.5 mm
    assert np.nanargmax(motion.framewise_displacement) == 11
    assert motion.framewise_displacement[11] == pytest.approx(jump, abs=1.5)


def test_a_still_head_is_left_as_acquired() -> None:
    data, table, motion = corrected("LAS", moving=False)
    before, gradients, *_ = acquired("LAS", 1000.0, False)
    assert not motion.applied
    assert np.array_equal(data, before)
    assert np.array_equal(table.bvecs, gradients.bvecs)
    assert "left as acquired" in motion.notes[-1]


def test_eddy_currents_are_reduced() -> None:
    *_, motion = corrected("RAS", moving=True, eddy=True)
    _, world = table(1000.0)
    found = motion.transforms[:, :3, :3] @ motion.rotations.swapaxes(1, 2) - np.eye(3)
    shears = np.array([strain(direction)[:3, :3] for direction in world]) - np.eye(3)
    truth = (shears + shears.swapaxes(1, 2)) / 2
    assert np.sqrt(np.mean((found - truth) ** 2)) < 0.5 * np.sqrt(np.mean(truth**2))


def test_threads_change_nothing() -> None:
    shape = (20, 24, 18)
    affine = centred_affine(shape, (6.5, 6.5, 6.5))
    bvals, world = table(1000.0)
    keep = [0, 1, 2, 3, 4, 13, 14, 15]
    data = np.concatenate(
        [
            simulate(
                head().moved(drift_and_jump()[i]), affine, shape, world[[i]], bvals[[i]], 20, i, 1
            )
            for i in keep
        ],
        axis=-1,
    )
    gradients = Gradients(bvals[keep], world[keep], 50.0)
    mask = data[..., 0] > 0.4
    results = []
    for n_threads in (1, 2):
        copy, finished = data.copy(), []
        _, motion = correct_motion(
            copy, gradients, mask, affine, eddy=True, n_threads=n_threads, progress=finished.append
        )
        assert sum(finished) == len(keep)
        results.append((copy, motion.transforms))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])


def test_thin_stacks_are_named() -> None:
    assert can_register((72, 72, 39)) is None
    reason = can_register((64, 64, 3, 130))
    assert reason is not None and "64 x 64 x 3" in reason
