"""Masks: where there is brain, where a map is high, where white matter meets grey."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from dipy.segment.mask import median_otsu
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bids_tract.core.types import Bool, Float32, Gradients
from bids_tract.errors import DataError

# Median filter before Otsu's threshold: at 3 mm one pass of radius 2 keeps thin structures that
# DIPY's default (radius 4, four passes) loses, and takes a fifteenth of the time.
_MEDIAN_RADIUS = 2
# Median b0 signal outside a mask as a share of that inside. Background: 0.01 to 0.06 measured,
# 0.13 where the brain has an SNR of 10. Tissue that Otsu rejects (CSF, grey matter): above 0.24.
_BACKGROUND = 0.2
# Skull is darker in the b0 than this share of the mean around it (within so many mm); what it
# separates from the brain by, and scalp that hangs on by less than the width of a bridge, goes. In
# a human scan 0.3 leaves scalp behind, 0.4 to 0.5 do not; brain (0.4 to 1.8 of the mean around it)
# that falls below is filled in again.
_SKULL = 0.45
_AROUND_MM = 15.0
_BRIDGE_MM = 5.0
# Shorter along any axis (phantoms of three slices, small animals), or losing a larger share, it is
# no human head with a scalp.
_HEAD_MM = 60.0
_MOST_SCALP = 0.6
# Less contrast than this share of the largest value is rounding, not an image.
_FLAT = 1e-4


def slabs(mask: Bool, size: int) -> Iterator[tuple[NDArray[np.intp], ...]]:
    """Walk over the voxels of a mask in portions, to bound memory.

    Yields
    ------
    tuple of three intp arrays
        Indices of at most `size` voxels, in C order.

    """
    indices = np.nonzero(mask)
    for start in range(0, len(indices[0]), size):
        yield tuple(axis[start : start + size] for axis in indices)


def sanitise(data: Float32, mask: Bool) -> list[str]:
    """Replace values that no model can use, in place.

    Voxels with a value that is not finite become zero in all volumes. Within the mask, signal at
    or below zero becomes a thousandth of the median positive signal; elsewhere negative signal
    becomes zero.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        May be a memory map: one plane is looked at at a time, and only voxels that have to be
        changed are written.
    mask : (X, Y, Z) bool array

    Returns
    -------
    list of str
        What was changed within the mask, in sentences.

    Raises
    ------
    DataError
        When more than 1 % of the voxels of the mask are not finite, or none holds positive
        signal.

    """
    lowest, broken = np.empty(mask.shape, np.float32), np.empty(mask.shape, bool)
    for x, plane in enumerate(data):
        lowest[x] = plane.min(axis=-1)  # NaN where there is one
        broken[x] = ~(np.isfinite(lowest[x]) & np.isfinite(plane.max(axis=-1)))
    n_broken, n_voxels = int(np.count_nonzero(broken & mask)), int(np.count_nonzero(mask))
    if n_broken > 0.01 * n_voxels or n_voxels == 0:
        raise DataError(
            f"{n_broken} of {n_voxels} voxels hold NaN or infinite values; expected none "
            "(at most 1 % is set to zero)"
        )
    for plane, chosen in zip(data, broken, strict=True):
        plane[chosen] = 0.0
    low = np.where(mask, broken | (lowest <= 0), ~broken & (lowest < 0))
    floors = np.zeros(mask.shape, np.float32)
    if np.any(low & mask):
        floors[mask] = np.float32(1e-3) * _median_of_positive(data, mask)
    for plane, chosen, floor in zip(data, low, floors, strict=True):
        signals = plane[chosen]
        plane[chosen] = np.where(signals > 0, signals, floor[chosen][:, None])
    notes = []
    if n_broken:
        notes.append(f"{n_broken} voxels with NaN or infinite values were set to zero.")
    n_low = np.count_nonzero(low & mask & ~broken)
    if n_low > 1e-3 * n_voxels:
        notes.append(
            f"{n_low} voxels of the mask ({100 * n_low / n_voxels:.1f} %) hold zero or negative "
            "signal; it was raised to a small positive value."
        )
    return notes


def _median_of_positive(data: Float32, mask: Bool) -> np.float32:
    """The median of the positive values within a mask, without a copy of them.

    Positive floating-point numbers are in the order of their bits: counts of the upper halves of
    these, then of the lower halves that belong to the middle ones, find it exactly.
    """

    def bits() -> Iterator[NDArray[np.uint32]]:
        for plane, inside in zip(data, mask, strict=True):
            signals = plane[inside]
            yield signals[signals > 0].view(np.uint32)

    uppers = np.zeros(1 << 16, np.int64)
    for part in bits():
        uppers += np.bincount(part >> 16, minlength=1 << 16)
    below = np.cumsum(uppers) - uppers
    n_values = int(uppers.sum())
    if n_values == 0:
        raise DataError("the image holds no positive signal within the mask")
    middle = []
    for rank in ((n_values - 1) // 2, n_values // 2):  # the same where the number is odd
        upper = int(np.searchsorted(below, rank, "right")) - 1
        lowers = np.zeros(1 << 16, np.int64)
        for part in bits():
            lowers += np.bincount(part[part >> 16 == upper] & 0xFFFF, minlength=1 << 16)
        lower = int(np.searchsorted(np.cumsum(lowers), rank - below[upper], "right"))
        middle.append(upper << 16 | lower)
    return np.float32(np.median(np.array(middle, np.uint32).view(np.float32)))


def brain_mask(data: Float32, gradients: Gradients) -> tuple[Bool, list[str]]:
    """Find the brain by its diffusion-weighted signal.

    Otsu's threshold on the root of the mean of the diffusion-weighted volumes, median-filtered,
    holes filled, largest piece kept. The b0 alone, or the mean itself, leaves the middle of the
    head out, where the coils see least. Where tissue fills the field of view (a
    crop, an image that was masked before) no threshold separates brain from background: what
    Otsu rejects is about as bright in the b0 as what it keeps. Then all voxels with signal count.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        May be a memory map. Voxels with values that are not finite count as dark.
    gradients : Gradients
        Its N volumes.

    Returns
    -------
    mask : (X, Y, Z) bool array
    notes : list of str

    Raises
    ------
    DataError
        When the image is constant, or the mask holds less than 2 % of it.

    """
    weighted, b0 = _means_of(data, [~gradients.is_b0, gradients.is_b0])
    low, high = float(weighted.min()), float(weighted.max())
    if not high - low > _FLAT * high:
        raise DataError(
            f"the diffusion-weighted volumes are {low:g} everywhere: no brain to be found"
        )
    signal = (weighted > 0) | (b0 > 0)
    mask = _otsu(np.sqrt(np.maximum(weighted, 0.0)))
    notes = []
    if not _separates(mask, signal, b0):
        mask = signal
        notes.append(
            "No background could be told from the brain: the mask holds all voxels with signal."
        )
    share = float(np.mean(mask))
    if share < 0.02:
        raise DataError(
            f"the brain mask holds {100 * share:.1f} % of the image; expected at least 2 %: give "
            "a mask"
        )
    return mask, notes


def without_scalp(mask: Bool, b0: Float32, voxel_sizes: ArrayLike) -> Bool:
    """Take the scalp from a brain mask that reaches over the skull.

    Diffusion weighting does not darken the scalp much more than the brain: where it is bright, a
    threshold keeps both. Between them lies the skull, which is dark.

    Parameters
    ----------
    mask : (X, Y, Z) bool array
        From `brain_mask`.
    b0 : (X, Y, Z) float32 array
        Mean of the volumes without diffusion weighting.
    voxel_sizes : (3,) array
        mm.

    Returns
    -------
    (X, Y, Z) bool array
        Part of `mask`; all of it where the object is too small to be a human head.

    """
    sizes = np.asarray(voxel_sizes, np.float64)
    extent = [np.ptp(axis) + 1 if len(axis) else 0 for axis in np.nonzero(mask)]
    if min(extent * sizes) < _HEAD_MM:
        return mask
    reach = np.ceil(2 * _BRIDGE_MM / sizes).astype(int)
    # The image goes on where it ends: a cut brain is no surface.
    rim = [(int(n), int(n)) for n in reach]
    inside = np.pad(mask, rim, mode="edge")
    signal = np.where(inside, np.pad(b0, rim, mode="edge"), np.float32(0))
    weights = ndimage.gaussian_filter(inside.astype(np.float32), _AROUND_MM / sizes)
    around = ndimage.gaussian_filter(signal, _AROUND_MM / sizes) / np.maximum(weights, 1e-3)
    bright = inside & (signal > _SKULL * around)
    core = ndimage.distance_transform_edt(bright, sizes) > _BRIDGE_MM
    if not np.any(core):
        return mask
    core = _largest(core)
    grown = ndimage.distance_transform_edt(~core, sizes) <= _BRIDGE_MM + sizes.max()
    closed = ndimage.binary_closing(bright & grown, iterations=2) & inside
    middle = tuple(slice(n, -n) for n in reach)
    brain = np.asarray(ndimage.binary_fill_holes(closed)[middle] & mask, bool)
    return brain if brain.sum() > (1 - _MOST_SCALP) * mask.sum() else mask


def _largest(mask: Bool) -> Bool:
    """The largest piece of a mask."""
    labels, count = ndimage.label(mask)
    return (
        mask if count < 2 else np.asarray(labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]))
    )


def mean_of(data: Float32, volumes: Bool) -> Float32:
    """Mean of some volumes of a series.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        May be a memory map.
    volumes : (N,) bool array
        Which volumes.

    Returns
    -------
    (X, Y, Z) float32 array
        Zero where the mean is not finite.

    """
    return np.asarray(_means_of(data, [volumes])[0])


def _means_of(data: Float32, groups: Sequence[Bool]) -> Float32:
    """(G, X, Y, Z) means of groups of volumes, without copying them; zero where not finite."""
    weights = [(volumes / np.count_nonzero(volumes)).astype(np.float32) for volumes in groups]
    means = np.empty((len(groups), *data.shape[:3]), np.float32)
    with np.errstate(invalid="ignore"):
        for x, plane in enumerate(data):  # each is fetched from the disk once
            for mean, weight in zip(means, weights, strict=True):
                mean[x] = plane @ weight
    return np.nan_to_num(means, copy=False, nan=0.0, posinf=0.0, neginf=0.0)


def _otsu(signal: Float32) -> Bool:
    """Otsu's threshold, holes filled, largest piece; empty where the threshold finds nothing."""
    padded = ndimage.median_filter(signal, 2 * _MEDIAN_RADIUS + 1)
    if np.ptp(padded) <= _FLAT * padded.max():
        return np.zeros(signal.shape, bool)
    _, mask = median_otsu(signal, median_radius=_MEDIAN_RADIUS, numpass=1)
    mask = ndimage.binary_fill_holes(mask)
    return _largest(np.asarray(mask, bool))


