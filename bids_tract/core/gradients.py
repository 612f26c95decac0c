"""Gradient tables: their frame, their soundness, their shells, and what order they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from dipy.core.gradients import GradientTable, gradient_table
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from bids_tract.core.types import Bool, Float64, Gradients
from bids_tract.errors import DataError

Convention = Literal["fsl", "voxel", "world"]

# The smallest number of unique directions that carries an order. 52 rather than 45 for order 8:
# with 45 directions the 95th percentile of the error in a simulated single fibre at SNR 25 is
# 75 degrees. Above 8: 1.15 directions for each coefficient, which is what 52 is for 8.
_DIRECTIONS_NEEDED = {2: 15, 4: 15, 6: 28, 8: 52, 10: 76, 12: 105}
_MAX_SHELLS = 10  # more is a Cartesian (DSI) grid


# --- Frames ------------------------------------------------------------------------------------


def direction_cosines(affine: Float64) -> Float64:
    """Directions of the image axes in the world.

    Parameters
    ----------
    affine : (4, 4) float64 array
        Voxel indices to RAS+ mm.

    Returns
    -------
    (3, 3) float64 array
        Unit columns: ``cosines @ image_vector`` is the vector in world axes. Flips stay in it.

    """
    linear = np.asarray(affine, np.float64)[:3, :3]
    return np.asarray(linear / np.linalg.norm(linear, axis=0), np.float64)


def to_image_axes(bvecs: Float64, affine: Float64, convention: Convention) -> Float64:
    """Turn the vectors of a file into vectors along the image's own axes.

    Parameters
    ----------
    bvecs : (N, 3) float64 array
        As the file has them.
    affine : (4, 4) float64 array
        Voxel indices to RAS+ mm.
    convention : {'fsl', 'voxel', 'world'}
        'fsl' (BIDS): image axes, but with x negated where the affine's determinant is positive.
        'voxel' (QSIPrep): image axes as they are. 'world': RAS+ axes (MRtrix).

    Returns
    -------
    (N, 3) float64 array

    """
    vectors = np.array(bvecs, np.float64)
    if convention == "world":
        return np.asarray(np.linalg.solve(direction_cosines(affine), vectors.T).T)
    if convention == "fsl" and np.linalg.det(np.asarray(affine)[:3, :3]) > 0:
        vectors[:, 0] *= -1
    return vectors


def check_world(
    gradients: Gradients, affine: Float64, b_table_vectors: Float64, b_table_bvals: Float64
) -> None:
    """Compare a table with a second one in world axes, such as QSIPrep's ``.b`` file.

    Parameters
    ----------
    gradients : Gradients
        The table in image axes.
    affine : (4, 4) float64 array
        Voxel indices to RAS+ mm.
    b_table_vectors : (N, 3) float64 array
        Directions in RAS+ axes.
    b_table_bvals : (N,) float64 array
        Their b-values in s/mm².

    Raises
    ------
    DataError
        Where the two tables name different volumes or directions.

    """
    if len(b_table_bvals) != len(gradients):
        raise DataError(
            f"the world-frame table (.b) has {len(b_table_bvals)} rows and the gradient table "
            f"{len(gradients)} volumes; expected the same volumes in both"
        )
    weighted = ~gradients.is_b0
    off = np.abs(b_table_bvals - gradients.bvals) > np.maximum(50.0, 0.05 * gradients.bvals)
    if np.any(off):
        raise DataError(
            f"the world-frame table (.b) has other b-values than the gradient table in "
            f"{_volumes(off)}; they do not belong together"
        )
    world = gradients.bvecs[weighted] @ direction_cosines(affine).T
    other = np.asarray(b_table_vectors, np.float64)[weighted]
    lengths = np.linalg.norm(other, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        cosine = np.abs(np.sum(world * other, axis=1)) / lengths
    wrong = ~(cosine > 1 - 0.02)  # the negation also catches NaN
    if np.any(wrong):
        raise DataError(
            f"the gradient table points elsewhere than the world-frame table (.b) beside it in "
            f"{np.count_nonzero(wrong)} of {len(wrong)} diffusion volumes; the frame of the "
            "vectors is not what was assumed: give --bvec-convention fsl, voxel or world"
        )


# --- Soundness ---------------------------------------------------------------------------------


def make_gradients(
    bvals: Float64,
    bvecs: Float64,
    affine: Float64,
    *,
    convention: Convention,
    b0_threshold: float,
) -> tuple[Gradients, list[str]]:
    """Check a gradient table and bring it into image axes.

    Parameters
    ----------
    bvals : (N,) float64 array
        s/mm².
    bvecs : (N, 3) float64 array
        As the file has them; see `to_image_axes`.
    affine : (4, 4) float64 array
        Voxel indices to RAS+ mm.
    convention : {'fsl', 'voxel', 'world'}
        The frame of `bvecs`.
    b0_threshold : float
        Volumes with b up to this (s/mm²) count as b0.

    Returns
    -------
    gradients : Gradients
    notes : list of str
        What was corrected or looks odd, as sentences.

    Raises
    ------
    DataError
        Where the table cannot be used; the sentence names volumes, counted from 0.

    """
    bvals = np.array(bvals, np.float64)
    bvecs = np.array(bvecs, np.float64)
    if bvals.ndim != 1 or bvecs.ndim != 2 or bvecs.shape[1:] != (3,) or len(bvals) != len(bvecs):
        raise DataError(
            f"the table has {bvals.size} b-values and directions of shape {bvecs.shape}; expected "
            "one b-value and one direction of three components for each volume"
        )
    notes = _check_bvals(bvals, b0_threshold)
    is_b0 = bvals <= b0_threshold
    bvecs[is_b0] = 0.0
    bvecs[~is_b0], more = _unit(bvecs, ~is_b0)
    vectors = to_image_axes(bvecs, affine, convention) + 0.0  # no negative zeros
    return Gradients(bvals, vectors, float(b0_threshold)), notes + more


def _check_bvals(bvals: Float64, b0_threshold: float) -> list[str]:
    """Refuse b-values that make no series; return what looks odd."""
    bad = ~(np.isfinite(bvals) & (bvals >= 0))
    if np.any(bad):
        raise DataError(f"the b-value of {_volumes(bad)} is negative or not a number")
    largest = bvals.max(initial=0.0)
    if 0 < largest < 50:
        raise DataError(
            f"the largest b-value is {largest:g}; expected s/mm² (for ms/um² multiply by 1000)"
        )
    weighted = bvals > b0_threshold
    if not np.any(weighted):
        raise DataError(
            f"no volume has b above {b0_threshold:g} s/mm² (the largest is {largest:g}): the "
            "series has no diffusion weighting; --b0-threshold sets the bound"
        )
    lowest = bvals[weighted].min()
    if np.all(weighted):
        raise DataError(
            f"no volume has b up to {b0_threshold:g} s/mm² (the lowest is {lowest:g}): the models "
            "need a b0 volume; if the lowest ones are meant as such, raise --b0-threshold"
        )
    if lowest <= 150:
        return [
            f"The lowest b above the b0 threshold is {lowest:g} s/mm²: these volumes count as "
            "diffusion-weighted; --b0-threshold sets the bound."
        ]
    return []


def _unit(bvecs: Float64, weighted: Bool) -> tuple[Float64, list[str]]:
    """Give the weighted rows unit length, or refuse them."""
    norms = np.linalg.norm(bvecs, axis=1)
    bad = weighted & ~(norms > 0)  # zero or NaN
    if np.any(bad):
        raise DataError(
            f"{_volumes(bad)}: diffusion weighting without a direction (zero or not a number); "
            "correct the table, or raise --b0-threshold where b0 volumes are meant"
        )
    bad = weighted & ~(np.abs(norms - 1) <= 0.1)
    if np.any(bad):
        raise DataError(
            f"the direction of {_volumes(bad)} has the length {norms[bad][0]:.3g}; expected unit "
            "vectors"
        )
    off = weighted & (np.abs(norms - 1) > 1e-3)
    notes = []
    if np.any(off):
        notes.append(
            f"The directions of {_volumes(off)} have lengths from {norms[off].min():.3f} to "
            f"{norms[off].max():.3f} and were made unit vectors."
        )
    return bvecs[weighted] / norms[weighted, None], notes


def _volumes(which: Bool) -> str:
    """Name volumes in a sentence, at most eight of them."""
    numbers = np.flatnonzero(which)
    text = ", ".join(str(number) for number in numbers[:8])
    if len(numbers) > 8:
        text += f" and {len(numbers) - 8} more"
    return f"{'volume' if len(numbers) == 1 else 'volumes'} {text} (counted from 0)"


def to_dipy(gradients: Gradients) -> GradientTable:
    """The same table as DIPY's class."""
    # DIPY gives volumes without a direction b = 0 in any case, and warns of thresholds above 199.
    bvals = np.where(gradients.is_b0, 0.0, gradients.bvals)
    return gradient_table(bvals, bvecs=gradients.bvecs, b0_threshold=0)


