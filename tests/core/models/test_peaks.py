from __future__ import annotations

import numpy as np
from dipy.data import default_sphere
from dipy.direction.peaks import peaks_from_model
from dipy.reconst.shm import CsaOdfModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.models import peaks as module
from bids_tract.core.models.csa import fit_csa
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.peaks import CSA_PEAKS, CSD_PEAKS, find_peaks
from bids_tract.core.types import SHField
from tests.core.models.scans import angle_deg
from tests.phantoms import crossing, scan

SCENE = scan(crossing(70.0), shape=(8, 8, 3), snr=30.0)
MASK = np.random.default_rng(0).random(SCENE.shape) > 0.3


def test_peaks_equal_dipys():
    relative, separation = CSA_PEAKS
    field, _ = fit_csa(SCENE.data, SCENE.gradients, MASK, 6)
    found = find_peaks(
        field, MASK, relative_threshold=relative, min_separation_deg=separation
    ).reshape(*SCENE.shape, 5, 3)
    theirs = peaks_from_model(
        CsaOdfModel(to_dipy(SCENE.gradients), sh_order_max=6, smooth=0.006),
        SCENE.data,
        default_sphere,
        relative,
        separation,
        mask=MASK,
    )
    expected = theirs.peak_dirs * theirs.peak_values[..., None]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not found[~MASK].any()


def test_a_crossing_has_two_peaks_where_its_fibres_lie():
    clean = scan(crossing(70.0), shape=(7, 7, 3))
    mask = np.zeros(clean.shape, bool)
    mask[3, 3, 1] = True
    field, _ = fit_csd(clean.data, clean.gradients, mask, 8, np.array([1.7e-3, 3e-4, 3e-4]), 1.0)
    relative, separation = CSD_PEAKS
    peaks = find_peaks(field, mask, relative_threshold=relative, min_separation_deg=separation)
    pair = peaks[3, 3, 1].reshape(5, 3)
    assert (np.linalg.norm(pair, axis=1) > 0).sum() == 2
    for degrees in (0.0, 70.0):
        fibre = np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees)), 0])
        assert angle_deg(pair[:2], fibre).min() < 8


def test_the_highest_come_first_and_no_more_than_asked():
    field, _ = fit_csd(SCENE.data, SCENE.gradients, MASK, 8, np.array([1.7e-3, 3e-4, 3e-4]), 1.0)
    five = find_peaks(field, MASK, relative_threshold=0.1, min_separation_deg=25)
    two = find_peaks(field, MASK, relative_threshold=0.1, min_separation_deg=25, n_peaks=2)
    assert five.shape[-1] == 15 and two.shape[-1] == 6
    np.testing.assert_array_equal(five[..., :6], two)
    amplitude = np.linalg.norm(five.reshape(*SCENE.shape, 5, 3), axis=-1)
    assert (np.diff(amplitude, axis=-1) <= 1e-6).all()


def test_portions_change_nothing(monkeypatch):
    field, _ = fit_csa(SCENE.data, SCENE.gradients, MASK, 6)
    whole = find_peaks(field, MASK, relative_threshold=0.8, min_separation_deg=45)
    monkeypatch.setattr(module, "_SLAB", 13)
    done: list[int] = []
    parts = find_peaks(
        field, MASK, relative_threshold=0.8, min_separation_deg=45, progress=done.append
    )
    np.testing.assert_array_equal(whole, parts)
    assert max(done) == 13 and sum(done) == MASK.sum()


def test_a_voxel_of_zeros_and_a_ball_have_no_direction():
    coeffs = np.zeros((2, 1, 1, 15), np.float32)
    coeffs[1, 0, 0, 0] = 1.0
    peaks = find_peaks(
        SHField(coeffs), np.ones((2, 1, 1), bool), relative_threshold=0.5, min_separation_deg=25
    )
    assert np.isfinite(peaks).all()
    assert not peaks[0].any()
