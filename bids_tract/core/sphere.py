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


def storage_sphere(axes: Float64) -> HemiSphere:
    """The tracking sphere, turned with the order and the direction in which voxels are stored.

    A scan and its flipped, reordered or tilted copy then choose among the same directions of the
    object, and give the same streamlines in mm.

    Parameters
    ----------
    axes : (3, 3) float64 array
        Column a is image axis a as a unit vector of the world; see `direction_cosines`.

    Returns
    -------
    HemiSphere
        Directions in image axes.

    """
    rows, columns = linear_sum_assignment(-np.abs(axes))
    nearest = np.zeros((3, 3))
    nearest[rows, columns] = np.sign(axes[rows, columns])
    sphere = tracking_sphere()
    return HemiSphere(xyz=sphere.vertices @ nearest, edges=sphere.edges, faces=sphere.faces)
