from __future__ import annotations

import time

import numpy as np
import pytest
from dipy.reconst.csdeconv import ConstrainedSphericalDeconvModel
from dipy.reconst.shm import real_sh_tournier, sh_to_sf_matrix

from bids_tract.core.gradients import to_dipy
from bids_tract.core.masks import brain_mask, sanitise
from bids_tract.core.models import csd
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.peaks import CSD_PEAKS, find_peaks
from bids_tract.core.models.response import estimate_response
from bids_tract.core.models.tensor import fit_tensor
from bids_tract.core.sphere import tracking_sphere
from bids_tract.errors import DataError
from tests.core.models.scans import (
    CROP,
    FIBERCUP,
    XA30,
    angle_deg,
    load_mask,
    load_scan,
    load_volume,
)
from tests.phantoms import crossing, exact_copies, scan, uniform
from tests.shared_data import needs_shared

SCENE = scan(crossing(), shape=(8, 8, 3), snr=25.0)
MASK = np.random.default_rng(0).random(SCENE.shape) > 0.3
EVALS, S0 = np.array([1.7e-3, 3e-4, 3e-4]), 1.0
FIBRE = np.array([1.0, 1, 0]) / np.sqrt(2)
COPIES = exact_copies(scan(uniform(FIBRE), shape=(2, 3, 4)))


@pytest.mark.parametrize("order", [4, 6, 8])
def test_coefficients_equal_dipys(order):
    field, n_failed = fit_csd(SCENE.data, SCENE.gradients, MASK, order, EVALS, S0)
    model = ConstrainedSphericalDeconvModel(
        to_dipy(SCENE.gradients), (EVALS, S0), sh_order_max=order
    )
    assert n_failed == 0 and field.lmax == order
    np.testing.assert_allclose(
        field.coeffs[MASK], model.fit(SCENE.data[MASK]).shm_coeff, rtol=1e-5, atol=1e-6
    )
    assert not field.coeffs[~MASK].any()


def test_portions_and_the_order_of_volumes_change_nothing(monkeypatch):
    whole, _ = fit_csd(SCENE.data, SCENE.gradients, MASK, 8, EVALS, S0)
    monkeypatch.setattr(csd, "_SLAB", 11)
    done: list[int] = []
    parts, _ = fit_csd(SCENE.data, SCENE.gradients, MASK, 8, EVALS, S0, progress=done.append)
    np.testing.assert_array_equal(whole.coeffs, parts.coeffs)
    assert max(done) == 11 and sum(done) == MASK.sum()
    order = np.random.default_rng(1).permutation(len(SCENE.bvals))
    shuffled, _ = fit_csd(
        SCENE.data[..., order], SCENE.gradients.select(order), MASK, 8, EVALS, S0
    )
    np.testing.assert_allclose(whole.coeffs, shuffled.coeffs, atol=1e-5)


def test_voxels_that_fail_are_zero_and_counted():
    data = SCENE.data.copy()
    data[0, 0, 0, 3], data[0, 1, 0, 5] = np.nan, np.inf
    everywhere = np.ones(SCENE.shape, bool)
    field, n_failed = fit_csd(data, SCENE.gradients, everywhere, 6, EVALS, S0)
    assert n_failed == 2
    assert np.isfinite(field.coeffs).all() and not field.coeffs[0, :2, 0].any()
    with pytest.raises(DataError, match="97 of 192 voxels"):
        data[:4, ..., 1] = np.nan
        data[4, 0, 0, 1] = np.nan
        fit_csd(data, SCENE.gradients, everywhere, 6, EVALS, S0)


@pytest.mark.parametrize("scene", COPIES, ids=lambda scene: scene.name)
def test_a_fibre_points_the_same_way_in_the_world_on_every_grid(scene):
    mask = np.ones(scene.shape, bool)
    field, _ = fit_csd(scene.data, scene.gradients, mask, 8, EVALS, S0)
    peaks = find_peaks(field, mask, relative_threshold=0.5, min_separation_deg=25)
    expected = np.linalg.inv(scene.to_reference)[:3, :3] @ FIBRE
    # No direction of the sphere lies closer to the fibre (they are about 5 degrees apart).
    closest = angle_deg(tracking_sphere().vertices @ scene.axes.T, expected).min()
    assert angle_deg(peaks[..., :3] @ scene.axes.T, expected).max() < closest + 1e-3


