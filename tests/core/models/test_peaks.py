from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from dipy.core.sphere import Sphere
from dipy.data import default_sphere
from dipy.direction.peaks import peak_directions, peak_directions_nl, peaks_from_model
from dipy.reconst.shm import CsaOdfModel, sh_to_sf_matrix
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.core.gradients import to_dipy
from bids_tract.core.models import peaks as module
from bids_tract.core.models.csa import fit_csa
from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.peaks import CSA_PEAKS, CSD_PEAKS, find_peaks
from bids_tract.core.sphere import tracking_sphere
from bids_tract.core.types import SHField
from tests.core.models.scans import angle_deg
from tests.phantoms import crossing, scan

SCENE = scan(crossing(70.0), shape=(8, 8, 3), snr=30.0)
MASK = np.random.default_rng(0).random(SCENE.shape) > 0.3
ONE = np.ones((1, 1, 1), bool)


@cache
def csa_field(order: int = 6) -> SHField:
    return fit_csa(SCENE.data, SCENE.gradients, MASK, order)[0]


@cache
def csd_field() -> SHField:
    return fit_csd(
        SCENE.data, SCENE.gradients, MASK, 8, np.array([1.7e-3, 3e-4, 3e-4]), 1.0
    )[0]  # fmt: skip


def noise_field(order: int = 8) -> SHField:
    """Functions with maxima everywhere, some of them negative somewhere."""
    n_coeffs = (order + 1) * (order + 2) // 2
    coeffs = np.random.default_rng(order).normal(size=(*SCENE.shape, n_coeffs))
    coeffs[..., 0] += 3.0
    return SHField(coeffs.astype(np.float32))


def harmonics(order: int, directions: np.ndarray) -> np.ndarray:
    """DIPY's basis (K, V) along directions (V, 3)."""
    matrix = sh_to_sf_matrix(
        Sphere(xyz=directions), sh_order_max=order, basis_type="descoteaux07", legacy=True,
        return_inv=False,
    )  # fmt: skip
    return np.asarray(matrix)


def lobe(order: int, *directions: np.ndarray) -> np.ndarray:
    """Coefficients (K,) of the sharpest equal lobes that an order allows."""
    return harmonics(order, np.array(directions)).sum(axis=1)


def peaks_of(coeffs: np.ndarray, relative: float = 0.5, separation: float = 25.0) -> np.ndarray:
    """The peaks (5, 3) of one function."""
    field = SHField(coeffs.astype(np.float32)[None, None, None])
    found = find_peaks(field, ONE, relative_threshold=relative, min_separation_deg=separation)
    return found.reshape(5, 3)


# --- On the sphere -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "relative", "separation"),
    [
        (csa_field(4), *CSA_PEAKS),
        (csa_field(6), *CSA_PEAKS),
        (csa_field(8), 0.1, 20.0),
        (csd_field(), *CSD_PEAKS),
        (csd_field(), 0.0, 0.0),
        (noise_field(6), 0.3, 30.0),
        (noise_field(8), 0.3, 60.0),
        (noise_field(12), 1.0, 25.0),
    ],
)
def test_unrefined_peaks_equal_dipys(field, relative, separation):
    found = find_peaks(
        field, MASK, relative_threshold=relative, min_separation_deg=separation, refine=False
    ).reshape(*SCENE.shape, 5, 3)
    sphere = tracking_sphere()
    amplitudes = field.coeffs[MASK].astype(np.float64) @ harmonics(field.lmax, sphere.vertices)
    for ours, odf in zip(found[MASK], amplitudes, strict=True):
        directions, values, _ = peak_directions(
            odf,
            sphere,
            relative_peak_threshold=relative,
            min_separation_angle=separation,
        )
        theirs = np.zeros((5, 3))
        theirs[: len(values)] = (directions * values[:, None])[:5]
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * odf.max())
    assert not found[~MASK].any()


def test_fit_and_peaks_equal_dipys_peaks_from_model():
    relative, separation = CSA_PEAKS
    found = find_peaks(
        csa_field(), MASK, relative_threshold=relative, min_separation_deg=separation, refine=False
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


# --- Off the sphere ------------------------------------------------------------------------------


@given(
    st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1),
    st.sampled_from([4, 6, 8, 12]),
)
def test_the_peak_of_a_lobe_is_its_axis(vector, order):
    axis = np.array(vector) / np.linalg.norm(vector)
    coeffs = lobe(order, axis)
    first = peaks_of(coeffs, relative=0.9)[0]
    np.testing.assert_allclose(np.linalg.norm(first), coeffs @ coeffs, rtol=1e-5)
    # The sine of the angle between them: 0.01 degrees.
    assert np.linalg.norm(np.cross(first, axis)) < 2e-4 * np.linalg.norm(first)


