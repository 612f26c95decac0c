from __future__ import annotations

import numpy as np
import pytest
from dipy.reconst.dti import TensorModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.models.tensor import fit_tensor, tensor_volumes
from bids_tract.core.types import Gradients
from bids_tract.errors import DataError
from bids_tract.tools.phantom import half_sphere_directions
from tests.core.models.scans import FIBERCUP, load_mask, load_scan
from tests.phantoms import crossing, exact_copies, rigid, scan, uniform
from tests.shared_data import needs_shared

DIRECTION = np.array([2.0, 1, 0]) / np.sqrt(5)
SCENES = exact_copies(scan(uniform(DIRECTION), shape=(3, 4, 5), bval=1000.0))


def table(vectors: np.ndarray, b: float | np.ndarray = 1000.0) -> Gradients:
    bvals = np.concatenate([[0.0], np.full(len(vectors), b) if np.isscalar(b) else b])
    return Gradients(bvals, np.vstack([np.zeros(3), vectors]), 50.0)


def test_maps_equal_dipys_inside_the_mask_and_are_zero_outside():
    scene = scan(crossing(), shape=(12, 12, 6), bval=1000.0, snr=20.0)
    mask = np.zeros(scene.shape, bool)
    mask[2:10, 3:9, 1:5] = True
    maps = fit_tensor(scene.data, scene.gradients, mask, rotation=np.eye(3))
    fit = TensorModel(to_dipy(scene.gradients)).fit(scene.data, mask=mask)
    np.testing.assert_allclose(maps.fa, np.clip(np.nan_to_num(fit.fa), 0, 1), atol=1e-5)
    np.testing.assert_allclose(maps.md, fit.md, atol=1e-8)
    np.testing.assert_allclose(maps.colfa, fit.color_fa, atol=1e-5)
    assert maps.fa.dtype == maps.md.dtype == maps.colfa.dtype == np.float32
    assert not maps.fa[~mask].any() and not maps.colfa[~mask].any()


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_colours_follow_the_world_on_every_grid(scene):
    maps = fit_tensor(scene.data, scene.gradients, np.ones(scene.shape, bool), rotation=scene.axes)
    expected = np.abs(np.linalg.inv(scene.to_reference)[:3, :3] @ DIRECTION)
    colours = maps.colfa / maps.fa[..., None]
    np.testing.assert_allclose(colours, np.broadcast_to(expected, colours.shape), atol=1e-3)


def test_order_of_volumes_and_portions_change_nothing():
    scene = scan(crossing(), shape=(8, 8, 3), bval=1000.0, snr=20.0)
    mask = np.ones(scene.shape, bool)
    done: list[int] = []
    maps = fit_tensor(scene.data, scene.gradients, mask, rotation=np.eye(3), progress=done.append)
    assert sum(done) == mask.sum()
    order = np.random.default_rng(0).permutation(len(scene.bvals))
    again = fit_tensor(
        scene.data[..., order], scene.gradients.select(order), mask, rotation=np.eye(3)
    )
    np.testing.assert_allclose(maps.fa, again.fa, atol=1e-6)
    np.testing.assert_allclose(maps.md, again.md, atol=1e-9)


def test_high_shells_are_left_out_where_the_rest_suffices():
    v = half_sphere_directions(30)
    two = table(np.vstack([v, v]), np.repeat([1000.0, 3000.0], 30))
    np.testing.assert_array_equal(tensor_volumes(two), np.arange(31))
    few = table(np.vstack([v[:5], v]), np.repeat([1000.0, 3000.0], [5, 30]))
    np.testing.assert_array_equal(tensor_volumes(few), np.arange(36))
    assert len(tensor_volumes(table(v, 3000.0))) == 31


@pytest.mark.parametrize(
    "vectors",
    [
        half_sphere_directions(5),
        np.tile([[1.0, 0, 0]], (30, 1)),
        np.array([[np.cos(a), np.sin(a), 0] for a in np.linspace(0, np.pi, 20)[:-1]]),
        # A cone about z: twenty directions, but the same sum of squares.
        np.array([[np.cos(a), np.sin(a), 1] for a in np.linspace(0, 6, 20)]) / np.sqrt(2),
    ],
    ids=["five", "one", "plane", "cone"],
)
def test_directions_that_make_no_tensor_are_refused(vectors):
    with pytest.raises(DataError, match="do not determine a tensor"):
        tensor_volumes(table(vectors))
    with pytest.raises(DataError, match="do not determine a tensor"):
        tensor_volumes(table(vectors @ rigid(30, 40)[:3, :3].T))


@needs_shared
def test_fibercup_is_finite_and_in_range():
    data, gradients, rotation = load_scan(FIBERCUP)
    mask = load_mask("fibercup/truth/wm_mask.nii.gz")
    maps = fit_tensor(np.maximum(data, 1), gradients, mask, rotation=rotation)
    assert np.isfinite(maps.md).all() and np.isfinite(maps.colfa).all()
    assert maps.fa.min() >= 0
    assert 0.25 < maps.fa.max() <= 1
    assert 1.5e-3 < np.median(maps.md[mask]) < 2.1e-3  # water at room temperature
