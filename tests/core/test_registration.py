"""The T1w and the diffusion series of a displaced head; what does not match is refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bids_tract.core.masks import brain_mask
from bids_tract.core.registration import LEAST_QUALITY, register_rigid
from bids_tract.core.types import Gradients
from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.resample import resample_array
from bids_tract.tools.phantom import head, simulate, t1w, tissue_fractions
from tests.phantoms import centred_affine, gradient_table
from tests.shared_data import SHARED, needs_shared

DWI_SHAPE, DWI_MM = (32, 38, 28), (4.0, 4.0, 4.0)
T1W_SHAPE, T1W_MM = (58, 68, 54), (2.5, 2.5, 2.5)


def motion(turn_deg, shift_mm):
    """A turn about the axes, then a shift; neither is along one axis."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn_deg, degrees=True).as_matrix()
    matrix[:3, 3] = shift_mm
    return matrix


# 10 degrees and 15 mm.
MOTION = motion((6, -5, 6.2), (9, -8, 9))


def series(affine=None, shape=DWI_SHAPE, bval=1000):
    """The mean diffusion-weighted volume of the head, its affine and its mask; SNR 20."""
    affine = centred_affine(shape, DWI_MM) if affine is None else affine
    bvals, world = gradient_table(12, bval)
    data = simulate(head(), affine, shape, world, bvals, snr=20, seed=1)
    mask, _ = brain_mask(data, Gradients(bvals, world, 50.0))
    return data[..., 1:].mean(axis=-1), affine, mask


def picture(displaced, shape=T1W_SHAPE, affine=None):
    """A T1w of the head after a motion, and its affine; SNR 20."""
    affine = centred_affine(shape, T1W_MM) if affine is None else affine
    return t1w(tissue_fractions(head().moved(displaced), affine, shape), snr=20, seed=2), affine


@pytest.fixture(scope="module")
def scan():
    return series()


def error_mm(found, expected, mask, affine):
    """How far a voxel of the mask is placed from where it belongs, at most."""
    points = np.column_stack([np.argwhere(mask), np.ones(np.count_nonzero(mask))]) @ affine.T
    return np.linalg.norm((points @ (found - expected).T)[:, :3], axis=1).max()


def on_axes(turn, spacing, shape):
    """A grid about the origin, its axes turned."""
    affine = centred_affine(shape, spacing)
    affine[:3] = turn @ affine[:3]
    return affine


OBLIQUE = Rotation.from_euler("xyz", (20, -15, 30), degrees=True).as_matrix()
GRIDS = {
    "PSR": (np.array([[0, 0, 1], [-1, 0, 0], [0, 1, 0]]), (2.5, 2, 3), (68, 66, 48)),
    "oblique": (OBLIQUE, (2, 2, 4), (84, 90, 42)),
}


# The done-when of the program: half a voxel of the DWI, at the worst voxel of the brain.


def test_a_displaced_head_is_found(scan):
    fixed, affine, mask = scan
    result = register_rigid(fixed, affine, mask, *picture(MOTION))
    assert error_mm(result.matrix, MOTION, mask, affine) < 0.5 * DWI_MM[0]
    assert result.quality > LEAST_QUALITY
    assert result.information > 0
    assert 27 * 27 <= result.starts <= 3 * 27 * 27
    assert 1 <= result.agreeing <= result.refined


@pytest.mark.parametrize("name", GRIDS)
def test_a_displaced_head_on_another_grid(scan, name):
    fixed, affine, mask = scan
    turn, spacing, shape = GRIDS[name]
    moving, moving_affine = picture(MOTION, shape, on_axes(turn, spacing, shape))
    result = register_rigid(fixed, affine, mask, moving, moving_affine)
    assert error_mm(result.matrix, MOTION, mask, affine) < 0.5 * DWI_MM[0]


def test_a_series_of_thick_oblique_slices():
    shape, spacing = (56, 60, 24), (2.5, 2.5, 5.0)
    turn = Rotation.from_euler("xyz", (-12, 8, 5), degrees=True).as_matrix() @ np.diag([-1, 1, 1])
    fixed, affine, mask = series(on_axes(turn, spacing, shape), shape)
    moving, moving_affine = picture(MOTION)
    world = motion((0, 0, 0), (60, -40, 30))  # the brain lies far from the origin
    affine, expected = world @ affine, world @ MOTION @ np.linalg.inv(world)
    result = register_rigid(fixed, affine, mask, moving, world @ moving_affine)
    assert error_mm(result.matrix, expected, mask, affine) < 0.5 * spacing[0]


def test_a_header_that_places_the_head_far_away(scan):
    fixed, affine, mask = scan
    moving, moving_affine = picture(np.eye(4))
    far = motion((0, 0, 0), (150, -80, 120))
    result = register_rigid(fixed, affine, mask, moving, far @ moving_affine)
    assert error_mm(result.matrix, far, mask, affine) < 0.5 * DWI_MM[0]