@pytest.mark.parametrize("axis", np.vstack([np.eye(3), -np.eye(3)]))
def test_the_poles_and_the_equator_are_no_special_places(axis):
    assert angle_deg(peaks_of(lobe(8, axis))[0], axis) < 0.05


@pytest.mark.parametrize(
    ("field", "bounds"),
    [(csa_field(6), CSA_PEAKS), (csa_field(8), CSA_PEAKS), (csd_field(), CSD_PEAKS)],
    ids=["csa6", "csa8", "csd8"],
)
def test_refined_peaks_are_the_maxima_of_the_function(field, bounds):
    """Against the simplex search of DIPY, which needs no derivatives."""
    relative, separation = bounds
    few = np.zeros_like(MASK)
    few[tuple(np.argwhere(MASK)[::30].T)] = True
    common = {"relative_threshold": relative, "min_separation_deg": separation, "n_peaks": 1}
    refined = find_peaks(field, few, **common)[few]
    vertices = find_peaks(field, few, **common, refine=False)[few]
    on_sphere, error = [], []
    all_coeffs = field.coeffs[few].astype(np.float64)
    for coeffs, vertex, peak in zip(all_coeffs, vertices, refined, strict=True):

        def evaluate(sphere, coeffs=coeffs):
            return coeffs @ harmonics(field.lmax, sphere.vertices)

        maxima, _ = peak_directions_nl(evaluate, relative_peak_threshold=0.5)
        on_sphere.append(angle_deg(maxima, vertex.astype(np.float64)).min())
        error.append(angle_deg(maxima, peak.astype(np.float64)).min())
    assert max(error) < 0.01 and np.mean(on_sphere) > 2.0
    assert (np.linalg.norm(refined, axis=1) > np.linalg.norm(vertices, axis=1)).all()


def test_separation_and_order_hold_for_refined_peaks():
    peaks = find_peaks(noise_field(), MASK, relative_threshold=0.2, min_separation_deg=40)
    peaks = peaks[MASK].reshape(-1, 5, 3).astype(np.float64)
    heights = np.linalg.norm(peaks, axis=-1)
    assert (np.diff(heights, axis=1) <= 1e-6).all() and (heights[:, 1] > 0).mean() > 0.5
    for one, other in [(0, 1), (0, 2), (1, 2), (2, 3)]:
        both = heights[:, other] > 0
        assert angle_deg(peaks[both, one], peaks[both, other]).min() >= 40 - 1e-3


# --- Both ----------------------------------------------------------------------------------------


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
        assert angle_deg(pair[:2], fibre).min() < 5


def test_no_more_come_than_asked():
    five = find_peaks(csd_field(), MASK, relative_threshold=0.1, min_separation_deg=25)
    two = find_peaks(csd_field(), MASK, relative_threshold=0.1, min_separation_deg=25, n_peaks=2)
    assert five.shape[-1] == 15 and two.shape[-1] == 6
    np.testing.assert_array_equal(five[..., :6], two)
    assert five[..., 6:].any()


@pytest.mark.parametrize("n_threads", [1, 3])
def test_portions_and_threads_change_no_bit(monkeypatch, n_threads):
    bounds = {"relative_threshold": 0.5, "min_separation_deg": 25}
    whole = find_peaks(csd_field(), MASK, **bounds)
    monkeypatch.setattr(module, "_SLAB", 13)
    done: list[int] = []
    parts = find_peaks(
        csd_field(), MASK, **bounds, progress=done.append, n_threads=n_threads
    )  # fmt: skip
    np.testing.assert_array_equal(whole, parts)
    assert max(done) == 13 and sum(done) == MASK.sum()


def test_what_has_no_direction_has_no_peak():
    ball = np.eye(15)[0]
    nowhere_positive = lobe(4, np.eye(3)[0]) - 100 * ball
    for coeffs in (np.zeros(15), ball, np.ones(1), nowhere_positive):
        assert not peaks_of(coeffs).any()


def test_values_that_are_not_finite_give_no_peak_and_spare_their_neighbours():
    field = noise_field(6)
    broken = field.coeffs.copy()
    broken[0, 0, 0], broken[0, 0, 1, 3] = np.nan, np.nan
    broken[0, 0, 2, 3], broken[0, 1, 0, 3] = np.inf, 1e38
    bounds = {"relative_threshold": 0.5, "min_separation_deg": 25}
    everywhere = np.ones(SCENE.shape, bool)
    peaks = find_peaks(SHField(broken), everywhere, **bounds)
    assert np.isfinite(peaks).all()
    for voxel in [(0, 0, 0), (0, 0, 1), (0, 0, 2)]:
        assert not peaks[voxel].any()
    np.testing.assert_array_equal(peaks[1:], find_peaks(field, everywhere, **bounds)[1:])
