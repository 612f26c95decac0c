from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from dipy.denoise.localpca import mppca
from dipy.reconst.dti import TensorModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.preprocess import denoise
from bids_tract.core.preprocess.denoise import (
    denoise_mppca,
    denoise_patch2self,
    enough_volumes,
)
from bids_tract.core.types import Bool, Float32, Gradients
from bids_tract.tools.phantom import head, tissue_fractions
from tests.phantoms import Scene, centred_affine, gradient_table, scan

SHAPE, SPACING = (28, 34, 25), (4.0, 4.0, 4.0)
SNR = 18.0


@cache
def simulated(directions: int, snr: float | None) -> Scene:
    return scan(
        head(), shape=SHAPE, spacing_mm=SPACING, directions=directions, bval=1000.0, snr=snr,
        seed=1,
    )  # fmt: skip


@cache
def tissue():
    return tissue_fractions(head(), centred_affine(SHAPE, SPACING), SHAPE)


def fa(data: Float32, gradients: Gradients, mask: Bool) -> np.ndarray:
    return TensorModel(to_dipy(gradients)).fit(data[mask]).fa


def noise(shape=(20, 13, 11), n_volumes=9, seed=0) -> Float32:
    values = 100 + 5 * np.random.default_rng(seed).standard_normal((*shape, n_volumes))
    return values.astype(np.float32)


# --- Marchenko-Pastur PCA ---


@pytest.mark.parametrize("directions", [32, 64])
def test_a_simulated_brain_becomes_clearer_and_its_fa_truer(directions):
    clean, noisy = simulated(directions, None), simulated(directions, SNR)
    mask = tissue().wm + tissue().gm + tissue().csf > 0.5
    white = tissue().wm > 0.9
    data = noisy.data.copy()
    sigma = denoise_mppca(data, mask, n_threads=1)

    before, after = ((d - clean.data)[mask].std() for d in (noisy.data, data))
    assert before > 1.5 * after  # the signal is as it was: so rises the ratio
    b0_before, b0_after = ((d - clean.data)[mask, 0].std() for d in (noisy.data, data))
    assert b0_after < b0_before
    truth = fa(clean.data, clean.gradients, white)
    bias_before, bias_after = (
        abs(np.mean(fa(d, clean.gradients, white) - truth)) for d in (noisy.data, data)
    )
    assert bias_after < min(0.02, bias_before)
    assert np.median(sigma[mask]) == pytest.approx(1 / SNR, rel=0.06)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_tiles_give_what_the_whole_gives(monkeypatch, n_threads):
    monkeypatch.setattr(denoise, "_PLANES", 3)
    monkeypatch.setattr(denoise, "_WIDTH", 7)
    rng = np.random.default_rng(2)
    data = noise() * rng.uniform(0.5, 2, (20, 13, 11, 1)).astype(np.float32)
    mask = rng.random(data.shape[:3]) > 0.4
    mask[:, :, :3] = False
    whole, sigma = mppca(data, mask=mask, return_sigma=True, suppress_warning=True)
    mine = data.copy()
    found = denoise_mppca(mine, mask, n_threads=n_threads)
    reached = mask & np.isfinite(sigma)
    assert np.count_nonzero(reached) > 500
    np.testing.assert_array_equal(mine[reached], whole[reached])
    np.testing.assert_array_equal(found[reached], sigma[reached])
    np.testing.assert_array_equal(mine[~reached], data[~reached])
    assert not found[~reached].any()


def test_values_far_outside_the_mask_do_not_matter_and_stay():
    data = noise((25, 9, 9))
    mask = np.zeros(data.shape[:3], bool)
    mask[3:6, 2:7, 2:7] = True
    broken = data.copy()
    broken[15:] = np.nan
    denoise_mppca(data, mask, n_threads=1)
    denoise_mppca(broken, mask, n_threads=1)
    np.testing.assert_array_equal(broken[:15], data[:15])
    assert np.isnan(broken[15:]).all()


def test_voxels_that_no_patch_reaches_keep_their_values():
    data = noise((9, 9, 9))
    mask = np.zeros((9, 9, 9), bool)
    mask[0, 0, 0] = mask[4, 4, 4] = True  # no patch fits around the first
    before = data.copy()
    sigma = denoise_mppca(data, mask, n_threads=1)
    np.testing.assert_array_equal(data[0, 0, 0], before[0, 0, 0])
    assert sigma[0, 0, 0] == 0
    assert sigma[4, 4, 4] > 0
    assert (data[4, 4, 4] != before[4, 4, 4]).any()
    assert np.count_nonzero((data != before).any(axis=-1)) == 1