# --- Shells and orders -------------------------------------------------------------------------


@dataclass(frozen=True)
class Shell:
    """Volumes of (nearly) one diffusion weighting.

    Attributes
    ----------
    b : float
        Median b-value in s/mm².
    volumes : tuple of int
        Which volumes, ascending, counted from 0.
    n_unique : int
        Unique directions among them; see `unique_directions`.

    """

    b: float
    volumes: tuple[int, ...]
    n_unique: int

    def __str__(self) -> str:
        return f"b={self.b:g} ({self.n_unique} directions)"


def find_shells(gradients: Gradients) -> tuple[Shell, ...]:
    """Group the diffusion-weighted volumes into shells, lowest b first.

    A new shell starts where sorted b-values lie more than 100 s/mm², and more than 5 %, apart:
    995 and 1005 are one shell, and so are 2950 and 3050.
    """
    weighted = np.flatnonzero(~gradients.is_b0)
    order = weighted[np.argsort(gradients.bvals[weighted], kind="stable")]
    b = gradients.bvals[order]
    starts = np.flatnonzero(np.diff(b) > np.maximum(100.0, 0.05 * b[1:])) + 1
    return tuple(
        Shell(
            b=float(np.median(gradients.bvals[members])),
            volumes=tuple(int(volume) for volume in np.sort(members)),
            n_unique=unique_directions(gradients.bvecs[members]),
        )
        for members in np.split(order, starts)
        if len(members)
    )


