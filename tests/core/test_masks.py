from __future__ import annotations

import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bids_tract.core.gradients import make_gradients
from bids_tract.core.masks import (
    brain_mask,
    interface,
    is_binary,
    mean_of,
    resolve_threshold,
    sanitise,
    slabs,
    threshold_mask,
    without_scalp,
)
from bids_tract.core.types import Gradients
from bids_tract.errors import DataError
from tests.phantoms import gradient_table
from tests.shared_data import SHARED, needs_shared

GRADIENTS = Gradients(*gradient_table(15, 1000.0), b0_threshold=50.0)


def load(stem: str):
    """Data and gradients of a real scan."""
    image = nib.load(SHARED / f"{stem}.nii.gz")
    gradients, _ = make_gradients(
        np.loadtxt(SHARED / f"{stem}.bval"),
        np.loadtxt(SHARED / f"{stem}.bvec").T,
        image.affine,
        convention="fsl",
        b0_threshold=50.0,
    )
    return image.get_fdata(dtype=np.float32), gradients


def mask_of(name: str) -> np.ndarray:
    return np.asarray(nib.load(SHARED / name).dataobj) > 0


def ball(shape=(40, 40, 40), radius: float = 15.0) -> np.ndarray:
    offsets = np.indices(shape) - (np.array(shape)[:, None, None, None] - 1) / 2
    return (offsets**2).sum(axis=0) < radius**2


def head(snr: float = 20.0) -> np.ndarray:
    """A bright ball in Rician noise, with a dark hole in its middle."""
    signal = np.where(ball(), 1.0, 0.0)[..., None] * np.where(GRADIENTS.is_b0, 1.0, 0.4)
    signal[ball(radius=4.0)] = 0.05
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1 / snr, (2, *signal.shape))
    return np.hypot(signal + noise[0], noise[1]).astype(np.float32)


# --- slabs ---


@given(size=st.integers(1, 50))
def test_slabs_cover_each_voxel_once(size):
    mask = ball((6, 6, 6), 2.5)
    seen = np.zeros(mask.shape, int)
    for voxels in slabs(mask, size):
        assert 1 <= len(voxels[0]) <= size
        seen[voxels] += 1
    np.testing.assert_array_equal(seen, mask)


# --- sanitise ---


def everywhere(data: np.ndarray) -> np.ndarray:
    return np.ones(data.shape[:3], bool)


def test_a_few_broken_voxels_are_zeroed_and_counted():
    data = np.full((20, 20, 2, 4), 5.0, np.float32)
    data[0, 0, 0, 1], data[1, 0, 0, 2], data[2, 0, 0, 3] = np.nan, np.inf, -np.inf
    mask = everywhere(data)
    mask[2] = False
    notes = sanitise(data, mask)
    np.testing.assert_allclose(data[:2, 0, 0], 5e-3)  # zero, which within the mask is too low
    np.testing.assert_array_equal(data[2, 0, 0], 0)
    data[:3, 0, 0] = 5.0
    assert (data == 5.0).all()
    assert notes == ["2 voxels with NaN or infinite values were set to zero."]


def test_many_broken_voxels_are_refused():
    data = np.ones((10, 10, 1, 3), np.float32)
    data[:2, 0, 0, 0] = np.nan
    with pytest.raises(DataError, match="2 of 100 voxels"):
        sanitise(data, everywhere(data))
    mask = everywhere(data)
    mask[:2, 0] = False
    assert sanitise(data, mask) == []  # outside the mask it does not matter


def test_a_background_of_nan_is_background():
    data = np.full((10, 10, 1, 3), np.nan, np.float32)
    with pytest.raises(DataError, match=r"100 of 100 .* NaN"):
        sanitise(data, everywhere(data))
    data[3:7, 3:7] = 2.0
    with pytest.raises(DataError, match=r"84 of 100 .* NaN"):
        sanitise(data, everywhere(data))
    assert sanitise(data, data[..., 0] == 2.0) == []
    assert data.sum() == 2.0 * 48
    with pytest.raises(DataError, match="0 of 0"):
        sanitise(data, np.zeros((10, 10, 1), bool))


def test_signal_is_positive_within_the_mask_only():
    data = np.full((10, 10, 1, 3), 100.0, np.float32)
    data[0, 0, 0, 1], data[5, 5, 0, 0] = -3.0, -3.0
    mask = everywhere(data)
    mask[5, 5] = False
    notes = sanitise(data, mask)
    assert data[0, 0, 0, 1] == pytest.approx(0.1)
    assert data[5, 5, 0, 0] == 0
    assert len(notes) == 1 and notes[0].startswith("1 voxels of the mask (1.0 %)")
    with pytest.raises(DataError, match="no positive signal"):
        sanitise(-data, mask)


