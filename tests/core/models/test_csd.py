from __future__ import annotations

import subprocess
import sys
import time
import warnings

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


def dipys(data, gradients, order, evals=EVALS, s0=S0, **settings):
    """(V, K) coefficients of (V, N) signals."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="maximum number of iterations exceeded")
        model = ConstrainedSphericalDeconvModel(
            to_dipy(gradients), (evals, s0), sh_order_max=order, **settings
        )
        return model.fit(data).shm_coeff


def difference(ours, theirs):
    """(V,) relative differences."""
    return np.linalg.norm(ours - theirs, axis=-1) / np.linalg.norm(theirs, axis=-1)


def assert_alike(ours, theirs):
    """Float32 may take another of the scheme's fixed points in one voxel of a thousand."""
    assert np.mean(difference(ours, theirs) < 1e-4) >= 0.999
    assert np.median(difference(ours, theirs)) < 5e-6


@pytest.mark.parametrize(
    ("order", "directions"), [(2, 30), (4, 30), (6, 64), (8, 64), (10, 80), (12, 100)]
)
def test_coefficients_equal_dipys(order, directions):
    scene = scan(crossing(), shape=(8, 8, 3), snr=25.0, directions=directions)
    field, n_failed = fit_csd(scene.data, scene.gradients, MASK, order, EVALS, S0)
    assert n_failed == 0 and field.lmax == order
    assert_alike(field.coeffs[MASK], dipys(scene.data[MASK], scene.gradients, order))
    assert not field.coeffs[~MASK].any()


@pytest.mark.parametrize("bval", [700.0, 1000.0, 3000.0])
def test_coefficients_of_a_noisy_field_equal_dipys(bval):
    scene = scan(crossing(60.0), shape=(24, 24, 5), snr=15.0, bval=bval)
    mask = np.ones(scene.shape, bool)
    field, n_failed = fit_csd(scene.data, scene.gradients, mask, 8, EVALS, S0)
    assert n_failed == 0
    assert_alike(field.coeffs[mask], dipys(scene.data[mask], scene.gradients, 8))


def test_in_float64_every_voxel_equals_dipys(monkeypatch):
    monkeypatch.setattr(csd, "_HIGHEST_SINGLE_ORDER", 0)
    scene = scan(crossing(60.0), shape=(20, 20, 5), snr=15.0, bval=1000.0)
    mask = np.ones(scene.shape, bool)
    for order in (4, 8):
        field, _ = fit_csd(scene.data, scene.gradients, mask, order, EVALS, S0)
        theirs = dipys(scene.data[mask], scene.gradients, order)
        assert difference(field.coeffs[mask], theirs).max() < 2e-7


@pytest.mark.parametrize("limit", [1, 2])
def test_iterations_are_dipys(monkeypatch, limit):
    monkeypatch.setattr(csd, "CONVERGENCE", limit)
    field, _ = fit_csd(SCENE.data, SCENE.gradients, MASK, 8, EVALS, S0)
    theirs = dipys(SCENE.data[MASK], SCENE.gradients, 8, convergence=limit)
    assert_alike(field.coeffs[MASK], theirs)


def test_a_response_without_an_axis_and_directions_that_do_not_suffice():
    evals = np.array([1.6e-3, 5e-4, 2e-4])
    scene = scan(crossing(), shape=(8, 8, 3), snr=25.0, directions=40)
    field, _ = fit_csd(scene.data, scene.gradients, MASK, 6, evals, S0)
    assert_alike(field.coeffs[MASK], dipys(scene.data[MASK], scene.gradients, 6, evals=evals))
    # 40 directions for 45 coefficients: the normal matrix needs its ridge.
    with pytest.warns(UserWarning, match="Number of parameters"):
        theirs = dipys(scene.data[MASK], scene.gradients, 8)
    field, n_failed = fit_csd(scene.data, scene.gradients, MASK, 8, EVALS, S0)
    assert n_failed == 0
    assert_alike(field.coeffs[MASK], theirs)


def test_threads_and_portions_change_no_byte(monkeypatch):
    whole, _ = fit_csd(SCENE.data, SCENE.gradients, MASK, 8, EVALS, S0)
    few = MASK & (np.random.default_rng(3).random(SCENE.shape) > 0.7)
    part, _ = fit_csd(SCENE.data, SCENE.gradients, few, 8, EVALS, S0)
    np.testing.assert_array_equal(part.coeffs[few], whole.coeffs[few])
    monkeypatch.setattr(csd, "_SLAB", 11)
    done: list[int] = []
    for n_threads in (1, 3):
        slabs, _ = fit_csd(
            SCENE.data, SCENE.gradients, MASK, 8, EVALS, S0,
            progress=done.append, n_threads=n_threads,
        )  # fmt: skip
        np.testing.assert_array_equal(whole.coeffs, slabs.coeffs)
    assert max(done) == 11 and sum(done) == 2 * MASK.sum()


def test_the_order_of_volumes_and_of_bytes_change_nothing(tmp_path):
    whole, _ = fit_csd(SCENE.data, SCENE.gradients, MASK, 8, EVALS, S0)
    mapped = np.memmap(tmp_path / "data", np.float32, mode="w+", shape=SCENE.data.shape, order="F")
    mapped[:] = SCENE.data
    same, _ = fit_csd(mapped, SCENE.gradients, MASK, 8, EVALS, S0)
    np.testing.assert_array_equal(whole.coeffs, same.coeffs)
    order = np.random.default_rng(1).permutation(len(SCENE.bvals))
    shuffled, _ = fit_csd(
        SCENE.data[..., order], SCENE.gradients.select(order), MASK, 8, EVALS, S0
    )
    np.testing.assert_allclose(whole.coeffs, shuffled.coeffs, atol=1e-5)


