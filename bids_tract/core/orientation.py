"""Whether a gradient table fits its image: with it, fibres run on into each other.

A table with swapped or flipped axes turns the main direction of every tensor in the same way. One
fit therefore serves all tables that differ from the given one by a swap or a flip. With the right
one, a walk along the directions stays in its bundle; with a wrong one, it soon meets voxels that
point elsewhere. The idea is that of Jeurissen 2014 (doi:10.1016/j.media.2014.05.012), who track,
and of Schilling 2019 (doi:10.1016/j.mri.2019.01.018), who compare neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from dipy.reconst.dti import TensorModel
from numpy.typing import ArrayLike, NDArray

from bids_tract.core.gradients import to_dipy
from bids_tract.core.masks import slabs
from bids_tract.core.models.tensor import tensor_volumes
from bids_tract.core.types import Bool, Float32, Float64, Gradients

Verdict = Literal["right", "wrong", "unsure"]

_LETTERS = "ijk"
_SLAB = 10_000
# Below this the main direction is mostly noise. 0.15 rather than 0.2 keeps the FiberCup phantom.
_FAIR_FA = 0.15
# A walk ends where the next direction turns by more than this, and after so many voxels. With
# comparisons of neighbours only (one step), the margin of the right table is 12 % in a human scan
# with 20 directions and 1 to 2 % in the simulated head; with 20 steps, 63 % and 6 to 10 %.
_MAX_TURN_DEG = 45.0
_MOST_STEPS = 20
# Walks start in at most about this many voxels, evenly spread: enough for differences of 1 %.
_STARTS = 10_000
_FEWEST_STARTS = 500
# Scores this close are not told apart. Tables that data cannot tell apart (mirrored through the
# plane of the three slices of FiberCup; noise) differ by up to 3 %; the right one leads by 6 % at
# least in the simulated head (voxels of 3 to 5 mm, SNR 8 to 20) and by 60 % in a human scan.
_CLEARLY = 1.05
# Random axes lie within 45 degrees of each other in 29 of 100 cases: 0.41 steps for each end.
_CHANCE = 0.6
# With the right table scores are 2.8 and more in human scans and simulated heads; directions in
# another order than the volumes reach 1.1 to 1.9 with their best axes (human scan).
_FAR = 2.0


@dataclass(frozen=True)
class Axes:
    """A permutation of the image axes with signs, for the vectors of a gradient table.

    Attributes
    ----------
    source : (int, int, int)
        Which old component becomes the new i, j and k component.
    sign : (int, int, int)
        1 or -1: what it is multiplied by.

    """

    source: tuple[int, int, int]
    sign: tuple[int, int, int]

    @classmethod
    def from_text(cls, text: str) -> Axes:
        """Read a text such as ``j,i-,k``: new i = old j, new j = minus old i, new k = old k.

        Raises
        ------
        ValueError
            When each of i, j and k is not named once.

        """
        words = [word.strip() for word in text.split(",")]
        letters = [word.removesuffix("-") for word in words]
        if sorted(letters) != list(_LETTERS):
            raise ValueError(
                f"'{text}' does not name each image axis once; expected three words such as "
                "i,j-,k: i, j and k in any order, a minus behind those to be reversed"
            )
        first, second, third = (_LETTERS.index(letter) for letter in letters)
        a, b, c = (-1 if word.endswith("-") else 1 for word in words)
        return cls((first, second, third), (a, b, c))

    def __str__(self) -> str:
        pairs = zip(self.source, self.sign, strict=True)
        return ",".join(_LETTERS[source] + ("-" if sign < 0 else "") for source, sign in pairs)

    def apply(self, vectors: Float64) -> Float64:
        """Turn (N, 3) vectors in image axes."""
        return vectors[:, self.source] * np.array(self.sign) + 0.0  # no negative zeros

    def inverse(self) -> Axes:
        """The axes that undo these."""
        first, second, third = (self.source.index(axis) for axis in range(3))
        a, b, c = self.sign[first], self.sign[second], self.sign[third]
        return Axes((first, second, third), (a, b, c))

    def then(self, other: Axes) -> Axes:
        """The axes that do what these do, and then what the others do."""
        first, second, third = (self.source[axis] for axis in other.source)
        a, b, c = (
            sign * self.sign[axis] for axis, sign in zip(other.source, other.sign, strict=True)
        )
        return Axes((first, second, third), (a, b, c))


# A table and its negative are the same: of each pair, the one with fewer minus signs.
_SIGNS = ((1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1))
CANDIDATES: tuple[Axes, ...] = tuple(
    Axes((a, b, c), sign) for a, b, c in permutations(range(3)) for sign in _SIGNS
)
AS_GIVEN = CANDIDATES[0]


@dataclass(frozen=True)
class OrientationCheck:
    """How well the table fits the image, as given and with other axes.

    Attributes
    ----------
    scores : tuple of (Axes, float)
        For each of `CANDIDATES`, best first: how many voxels a walk along the main directions
        goes on, on average, before it meets one that points elsewhere.
    verdict : {'right', 'wrong', 'unsure'}
        'wrong' only where other axes score clearly better; 'unsure' where the data cannot tell
        the given axes from others.
    reason : str
        The verdict in a sentence.

    """

    scores: tuple[tuple[Axes, float], ...]
    verdict: Verdict
    reason: str

    @property
    def best(self) -> Axes:
        """The axes with the highest score; applied to the table, they correct a wrong one."""
        return self.scores[0][0]

    @property
    def given(self) -> float:
        """The score of the table as it was given."""
        return dict(self.scores)[AS_GIVEN]

    def table(self) -> str:
        """All scores, best first, one a line."""
        lines = ["rank  axes      score"]
        for rank, (axes, score) in enumerate(self.scores, start=1):
            mark = "  as given" if axes == AS_GIVEN else ""
            lines.append(f"{rank:4d}  {axes!s:8s}  {score:5.3f}{mark}")
        return "\n".join(lines)


def check_orientation(
    data: Float32,
    gradients: Gradients,
    mask: Bool,
    voxel_sizes: ArrayLike,
    progress: Callable[[int], None] | None = None,
) -> OrientationCheck:
    """Compare the table as given with those that swapped and flipped axes give.

    Parameters
    ----------
    data : (X, Y, Z, N) float32 array
        Positive and finite within the mask. May be a memory map: it is walked once, in slabs.
    gradients : Gradients
        Its N volumes, in image axes.
    mask : (X, Y, Z) bool array
    voxel_sizes : (3,) array
        Along the image axes, mm.
    progress : callable, optional
        Called with the number of voxels done since the last call.

    Returns
    -------
    OrientationCheck

    Raises
    ------
    DataError
        When the directions do not determine a tensor.

    """
    fair, directions = _main_directions(data, gradients, mask, progress)
    numbers = np.full(mask.shape, -1)
    numbers[fair] = np.arange(len(directions))
    sizes = np.asarray(voxel_sizes, np.float64)
    scores = [(axes, _reach(numbers, axes.apply(directions), sizes)) for axes in CANDIDATES]
    scores.sort(key=lambda pair: -pair[1])  # stable: of equals, the given one comes first
    verdict, reason = _judge(scores, len(directions))
    return OrientationCheck(tuple(scores), verdict, reason)


def _main_directions(
    data: Float32, gradients: Gradients, mask: Bool, progress: Callable[[int], None] | None
) -> tuple[Bool, Float64]:
    """Which voxels are fairly anisotropic, and the (M, 3) main directions there."""
    volumes = tensor_volumes(gradients)
    model = TensorModel(to_dipy(gradients.select(volumes)), fit_method="OLS")
    fair = np.zeros(mask.shape, bool)
    directions = [np.zeros((0, 3))]
    for voxels in slabs(mask, _SLAB):
        fit = model.fit(data[voxels][:, volumes])
        chosen = np.nan_to_num(fit.fa) > _FAIR_FA
        fair[voxels] = chosen
        directions.append(fit.evecs[chosen, :, 0])
        if progress is not None:
            progress(len(chosen))
    return fair, np.concatenate(directions)


def _reach(numbers: NDArray[np.int64], directions: Float64, sizes: Float64) -> float:
    """How many voxels a walk goes on before the next one points elsewhere.

    Walks that leave the image, or that are still going after the last step, are cut off, not
    ended: the mean is the number of steps made over the number of ends (that of an exponential
    distribution with censoring). So thin stacks do not favour fibres within their plane. Each
    step leads to another voxel, or long voxels would favour fibres along them.
    """
    starts = np.argwhere(numbers >= 0)[:: 1 + len(directions) // _STARTS]
    first = directions[numbers[tuple(starts.T)]]
    at = np.concatenate([starts, starts]).astype(np.float64)
    heading = np.concatenate([first, -first])
    steps = ends = 0
    for _ in range(_MOST_STEPS):
        hop = heading / sizes
        at = at + hop / np.abs(hop).max(axis=1, keepdims=True)
        inside = np.all((at > -0.5) & (at < np.array(numbers.shape) - 0.5), axis=1)
        at, heading = at[inside], heading[inside]
        number = numbers[tuple(np.rint(at).astype(np.intp).T)]
        ahead = directions[number] if len(directions) else heading
        cosine = np.sum(ahead * heading, axis=1)
        on = (number >= 0) & (np.abs(cosine) > np.cos(np.deg2rad(_MAX_TURN_DEG)))
        steps += int(np.count_nonzero(on))
        ends += int(np.count_nonzero(~on))
        at, heading = at[on], ahead[on] * np.sign(cosine[on])[:, None]
    return steps / max(ends, 1)


_SCRAMBLED = (
    f"fibres run on through fewer than {_FAR:g} voxels whatever the axes: the image is noisy, or "
    "the directions are those of another scan, or not in the order of the volumes. Compare them."
)


def _judge(scores: list[tuple[Axes, float]], n_fair: int) -> tuple[Verdict, str]:
    """The verdict and its reason, of scores in order."""
    best, highest = scores[0]
    given = dict(scores)[AS_GIVEN]
    close = [axes for axes, score in scores if score * _CLEARLY > highest]
    if n_fair < _FEWEST_STARTS:
        return "unsure", (
            f"Only {n_fair} voxels are anisotropic (FA above {_FAIR_FA}); {_FEWEST_STARTS} are "
            "needed to tell whether the gradient table fits the image."
        )
    if highest < _CHANCE:
        return "unsure", (
            "Neighbouring voxels hardly agree on a direction, whatever the axes of the gradient "
            "table: the image is too noisy to tell whether the table fits it."
        )
    doubt = "" if highest >= _FAR else f" But {_SCRAMBLED}"
    if AS_GIVEN not in close:
        return "wrong", (
            f"Fibres run on through {highest:.2f} voxels with the axes {best} of the gradient "
            f"table, through {given:.2f} with the table as given: its axes are swapped or "
            f"flipped.{doubt}"
        )
    if len(close) > 1:
        others = ", ".join(str(axes) for axes in close if axes != AS_GIVEN)
        return "unsure", (
            f"The image cannot tell the gradient table as given from the one with the axes "
            f"{others}: fibres run on about as far.{doubt}"
        )
    if doubt:
        return "unsure", f"No other axes of the gradient table fit better.{doubt}"
    return "right", (
        f"Fibres run on through {given:.2f} voxels with the gradient table as given, through "
        f"{scores[1][1]:.2f} with the best of the others ({scores[1][0]})."
    )
