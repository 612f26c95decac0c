"""Three tissues that share voxels, from the brightness of the brain in a T1-weighted image.

A voxel is CSF, grey or white matter, or a mixture of two. The pure ones differ by noise, the
mixtures lie between them, and what is likely depends on the voxels around. Expectation and
maximisation take turns with the fit of a smooth field to what is left unexplained.

Expectation and field: Wells et al. 1996, IEEE Trans. Med. Imaging 15:429-442,
doi:10.1109/42.511747. Mixtures of two tissues: Shattuck et al. 2001, NeuroImage 13:856-876,
doi:10.1006/nimg.2000.0730. Neighbours: Zhang et al. 2001, IEEE Trans. Med. Imaging 20:45-57,
doi:10.1109/42.906424.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.special import ndtr

from bids_tract.core.anatomy.field import FieldFit, white_level
from bids_tract.core.types import Bool, Float32, Float64

CSF, GM, WM = range(3)
_PAIRS = ((CSF, GM), (GM, WM), (CSF, WM))
# How likely a pair is where both are around, against one of them alone. White matter meets CSF
# only at the ventricles: were it as likely as the rest, much of a thin cortex would be taken for
# it (measured on a brain at 2 mm: grey matter falls from 45 to 41 %).
_PAIR_WEIGHTS = np.array([[1.0], [1.0], [0.3]], np.float32)
# The share of a neighbourhood that any tissue has, seen or not.
_UNSEEN = 0.02
# The field's polynomial, from coarse to fine: a cortex all around looks much like a field that
# is dark at the rim (measured on a simulated head: begun with the highest, it does not converge).
_FIELD_ORDERS = (2, 3, 4)
# Nearer to the surface of the brain than this, dura, bone and fat spoil the means of the tissues.
_SURFACE_MM = 3.0
# Brighter than this share of white matter are vessels and fat.
_BRIGHTEST = 1.3
# Of the median: zeros have no logarithm.
_DARKEST = 1e-3
# Of white matter: images without noise exist in simulations only.
_LEAST_NOISE = 0.01
# Of each order; the means then change by less than the second.
_MOST_ROUNDS, _SETTLED = 10, 1e-3
# What T1-weighted images of adults show, to begin with: shares of white matter.
_FIRST_MEANS, _FIRST_NOISE = (0.3, 0.65, 1.0), 0.1


@dataclass(frozen=True, eq=False)
class Mixture:
    """What the voxels of a brain are made of.

    Attributes
    ----------
    fractions : (3, V) float32 array
        CSF, grey and white matter; the sum is 1.
    means : (3,) float64 array
        Brightness of the three; white matter is 1.
    noise : float
        Standard deviation of the brightness of a tissue about its mean.
    field : (V,) float32 array
        The uneven brightness: that of white matter at each voxel.

    """

    fractions: Float32
    means: Float64
    noise: float
    field: Float32


def unmix(t1w: Float32, brain: Bool, voxel_sizes: Float64) -> Mixture:
    """Estimate tissue fractions, the brightness of tissues and the uneven brightness at once.

    Parameters
    ----------
    t1w : (X, Y, Z) float32 array
        At or above zero.
    brain : (X, Y, Z) bool array
        V voxels.
    voxel_sizes : (3,) float64 array
        mm.

    """
    values = t1w[brain]
    values = np.maximum(values, np.float32(_DARKEST * np.median(values[values > 0])))
    inner = _inner(brain, voxel_sizes)
    around = _Surroundings(brain, voxel_sizes)
    fits = [FieldFit(brain, voxel_sizes, order) for order in _FIELD_ORDERS]
    smooth = np.log(around(values[None])[0])
    alike = np.ones_like(values)
    # Cortex all around may look like a field that is dark at the rim, and a steep field like
    # cortex: both beginnings are followed.
    flat = white_level(smooth, FieldFit(brain, voxel_sizes, 0), alike)
    steep = white_level(smooth, fits[0], alike)
    found = [_alternate(np.log(values), smooth, level, fits, inner, around)
             for level in (flat, steep)]  # fmt: skip
    return max(found, key=lambda result: result[1])[0]


def _alternate(
    sharp: Float32,
    smooth: Float32,
    level: Float32,
    fits: list[FieldFit],
    inner: Float32,
    around: _Surroundings,
) -> tuple[Mixture, float]:
    """Expect tissues and fit the field in turns, from a first field on.

    Returns
    -------
    Mixture
    float
        The mean log-likelihood of the brightness.

    """
    means, noise = np.array(_FIRST_MEANS), _FIRST_NOISE
    likely = np.full((6, 1), 1 / 6, np.float32)
    for fit in fits:
        # Until the image is roughly even, noise would hide what is what, and tissues are taken
        # to be as bright as they should.
        first = fit is fits[0]
        brightness = smooth if first else sharp
        for _ in range(_MOST_ROUNDS):
            relative = np.exp(np.minimum(brightness - level, np.float32(np.log(_BRIGHTEST))))
            kinds, mixed, likelihood = _expect(relative, means, noise, likely)
            fractions = _fractions(kinds, mixed, means)
            likely = _likely(around(fractions))
            before = means
            if not first:
                means, noise = _maximise(relative, kinds[:3] * inner, means)
            level = _refit(fit, brightness, level, kinds, mixed, means)
            means, noise = means / means[WM], noise / means[WM]
            if not first and np.max(np.abs(means - before)) < _SETTLED:
                break
    return Mixture(fractions, means, noise, np.exp(level)), likelihood


class _Surroundings:
    """What is around each voxel of the brain, within a voxel or two."""

    def __init__(self, brain: Bool, voxel_sizes: Float64) -> None:
        self._brain = brain
        self._widths = voxel_sizes.min() / voxel_sizes  # one voxel where it is finest
        self._volume = np.zeros(brain.shape, np.float32)
        self._covered = self._smooth(np.ones(np.count_nonzero(brain), np.float32))

    def __call__(self, fractions: Float32) -> Float32:
        return np.stack([self._smooth(part) for part in fractions]) / self._covered

    def _smooth(self, values: Float32) -> Float32:
        self._volume[self._brain] = values
        smooth: Float32 = ndimage.gaussian_filter(self._volume, self._widths, mode="constant")
        return smooth[self._brain]


def _inner(brain: Bool, voxel_sizes: Float64) -> Float32:
    """1 where voxels tell how bright tissue is, 0 near the surface, where others mix in."""
    deep = ndimage.distance_transform_edt(brain, sampling=voxel_sizes)[brain]
    inner = deep > min(_SURFACE_MM, 0.5 * float(deep.max()))
    return np.asarray(inner, np.float32)


def _expect(
    relative: Float32, means: Float64, noise: float, likely: Float32
) -> tuple[Float32, Float32, float]:
    """How likely a voxel is each of the three tissues and pairs, and what a pair's brightness is.

    The third that is returned is the mean log-likelihood.

    Darker than CSF is CSF (vessels with flow), brighter than white matter is white matter. In a
    pair all shares are alike; without the noise it would have the mean, given that the
    brightness lies between those of the two, of a normal distribution.
    """
    kinds = np.empty((6, len(relative)), np.float32)
    mixed = np.empty((3, len(relative)), np.float32)
    for tissue, mean in enumerate(means):
        off = (relative - np.float32(mean)) / np.float32(noise)
        if tissue == CSF:
            off = np.maximum(off, 0)
        elif tissue == WM:
            off = np.minimum(off, 0)
        kinds[tissue] = _normal(off) / np.float32(noise)
    for pair, (dark, bright) in enumerate(_PAIRS):
        low = (np.float32(means[dark]) - relative) / np.float32(noise)
        high = (np.float32(means[bright]) - relative) / np.float32(noise)
        mass = np.maximum(ndtr(high) - ndtr(low), 1e-12)
        kinds[3 + pair] = mass / max(means[bright] - means[dark], _LEAST_NOISE)
        shift = np.float32(noise) * (_normal(low) - _normal(high)) / mass
        mixed[pair] = np.clip(relative + shift, means[dark], means[bright])
    kinds *= likely
    total = np.maximum(kinds.sum(axis=0), np.float32(1e-30))
    kinds /= total
    return kinds, mixed, float(np.mean(np.log(total), dtype=np.float64))


def _normal(off: Float32) -> Float32:
    return np.asarray(np.exp(-off * off / 2) / np.sqrt(2 * np.pi), np.float32)


def _fractions(kinds: Float32, mixed: Float32, means: Float64) -> Float32:
    """The tissue that is to be expected in each voxel."""
    fractions = kinds[:3].copy()
    for pair, (dark, bright) in enumerate(_PAIRS):
        share = (mixed[pair] - means[dark]) / max(means[bright] - means[dark], _LEAST_NOISE)
        share = np.clip(share, 0, 1)
        fractions[bright] += kinds[3 + pair] * share
        fractions[dark] += kinds[3 + pair] * (1 - share)
    return fractions


def _likely(near: Float32) -> Float32:
    """How likely tissues and pairs are by what is around, (6, V): a pair where both are."""
    seen = np.float32(1 - _UNSEEN) * near + np.float32(_UNSEEN / 3)
    pairs = [np.sqrt(seen[dark] * seen[bright]) for dark, bright in _PAIRS]
    likely = np.concatenate([seen, _PAIR_WEIGHTS * np.stack(pairs)])
    return np.asarray(likely / likely.sum(axis=0), np.float32)


def _maximise(relative: Float32, pure: Float32, means: Float64) -> tuple[Float64, float]:
    """Means of the tissues, and the noise that they share, by voxels that hold one of them.

    One noise for all: a wider one for CSF would take in the thin cortex.
    """
    weights = pure.sum(axis=1, dtype=np.float64)
    sums = (pure * relative).sum(axis=1, dtype=np.float64)
    new = np.where(weights > 0, sums / np.maximum(weights, 1e-12), means)
    off = relative - new[:, None].astype(np.float32)
    variance = float((pure * off * off).sum(dtype=np.float64) / weights.sum())
    return new, max(np.sqrt(variance), _LEAST_NOISE)


def _refit(
    fit: FieldFit,
    brightness: Float32,
    level: Float32,
    kinds: Float32,
    mixed: Float32,
    means: Float64,
) -> Float32:
    """The field by grey and white matter and their mixtures; CSF is too dark to tell."""
    grey_white = kinds[[GM, WM, 4]]
    amount = grey_white.sum(axis=0)
    expected = kinds[GM] * means[GM] + kinds[WM] * means[WM] + kinds[4] * mixed[1]
    explained = np.log(np.maximum(expected / np.maximum(amount, 1e-6), means[GM]))
    counts = np.where(brightness - level < np.log(_BRIGHTEST), amount, 0)
    field = fit(brightness - explained.astype(np.float32), counts)
    return field + np.float32(np.log(means[WM]))
