"""Real scans for the tests of the models."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bids_tract.core.gradients import direction_cosines, make_gradients
from bids_tract.core.types import Bool, Float32, Float64, Gradients
from tests.shared_data import SHARED

FIBERCUP = "fibercup/sub-fibercup/dwi/sub-fibercup_acq-b1500avg_dwi"
XA30 = "xa30/sub-xa30/dwi/sub-xa30_dir-AP_dwi"
CROP = "csdreference/dwi_b3000"


def load_scan(stem: str) -> tuple[Float32, Gradients, Float64]:
    """Data, table in image axes, and the directions of the image axes in the world."""
    image = nib.load(SHARED / f"{stem}.nii.gz")
    gradients, _ = make_gradients(
        np.loadtxt(SHARED / f"{stem}.bval"),
        np.loadtxt(SHARED / f"{stem}.bvec").T,
        image.affine,
        convention="fsl",
        b0_threshold=50.0,
    )
    return image.get_fdata(dtype=np.float32), gradients, direction_cosines(image.affine)


def load_volume(name: str) -> Float32:
    """An image of the shared data."""
    return np.asarray(nib.load(SHARED / name).get_fdata(dtype=np.float32))


def load_mask(name: str) -> Bool:
    """A mask of the shared data."""
    return load_volume(name) > 0


def angle_deg(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles between axes (..., 3), in degrees; their lengths do not matter."""
    cosine = np.abs(np.sum(first * second, axis=-1))
    cosine /= np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return np.rad2deg(np.arccos(np.minimum(cosine, 1.0)))
