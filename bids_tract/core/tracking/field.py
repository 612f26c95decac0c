"""What the kernels follow: amplitudes of an SH field on a sphere laid out for the processor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from dipy.reconst.shm import sh_to_sf_matrix
from numpy.typing import DTypeLike, NDArray

from bids_tract.core.gradients import direction_cosines
from bids_tract.core.sphere import storage_sphere, tracking_sphere
from bids_tract.core.tracking.kernels import Table
from bids_tract.core.tracking.vector import WIDTH
from bids_tract.core.types import Float32, Float64, SHField
from bids_tract.errors import DataError

# Farther than one voxel from any voxel with a non-zero ODF there is no direction to follow.
MARGIN = 2
CACHE_LINE = 64  # bytes
_SLAB = 4096


@lru_cache(maxsize=1)
def patch_order() -> NDArray[np.intp]:
    """The tracking sphere's directions in patches of `WIDTH` neighbours.

    The set is halved again and again across its longest extent, counting a direction and its
    opposite as one, into parts that are multiples of `WIDTH`. A cone of 30 degrees then touches 7
    of 23 patches.

    Returns
    -------
    (V,) int array
        Numbers of the sphere's vertices.

    """
    vertices = tracking_sphere().vertices
    # The same for v and -v; close for close directions.
    squares = np.einsum("vi,vj->vij", vertices, vertices).reshape(len(vertices), 9)

    def halves(members: NDArray[np.intp], n_patches: int) -> list[NDArray[np.intp]]:
        if n_patches == 1:
            return [members]
        n_left = n_patches // 2
        centred = squares[members] - squares[members].mean(axis=0)
        longest = np.linalg.svd(centred, full_matrices=False)[2][0]
        along = members[np.argsort(centred @ longest, kind="stable")]
        left, right = along[: n_left * WIDTH], along[n_left * WIDTH :]
        return halves(left, n_left) + halves(right, n_patches - n_left)

    n_patches = -(-len(vertices) // WIDTH)
    return np.concatenate(halves(np.arange(len(vertices)), n_patches))


def _padded(directions: Float64, multiple: int) -> Float64:
    n = -(-len(directions) // multiple) * multiple
    return np.pad(directions, ((0, n - len(directions)), (0, 0)))


def cone_patches(
    directions: Float64, cos_max: float
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Which patches hold directions of the cone about each direction.

    Parameters
    ----------
    directions : (D, 3) float64 array
        In patches, zero where padded.
    cos_max : float
        Cosine of the cone's half angle.

    Returns
    -------
    first_patch : (D + 2,) int32 array
        Where the list of each direction begins in `patches`; then that of all patches, which
        comes last, and the end.
    patches : int32 array
        The first direction of each patch.

    """
    # A little wider than the cone: the kernel compares in float32.
    near = np.abs(directions @ directions.T) >= cos_max - 1e-5
    near[:, ~np.any(directions, axis=1)] = False
    touched = near.reshape(len(directions), -1, WIDTH).any(axis=2)
    touched = np.vstack([touched, np.ones((1, touched.shape[1]), bool)])
    first = np.concatenate([[0], np.cumsum(touched.sum(axis=1))])
    return first.astype(np.int32), (np.nonzero(touched)[1] * WIDTH).astype(np.int32)


@dataclass(frozen=True, eq=False)
class Box:
    """The part of an image that holds all non-zero voxels of a field.

    Attributes
    ----------
    corner : (3,) int array
        Its first voxel in the image.
    shape : tuple of int
    image : tuple of int
        Shape of the image.

    """

    corner: NDArray[np.intp]
    shape: tuple[int, ...]
    image: tuple[int, ...]

    @property
    def region(self) -> tuple[slice, ...]:
        """The box as an index of the image."""
        return tuple(slice(c, c + n) for c, n in zip(self.corner, self.shape, strict=True))


def box_of(field: SHField) -> Box:
    """The box about the non-zero voxels of a field, with a margin.

    Raises
    ------
    DataError
        When the field is not finite, or zero everywhere.

    """
    if not np.isfinite(field.coeffs).all():
        raise DataError("the orientation field holds NaN or infinity; fit the model again")
    filled = np.argwhere(np.any(field.coeffs, axis=-1))
    if len(filled) == 0:
        raise DataError("the orientation field is zero everywhere: there is nothing to follow")
    image = field.coeffs.shape[:3]
    corner = np.maximum(filled.min(axis=0) - MARGIN, 0)
    end = np.minimum(filled.max(axis=0) + MARGIN + 1, image)
    return Box(corner, tuple(int(n) for n in end - corner), image)