@needs_shared
def test_fods_agree_with_mrtrix():
    data, gradients, rotation = load_scan(CROP)
    mask = load_mask("csdreference/mask_b3000.nii.gz")
    data, _ = sanitise(data, mask)
    # The tensor whose signal at b = 3000 is that of MRtrix's response.txt (weighted fit).
    evals, s0 = np.array([1.435e-3, 3.481e-4, 3.481e-4]), 349.6
    field, n_failed = fit_csd(data, gradients, mask, 8, evals, s0)
    assert n_failed == 0
    # MRtrix keeps its FODs in world axes: sample them where our directions lie in the world.
    sphere = tracking_sphere()
    x, y, z = rotation @ sphere.vertices.T
    basis, _, _ = real_sh_tournier(8, np.arccos(z), np.arctan2(y, x), legacy=False)
    theirs = load_volume("csdreference/csd_fod_b3000_mrtrix_lmax8.nii.gz")[mask] @ basis.T
    sampling = sh_to_sf_matrix(
        sphere, sh_order_max=8, basis_type="descoteaux07", legacy=True, return_inv=False
    )
    ours = field.coeffs[mask] @ sampling
    alike = [np.corrcoef(a, b)[0, 1] for a, b in zip(ours, theirs, strict=True)]
    assert np.median(alike) > 0.9 and np.min(alike) > 0.75
    # Our highest peak is one of theirs; 8 degrees are two neighbours on the sphere.
    first = sphere.vertices[ours.argmax(axis=1)]
    distances = []
    for direction, amplitudes in zip(first, theirs, strict=True):
        near = angle_deg(sphere.vertices, direction) < 9
        distances.append(amplitudes[near].max() / amplitudes.max())
    assert np.mean(np.array(distances) > 0.5) > 0.95


@needs_shared
def test_fibercup_gives_sharp_fods_in_its_plane():
    data, gradients, rotation = load_scan(FIBERCUP)
    mask = load_mask("fibercup/truth/wm_mask.nii.gz")
    data, _ = sanitise(data, mask)
    fa = fit_tensor(data, gradients, mask, rotation=rotation).fa
    response, _ = estimate_response(data, gradients, mask, fa)
    field, n_failed = fit_csd(data, gradients, mask, 8, response.evals, response.s0)
    assert n_failed == 0
    relative, separation = CSD_PEAKS
    peaks = find_peaks(field, mask, relative_threshold=relative, min_separation_deg=separation)[
        mask
    ].reshape(-1, 5, 3)
    amplitude = np.linalg.norm(peaks, axis=-1)
    mean = field.coeffs[mask][:, 0] * np.sqrt(1 / (4 * np.pi))
    assert np.median(amplitude[:, 0] / mean) > 8
    assert np.median(np.abs(peaks[:, 0, 2]) / amplitude[:, 0]) < 0.12  # all fibres lie in x-y
    assert np.mean((amplitude > 0).sum(axis=1) == 1) > 0.6


@needs_shared
def test_a_brain_takes_seconds():
    data, gradients, rotation = load_scan(XA30)
    mask, _ = brain_mask(data, gradients)
    data, _ = sanitise(data, mask)
    started = time.process_time()
    field, n_failed = fit_csd(data, gradients, mask, 4, np.array([1.5e-3, 3.4e-4, 3.4e-4]), 300.0)
    peaks = find_peaks(field, mask, relative_threshold=0.5, min_separation_deg=25)
    assert time.process_time() - started < 30
    assert n_failed == 0 and np.isfinite(peaks).all()
    # The body of the corpus callosum runs from side to side.
    fa = fit_tensor(data, gradients, mask, rotation=rotation)
    red = (fa.fa > 0.7) & (fa.colfa[..., 0] > 0.65)
    first = peaks[red][:, :3] @ rotation.T
    assert np.median(angle_deg(first, np.array([1.0, 0, 0]))) < 25
