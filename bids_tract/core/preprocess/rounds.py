"""How the poses of all volumes are found, round by round.

Every volume is registered to an image of its own contrast: a b0 volume to the first of them, a
weighted volume to what the other weighted volumes predict of it. What such a group of volumes has
in common is then found by what it predicts of the b0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from bids_tract.core.gradients import direction_cosines, find_shells
from bids_tract.core.preprocess.batches import Indices, Series
from bids_tract.core.preprocess.likeness import (
    b0_terms,
    mean_of_others,
    prediction,
    unit_mean,
    weigh,
)
from bids_tract.core.preprocess.pose import (
    NO_STRAINS,
    STILL,
    STRAINS,
    Pose,
    moved,
    register,
    sample,
)
from bids_tract.core.types import Float64, Gradients

# Eddy currents stretch and shear by 1 or 2 %; far more is a fit that failed.
_LARGEST_STRAIN = 0.06
_MOST_SHELLS = 10  # more is a grid of b-values: its volumes are laid onto the b0 as one
_FEWEST_FOR_SLOPES = 10  # volumes, to tell what follows the gradient from what does not
# How a group of volumes is laid onto the b0: smoothing round by round, and of the surroundings.
# 1.5 mm alone is stuck a degree off on the simulated head.
_TIE_SIGMAS_MM = (3.5,) * 4 + (1.5,) * 8
_SURROUNDINGS_MM = 8.0


@dataclass(frozen=True)
class _Round:
    """One pass over the weighted volumes: how smooth, and to what.

    The mean of similar b is a poor likeness of each, but draws all to one place in a single pass;
    the prediction is a good likeness, but lags where neighbours moved together.
    """

    sigma_mm: float
    predict: bool
    eddy: bool


_ROUNDS = (
    _Round(8.0, predict=False, eddy=False),
    _Round(5.0, predict=False, eddy=False),
    _Round(5.0, predict=True, eddy=False),
    _Round(3.5, predict=True, eddy=True),
    _Round(3.5, predict=True, eddy=True),
    _Round(3.5, predict=True, eddy=True),
)
_B0_SIGMAS_MM = (8.0, 3.5)


def estimate_poses(
    series: Series, gradients: Gradients, eddy: bool
) -> tuple[list[Pose], list[str]]:
    """Find where the head lies in each volume.

    Parameters
    ----------
    series : Series
    gradients : Gradients
        Its N volumes, with at least one b0.
    eddy : bool
        Whether weighted volumes may be stretched and sheared.

    Returns
    -------
    poses : list of Pose
        Of each volume; the first b0 is the reference.
    notes : list of str
        What there is to say, as sentences.

    """
    poses = [STILL] * len(gradients)
    b0s, weighted = np.flatnonzero(gradients.is_b0), np.flatnonzero(~gradients.is_b0)
    alike = np.ones(len(series.frame.points))
    for sigma in _B0_SIGMAS_MM:
        first = series.sample(b0s[:1], poses, sigma)
        targets = np.repeat(first, len(b0s) - 1, axis=0)
        series.register(b0s[1:], targets, poses, alike, sigma, NO_STRAINS)
    if len(weighted) < 2:
        return poses, ["One weighted volume alone has nothing to be registered to."]
    table = gradients.select(weighted)
    predict, mean = prediction(table), mean_of_others(table)
    for step in _ROUNDS:
        samples = series.sample(weighted, poses, step.sigma_mm)
        targets = (predict if step.predict else mean) @ samples
        strains = STRAINS if eddy and step.eddy else NO_STRAINS
        weights = weigh(samples, targets)
        series.register(weighted, targets, poses, weights, step.sigma_mm, strains)
    failed = np.array([v for v in weighted if np.abs(poses[v].strain).max() > _LARGEST_STRAIN])
    notes = []
    if len(failed):
        for volume in failed:
            poses[volume] = replace(poses[volume], strain=STILL.strain)
        rows = np.searchsorted(weighted, failed)
        series.register(failed, targets[rows], poses, weights, step.sigma_mm, NO_STRAINS)
        notes.append(
            f"In {len(failed)} volumes no credible distortion by eddy currents was found: they "
            "were corrected for head motion only."
        )
    shells = find_shells(gradients)
    groups = [np.array(shell.volumes) for shell in shells]
    for group in groups if len(groups) <= _MOST_SHELLS else [weighted]:
        if eddy:
            _centre_strains(
                poses, group, gradients.bvecs @ direction_cosines(series.frame.affine).T
            )
        _lay_on_b0(series, poses, group, b0s)
    return poses, notes


def _centre_strains(poses: list[Pose], group: Indices, world: Float64) -> None:
    """Take out the strain that volumes share, which registering them to each other leaves open.

    Eddy currents reverse with the gradient: what does not is not theirs.
    """
    strains = np.array([poses[volume].strain for volume in group])
    columns = [np.ones((len(group), 1))]
    if len(group) >= _FEWEST_FOR_SLOPES:
        columns.append(world[group])
    fit = np.linalg.lstsq(np.hstack(columns), strains.reshape(len(group), 9), rcond=None)[0]
    for volume in group:
        poses[volume] = replace(poses[volume], strain=poses[volume].strain - fit[0].reshape(3, 3))


def _lay_on_b0(series: Series, poses: list[Pose], group: Indices, b0s: Indices) -> None:
    """Move the volumes of a group together, so that the b0 fits what they predict of it.

    The b0's signal is fitted as a cubic polynomial of the mean signal of the group, of its
    standard deviation over directions and of the mean of the surroundings; the b0 is registered
    to that, and both are repeated. Ill-predicted points (CSF, which the group does not see)
    count less. On a human scan the shift found is that of DIPY's mutual information to 0.3 mm.
    """
    frame = series.frame
    wide = series.sample(group, poses, _SURROUNDINGS_MM).mean(axis=0)
    (_, (volume,)) = next(series.batches(b0s[:1]))
    pose, weights = STILL, np.ones(len(wide))
    for sigma, rounds in groupby(_TIE_SIGMAS_MM):
        design = b0_terms(series.sample(group, poses, sigma), wide)
        b0 = frame.smooth(volume, sigma)
        for _ in rounds:
            where = moved(pose.matrix(frame.middle), frame.points)
            seen = sample(b0, frame.to_voxels(where))
            fit = np.linalg.lstsq(weights[:, None] * design, weights * seen, rcond=None)[0]
            error = np.abs(seen - design @ fit)
            weights = unit_mean(1 / np.hypot(error, np.median(error)))
            pose = register(b0, design @ fit, weights, pose, frame, NO_STRAINS)
    back = pose.rotation.T  # the b0 is the reference: it is the group that moves
    for number in group:
        old = poses[number]
        shift = old.shift - old.rotation @ back @ pose.shift
        poses[number] = replace(old, shift=shift, rotation=old.rotation @ back)