@given(
    values=arrays(np.float32, (3, 4, 2, 3), elements=st.floats(-1e3, 1e3, width=32)),
    inside=arrays(bool, (3, 4, 2)),
)
def test_low_signal_becomes_a_thousandth_of_the_median(values, inside):
    positive = values[inside][values[inside] > 0]
    assume(positive.size)
    data = values.copy()
    sanitise(data, inside)
    expected = np.maximum(values, 0)
    lifted = np.where(values > 0, values, np.float32(1e-3) * np.median(positive))
    expected[inside] = lifted[inside]
    np.testing.assert_array_equal(data, expected)


def test_a_series_on_the_disk_is_not_brought_into_memory(tmp_path):
    data = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (40, 40, 40, 128))
    data[:] = np.tile(head(), 8)
    gradients = GRADIENTS.select(np.tile(np.arange(len(GRADIENTS)), 8))
    data[20, 20, ::3, 5] = -1.0
    tracemalloc.start()
    mask, _ = brain_mask(data, gradients)
    sanitise(data, mask)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert mask[20, 20, 20] and (data[mask] > 0).all()
    assert peak < data.nbytes / 4


# --- brain_mask ---


def test_the_mask_of_a_head_has_its_shape_without_holes():
    mask, notes = brain_mask(head(), GRADIENTS)
    assert notes == []
    assert 2 * (mask & ball()).sum() / (mask.sum() + ball().sum()) > 0.97
    assert mask[ball(radius=4.0)].all()


def test_the_order_and_scale_of_volumes_do_not_matter():
    order = np.random.default_rng(0).permutation(len(GRADIENTS))
    data = head()
    again, _ = brain_mask(1000 * data[..., order], GRADIENTS.select(order))
    np.testing.assert_array_equal(again, brain_mask(data, GRADIENTS)[0])


def test_a_field_of_view_full_of_tissue_is_taken_whole():
    mask, notes = brain_mask(head()[17:23, 17:23, 17:23] + np.float32(0.2), GRADIENTS)
    assert mask.all()
    assert len(notes) == 1 and "all voxels with signal" in notes[0]


def test_broken_voxels_and_a_background_of_nan_do_no_harm():
    data = head()
    expected, _ = brain_mask(data, GRADIENTS)
    data[20, 20, 30, 3], data[21, 20, 30, 0] = np.nan, np.inf
    np.testing.assert_array_equal(brain_mask(data, GRADIENTS)[0], expected)
    data[~ball()] = np.nan
    mask, _ = brain_mask(data, GRADIENTS)
    assert not mask[~ball()].any() and mask.sum() >= ball().sum() - 2


def test_an_image_that_was_masked_keeps_its_mask():
    data = head()
    data[~ball()] = 0
    mask, _ = brain_mask(data, GRADIENTS)
    np.testing.assert_array_equal(mask, ball())


def test_images_without_a_brain_are_refused():
    with pytest.raises(DataError, match="0 everywhere"):
        brain_mask(np.zeros((8, 8, 8, 16), np.float32), GRADIENTS)
    with pytest.raises(DataError, match="7 everywhere"):
        brain_mask(np.full((8, 8, 8, 16), 7, np.float32), GRADIENTS)
    speck = np.zeros((20, 20, 20, 16), np.float32)
    speck[3:5, 3:5, 3:5] = 1
    with pytest.raises(DataError, match=r"0\.1 %"):
        brain_mask(speck, GRADIENTS)


@needs_shared
def test_xa30_is_masked_with_its_brainstem_and_thalamus():
    mask, notes = brain_mask(*load("xa30/sub-xa30/dwi/sub-xa30_dir-AP_dwi"))
    assert notes == []
    assert 1.2e6 < mask.sum() * 27 < 1.7e6  # mm³; the stack clips vertex and base
    middle = mask[20:52, 20:52, 12:28]  # no hole where the coils see least
    assert middle.mean() > 0.98


@needs_shared
@pytest.mark.parametrize("acquisition", ["b1500avg", "b2000"])
def test_fibercup_is_masked_with_its_bundles(acquisition):
    stem = f"fibercup/sub-fibercup/dwi/sub-fibercup_acq-{acquisition}_dwi"
    mask, notes = brain_mask(*load(stem))
    truth = mask_of("fibercup/truth/wm_mask.nii.gz")
    assert notes == []
    assert mask[truth].mean() > 0.95
    assert mask.mean() < 1.6 * truth.mean()


@needs_shared
def test_the_sift_phantom_is_where_its_signal_is():
    mask, notes = brain_mask(*load("siftphantom/sub-phantom/dwi/sub-phantom_dwi"))
    np.testing.assert_array_equal(mask, mask_of("siftphantom/truth/mask.nii.gz"))
    assert len(notes) == 1


@needs_shared
@pytest.mark.parametrize("crop", ["b3000", "msmt"])
def test_crops_of_a_brain_are_taken_whole(crop):
    mask, notes = brain_mask(*load(f"csdreference/dwi_{crop}"))
    assert mask[mask_of(f"csdreference/mask_{crop}.nii.gz")].all()
    assert len(notes) == 1


# --- thresholds ---