def _separates(mask: Bool, signal: Bool, b0: Float32) -> bool:
    """Whether what the mask leaves out is dark, as background is."""
    if not np.any(mask):
        return False
    outside = b0[signal & ~mask]
    return len(outside) == 0 or bool(np.median(outside) <= _BACKGROUND * np.median(b0[mask]))


def is_binary(values: NDArray[np.generic]) -> bool:
    """Whether a map holds at most two different values."""
    low, high = np.min(values), np.max(values)
    return bool(np.all((values == low) | (values == high)))


def resolve_threshold(values: Float32, *, value: float, percent: bool) -> float:
    """The bound that keeps what was asked for.

    Parameters
    ----------
    values : (X, Y, Z) array
        The map.
    value : float
        The bound itself, or the share in percent of the highest non-zero voxels to keep.
    percent : bool
        Whether `value` is a share.

    Returns
    -------
    float
        Voxels strictly above it are kept. For a share: the highest value that is not kept.

    Raises
    ------
    DataError
        When a share is asked of a map that is zero everywhere.

    """
    if not percent:
        return float(value)
    nonzero = np.sort(values[values != 0])
    if len(nonzero) == 0:
        raise DataError("the map is zero everywhere: there is no share of it to keep")
    n_dropped = len(nonzero) - max(1, round(value / 100 * len(nonzero)))
    if n_dropped == 0:
        return float(np.nextafter(nonzero[0], -np.inf))
    return float(nonzero[n_dropped - 1])