def test_strange_voxels():
    strange = {
        "as it is": SCENE.data[4, 4, 1],
        "zero": np.zeros(65),
        "negative": -SCENE.data[4, 4, 1],
        "constant": np.ones(65),
        "one spike": np.eye(65)[7],
        "alternating": np.resize([1.0, -1.0], 65),
        "huge": SCENE.data[4, 4, 1] * 1e25,
        "tiny": SCENE.data[4, 4, 1] * 1e-25,
    }
    data = np.array([*strange.values()], np.float32)[:, None, None]
    field, n_failed = fit_csd(data, SCENE.gradients, np.ones(data.shape[:3], bool), 8, EVALS, S0)
    assert n_failed == 0
    theirs = dipys(data[:, 0, 0].astype(float), SCENE.gradients, 8)
    for name, a, b in zip(strange, field.coeffs[:, 0, 0].astype(float), theirs, strict=True):
        assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b), name


def test_first_guesses_side_by_side():
    """Low orders that find small directions, or do not though high orders do, or none at all."""
    fods = np.zeros((4, 45))
    fods[:, 0] = 1
    fods[1, 18] = fods[2, 3] = 2.0  # orders 6 and 2
    model = ConstrainedSphericalDeconvModel(to_dipy(SCENE.gradients), (EVALS, S0))
    signals = np.array([model.predict(fod) for fod in fods], np.float32)
    mask = np.ones((4, 1, 1), bool)
    field, _ = fit_csd(signals[:, None, None], SCENE.gradients, mask, 8, EVALS, S0)
    ours = field.coeffs[mask]
    # Without constraint the solution is the FOD itself, but for float32 in the weakest order.
    np.testing.assert_allclose(ours[[0, 3], :28], fods[[0, 3], :28], atol=1e-3)
    assert (difference(ours[1:3], fods[1:3]) > 0.1).all()
    assert_alike(ours[1:3], dipys(signals[1:3].astype(float), SCENE.gradients, 8))


def test_a_second_process_compiles_nothing():
    fit_csd(SCENE.data, SCENE.gradients, MASK, 4, EVALS, S0)  # leaves the code on the disk
    program = """
import numpy as np
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.csd_kernels import deconvolve
from bids_tract.core.types import Gradients

bvecs = np.random.default_rng(0).normal(size=(31, 3))
bvecs /= np.linalg.norm(bvecs, axis=1, keepdims=True)
bvecs[0] = 0
table = Gradients(np.r_[0.0, np.full(30, 1000.0)], bvecs, 50.0)
data, mask = np.ones((1, 1, 1, 31), np.float32), np.ones((1, 1, 1), bool)
fit_csd(data, table, mask, 4, np.array([1.7e-3, 3e-4, 3e-4]), 1.0)
print(sum(deconvolve.stats.cache_hits.values()), sum(deconvolve.stats.cache_misses.values()))
"""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert run.stdout.split() == ["1", "0"]


def test_voxels_that_fail_are_zero_and_counted():
    data = SCENE.data.copy()
    data[0, 0, 0, 3], data[0, 1, 0, 5], data[0, 2, 0] = np.nan, np.inf, 3e38
    everywhere = np.ones(SCENE.shape, bool)
    field, n_failed = fit_csd(data, SCENE.gradients, everywhere, 6, EVALS, S0)
    assert n_failed == 3
    assert np.isfinite(field.coeffs).all() and not field.coeffs[0, :3, 0].any()
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
    sanitise(data, mask)
    # The tensor whose signal at b = 3000 is that of MRtrix's response.txt (weighted fit).
    evals, s0 = np.array([1.435e-3, 3.481e-4, 3.481e-4]), 349.6
    field, n_failed = fit_csd(data, gradients, mask, 8, evals, s0)
    assert n_failed == 0
    assert_alike(field.coeffs[mask], dipys(data[mask], gradients, 8, evals, s0))
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
    sanitise(data, mask)
    fa = fit_tensor(data, gradients, mask, rotation=rotation).fa
    response, _ = estimate_response(data, gradients, mask, fa)
    field, n_failed = fit_csd(data, gradients, mask, 8, response.evals, response.s0)
    assert n_failed == 0
    assert_alike(field.coeffs[mask], dipys(data[mask], gradients, 8, response.evals, response.s0))
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
    sanitise(data, mask)
    started = time.process_time()
    evals, s0 = np.array([1.5e-3, 3.4e-4, 3.4e-4]), 300.0
    field, n_failed = fit_csd(data, gradients, mask, 4, evals, s0)
    peaks = find_peaks(field, mask, relative_threshold=0.5, min_separation_deg=25)
    assert time.process_time() - started < 30
    assert n_failed == 0 and np.isfinite(peaks).all()
    some = mask & (np.arange(mask.size).reshape(mask.shape) % 17 == 0)
    assert_alike(field.coeffs[some], dipys(data[some], gradients, 4, evals, s0))
    # The body of the corpus callosum runs from side to side.
    fa = fit_tensor(data, gradients, mask, rotation=rotation)
    red = (fa.fa > 0.7) & (fa.colfa[..., 0] > 0.65)
    first = peaks[red][:, :3] @ rotation.T
    assert np.median(angle_deg(first, np.array([1.0, 0, 0]))) < 25
