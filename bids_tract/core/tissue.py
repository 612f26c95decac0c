"""Tissue maps: partial volumes from the two kinds of segmentation that the field makes."""

from __future__ import annotations

import numpy as np

from bids_tract.core.masks import is_binary
from bids_tract.core.types import Bool, Float32, Tissue
from bids_tract.errors import DataError

# Interpolation overshoots by less than this; more means other units or another image.
_OVERSHOOT = 1e-2
# Voxels of which the maps cover less than this are outside.
_COVERED = 0.1
# Of adults, with room on both sides: 300 to 700 ml are usual, and a field of view may be cut.
_USUAL_WHITE_ML = (200.0, 900.0)


def from_5tt(volumes: Float32) -> Tissue:
    """Tissue from a five-tissue-type image.

    Parameters
    ----------
    volumes : (X, Y, Z, 5) array
        Cortical grey matter, deep grey matter, white matter, CSF, pathological tissue; fractions.

    Returns
    -------
    Tissue
        Grey matter is both grey volumes. Pathological tissue counts as white matter: streamlines
        may cross and end in it, as ACT lets them.

    Raises
    ------
    DataError
        When the shape or the range is not that of a 5TT image.

    """
    if volumes.ndim != 4 or volumes.shape[3] != 5:
        raise DataError(
            f"an image of shape {volumes.shape} is no five-tissue-type image; expected "
            "(X, Y, Z, 5): cortical GM, deep GM, WM, CSF, pathological"
        )
    parts = [_fraction(volumes[..., i], name) for i, name in enumerate(_5TT)]
    tissue = Tissue(wm=_sum(parts[2], parts[4]), gm=_sum(parts[0], parts[1]), csf=parts[3])
    _check_sum(tissue)
    return tissue


def from_probseg(wm: Float32, gm: Float32, csf: Float32) -> Tissue:
    """Tissue from three probability maps.

    Parameters
    ----------
    wm, gm, csf : (X, Y, Z) arrays
        Fractions on one grid.

    Raises
    ------
    DataError
        When a map leaves 0..1, is zero everywhere, or the three add up to more than the voxel.

    """
    tissue = Tissue(
        wm=_fraction(wm, "white matter"),
        gm=_fraction(gm, "grey matter"),
        csf=_fraction(csf, "CSF"),
    )
    _check_sum(tissue)
    return tissue


def fill(tissue: Tissue) -> Tissue:
    """Make the fractions of a voxel that the maps cover in part add up to one.

    At the rim of the brain a voxel of a coarse grid lies half outside of the maps. What is known
    of it stands for the whole, so that one half of grey matter beside nothing is grey matter:
    otherwise no streamline could end there by ACT, which asks for more than one half.

    Parameters
    ----------
    tissue : Tissue
        Fractions that add up to 1 or less.

    """
    total = tissue.wm + tissue.gm + tissue.csf
    share = np.where(total > _COVERED, np.maximum(total, np.float32(_COVERED)), np.float32(1.0))
    return Tissue(
        *((part / share).astype(np.float32) for part in (tissue.wm, tissue.gm, tissue.csf))
    )


def check_in_mask(tissue: Tissue, mask: Bool) -> None:
    """Refuse tissue that does not lie where the brain is.

    Parameters
    ----------
    tissue : Tissue
    mask : (X, Y, Z) bool array
        Brain mask on the same grid.

    Raises
    ------
    DataError
        When less than half of the mask holds tissue: the maps lie in another space.

    """
    if mask.shape != tissue.wm.shape:
        raise DataError(
            f"the tissue maps have the shape {tissue.wm.shape} and the mask {mask.shape}; "
            "expected one grid"
        )
    if not np.any(mask):
        raise DataError("the brain mask is empty")
    covered = np.mean((tissue.wm + tissue.gm + tissue.csf)[mask] > 0.5)
    if not covered >= 0.5:
        raise DataError(
            f"the tissue maps cover {100 * covered:.0f} % of the brain mask; expected at least "
            "half: are they in another space than the diffusion image?"
        )


def doubts(tissue: Tissue, voxel_mm3: float) -> list[str]:
    """What looks odd about tissue maps that can be used, as sentences.

    Parameters
    ----------
    tissue : Tissue
    voxel_mm3 : float
        The volume of a voxel in mm³.

    """
    notes = []
    if all(is_binary(part) for part in (tissue.wm, tissue.gm, tissue.csf)):
        notes.append(
            "The tissue maps hold only 0 and 1: they are labels rather than partial volumes, and "
            "streamlines will end on voxel borders."
        )
    white_ml = float(tissue.wm.sum(dtype=np.float64)) * voxel_mm3 / 1000
    if not _USUAL_WHITE_ML[0] <= white_ml <= _USUAL_WHITE_ML[1]:
        notes.append(
            f"The tissue maps hold {white_ml:.0f} ml of white matter; an adult brain has "
            f"{_USUAL_WHITE_ML[0]:.0f} to {_USUAL_WHITE_ML[1]:.0f} ml."
        )
    return notes


_5TT = ("cortical grey matter", "deep grey matter", "white matter", "CSF", "pathological")


def _fraction(values: Float32, name: str) -> Float32:
    """Clip a tiny overshoot; refuse a large one."""
    low, high = float(np.min(values)), float(np.max(values))
    # Written so that NaN, which compares false, is refused as well.
    if not (low >= -_OVERSHOOT and high <= 1 + _OVERSHOOT):
        raise DataError(
            f"the {name} map runs from {low:g} to {high:g}; tissue fractions lie between 0 and 1 "
            "(percent? divide by 100; labels? give probability maps)"
        )
    return np.clip(values, 0.0, 1.0).astype(np.float32)


def _sum(first: Float32, second: Float32) -> Float32:
    return np.minimum(first + second, np.float32(1.0))


def _check_sum(tissue: Tissue) -> None:
    total = tissue.wm + tissue.gm + tissue.csf
    inside = total[total > 0]
    over = np.mean(inside > 1.1)
    if over > 0.01:
        raise DataError(
            f"white matter, grey matter and CSF add up to more than 1.1 in {100 * over:.1f} % of "
            f"the tissue voxels (at most {inside.max():.3g}); they are not fractions of one voxel"
        )