def test_the_bound_itself_is_outside():
    values = np.array([0.0, 0.2, 0.3], np.float32).reshape(3, 1, 1)
    assert threshold_mask(values, value=float(np.float32(0.2))).sum() == 1
    with pytest.raises(DataError, match=r"above 0.5: the map runs from 0 to 0.3"):
        threshold_mask(values, value=0.5)


@given(
    percent=st.floats(0.1, 100), n=st.integers(1, 200), zeros=st.integers(0, 50),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_share_keeps_the_highest_non_zero_voxels(percent, n, zeros, seed):
    values = np.zeros(n + zeros, np.float32)
    values[:n] = 1 + np.random.default_rng(seed).permutation(n)
    mask = threshold_mask(values, value=percent, percent=True)
    assert mask.sum() == max(1, round(percent / 100 * n))
    assert values[mask].min() > values[~mask].max(initial=0)


def test_a_share_of_nothing_is_refused():
    with pytest.raises(DataError, match="zero everywhere"):
        resolve_threshold(np.zeros((2, 2, 2), np.float32), value=25, percent=True)


def test_binary_maps_are_told_from_others():
    assert is_binary(np.array([0, 255, 0]))
    assert is_binary(np.ones(3))
    assert not is_binary(np.array([0, 1, 2]))
    assert not is_binary(np.array([0, 1, np.nan]))


# --- interface ---


def test_the_interface_is_the_white_side_of_the_border():
    wm = np.zeros((6, 3, 3), np.float32)
    wm[:3], wm[3] = 1.0, 0.4
    gm = np.zeros_like(wm)
    gm[3], gm[4] = 0.6, 1.0
    expected = np.zeros(wm.shape, bool)
    expected[2] = True
    np.testing.assert_array_equal(interface(wm, gm), expected)
    with pytest.raises(DataError, match="do not meet"):
        interface(wm, np.zeros_like(wm))


# --- Scalp --------------------------------------------------------------------------------------


def layers(shape: tuple[int, int, int], sizes: tuple[float, float, float], centre_mm):
    """Distance (mm) from a centre, and a b0 of brain, skull (dark) and scalp (less bright)."""
    grid = np.stack(
        np.meshgrid(*(np.arange(n) * s for n, s in zip(shape, sizes, strict=True)), indexing="ij")
    )
    far = np.linalg.norm(grid - np.reshape(centre_mm, (3, 1, 1, 1)), axis=0)
    b0 = np.where(far < 50, 100.0, np.where(far < 57, 8.0, np.where(far < 66, 60.0, 0.0)))
    return far, b0.astype(np.float32)


@pytest.mark.parametrize("sizes", [(3.0, 3.0, 3.0), (2.0, 2.5, 4.0)])
def test_scalp_beyond_the_skull_goes_and_the_brain_stays(sizes):
    shape = tuple(int(150 / size) for size in sizes)
    far, b0 = layers(shape, sizes, (75, 75, 75))
    mask = far < 66
    brain = without_scalp(mask, b0, sizes)
    assert not np.any(brain & (far > 57))
    assert brain[far < 50 - max(sizes)].all()


def test_where_the_image_ends_is_no_surface():
    far, b0 = layers((50, 50, 20), (3.0, 3.0, 3.0), (75, 75, 30))
    mask = far < 66
    brain = without_scalp(mask, b0, (3.0, 3.0, 3.0))
    assert brain[:, :, [0, -1]][far[:, :, [0, -1]] < 45].all()
    assert not np.any(brain & (far > 57))


def test_dark_spots_within_the_brain_stay_in_the_mask():
    far, b0 = layers((50, 50, 50), (3.0, 3.0, 3.0), (75, 75, 75))
    b0[24:27, 24:27, 24:27] = 1.0
    assert without_scalp(far < 66, b0, (3.0, 3.0, 3.0))[24:27, 24:27, 24:27].all()


def test_a_thin_object_has_no_scalp():
    mask = np.zeros((40, 40, 10), bool)
    mask[5:35, 18:22, 3:6] = True
    b0 = np.where(mask, np.float32(100), np.float32(0))
    np.testing.assert_array_equal(without_scalp(mask, b0, (2.0, 2.0, 2.0)), mask)


@needs_shared
@pytest.mark.parametrize("run", ["AP", "PA"])
def test_the_mask_of_a_human_brain_ends_at_the_skull(run):
    data, gradients = load(f"xa30/sub-xa30/dwi/sub-xa30_dir-{run}_dwi")
    wide, _ = brain_mask(data, gradients)
    brain = without_scalp(wide, mean_of(data, gradients.is_b0), (3.0, 3.0, 3.0))
    litres = brain.sum() * 27e-6
    assert 1.2 < litres < 1.45  # 1.5 and 1.6 before; the stack cuts the vertex and the stem
    # The uppermost slice shows two small pieces of brain in a wide ring of scalp.
    assert brain[:, :, -2].sum() < 0.5 * wide[:, :, -2].sum()
