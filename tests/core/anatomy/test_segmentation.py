from __future__ import annotations

from functools import cache

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_tract.core.anatomy.segmentation import Segmentation, segment_t1w
from bids_tract.core.masks import brain_mask
from bids_tract.core.types import Gradients
from bids_tract.errors import DataError
from tests.core.anatomy.heads import Head, grid, make_head
from tests.shared_data import SHARED, needs_shared


@cache
def scan_of(snr: float | None, spacing_mm: float, turned: bool) -> Head:
    return make_head(*grid(spacing_mm, turned=turned), snr=snr)


@cache
def result_of(snr: float | None, spacing_mm: float, turned: bool) -> Segmentation:
    scan = scan_of(snr, spacing_mm, turned)
    return segment_t1w(scan.image, scan.affine, scan.prior)


def scanned(snr: float | None = 20.0, spacing_mm: float = 2.0, turned: bool = False) -> Head:
    return scan_of(snr, spacing_mm, turned)


def segmented(
    snr: float | None = 20.0, spacing_mm: float = 2.0, turned: bool = False
) -> Segmentation:
    return result_of(snr, spacing_mm, turned)


def errors(scan: Head, found: Segmentation) -> dict[str, tuple[float, float]]:
    """Mean absolute error and Dice of the fractions where there is head and found brain."""
    there = scan.head & found.brain
    result = {}
    for name in ("wm", "gm", "csf"):
        is_, ought = getattr(found.tissue, name)[there], getattr(scan.truth, name)[there]
        dice = 2 * np.sum(np.minimum(is_, ought)) / np.sum(is_ + ought)
        result[name] = float(np.mean(np.abs(is_ - ought))), float(dice)
    return result


@pytest.mark.parametrize(
    ("snr", "spacing_mm", "turned", "most_error", "least_dice"),
    [  # Reached, for WM, GM and CSF, which is a fissure of 3 mm, ventricles and a thin rim here:
        (None, 2.0, False, 0.01, (0.99, 0.98, 0.90)),  # 0.002 0.004 0.002
        (20.0, 2.0, False, 0.05, (0.97, 0.92, 0.75)),  # 0.024 0.034 0.012; 0.983 0.937 0.793
        (20.0, 2.0, True, 0.05, (0.97, 0.92, 0.75)),  # 0.025 0.035 0.012; 0.982 0.936 0.816
        (20.0, 1.5, False, 0.045, (0.97, 0.92, 0.90)),  # 0.020 0.032 0.012; 0.984 0.940 0.928
    ],
)
def test_fractions_are_those_of_the_simulated_head(
    snr, spacing_mm, turned, most_error, least_dice
):
    found = errors(scanned(snr, spacing_mm, turned), segmented(snr, spacing_mm, turned))
    assert max(error for error, _ in found.values()) < most_error, found
    assert np.all([dice for _, dice in found.values()] > np.array(least_dice)), found


def test_fractions_add_up_to_one_in_the_brain_and_to_nothing_outside():
    found = segmented()
    total = found.tissue.wm + found.tissue.gm + found.tissue.csf
    np.testing.assert_allclose(total[found.brain], 1, atol=1e-5)
    assert not np.any(total[~found.brain])
    assert found.tissue.wm.dtype == np.float32 and found.brain.dtype == bool


def test_partial_volumes_are_partial():
    """Of voxels that are half grey and half white, most come out between a fifth and four."""
    scan, found = scanned(None), segmented(None)
    half = (np.abs(scan.truth.wm - 0.5) < 0.1) & (np.abs(scan.truth.gm - 0.5) < 0.1)
    values = found.tissue.wm[half]
    assert np.mean((values > 0.2) & (values < 0.8)) > 0.9  # reached 1.0


def test_uneven_brightness_is_found():
    scan, found = scanned(), segmented()
    ratio = (found.bias / scan.uneven)[found.brain]
    before = np.std(scan.uneven[found.brain]) / np.mean(scan.uneven[found.brain])
    assert np.std(ratio) / np.mean(ratio) < before / 3  # reached 0.018 of 0.079
    assert np.all(found.bias[~found.brain] == 1)


def test_what_is_reported_is_what_was_simulated():
    found = segmented()
    assert found.brightness["GM"] == pytest.approx(0.65, abs=0.04)  # reached 0.669
    assert found.brightness["CSF"] == pytest.approx(0.25, abs=0.03)  # reached 0.248
    assert found.brightness["noise"] == pytest.approx(1 / 20, rel=0.2)
    assert found.contrast["WM-GM"] > 5 and found.contrast["GM-CSF"] > 5
    ml = found.volumes_ml
    assert ml["WM"] + ml["GM"] + ml["CSF"] == pytest.approx(ml["brain"], rel=1e-4)
    truth_ml = np.sum(scanned().truth.wm) * 8e-3
    assert ml["WM"] == pytest.approx(truth_ml, rel=0.05)