@pytest.mark.parametrize("shape", [(20, 20, 1), (20, 20, 3), (3, 20, 20), (20, 2, 20)])
def test_thin_stacks(shape):
    data = noise(shape)
    mask = np.ones(shape, bool)
    sigma = denoise_mppca(data, mask, n_threads=1)
    # The spread of the noise itself over some 1000 voxels, less what counts as signal.
    assert data[sigma > 0].std() < 3.5
    assert np.median(sigma) == pytest.approx(5, rel=0.15)


def test_a_memory_map_is_denoised_in_place(tmp_path):
    values = noise()
    mapped = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, values.shape)
    mapped[:] = values
    done: list[int] = []
    mask = np.ones(values.shape[:3], bool)
    denoise_mppca(mapped, mask, n_threads=1, progress=done.append)
    mapped.flush()
    denoise_mppca(values, mask, n_threads=1)
    np.testing.assert_array_equal(np.load(tmp_path / "d.npy"), values)
    assert sum(done) == mask.size


def test_enough_volumes():
    assert enough_volumes(21)
    assert not enough_volumes(7)


# --- Patch2Self ---


def series(b0s: int) -> tuple[Float32, Gradients]:
    """Signals that vary in three ways, with noise; the b0s are not the first volumes."""
    bvals, bvecs = gradient_table(20, 1000.0, b0s=b0s)
    order = np.random.default_rng(0).permutation(len(bvals))
    rng = np.random.default_rng(1)
    signal = rng.uniform(50, 100, (9, 9, 9, 3)) @ rng.uniform(0.5, 1, (3, len(bvals)))
    data = signal + rng.standard_normal(signal.shape)
    return data.astype(np.float32), Gradients(bvals[order], bvecs[order], 50.0)


@pytest.mark.parametrize("b0s", [1, 3])
def test_patch2self_does_what_dipy_does(b0s):
    pytest.importorskip("sklearn", reason="DIPY's version needs scikit-learn")
    from dipy.denoise.patch2self import patch2self

    data, gradients = series(b0s)
    theirs = patch2self(
        data, gradients.bvals, model="ols", version=1, b0_threshold=50, shift_intensity=False
    )
    denoise_patch2self(data, gradients)
    # Up to the mean of a volume: scikit-learn centres the samples in place that DIPY then
    # predicts from. It fits in float32.
    mine, theirs = (d - d.mean(axis=(0, 1, 2), dtype=np.float64) for d in (data, theirs))
    np.testing.assert_allclose(mine, theirs, atol=2e-3)


def test_patch2self_predicts_each_volume_from_the_others():
    data, gradients = series(b0s=3)
    before = data.reshape(-1, len(gradients)).astype(np.float64)
    denoise_patch2self(data, gradients)
    for group in (gradients.is_b0, ~gradients.is_b0):
        volume, *others = np.flatnonzero(group)
        design = np.column_stack([before[:, others], np.ones(len(before))])
        fitted = design @ np.linalg.lstsq(design, before[:, volume], rcond=None)[0]
        np.testing.assert_allclose(data[..., volume].ravel(), fitted, rtol=1e-5)


def test_patch2self_makes_a_simulated_brain_clearer():
    clean, noisy = simulated(32, None), simulated(32, SNR)
    mask = tissue().wm + tissue().gm + tissue().csf > 0.5
    data = noisy.data.copy()
    denoise_patch2self(data, noisy.gradients)
    before, after = ((d - clean.data)[mask, 1:].std() for d in (noisy.data, data))
    assert before > 1.5 * after
    np.testing.assert_allclose(data[..., 0], noisy.data[..., 0], rtol=1e-5)  # the only b0


def test_patch2self_survives_volumes_that_are_copies_of_each_other():
    data, gradients = series(b0s=1)
    first, second = np.flatnonzero(~gradients.is_b0)[:2]
    data[..., second] = data[..., first]
    denoise_patch2self(data, gradients)
    assert np.isfinite(data).all()
