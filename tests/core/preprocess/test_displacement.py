from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from scipy.linalg import polar
from scipy.spatial.transform import Rotation

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.preprocess.displacement import (
    framewise_displacement,
    phase_axis_of,
    restricted_displacement,
)
from bids_tract.core.preprocess.motion import correct_motion
from bids_tract.core.types import Float64, Gradients
from bids_tract.tools.phantom import half_sphere_directions, head, simulate, tissue_fractions
from tests.core.preprocess.test_motion import rigid, strain
from tests.phantoms import centred_affine

N = 12
Y = np.array([0.0, 1.0, 0.0])

# --- By hand ------------------------------------------------------------------------------------


def test_changes_are_summed_and_rotations_are_arcs():
    parameters = np.array([[0, 0, 0, 0, 0, 0], [1, -2, 0.5, 0, 0.01, 0], [1, -2, 0.5, 0, 0, 0]])
    np.testing.assert_allclose(framewise_displacement(parameters), [np.nan, 3.5 + 0.5, 0.5])


@pytest.mark.parametrize(
    ("said", "axis"),
    [
        ({"PhaseEncodingDirection": "j-"}, 1),
        ({"PhaseEncodingDirection": "i"}, 0),
        ({"PhaseEncodingDirection": "k"}, 2),
        ({"PhaseEncodingAxis": "j"}, 1),
        ({"PhaseEncodingDirection": "AP", "PhaseEncodingAxis": "i"}, 0),
        ({"PhaseEncodingDirection": None}, None),
        ({}, None),
    ],
)
def test_the_axis_is_that_of_the_sidecar(said, axis):
    assert phase_axis_of(said) == axis


numbers = st.floats(-1, 1)
triples = st.tuples(numbers, numbers, numbers).map(np.array)


@given(
    axis=triples.filter(lambda v: np.linalg.norm(v) > 0.1),
    poses=st.lists(st.tuples(triples, triples, triples), min_size=2, max_size=6),
)
@budget(deadline=None, max_examples=50)
def test_what_stretches_shears_and_shifts_along_the_axis_is_no_motion(axis, poses):
    """Whatever the axis: exactly the displacement of the head alone, less that along the axis."""
    axis = axis / np.linalg.norm(axis)
    head_alone, seen, transforms = [], [], []
    for shift, turn, shear in poses:
        head_shift = 5 * (shift - (shift @ axis) * axis)
        rotation = Rotation.from_rotvec(0.2 * turn)
        linear = (np.eye(3) + 0.05 * np.outer(axis, shear)) @ rotation.as_matrix()
        rotated, _ = polar(linear, side="left")  # what a fit of symmetric strains gives
        angles = Rotation.from_matrix(rotated).as_euler("xyz")
        head_alone.append([*head_shift, *rotation.as_euler("xyz")])
        seen.append([*(head_shift + shear[0] * axis), *angles])
        transforms.append(np.block([[linear, np.zeros((3, 1))], [np.zeros(3), 1]]))
    found = restricted_displacement(np.array(seen), np.array(transforms), axis)
    expected = framewise_displacement(np.array(head_alone))
    np.testing.assert_allclose(found, expected, atol=1e-9)
    again = restricted_displacement(np.array(seen), np.array(transforms), -axis)
    np.testing.assert_allclose(again, expected, atol=1e-9)


# --- On a simulated head, whose phase was encoded along y ----------------------------------------


def displacements(shift_mm: tuple[float, float, float], eddy: bool) -> tuple[Float64, Float64]:
    """Framewise displacement, whole and restricted; the head shifts in each second volume."""
    shape = (22, 27, 20)
    affine = centred_affine(shape, (6.0, 6.0, 6.0))
    bvals = np.where(np.arange(N) % 6, 1000.0, 0.0)
    world = np.zeros((N, 3))
    directions = half_sphere_directions(int((bvals > 0).sum()))
    world[bvals > 0] = np.random.default_rng(3).permutation(directions)
    volumes = []
    for i in range(N):
        distortion = np.eye(4)
        if eddy and bvals[i]:
            distortion = strain(world[i])
            distortion[1, 3] = 3.0 * world[i, 0]
        moved = head().moved(rigid(np.array(shift_mm) * (i % 2), np.zeros(3)))
        volume = simulate(
            moved, np.linalg.inv(distortion) @ affine, shape, world[[i]], bvals[[i]], 25, i, 1
        )
        volumes.append(volume[..., 0] / np.linalg.det(distortion))
    tissue = tissue_fractions(head(), affine, shape)
    gradients = Gradients(bvals, world @ direction_cosines(affine), 50.0)
    data = np.stack(volumes, -1).astype(np.float32)
    mask = tissue.wm + tissue.gm > 0.5
    _, motion = correct_motion(data, gradients, mask, affine, eddy=True, n_threads=2)
    whole = motion.framewise_displacement[1:]
    return whole, restricted_displacement(motion.parameters, motion.transforms, Y)[1:]


def test_shifts_by_eddy_currents_are_no_motion_of_the_head():
    whole, restricted = displacements((0, 0, 0), eddy=True)
    # 2.4 and 0.42 measured.
    assert whole.mean() > 1.5
    assert restricted.mean() < 0.5


def test_motion_of_the_head_is():
    whole, restricted = displacements((2.0, 0, 0), eddy=True)
    assert whole.mean() > 2.0
    assert restricted.mean() > 1.7
