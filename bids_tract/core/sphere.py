"""The sphere on which orientation functions are sampled."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from dipy.core.sphere import HemiSphere
from dipy.data import default_sphere
from scipy.optimize import linear_sum_assignment

from bids_tract.core.types import Float64


@lru_cache(maxsize=1)
def tracking_sphere() -> HemiSphere:
    """362 directions over a hemisphere (724 with their opposites), about 5 degrees apart."""
    return default_sphere


def storage_turn(axes: Float64) -> Float64:
    """How a scan is stored: the reordering and flipping of the world's axes nearest to its own.

    Parameters
    ----------
    axes : (3, 3) float64 array
        Column a is image axis a as a unit vector of the world; see `direction_cosines`.

    Returns
    -------
    (3, 3) float64 array
        Zeros and a 1 or -1 in each row and column. ``v @ storage_turn(axes)`` turns directions
        that go with the object into those that go with the stored image.

    """
    rows, columns = linear_sum_assignment(-np.abs(axes))
    turn = np.zeros((3, 3))
    turn[rows, columns] = np.sign(axes[rows, columns])
    return turn


def storage_sphere(axes: Float64) -> HemiSphere:
    """The tracking sphere, turned with the order and the direction in which voxels are stored.

    A scan and its flipped, reordered or tilted copy then choose among the same directions of the
    object, and give the same streamlines in mm.

    Parameters
    ----------
    axes : (3, 3) float64 array
        As for `storage_turn`.

    Returns
    -------
    HemiSphere
        Directions in image axes.

    """
    sphere = tracking_sphere()
    vertices = sphere.vertices @ storage_turn(axes)
    return HemiSphere(xyz=vertices, edges=sphere.edges, faces=sphere.faces)
