"""White matter, grey matter and CSF in a raw T1-weighted image of the head."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_tract.core.anatomy.extraction import extract_brain
from bids_tract.core.anatomy.mixture import CSF, GM, WM, Mixture, unmix
from bids_tract.core.types import Bool, Float32, Float64, Tissue
from bids_tract.errors import DataError

# What is kept around the brain when the image is cropped; more than `extract_brain` looks at.
_BORDER_MM = 14.0
# Means of neighbouring tissues lie at least so many standard deviations of the noise apart:
# 3.6 measured on a brain at 3 T and 2 mm, 1.8 where noise alone is cut in three.
_LEAST_CONTRAST = 2.2
_LEAST_ML = 5.0
# Shares of a brain in percent, and ml of white matter in a whole one of `_WHOLE_ML`.
_USUAL_SHARES = {"GM": (35.0, 60.0), "WM": (25.0, 50.0), "CSF": (5.0, 30.0)}
_USUAL_WM_ML, _WHOLE_ML = (200.0, 900.0), 1200.0


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Tissue by a T1-weighted image, and what speaks for it.

    Attributes
    ----------
    tissue : Tissue
        Fractions on the grid of the image; their sum is 1 in the brain and 0 outside.
    brain : (X, Y, Z) bool array
    bias : (X, Y, Z) float32 array
        The uneven brightness, with a median of 1 in the brain; 1 outside.
    volumes_ml : dict of str to float
        Of ``WM``, ``GM``, ``CSF`` and ``brain``.
    brightness : dict of str to float
        Of ``CSF`` and ``GM`` as shares of that of white matter, and of the ``noise``.
    contrast : dict of str to float
        ``GM-CSF`` and ``WM-GM``: how far the means lie apart, in standard deviations.
    notes : tuple of str
        What looks odd, in sentences.

    """

    tissue: Tissue
    brain: Bool
    bias: Float32
    volumes_ml: dict[str, float]
    brightness: dict[str, float]
    contrast: dict[str, float]
    notes: tuple[str, ...]


def segment_t1w(
    t1w: Float32, affine: Float64, prior_mask: Bool, *, brain: Bool | None = None
) -> Segmentation:
    """Find the brain in a T1-weighted image, and the fractions of tissue in each voxel.

    Parameters
    ----------
    t1w : (X, Y, Z) float32 array
        With or without skull, any brightness, uneven or not.
    affine : (4, 4) float64 array
        Voxel index to RAS+ mm.
    prior_mask : (X, Y, Z) bool array
        The brain mask of the diffusion series on this grid, in place to several mm.
    brain : (X, Y, Z) bool array, optional
        The brain, where it is known; `prior_mask` is then not looked at.

    Raises
    ------
    DataError
        When there is no brain at the mask, or the image does not show three tissues as T1
        weighting does.

    """
    known = prior_mask if brain is None else brain
    if not t1w.shape == known.shape or t1w.ndim != 3:
        raise DataError(
            f"the T1-weighted image has the shape {t1w.shape} and the brain mask {known.shape}; "
            "expected one three-dimensional grid"
        )
    if not np.any(known):
        raise DataError(
            "the brain mask holds no voxel of the T1-weighted image; expected it to lie in the "
            "head: check that both are of one person and session"
        )
    voxel_sizes = np.linalg.norm(affine[:3, :3], axis=0)
    box = _box(known, voxel_sizes)
    image = np.maximum(np.nan_to_num(t1w[box], nan=0.0, posinf=0.0, neginf=0.0), 0)
    image = image.astype(np.float32)
    inside = extract_brain(image, voxel_sizes, known[box]) if brain is None else known[box]
    _check_signal(image, inside, voxel_sizes)
    mixture = unmix(image, inside, voxel_sizes)
    _check_weighting(mixture, inside, voxel_sizes)
    return _segmentation(mixture, inside, box, t1w.shape, float(np.prod(voxel_sizes)))


def _box(mask: Bool, voxel_sizes: Float64) -> tuple[slice, ...]:
    """The mask's bounding box and what is around it."""
    border = np.ceil(_BORDER_MM / voxel_sizes).astype(int)
    (found,) = ndimage.find_objects(mask.astype(np.uint8))
    return tuple(
        slice(max(side.start - n, 0), side.stop + n) for side, n in zip(found, border, strict=True)
    )


