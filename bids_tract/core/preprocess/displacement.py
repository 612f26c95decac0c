"""How far the head moves from volume to volume, with and without what eddy currents look like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from bids_tract.core.preprocess.pose import HEAD_RADIUS_MM
from bids_tract.core.types import Float64


def framewise_displacement(parameters: Float64) -> Float64:
    """Sum of the absolute changes since the volume before.

    Power 2012 (doi:10.1016/j.neuroimage.2011.10.018); rotations as arcs on a sphere of 50 mm.

    Parameters
    ----------
    parameters : (N, 6) float64 array
        Shifts (mm) and rotations about fixed axes (radians), as `Motion` has them.

    Returns
    -------
    (N,) float64 array
        mm; NaN for the first volume.

    """
    steps = np.abs(np.diff(parameters, axis=0))
    displacement = np.full(len(parameters), np.nan)
    displacement[1:] = steps[:, :3].sum(axis=1) + HEAD_RADIUS_MM * steps[:, 3:].sum(axis=1)
    return displacement


def phase_axis_of(metadata: Mapping[str, Any]) -> int | None:
    """The image axis along which phase was encoded, None where the sidecar does not say.

    PhaseEncodingDirection of BIDS (``j-``), or what converters write where they know the axis
    without its sign: PhaseEncodingAxis (``j``).
    """
    for key in ("PhaseEncodingDirection", "PhaseEncodingAxis"):
        axis = {"i": 0, "j": 1, "k": 2}.get(str(metadata.get(key)).removesuffix("-"))
        if axis is not None:
            return axis
    return None


def restricted_displacement(parameters: Float64, transforms: Float64, axis: Float64) -> Float64:
    """Framewise displacement without what eddy currents may have made of it.

    Eddy currents move the image along the phase-encoding axis only, by an amount that follows the
    diffusion gradient: they shift it like a head that moves along this axis, which is left out
    (the restricted movement of FSL's eddy), and shear it. The symmetric strains that registration
    fits leave half of a shear to the rotation. A shear along the axis changes no coordinate across
    it: the rotation is taken from those.

    Parameters
    ----------
    parameters : (N, 6) float64 array
    transforms : (N, 4, 4) float64 array
        As `Motion` has them.
    axis : (3,) float64 array
        The phase-encoding axis in world axes, a unit vector; its sign does not matter.

    Returns
    -------
    (N,) float64 array
        mm; NaN for the first volume.

    """
    shifts = parameters[:, :3] - np.outer(parameters[:, :3] @ axis, axis)
    across = np.linalg.svd(axis[None])[2][1:]  # two directions at right angles to it
    left, _, right = np.linalg.svd(across @ transforms[:, :3, :3], full_matrices=False)
    turned = left @ right  # the orthonormal pair that is nearest
    third = np.cross(turned[:, 0], turned[:, 1])
    frame = np.vstack([across, np.cross(*across)])
    rotations = frame.T @ np.concatenate([turned, third[:, None]], axis=1)
    angles = Rotation.from_matrix(rotations).as_euler("xyz")
    return framewise_displacement(np.hstack([shifts, angles]))