def test_what_lies_outside_the_mask_of_the_t1w_does_not_count(scan):
    fixed, affine, mask = scan
    moving, moving_affine = picture(MOTION)
    inside = moving > 0.15
    litter = np.where(inside, moving, 50 * np.random.default_rng(0).random(moving.shape))
    litter[0, 0, :5] = np.nan
    result = register_rigid(
        fixed, affine, mask, litter.astype(np.float32), moving_affine, moving_mask=inside
    )
    assert error_mm(result.matrix, MOTION, mask, affine) < 0.5 * DWI_MM[0]


def test_threads_change_nothing(scan):
    fixed, affine, mask = scan
    moving, moving_affine = picture(MOTION)
    one, four = (
        register_rigid(fixed, affine, mask, moving, moving_affine, n_threads=n) for n in (1, 4)
    )
    np.testing.assert_array_equal(one.matrix, four.matrix)
    assert (one.quality, one.information, one.agreeing) == (
        four.quality, four.information, four.agreeing,
    )  # fmt: skip


# What is refused


def noise(smooth_voxels):
    values = np.random.default_rng(3).standard_normal(T1W_SHAPE)
    values = ndimage.gaussian_filter(values, smooth_voxels)
    return (values - values.min()).astype(np.float32)


def ball():
    x, y, z = np.indices(T1W_SHAPE) - np.reshape(T1W_SHAPE, (3, 1, 1, 1)) / 2
    return np.where(x**2 + y**2 + z**2 < 24**2, 1000, 0).astype(np.float32)


@pytest.mark.parametrize(
    "moving", [noise(0), noise(8), ball()], ids=["noise", "clouds", "a bottle"]
)  # fmt: skip
def test_what_is_no_head_is_refused(scan, moving):
    with pytest.raises(DataError, match=r"do not match.*expected at least.*See whether"):
        register_rigid(*scan, moving, centred_affine(T1W_SHAPE, T1W_MM))


@pytest.mark.parametrize("value", [0, 7, np.nan])
def test_an_empty_t1w_is_refused(scan, value):
    with pytest.raises(DataError, match=r"T1w is [07] everywhere; expected a brain"):
        register_rigid(*scan, np.full(T1W_SHAPE, value, np.float32), np.eye(4))


def test_a_series_without_brain_is_refused(scan):
    fixed, affine, mask = scan
    moving, moving_affine = picture(np.eye(4))
    with pytest.raises(DataError, match="mask of the diffusion series is empty"):
        register_rigid(fixed, affine, np.zeros_like(mask), moving, moving_affine)
    with pytest.raises(DataError, match="mean diffusion-weighted volume is 0 everywhere"):
        register_rigid(np.zeros_like(fixed), affine, mask, moving, moving_affine)


# A human head, with skull and distortions


def human(direction):
    folder = SHARED / "xa30" / "sub-xa30"
    stem = folder / "dwi" / f"sub-xa30_dir-{direction}_dwi"
    image = nib.load(f"{stem}.nii.gz")
    data, bvals = image.get_fdata(dtype=np.float32), np.loadtxt(f"{stem}.bval")
    gradients = Gradients(bvals, np.zeros((len(bvals), 3)), 50.0)
    mask, _ = brain_mask(data, gradients)
    moving = nib.load(Path(folder, "anat", "sub-xa30_T1w.nii.gz"))
    return (
        data[..., ~gradients.is_b0].mean(axis=-1), image.affine, mask,
        moving.get_fdata(dtype=np.float32), moving.affine,
    )  # fmt: skip


@pytest.fixture(scope="module")
def undisplaced():
    images = human("AP")
    return images, register_rigid(*images, n_threads=2)


@needs_shared
def test_one_session_needs_hardly_a_motion(undisplaced):
    """AP and PA end on either side of the header's word: the distortion moves the brain, 1.6 and
    1.2 mm on average, along the phase encoding.
    """
    (_, affine, mask, _, _), result = undisplaced
    assert error_mm(result.matrix, np.eye(4), mask, affine) < 4
    assert result.quality > 1.9


@needs_shared
def test_a_displaced_human_t1w_of_another_grid(undisplaced):
    """Half a voxel of the DWI: 1.5 mm."""
    (fixed, affine, mask, moving, moving_affine), expected = undisplaced
    grid = Grid((150, 170, 70), on_axes(OBLIQUE, (1.5, 1.5, 4.0), (150, 170, 70)))
    grid.affine[:3, 3] += moving_affine[:3] @ (*np.divide(moving.shape, 2), 1)
    other = resample_array(moving, moving_affine, grid)
    result = register_rigid(fixed, affine, mask, other, MOTION @ grid.affine, n_threads=2)
    assert error_mm(result.matrix, MOTION @ expected.matrix, mask, affine) < 1.5