def test_the_result_is_the_same_again_and_whatever_the_scale():
    """Bit by bit again; scaled by a power of two only the logarithms are rounded otherwise."""
    scan, found = scanned(), segmented()
    again = segment_t1w(scan.image, scan.affine, scan.prior)
    np.testing.assert_array_equal(again.tissue.gm, found.tissue.gm)
    scaled = segment_t1w(scan.image * np.float32(16), scan.affine, scan.prior)
    np.testing.assert_allclose(scaled.tissue.gm, found.tissue.gm, atol=0.02)


def test_a_flipped_and_permuted_grid_gives_the_same():
    """Blocks of the field's fit start at the other end: the fractions differ by little."""
    scan, found = scanned(), segmented()

    def turn(values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(np.transpose(values, (1, 2, 0))[::-1])

    affine = scan.affine[:, [1, 2, 0, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * (scan.image.shape[1] - 1)
    affine[:3, 0] *= -1
    turned = segment_t1w(turn(scan.image), affine, turn(scan.prior))
    difference = np.abs(turned.tissue.wm - turn(found.tissue.wm))
    assert np.mean(turned.brain != turn(found.brain)) < 1e-3
    assert np.mean(difference[turned.brain]) < 5e-3


def test_a_given_brain_is_taken_as_it_is():
    scan = scanned()
    found = segment_t1w(scan.image, scan.affine, np.zeros_like(scan.prior), brain=scan.head)
    np.testing.assert_array_equal(found.brain, scan.head)
    assert errors(scan, found)["wm"][1] > 0.97


def test_odd_shares_are_doubts():
    """The simulated head has 70 % of white matter."""
    assert any("WM is" in note and "50 % are usual" in note for note in segmented().notes)


def test_values_that_are_not_finite_do_no_harm():
    scan = scanned()
    image = scan.image.copy()
    image[::7, ::7, ::7] = np.nan
    found = segment_t1w(image, scan.affine, scan.prior)
    assert errors(scan, found)["wm"][1] > 0.95


def test_what_is_no_t1w_is_refused():
    scan = scanned(spacing_mm=3.0)
    rng = np.random.default_rng(0)
    for noise in (rng.rayleigh(100, scan.image.shape), rng.normal(500, 50, scan.image.shape)):
        with pytest.raises(DataError, match="standard deviations of the noise apart"):
            segment_t1w(noise.astype(np.float32), scan.affine, scan.prior)
    t2_like = np.where(scan.head, 1000 - scan.image, 20).astype(np.float32)
    with pytest.raises(DataError, match="expected"):
        segment_t1w(t2_like, scan.affine, scan.prior, brain=scan.head)
    flat = np.full(scan.image.shape, 5, np.float32)
    with pytest.raises(DataError, match="expected"):
        segment_t1w(flat, scan.affine, scan.prior)


def test_masks_that_do_not_fit_are_refused():
    scan = scanned()
    with pytest.raises(DataError, match="one three-dimensional grid"):
        segment_t1w(scan.image, scan.affine, scan.prior[1:])
    with pytest.raises(DataError, match="holds no voxel"):
        segment_t1w(scan.image, scan.affine, np.zeros_like(scan.prior))
    corner = np.zeros_like(scan.prior)
    corner[:3, :3, :3] = True
    with pytest.raises(DataError, match="check that"):
        segment_t1w(np.where(scan.head, scan.image, 0), scan.affine, corner)


@needs_shared
def test_a_raw_head_with_its_skull():
    """xa30 by the headers: shares of tissue within the mask of the diffusion series."""
    folder = SHARED / "xa30/sub-xa30"
    dwi = nib.load(folder / "dwi/sub-xa30_dir-AP_dwi.nii.gz")
    bvals = np.loadtxt(folder / "dwi/sub-xa30_dir-AP_dwi.bval")
    bvecs = np.zeros((len(bvals), 3))
    mask, _ = brain_mask(dwi.get_fdata(dtype=np.float32), Gradients(bvals, bvecs, 50.0))
    t1w = nib.load(folder / "anat/sub-xa30_T1w.nii.gz")
    to_dwi = np.linalg.inv(dwi.affine) @ t1w.affine
    prior = ndimage.affine_transform(
        mask.astype(np.float32), to_dwi[:3, :3], to_dwi[:3, 3], t1w.shape, order=1
    )
    found = segment_t1w(t1w.get_fdata(dtype=np.float32), t1w.affine, prior > 0.5)
    there = found.brain & (prior > 0.5)
    shares = [
        np.mean(part[there]) for part in (found.tissue.gm, found.tissue.wm, found.tissue.csf)
    ]
    assert 0.35 < shares[0] < 0.60  # reached 0.44
    assert 0.25 < shares[1] < 0.50  # reached 0.44
    assert 0.05 < shares[2] < 0.30  # reached 0.12
    assert found.notes == ()
