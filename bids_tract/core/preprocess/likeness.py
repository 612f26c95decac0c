"""What a volume should look like, going by others of its series, and which points tell.

A weighted volume is predicted for its direction and weighting as a sum of the other weighted
volumes (Andersson & Sotiropoulos 2015, doi:10.1016/j.neuroimage.2015.07.067), the b0 as a
polynomial of what they have in common.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import numpy as np

from bids_tract.core.types import Float64, Gradients

# How signals resemble each other: not at all beyond this angle (Andersson & Sotiropoulos), and by
# the logarithm of b; what noise and motion add, as a share of the variance over directions; the
# mean signal is as good as unknown.
_REACH_RAD = 1.2
_REACH_LN_B = 0.3
_NOISE = 0.2
_MEAN_VARIANCE = 100.0
# Points that the prediction hits better than this share of the median error count alike.
_WEIGHT_FLOOR = 0.5


def _likeness_in_b(table: Gradients) -> Float64:
    log_b = np.log(table.bvals)
    return np.asarray(np.exp(-0.5 * np.square((log_b[:, None] - log_b) / _REACH_LN_B)))


def mean_of_others(table: Gradients) -> Float64:
    """(N, N): row i weighs the other volumes by how near their b is; each sums to 1."""
    near = _likeness_in_b(table)
    np.fill_diagonal(near, 0.0)
    near += 1e-12 * (1 - np.eye(len(near)))  # a b-value far from all others
    return np.asarray(near / near.sum(axis=1, keepdims=True))


def prediction(table: Gradients) -> Float64:
    """(N, N): row i predicts volume i from the others, as a Gaussian process does."""
    cosine = np.abs(np.clip(table.bvecs @ table.bvecs.T, -1, 1))
    angle = np.minimum(np.arccos(cosine) / _REACH_RAD, 1.0)
    spherical = 1 - 1.5 * angle + 0.5 * angle**3
    covariance = (_MEAN_VARIANCE + spherical) * _likeness_in_b(table)
    inverse = np.linalg.inv(covariance + _NOISE * np.eye(len(table)))
    return np.asarray(np.eye(len(table)) - inverse / np.diag(inverse)[:, None])


def weigh(samples: Float64, targets: Float64) -> Float64:
    """Count points by how well they are predicted: those in fibres hardly are, outlines are."""
    error = np.sqrt(np.mean(np.square(samples - targets), axis=0))
    weights = 1 / np.hypot(error, _WEIGHT_FLOOR * np.median(error))
    return unit_mean(weights)


def unit_mean(weights: Float64) -> Float64:
    """Weights whose mean square is 1."""
    return np.asarray(weights / np.sqrt(np.mean(np.square(weights))))


def b0_terms(fine: Float64, wide: Float64) -> Float64:
    """(P, K): the terms of a cubic polynomial of mean, standard deviation and surroundings."""
    traits = [trait / trait.std() for trait in (fine.mean(axis=0), fine.std(axis=0), wide)]
    terms = [np.ones_like(wide)]
    for degree in (1, 2, 3):
        terms += [np.prod(c, axis=0) for c in combinations_with_replacement(traits, degree)]
    return np.stack(terms, axis=1)
