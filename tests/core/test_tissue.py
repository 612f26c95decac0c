from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_tract.core.tissue import check_in_mask, doubts, fill, from_5tt, from_probseg
from bids_tract.core.types import Tissue
from bids_tract.errors import DataError
from tests.shared_data import SHARED, needs_shared


def maps() -> list[np.ndarray]:
    """WM, GM and CSF that add up to one, none of them zero."""
    rng = np.random.default_rng(0)
    parts = rng.dirichlet([1, 1, 1], (5, 6, 7)).astype(np.float32)
    return [parts[..., i] for i in range(3)]


def five() -> np.ndarray:
    parts = np.random.default_rng(0).dirichlet(np.ones(5), (5, 6, 7))
    return parts.astype(np.float32)


def test_the_five_tissue_types_go_where_they_belong():
    volumes = five()
    tissue = from_5tt(volumes)
    np.testing.assert_allclose(tissue.gm, volumes[..., 0] + volumes[..., 1], atol=1e-6)
    np.testing.assert_allclose(tissue.wm, volumes[..., 2] + volumes[..., 4], atol=1e-6)
    np.testing.assert_array_equal(tissue.csf, volumes[..., 3])
    assert tissue.wm.dtype == tissue.gm.dtype == tissue.csf.dtype == np.float32


@pytest.mark.parametrize("volumes", [five()[..., :4], five()[..., 0]])
def test_another_shape_is_no_5tt(volumes):
    with pytest.raises(DataError, match="no five-tissue-type image"):
        from_5tt(volumes)


def test_a_tiny_overshoot_is_clipped_and_a_large_one_refused():
    wm, gm, csf = maps()
    wm[0, 0, 0], gm[0, 0, 0], csf[0, 0, 0] = 1.005, -0.005, 0.0
    tissue = from_probseg(wm, gm, csf)
    assert tissue.wm.max() == 1 and tissue.gm.min() == 0
    for wrong in (1.02, -0.02, np.nan):
        wm[0, 0, 0] = wrong
        with pytest.raises(DataError, match="white matter map runs"):
            from_probseg(wm, gm, csf)
    with pytest.raises(DataError, match="divide by 100"):
        from_probseg(*(100 * part for part in maps()))


def test_a_map_of_zeros_and_maps_that_overlap_are_refused():
    wm, gm, csf = maps()
    with pytest.raises(DataError, match="zero everywhere"):
        from_probseg(wm, gm, 0 * csf)
    with pytest.raises(DataError, match=r"more than 1\.1 in 100\.0 %"):
        from_probseg(wm, 1 - wm, np.full_like(wm, 0.5))


def test_tissue_must_lie_in_the_brain():
    tissue = from_probseg(*maps())
    mask = np.ones((5, 6, 7), bool)
    check_in_mask(tissue, mask)
    moved = [np.where(np.arange(7) < 2, part, 0) for part in maps()]
    with pytest.raises(DataError, match="29 % of the brain mask"):
        check_in_mask(from_probseg(*moved), mask)
    with pytest.raises(DataError, match="one grid"):
        check_in_mask(tissue, mask[1:])
    with pytest.raises(DataError, match="empty"):
        check_in_mask(tissue, ~mask)


def test_labels_are_doubted():
    tissue = from_probseg(*maps())
    half_a_litre = 5e5 / float(tissue.wm.sum())  # mm³ a voxel, for as much white matter
    assert doubts(tissue, half_a_litre) == []
    winner = np.argmax(maps(), axis=0)
    labels = [(winner == i).astype(np.float32) for i in range(3)]
    assert "0 and 1" in doubts(from_probseg(*labels), half_a_litre)[0]


@pytest.mark.parametrize(
    ("litres", "odd"), [(0.15, True), (0.25, False), (0.85, False), (1.0, True)]
)
def test_an_unusual_amount_of_white_matter_is_doubted(litres, odd):
    tissue = from_probseg(*maps())
    notes = doubts(tissue, litres * 1e6 / float(tissue.wm.sum()))
    assert bool(notes) == odd
    assert all(f"{1000 * litres:.0f} ml of white matter" in note for note in notes)


@needs_shared
def test_the_sift_phantoms_tissue():
    image = nib.load(SHARED / "siftphantom/truth/5tt.nii.gz")
    tissue = from_5tt(image.get_fdata(dtype=np.float32))
    assert tissue.wm.sum() > 0 and tissue.gm.sum() > 0


def test_fill_makes_part_covered_voxels_whole():
    wm = np.array([[[0.5, 0.0, 0.2, 0.0]]], np.float32)
    gm = np.array([[[0.5, 0.5, 0.2, 0.05]]], np.float32)
    csf = np.array([[[0.0, 0.0, 0.1, 0.0]]], np.float32)
    filled = fill(Tissue(wm, gm, csf))
    assert np.allclose(filled.gm, [[[0.5, 1.0, 0.4, 0.05]]])
    assert np.allclose((filled.wm + filled.gm + filled.csf)[0, 0, :3], 1.0)
