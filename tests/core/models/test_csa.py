from __future__ import annotations

import numpy as np
import pytest
from dipy.reconst.shm import CsaOdfModel

from bids_tract.core.gradients import to_dipy
from bids_tract.core.models import csa
from bids_tract.core.models.csa import fit_csa
from bids_tract.core.types import Float32, Gradients
from tests.phantoms import crossing, scan

SCENE = scan(crossing(), shape=(10, 9, 4), snr=25.0)
MASK = np.random.default_rng(0).random(SCENE.shape) > 0.3


def several_b0s(more: int = 2) -> tuple[Float32, Gradients]:
    """The scene with b0 volumes of other values at its end."""
    noise = np.random.default_rng(2).normal(1, 0.05, (*SCENE.shape, more))
    data = np.concatenate([SCENE.data, SCENE.data[..., :1] * noise], axis=-1).astype(np.float32)
    bvals = np.concatenate([SCENE.bvals, np.linspace(0, 5, more)])
    bvecs = np.vstack([SCENE.gradients.bvecs, np.zeros((more, 3))])
    return data, Gradients(bvals, bvecs, b0_threshold=50.0)


@pytest.mark.parametrize("order", [2, 4, 6, 8])
@pytest.mark.parametrize(
    ("data", "gradients"), [(SCENE.data, SCENE.gradients), several_b0s()], ids=["one b0", "three"]
)
def test_coefficients_and_gfa_equal_dipys(data, gradients, order):
    field, gfa = fit_csa(data, gradients, MASK, order)
    model = CsaOdfModel(to_dipy(gradients), sh_order_max=order, smooth=0.006)
    fit = model.fit(data, mask=MASK)
    assert field.lmax == order and gfa.dtype == field.coeffs.dtype == np.float32
    # Relative to the part that differs from a ball; the first coefficient is a constant.
    difference = np.linalg.norm(field.coeffs - fit.shm_coeff, axis=-1)[MASK]
    assert (difference < 1e-5 * np.linalg.norm(fit.shm_coeff[MASK][:, 1:], axis=-1)).all()
    np.testing.assert_allclose(gfa[MASK], fit.gfa[MASK], rtol=1e-5)
    assert not field.coeffs[~MASK].any() and not gfa[~MASK].any()


def test_the_order_of_volumes_changes_nothing():
    data, gradients = several_b0s()
    order = np.random.default_rng(1).permutation(len(gradients))
    field, gfa = fit_csa(data, gradients, MASK, 6)
    shuffled, gfa_shuffled = fit_csa(data[..., order], gradients.select(order), MASK, 6)
    np.testing.assert_allclose(field.coeffs, shuffled.coeffs, atol=1e-6)
    np.testing.assert_allclose(gfa, gfa_shuffled, atol=1e-6)


@pytest.mark.parametrize(("portion", "n_threads"), [(1, 1), (7, 3)])
def test_portions_and_threads_change_no_bit(monkeypatch, portion, n_threads):
    data, gradients = several_b0s(12)
    whole, gfa = fit_csa(data, gradients, MASK, 6)
    monkeypatch.setattr(csa, "_SLAB", portion)
    done: list[int] = []
    parts, gfa_of_parts = fit_csa(
        data, gradients, MASK, 6, progress=done.append, n_threads=n_threads
    )
    np.testing.assert_array_equal(whole.coeffs, parts.coeffs)
    np.testing.assert_array_equal(gfa, gfa_of_parts)
    assert max(done) == portion and sum(done) == MASK.sum()


def test_a_memory_map_in_the_order_of_files_gives_the_same(tmp_path):
    stored = np.memmap(tmp_path / "series", np.float32, "w+", shape=SCENE.data.shape, order="F")
    stored[:] = SCENE.data
    for one, other in zip(
        fit_csa(SCENE.data, SCENE.gradients, MASK, 6),
        fit_csa(stored, SCENE.gradients, MASK, 6),
        strict=True,
    ):
        np.testing.assert_array_equal(getattr(one, "coeffs", one), getattr(other, "coeffs", other))


def test_everything_is_finite_whatever_the_signal():
    data = SCENE.data.copy()
    data[0, 0, 0], data[0, 0, 1], data[0, 0, 2] = 0, 1e9, np.nan
    data[0, 1, 0, 0] = 0  # the b0 alone
    data[0, 1, 1, 0], data[0, 1, 2, 5] = np.inf, -np.inf
    data[0, 2, 0] = np.finfo(np.float32).max
    data[0, 2, 1] *= -1
    field, gfa = fit_csa(data, SCENE.gradients, np.ones(SCENE.shape, bool), 6)
    assert np.isfinite(field.coeffs).all() and np.isfinite(gfa).all()
    assert gfa.min() >= 0 and gfa.max() <= 1
    for voxel in [(0, 0, 2), (0, 1, 1), (0, 1, 2)]:
        assert not field.coeffs[voxel].any() and gfa[voxel] == 0
    assert gfa[0, 0, 0] < 1e-5  # nothing there: the same in all directions
