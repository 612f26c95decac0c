from __future__ import annotations

import numpy as np
import pytest
from dipy.reconst.csdeconv import auto_response_ssst

from bids_tract.core.gradients import to_dipy
from bids_tract.core.masks import brain_mask, sanitise
from bids_tract.core.models.response import estimate_response
from bids_tract.core.models.tensor import fit_tensor
from bids_tract.errors import DataError
from tests.core.models.scans import FIBERCUP, XA30, load_mask, load_scan
from tests.phantoms import Scene, scan, straight
from tests.shared_data import needs_shared


def bundle(snr: float | None = 30.0, **kwargs) -> Scene:
    return scan(straight(), shape=(26, 20, 10), bval=1000.0, snr=snr, **kwargs)


def fa_of(scene: Scene) -> np.ndarray:
    everywhere = np.ones(scene.shape, bool)
    return fit_tensor(scene.data, scene.gradients, everywhere, rotation=np.eye(3)).fa


@pytest.mark.parametrize("order", [np.arange(65), np.random.default_rng(0).permutation(65)])
def test_it_is_dipys_where_the_centre_holds_enough_fibres(order):
    scene = bundle()
    gradients, data = scene.gradients.select(order), scene.data[..., order]
    mask = np.ones(scene.shape, bool)
    response, notes = estimate_response(data, gradients, mask, fa_of(scene))
    (evals, s0), _ = auto_response_ssst(to_dipy(gradients), data, roi_radii=10, fa_thr=0.7)
    np.testing.assert_allclose(response.evals, evals, rtol=1e-5)
    assert response.s0 == pytest.approx(s0, rel=1e-5)
    assert response.n_voxels > 30 and response.fa_threshold == 0.7
    assert response.evals[1] == response.evals[2]
    assert notes == []


def test_fibres_far_from_the_centre_are_found_and_said():
    scene = scan(straight(radius_mm=4.0), shape=(20, 40, 10), bval=1000.0, snr=30.0)
    moved = np.roll(scene.data, 16, axis=1)
    fa = np.roll(fa_of(scene), 16, axis=1)
    mask = np.ones(scene.shape, bool)
    response, notes = estimate_response(moved, scene.gradients, mask, fa)
    assert response.source == "FA > 0.7 in the whole mask"
    assert len(notes) == 1 and "holds 0 voxels with FA above 0.7" in notes[0]
    assert 0.1 < response.evals[1] / response.evals[0] < 0.3


def test_the_highest_fa_is_taken_where_none_reaches_the_bound():
    scene = bundle()
    fa = fa_of(scene) * 0.5
    mask = np.ones(scene.shape, bool)
    response, notes = estimate_response(scene.data, scene.gradients, mask, fa)
    assert response.n_voxels == mask.sum() // 100
    assert response.fa_threshold == pytest.approx(np.sort(fa.ravel())[-response.n_voxels])
    assert "highest FA" in response.source and f"{response.fa_threshold:.2f}" in notes[0]
    assert 0.1 < response.evals[1] / response.evals[0] < 0.3


def test_noise_at_the_rim_is_left_out():
    scene = bundle()
    fa = fa_of(scene) * 0.5
    data = scene.data.copy()
    data[0] *= 0.01
    fa[0] = 0.6
    response, _ = estimate_response(data, scene.gradients, np.ones(scene.shape, bool), fa)
    assert response.fa_threshold < 0.5
    assert response.s0 > 0.5


def test_water_is_no_fibre():
    scene = bundle()
    b = scene.bvals
    rng = np.random.default_rng(0)
    water = np.exp(-b * 2e-3) * np.ones((*scene.shape, 1)) + rng.normal(0, 1e-3, scene.data.shape)
    still = Scene("", scene.phantom, water.astype(np.float32), scene.affine, b,
                  scene.gradients_world)  # fmt: skip
    fa = fa_of(still)
    with pytest.raises(DataError, match=f"highest FA in the mask is {fa.max():.2f}.*--response"):
        estimate_response(still.data, still.gradients, np.ones(scene.shape, bool), fa)


@pytest.mark.parametrize("voxels", [0, 5])
def test_a_mask_of_nothing_is_refused(voxels):
    scene = bundle()
    mask = np.zeros(scene.shape, bool)
    mask[0, :voxels, 0] = True
    with pytest.raises(DataError, match=f"holds {voxels} voxels"):
        estimate_response(scene.data, scene.gradients, mask, fa_of(scene))


@needs_shared
def test_fibercup_falls_back_and_says_so():
    data, gradients, rotation = load_scan(FIBERCUP)
    mask = load_mask("fibercup/truth/wm_mask.nii.gz")
    sanitise(data, mask)
    fa = fit_tensor(data, gradients, mask, rotation=rotation).fa
    response, notes = estimate_response(data, gradients, mask, fa)
    assert 0.5 < response.evals[1] / response.evals[0] < 0.7
    assert 300 < response.s0 < 500
    assert "highest FA" in notes[0] and "unusual" in notes[1]


@needs_shared
def test_a_human_response_is_a_human_response():
    data, gradients, rotation = load_scan(XA30)
    mask, _ = brain_mask(data, gradients)
    sanitise(data, mask)
    fa = fit_tensor(data, gradients, mask, rotation=rotation).fa
    response, notes = estimate_response(data, gradients, mask, fa)
    assert notes == []
    assert 1.2e-3 < response.evals[0] < 1.9e-3
    assert 0.15 < response.evals[1] / response.evals[0] < 0.35
