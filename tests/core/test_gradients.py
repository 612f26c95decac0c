from __future__ import annotations

import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.core.gradients import (
    check_world,
    choose_shell,
    direction_cosines,
    find_shells,
    make_gradients,
    max_order,
    resolve_order,
    to_dipy,
    to_image_axes,
    unique_directions,
)
from bids_tract.core.types import Gradients
from bids_tract.errors import DataError
from bids_tract.tools.phantom import half_sphere_directions
from tests.phantoms import exact_copies, rigid, scan, uniform

RAS, LAS = np.diag([2.0, 2, 3, 1]), np.diag([-2.0, 2, 3, 1])
SCENES = exact_copies(scan(uniform(np.array([1.0, 1, 0]) / np.sqrt(2)), shape=(3, 4, 5)))


def series(*shells: tuple[float, int], b0s: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """b-values and vectors of shells (b, directions), the b0s first."""
    bvals = np.concatenate([np.zeros(b0s), *(np.full(n, float(b)) for b, n in shells)])
    bvecs = np.vstack([np.zeros((b0s, 3)), *(half_sphere_directions(n) for _, n in shells)])
    return bvals, bvecs


def table(*shells: tuple[float, int], b0s: int = 1) -> Gradients:
    return Gradients(*series(*shells, b0s=b0s), b0_threshold=50.0)


def make(bvals: np.ndarray, bvecs: np.ndarray, threshold: float = 50.0):
    return make_gradients(bvals, bvecs, LAS, convention="fsl", b0_threshold=threshold)


# --- Frames ---


def test_fsl_vectors_have_x_negated_only_on_right_handed_grids():
    v = np.array([[0.6, 0.8, 0.0]])
    np.testing.assert_array_equal(to_image_axes(v, RAS, "fsl"), [[-0.6, 0.8, 0.0]])
    np.testing.assert_array_equal(to_image_axes(v, LAS, "fsl"), v)
    np.testing.assert_array_equal(to_image_axes(v, RAS, "voxel"), v)
    np.testing.assert_array_equal(to_image_axes(v, LAS, "voxel"), v)


def test_world_vectors_follow_flips_and_turns():
    turned = rigid(0, 90) @ LAS  # image x runs along -y, image y along -x
    np.testing.assert_allclose(
        to_image_axes(np.eye(3), turned, "world"), [[0, -1, 0], [-1, 0, 0], [0, 0, 1]], atol=1e-12
    )


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_a_fibre_points_the_same_way_in_the_world_on_every_grid(scene):
    from dipy.reconst.dti import TensorModel

    expected = np.linalg.inv(scene.to_reference)[:3, :3] @ (np.array([1.0, 1, 0]) / np.sqrt(2))
    for convention, bvecs in (
        ("fsl", scene.bvecs_fsl),
        ("world", scene.gradients_world),
        ("voxel", scene.gradients.bvecs),
    ):
        gradients, notes = make_gradients(
            scene.bvals, bvecs, scene.affine, convention=convention, b0_threshold=50.0
        )
        assert notes == []
        fit = TensorModel(to_dipy(gradients)).fit(scene.data[1, 1, 1])
        found = direction_cosines(scene.affine) @ fit.evecs[:, 0]
        assert np.rad2deg(np.arccos(min(abs(found @ expected), 1.0))) < 0.1


def test_the_world_table_agrees_or_names_the_remedy():
    scene = SCENES[-1]
    check_world(scene.gradients, scene.affine, -scene.gradients_world, scene.bvals)
    wrong = Gradients(scene.bvals, scene.gradients.bvecs * [-1, 1, 1], 50.0)
    with pytest.raises(DataError, match="--bvec-convention"):
        check_world(wrong, scene.affine, scene.gradients_world, scene.bvals)
    with pytest.raises(DataError, match="b-values"):
        check_world(scene.gradients, scene.affine, scene.gradients_world, scene.bvals + 500)
    with pytest.raises(DataError, match="64 rows"):
        check_world(scene.gradients, scene.affine, scene.gradients_world[1:], scene.bvals[1:])
    with pytest.raises(DataError, match="--bvec-convention"):
        check_world(scene.gradients, scene.affine, scene.gradients_world * 0, scene.bvals)


# --- Soundness ---


def changed(values: np.ndarray, index: object, value: object) -> np.ndarray:
    copy = values.copy()
    copy[index] = value
    return copy


B, V = series((1000, 30), b0s=2)


@pytest.mark.parametrize(
    ("bvals", "bvecs", "words"),
    [
        (B[1:], V, "31 b-values"),
        (changed(B, 5, np.nan), V, "volume 5 "),
        (changed(B, [4, 7], -1), V, "volumes 4, 7 "),
        (B / 1000, V, "largest b-value is 1; expected s/mm²"),
        (B * 0, V, "no diffusion weighting"),
        (changed(B, [0, 1], 60), V, "lowest is 60.*--b0-threshold"),
        (B, changed(V, 9, 0.0), "volume 9 "),
        (B, changed(V, (9, 1), np.nan), "volume 9 "),
        (B, changed(V, 3, [0.6, 0.6, 0.7]) * [[1.0]] * 1.2, "length 1.2"),
    ],
)
def test_unusable_tables_are_refused_with_their_volumes(bvals, bvecs, words):
    with pytest.raises(DataError, match=words):
        make(bvals, bvecs)


def test_lengths_near_one_are_corrected_and_said():
    gradients, notes = make(B, changed(V, 6, V[6] * 1.05))
    np.testing.assert_allclose(gradients.bvecs, V, atol=1e-12)
    assert len(notes) == 1 and "volume 6 " in notes[0] and "1.050" in notes[0]
    assert make(B, V * 1.0005)[1] == []


def test_vectors_of_b0_volumes_do_not_matter():
    gradients, notes = make(changed(B, 1, 5.0), changed(changed(V, 0, np.nan), 1, [3, 4, 5]))
    assert notes == []
    np.testing.assert_array_equal(gradients.bvecs[:2], 0)
    assert gradients.is_b0.sum() == 2


def test_a_low_shell_is_pointed_out():
    gradients, notes = make(*series((60, 6), (1000, 30)))
    assert len(notes) == 1 and "60 s/mm²" in notes[0]
    assert gradients.is_b0.sum() == 1


def test_the_input_is_left_alone():
    bvals, bvecs = B.copy(), V * 1.05
    make_gradients(bvals, bvecs, RAS, convention="fsl", b0_threshold=50.0)
    np.testing.assert_array_equal(bvecs, V * 1.05)


@pytest.mark.parametrize("threshold", [0.0, 50.0, 300.0])
def test_dipys_table_is_the_same(threshold, recwarn):
    gradients, _ = make(*series((1000, 30), b0s=2), threshold=threshold)
    ours = to_dipy(gradients)
    assert [w for w in recwarn if "b0_threshold" in str(w.message)] == []
    theirs = gradient_table(B, bvecs=V, b0_threshold=threshold)
    np.testing.assert_array_equal(ours.b0s_mask, theirs.b0s_mask)
    np.testing.assert_allclose(ours.gradients, theirs.gradients, atol=1e-9)


# --- Shells and orders ---


def test_jitter_stays_in_its_shell():
    bvals, bvecs = series((1000, 20), (3000, 30), b0s=2)
    bvals[2:22:2], bvals[3:22:2] = 995, 1005
    bvals[22::2], bvals[23::2] = 2950, 3050
    shells = find_shells(Gradients(bvals, bvecs, 50.0))
    assert [(s.b, len(s.volumes), s.n_unique) for s in shells] == [(1000, 20, 20), (3000, 30, 30)]
    assert shells[0].volumes == tuple(range(2, 22))


@given(seed=st.integers(0, 10**6), turn=st.tuples(st.floats(0, 360), st.floats(0, 360)))
def test_order_sign_and_pose_do_not_change_the_count(seed, turn):
    rng = np.random.default_rng(seed)
    v = half_sphere_directions(30)[rng.integers(0, 30, 40)]
    count = len(np.unique(v, axis=0))
    v = v[rng.permutation(40)] * rng.choice([-1, 1], (40, 1))
    assert unique_directions(v @ rigid(*turn)[:3, :3].T) == count


@given(seed=st.integers(0, 10**6))
def test_shells_do_not_depend_on_the_order_of_volumes(seed):
    order = np.random.default_rng(seed).permutation(1 + 16 + 30)
    gradients = table((700, 16), (2800, 30))
    before, after = find_shells(gradients), find_shells(gradients.select(order))
    assert [(s.b, s.n_unique) for s in before] == [(s.b, s.n_unique) for s in after]
    for old, new in zip(before, after, strict=True):
        assert {int(order[v]) for v in new.volumes} == set(old.volumes)


def test_the_shell_with_the_highest_order_is_chosen_then_the_highest_b():
    volumes, shell, notes = choose_shell(table((700, 16), (1200, 64), (2800, 50)), None)
    assert (shell.b, shell.n_unique) == (1200, 64)
    np.testing.assert_array_equal(volumes, [0, *range(17, 81)])
    assert "b=1200 (64 directions)" in notes[0] and "b=700 (16 directions)" in notes[0]
    assert choose_shell(table((1200, 64), (2800, 60)), None)[1].b == 2800
    assert choose_shell(table((1000, 30)), None)[2] == []


def test_a_requested_shell_is_found_within_100_or_refused():
    gradients = table((700, 16), (2800, 50))
    assert choose_shell(gradients, 750)[1].b == 700
    with pytest.raises(DataError, match=r"b=700 \(16 directions\), b=2800 \(50 directions\)"):
        choose_shell(gradients, 2000)


@pytest.mark.parametrize(("step", "count"), [(80, 25), (400, 25), (400, 11)])
def test_a_grid_is_no_shell(step, count):
    with pytest.raises(DataError, match="grid"):
        choose_shell(table(*((step * n, 6) for n in range(1, count + 1))), None)


@pytest.mark.parametrize(
    ("n", "order"), [(15, 4), (27, 4), (28, 6), (45, 6), (51, 6), (52, 8), (300, 8)]
)
def test_the_order_that_directions_carry(n, order):
    assert max_order(n) == order


def test_too_few_directions_are_refused():
    with pytest.raises(DataError, match="14 unique directions"):
        max_order(14)
    with pytest.raises(DataError, match="14 unique directions"):
        resolve_order(4, 8, 14)


@pytest.mark.parametrize(
    ("requested", "n", "order"),
    [(None, 64, 8), (None, 20, 4), (2, 20, 2), (6, 64, 6), (10, 75, 8), (10, 76, 10)],
)
def test_orders_are_lowered_with_a_word(requested, n, order):
    resolved, notes = resolve_order(requested, 8, n)
    assert resolved == order
    assert bool(notes) == (order != (requested or 8))
    if notes:
        assert f"{n} unique directions" in notes[0] and f"order {order}" in notes[0]
