from __future__ import annotations

import numpy as np
import pytest
from dipy.reconst.shm import CsaOdfModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.models import csa
from bids_tract.core.models.csa import fit_csa
from tests.phantoms import crossing, scan

SCENE = scan(crossing(), shape=(10, 9, 4), snr=25.0)
MASK = np.random.default_rng(0).random(SCENE.shape) > 0.3


@pytest.mark.parametrize("order", [4, 6, 8])
def test_coefficients_and_gfa_equal_dipys(order):
    field, gfa = fit_csa(SCENE.data, SCENE.gradients, MASK, order)
    model = CsaOdfModel(to_dipy(SCENE.gradients), sh_order_max=order, smooth=0.006)
    fit = model.fit(SCENE.data, mask=MASK)
    assert field.lmax == order and gfa.dtype == field.coeffs.dtype == np.float32
    np.testing.assert_allclose(field.coeffs, fit.shm_coeff, atol=1e-6)
    np.testing.assert_allclose(gfa[MASK], fit.gfa[MASK], atol=1e-6)
    assert not field.coeffs[~MASK].any() and not gfa[~MASK].any()


def test_portions_and_the_order_of_volumes_change_nothing(monkeypatch):
    whole, gfa = fit_csa(SCENE.data, SCENE.gradients, MASK, 6)
    monkeypatch.setattr(csa, "_SLAB", 7)
    done: list[int] = []
    order = np.random.default_rng(1).permutation(len(SCENE.bvals))
    parts, gfa_of_parts = fit_csa(
        SCENE.data[..., order], SCENE.gradients.select(order), MASK, 6, progress=done.append
    )
    np.testing.assert_allclose(whole.coeffs, parts.coeffs, atol=1e-6)
    np.testing.assert_allclose(gfa, gfa_of_parts, atol=1e-6)
    assert max(done) == 7 and sum(done) == MASK.sum()


def test_everything_is_finite_whatever_the_signal():
    data = SCENE.data.copy()
    data[0, 0, 0], data[0, 0, 1], data[0, 0, 2] = 0, 1e9, np.nan
    data[0, 1, 0, 0] = 0  # the b0 alone
    field, gfa = fit_csa(data, SCENE.gradients, np.ones(SCENE.shape, bool), 6)
    assert np.isfinite(field.coeffs).all() and np.isfinite(gfa).all()
    assert gfa.min() >= 0 and gfa.max() <= 1
    assert not field.coeffs[0, 0, 2].any()