def make_table(
    field: SHField,
    box: Box,
    affine: Float64,
    *,
    max_angle_deg: float,
    rule_maps: tuple[Float32, Float32],
    peaks: Float32 | None = None,
    dtype: DTypeLike = np.float32,
) -> tuple[Table, Float64]:
    """Lay out a field for the kernels.

    Parameters
    ----------
    field : SHField
    box : Box
        As `box_of` gives it.
    affine : (4, 4) float64 array
        Voxel to RAS+ mm of the image.
    max_angle_deg : float
        Largest turn at one step.
    rule_maps : two (X, Y, Z) float32 arrays
        What the stop rule reads: map, mask or grey matter; and CSF.
    peaks : (X, Y, Z, 3 N) float32 array, optional
        Peaks, for EuDX.
    dtype : {float32, uint8}
        How amplitudes are stored. Bytes, as shares of the largest of each voxel, are wrong by 0.2
        percent of it at most: nothing to a draw, and a quarter of the memory to wait for.

    Returns
    -------
    table : Table
    directions : (D, 3) float64 array
        The sphere as the table numbers it, in image axes.

    """
    sphere = storage_sphere(direction_cosines(affine))
    basis = sh_to_sf_matrix(
        sphere, sh_order_max=field.lmax, basis_type="descoteaux07", legacy=True, return_inv=False
    )[:, patch_order()]
    itemsize = np.dtype(dtype).itemsize
    directions = _padded(sphere.vertices[patch_order()], CACHE_LINE // itemsize)
    n_directions = len(directions)
    basis = np.pad(basis, ((0, 0), (0, n_directions - basis.shape[1]))).astype(np.float32)

    coeffs = field.coeffs[box.region]
    filled = np.any(coeffs, axis=-1)
    number = np.zeros(box.shape, np.float32)  # whole numbers up to 16 million are exact
    number[filled] = np.arange(1, filled.sum() + 1)
    voxels = np.nonzero(filled) if peaks is None else ()  # who follows peaks reads no amplitudes
    n_rows = len(voxels[0]) if voxels else 0
    rows = _aligned_zeros(n_rows + 1, n_directions, dtype)
    highest_of_row = np.zeros(int(filled.sum()) + 1, np.float32)
    for start in range(0, n_rows, _SLAB):
        part = tuple(v[start : start + _SLAB] for v in voxels)
        amplitudes = np.maximum(coeffs[part] @ basis, 0.0)
        here = slice(1 + start, 1 + start + len(amplitudes))
        highest_of_row[here] = amplitudes.max(axis=1)
        if itemsize == 1:
            top = np.maximum(highest_of_row[here, None], np.finfo(np.float32).tiny)
            amplitudes = np.rint(amplitudes * (255 / top))
        rows[here] = amplitudes
    highest = np.zeros(box.shape, np.float32)
    highest[filled] = highest_of_row[1:]
    first_patch, patches = cone_patches(directions, float(np.cos(np.deg2rad(max_angle_deg))))
    padded_shape = [n + 2 for n in box.shape]
    world = affine[:3].astype(np.float64).copy()
    world[:, 3] += affine[:3, :3] @ box.corner
    table = Table(
        rows=rows.ravel(),
        scaled=itemsize == 1,
        peaks=_peak_rows(peaks, box, filled),
        cells=_padded_box(number, highest, *(values[box.region] for values in rule_maps)),
        strides=np.array([padded_shape[1] * padded_shape[2], padded_shape[2]], np.int64),
        shape=np.array(box.shape, np.float64),
        corner=box.corner.astype(np.float64),
        image=np.array(box.image, np.float64),
        directions=np.ascontiguousarray(directions.T, np.float32).ravel(),
        first_patch=first_patch,
        patches=patches,
        world=world,
    )
    return table, directions


def _padded_box(*values: Float32) -> Float32:
    """Values of each voxel side by side, with a copy of the rim around the box, flattened."""
    return np.pad(
        np.stack(values, axis=-1).astype(np.float32), ((1, 1), (1, 1), (1, 1), (0, 0)), mode="edge"
    ).ravel()


def _aligned_zeros(n_rows: int, n_columns: int, dtype: DTypeLike) -> NDArray[Any]:
    """Zeros whose rows begin where cache lines do: no patch then lies in two."""
    raw = np.zeros(n_rows * n_columns + CACHE_LINE, dtype)
    first = (-raw.ctypes.data % CACHE_LINE) // raw.itemsize
    return raw[first : first + n_rows * n_columns].reshape(n_rows, n_columns)


def _peak_rows(peaks: Float32 | None, box: Box, filled: NDArray[np.bool_]) -> Float32:
    """Unit peaks by row of the table."""
    if peaks is None:
        return np.zeros((1, 0, 3), np.float32)
    chosen = peaks[box.region][filled].reshape(int(filled.sum()), -1, 3)
    norms = np.linalg.norm(chosen, axis=2, keepdims=True)
    unit = np.divide(chosen, norms, out=np.zeros_like(chosen), where=norms > 0)
    return np.concatenate([np.zeros((1, *unit.shape[1:]), np.float32), unit.astype(np.float32)])