def unique_directions(bvecs: Float64) -> int:
    """How many axes there are; those within one degree, opposite ends included, are one.

    Parameters
    ----------
    bvecs : (N, 3) float64 array
        Unit vectors.

    """
    if len(bvecs) == 0:
        return 0
    same = np.abs(bvecs @ bvecs.T) > np.cos(np.deg2rad(1.0))
    return int(connected_components(same, directed=False)[0])


def max_order(n_unique: int) -> int:
    """The highest harmonic order up to 8 that `n_unique` directions carry.

    Raises
    ------
    DataError
        Below 15 directions, the number of coefficients of order 4.

    """
    if n_unique < _DIRECTIONS_NEEDED[4]:
        raise DataError(
            f"{n_unique} unique directions; CSA and CSD need at least "
            f"{_DIRECTIONS_NEEDED[4]}, which carry spherical harmonics of order 4"
        )
    return _carried_order(n_unique, 8)


def resolve_order(requested: int | None, default: int, n_unique: int) -> tuple[int, list[str]]:
    """The order to fit, lowered where the directions cannot carry it.

    Parameters
    ----------
    requested : int or None
        What the user asked for (even, 2 to 12).
    default : int
        What holds otherwise.
    n_unique : int
        Unique directions of the shell.

    Returns
    -------
    order : int
    notes : list of str
        A sentence where the order was lowered.

    Raises
    ------
    DataError
        Below 15 directions.

    """
    max_order(n_unique)
    wanted = default if requested is None else requested
    order = _carried_order(n_unique, wanted)
    if order == wanted:
        return order, []
    return order, [
        f"The {n_unique} unique directions carry spherical harmonics up to order {order}: the "
        f"order was lowered from {wanted}."
    ]


def _carried_order(n_unique: int, highest: int) -> int:
    """The highest order up to `highest` that the directions carry; 0 where none."""
    return max(
        (o for o, need in _DIRECTIONS_NEEDED.items() if o <= highest and need <= n_unique),
        default=0,
    )


def choose_shell(
    gradients: Gradients, requested: float | None
) -> tuple[NDArray[np.intp], Shell, list[str]]:
    """Choose the shell for the single-shell models.

    Parameters
    ----------
    gradients : Gradients
    requested : float or None
        The b-value asked for (s/mm²); None takes the shell whose directions carry the highest
        order up to 8, of several the one with the highest b.

    Returns
    -------
    volumes : (M,) intp array
        The b0 volumes and those of the shell, ascending.
    shell : Shell
    notes : list of str
        A sentence where other shells are left out.

    Raises
    ------
    DataError
        When the requested shell is not there, or the b-values form a grid and no shells.

    """
    shells = find_shells(gradients)
    shell = _pick(shells, requested)
    b = gradients.bvals[list(shell.volumes)]
    # Values close enough to chain into one group, but spread too far to be one shell.
    if len(shells) > _MAX_SHELLS or np.ptp(b) > max(200.0, 0.2 * shell.b):
        weighted = gradients.bvals[~gradients.is_b0]
        raise DataError(
            f"the b-values ({weighted.min():g} to {weighted.max():g} s/mm², "
            f"{len(np.unique(weighted))} different ones) are a grid rather than shells; CSA and "
            "CSD need a shell of one b-value"
        )
    keep = gradients.is_b0
    keep[list(shell.volumes)] = True
    notes = []
    if len(shells) > 1:
        others = ", ".join(str(other) for other in shells if other != shell)
        notes.append(f"The single-shell models use {shell}; left out: {others}.")
    return np.flatnonzero(keep), shell, notes


def _pick(shells: tuple[Shell, ...], requested: float | None) -> Shell:
    if requested is None:
        return max(shells, key=lambda shell: (_carried_order(shell.n_unique, 8), shell.b))
    shell = min(shells, key=lambda shell: abs(shell.b - requested))
    if abs(shell.b - requested) > 100:
        raise DataError(
            f"there is no shell within 100 s/mm² of --shell {requested:g}; there are "
            + ", ".join(str(shell) for shell in shells)
        )
    return shell
