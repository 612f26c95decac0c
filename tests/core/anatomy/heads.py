"""Simulated T1-weighted heads with bone and scalp, uneven and noisy, and their truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bids_tract.core.types import Bool, Float32, Float64, Tissue
from bids_tract.tools.phantom import head, t1w, tissue_fractions

EXTENT_MM = np.array([144.0, 168.0, 136.0])


@dataclass(frozen=True, eq=False)
class Head:
    """`prior` is the head within the skull, a few mm off, as a distorted series would have it."""

    image: Float32
    affine: Float64
    truth: Tissue
    prior: Bool
    scalp: Bool
    uneven: Float64

    @property
    def voxel_sizes(self) -> Float64:
        sizes: Float64 = np.linalg.norm(self.affine[:3, :3], axis=0)
        return sizes

    @property
    def head(self) -> Bool:
        return self.truth.wm + self.truth.gm + self.truth.csf > 0.99


def grid(spacing_mm: float = 2.0, *, turned: bool = False) -> tuple[Float64, tuple[int, ...]]:
    shape = np.ceil(EXTENT_MM / spacing_mm).astype(int)
    axes = np.eye(3)
    if turned:
        angle = np.deg2rad(25)
        cos, sin = np.cos(angle), np.sin(angle)
        axes = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        shape = shape + round(16 / spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return affine, tuple(int(n) for n in shape)


def make_head(
    affine: Float64, shape: tuple[int, ...], *, snr: float | None = 20.0, uneven: float = 0.2
) -> Head:
    """Bone of 5 mm, a scalp of 5 mm brighter than white matter, +-20 % of uneven brightness."""
    truth = tissue_fractions(head(), affine, shape, per_axis=2)
    inside = truth.wm + truth.gm + truth.csf > 0.5
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    away = ndimage.distance_transform_edt(~inside, sampling=sizes)
    scalp = (away > 5) & (away <= 10)
    image = t1w(truth) + 1.6 * scalp
    x, y, _ = np.moveaxis(np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T, -1, 0)
    x, y = x + affine[0, 3], y + affine[1, 3]
    field = 1 + uneven * np.sin(x / 40 + 0.5) * np.cos(y / 50)
    image = image * field
    if snr is not None:
        noise = np.random.default_rng(0).standard_normal((2, *shape)) / snr
        image = np.hypot(image + noise[0], noise[1])
    prior = np.roll(inside, round(3 / sizes[1]), axis=1)
    return Head((700 * image).astype(np.float32), affine, truth, prior, scalp, field)