def threshold_mask(values: Float32, *, value: float, percent: bool = False) -> Bool:
    """Voxels strictly above a bound; see `resolve_threshold`.

    Raises
    ------
    DataError
        When no voxel is left.

    """
    bound = resolve_threshold(values, value=value, percent=percent)
    mask = np.asarray(values > bound)
    if not np.any(mask):
        if not np.any(values):
            raise DataError("the map is zero everywhere: no voxel can be chosen by it")
        raise DataError(
            f"no voxel lies above {bound:.3g}: the map runs from {np.min(values):.3g} to "
            f"{np.max(values):.3g}; choose a lower threshold"
        )
    return mask


def interface(wm: Float32, gm: Float32) -> Bool:
    """White-matter voxels that touch grey matter with a face.

    A voxel is white (grey) where at least half of it is white or grey matter, and white (grey)
    matter is the larger part.

    Parameters
    ----------
    wm, gm : (X, Y, Z) float32 arrays
        Fractions.

    Raises
    ------
    DataError
        When the two never meet.

    """
    parenchyma = wm + gm >= 0.5
    white, grey = parenchyma & (wm >= gm), parenchyma & (gm > wm)
    meeting = np.asarray(white & ndimage.binary_dilation(grey))
    if not np.any(meeting):
        raise DataError("white and grey matter do not meet in any voxel of the tissue maps")
    return meeting