def _check_signal(image: Float32, brain: Bool, voxel_sizes: Float64) -> None:
    volume_ml = np.count_nonzero(brain) * np.prod(voxel_sizes) / 1000
    if volume_ml < _LEAST_ML:
        raise DataError(
            f"the brain in the T1-weighted image has {volume_ml:.1f} ml; expected at least "
            f"{_LEAST_ML:.0f} ml: check that image and brain mask belong together"
        )
    share = np.mean(image[brain] > 0)
    if share < 0.5:
        raise DataError(
            f"the T1-weighted image has signal in {100 * share:.0f} % of the brain mask; expected "
            "all of it: check that image and brain mask belong together"
        )


def _check_weighting(mixture: Mixture, brain: Bool, voxel_sizes: Float64) -> None:
    contrast = np.diff(mixture.means) / mixture.noise
    if not np.all(contrast >= _LEAST_CONTRAST):
        raise DataError(
            f"CSF, grey and white matter are {contrast[0]:.1f} and {contrast[1]:.1f} standard "
            f"deviations of the noise apart in the T1-weighted image; expected "
            f"{_LEAST_CONTRAST:g} or more: is it T1-weighted anatomy of a brain?"
        )
    depth = ndimage.distance_transform_edt(brain, sampling=voxel_sizes)[brain]
    grey, white = (np.average(depth, weights=mixture.fractions[k] + 1e-9) for k in (GM, WM))
    if not (white > grey and np.mean(mixture.fractions[CSF]) < 0.5):
        raise DataError(
            f"the brightest tissue lies {white:.1f} mm below the surface of the brain and the "
            f"next {grey:.1f} mm; expected white matter to be the brightest and the deepest, as "
            "in a T1-weighted image (not a T2-weighted one)"
        )


def _segmentation(
    mixture: Mixture,
    inside: Bool,
    box: tuple[slice, ...],
    shape: tuple[int, ...],
    voxel_mm3: float,
) -> Segmentation:
    def on_grid(values: Float32, outside: float) -> Float32:
        whole = np.full(shape, outside, np.float32)
        whole[box][inside] = values
        return whole

    brain = np.zeros(shape, bool)
    brain[box] = inside
    csf, gm, wm = mixture.fractions
    ml = {name: float(part.sum(dtype=np.float64)) * voxel_mm3 / 1000
          for name, part in (("WM", wm), ("GM", gm), ("CSF", csf))}  # fmt: skip
    ml["brain"] = float(np.count_nonzero(inside)) * voxel_mm3 / 1000
    contrast = np.diff(mixture.means) / mixture.noise
    return Segmentation(
        tissue=Tissue(on_grid(wm, 0), on_grid(gm, 0), on_grid(csf, 0)),
        brain=brain,
        bias=on_grid(mixture.field / np.median(mixture.field), 1),
        volumes_ml=ml,
        brightness={
            "CSF": float(mixture.means[CSF] / mixture.means[WM]),
            "GM": float(mixture.means[GM] / mixture.means[WM]),
            "noise": float(mixture.noise / mixture.means[WM]),
        },
        contrast={"GM-CSF": float(contrast[0]), "WM-GM": float(contrast[1])},
        notes=tuple(_doubts(ml)),
    )


def _doubts(ml: dict[str, float]) -> list[str]:
    """What is odd about the volumes of tissues; where the field of view is cut, shares tell."""
    notes = []
    for name, (low, high) in _USUAL_SHARES.items():
        share = 100 * ml[name] / ml["brain"]
        if not low <= share <= high:
            notes.append(
                f"{name} is {share:.0f} % of the brain; {low:.0f} to {high:.0f} % are usual: look "
                "at the tissue maps before you trust where streamlines end."
            )
    part = min(1.0, ml["brain"] / _WHOLE_ML)
    low, high = (bound * part for bound in _USUAL_WM_ML)
    if not low <= ml["WM"] <= high:
        notes.append(
            f"There are {ml['WM']:.0f} ml of white matter; {low:.0f} to {high:.0f} ml are usual "
            f"in {ml['brain']:.0f} ml of brain."
        )
    return notes
