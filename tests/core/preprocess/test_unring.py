from __future__ import annotations

import numpy as np
import pytest

from bids_tract.core.preprocess.unring import slice_axis_of, unring, unring_advised
from bids_tract.core.types import Float32

SIZE = 48


def ringing(size: int = SIZE, fine: int = 4) -> tuple[Float32, Float32]:
    """A bright disc in slices (X, Y, 2): from k-space cut off, and from finer samples' mean."""
    axis = (np.arange(size * fine) - (size * fine - 1) / 2) / fine
    disc = 100.0 * (np.hypot(axis[:, None], axis[None]) < 0.31 * size) + 20.0
    k_space = np.fft.fftshift(np.fft.fft2(disc))
    low = (size * fine - size) // 2
    kept = k_space[low : low + size, low : low + size]
    # The middle of a coarse voxel lies between fine ones.
    number = np.arange(size) - size // 2
    shift = np.exp(2j * np.pi * number * (fine - 1) / 2 / (size * fine))
    cut = np.abs(np.fft.ifft2(np.fft.ifftshift(kept * shift[:, None] * shift[None]))) / fine**2
    mean = disc.reshape(size, fine, size, fine).mean(axis=(1, 3))
    return (np.stack([image] * 2, axis=-1).astype(np.float32) for image in (cut, mean))


def flat(truth: Float32) -> np.ndarray:
    """Voxels next to no edge, where nothing but ringing varies."""
    same = np.ones(truth.shape, bool)
    for axis in (0, 1):
        for step in (-1, 1, -2, 2):
            same &= np.roll(truth, step, axis) == truth
    return same


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_ringing_is_reduced_along_whatever_axis_slices_are_stacked(slice_axis):
    cut, truth = ringing()
    data = np.moveaxis(cut, 2, slice_axis)[..., None].repeat(2, axis=-1)
    unring(data, slice_axis, n_threads=1)
    after = np.moveaxis(data[..., 0], slice_axis, 2)
    inside = flat(truth)
    error_before = np.abs(cut - truth)[inside].mean()
    error_after = np.abs(after - truth)[inside].mean()
    assert error_before > 0.5  # there was something to do
    assert error_after < 0.5 * error_before
    np.testing.assert_array_equal(data[..., 0], data[..., 1])


def test_workers_change_nothing_and_progress_counts_slices():
    data = np.random.default_rng(0).uniform(50, 100, (16, 14, 5, 3)).astype(np.float32)
    one, two, done = data.copy(), data.copy(), []
    unring(one, 2, n_threads=1, progress=done.append)
    unring(two, 2, n_threads=3)
    np.testing.assert_array_equal(one, two)
    assert (one != data).any()
    assert sum(done) == 5 * 3


def test_a_memory_map_is_changed_in_place(tmp_path):
    values = np.random.default_rng(0).uniform(50, 100, (12, 12, 3, 2)).astype(np.float32)
    mapped = np.lib.format.open_memmap(tmp_path / "d.npy", "w+", np.float32, values.shape)
    mapped[:] = values
    unring(mapped, 2, n_threads=1)
    mapped.flush()
    unring(values, 2, n_threads=1)
    np.testing.assert_array_equal(np.load(tmp_path / "d.npy"), values)


@pytest.mark.parametrize(
    ("metadata", "advised", "word"),
    [
        ({"PartialFourier": 0.75}, False, "0.75 of k-space"),
        ({"PartialFourier": 1}, True, "in full"),
        ({"PartialFourier": 1.0}, True, "in full"),
        ({}, True, "does not say"),
        ({"PartialFourier": "6/8"}, True, "does not say"),
    ],
)
def test_it_is_advised_for_full_k_space_only(metadata, advised, word):
    found, reason = unring_advised(metadata)
    assert (found, word in reason) == (advised, True)


@pytest.mark.parametrize(
    ("direction", "axis"), [("i", 0), ("j-", 1), ("k", 2), ("k-", 2), (None, 2)]
)
def test_the_slice_axis_is_that_of_the_sidecar(direction, axis):
    metadata = {} if direction is None else {"SliceEncodingDirection": direction}
    assert slice_axis_of(metadata) == axis
