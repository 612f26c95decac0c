"""The volumes of a series that may be larger than memory, a few at a time and by threads."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.preprocess.pose import Frame, Pose, moved, register, sample
from bids_tract.core.types import Float32, Float64

Indices = NDArray[np.intp]

# A volume of a series lies scattered over the whole file: so many are read in one walk.
_BATCH = 16


@dataclass(frozen=True, eq=False)
class Series:
    """A series (X, Y, Z, N), the points that its volumes are compared at, and threads."""

    data: Float32
    frame: Frame
    pool: ThreadPoolExecutor

    def batches(self, volumes: Indices) -> Iterator[tuple[Indices, list[Float32]]]:
        """Copies of some volumes, a few at a time."""
        for start in range(0, len(volumes), _BATCH):
            numbers = volumes[start : start + _BATCH]
            batch = np.empty((len(numbers), *self.frame.shape), np.float32)
            for x, plane in enumerate(self.data):
                batch[:, x] = np.moveaxis(plane[..., numbers], -1, 0)
            yield numbers, list(batch)

    def sample(self, volumes: Indices, poses: list[Pose], sigma_mm: float) -> Float64:
        """(M, P): smoothed volumes where they show the frame's points."""

        def one(volume: Float32, pose: Pose) -> Float64:
            where = moved(pose.matrix(self.frame.middle), self.frame.points)
            return sample(self.frame.smooth(volume, sigma_mm), self.frame.to_voxels(where))

        rows: list[Float64] = []
        for numbers, batch in self.batches(volumes):
            rows += self.pool.map(one, batch, [poses[number] for number in numbers])
        return np.array(rows)

    def register(
        self,
        volumes: Indices,
        targets: Float64,
        poses: list[Pose],
        weights: Float64,
        sigma_mm: float,
        strains: Float64,
    ) -> None:
        """Replace the poses of some volumes by those that fit their targets best."""

        def one(volume: Float32, target: Float64, pose: Pose) -> Pose:
            smoothed = self.frame.smooth(volume, sigma_mm)
            return register(smoothed, target, weights, pose, self.frame, strains)

        done = 0
        for numbers, batch in self.batches(volumes):
            aims = targets[done : done + len(numbers)]
            done += len(numbers)
            found = self.pool.map(one, batch, aims, [poses[number] for number in numbers])
            for number, pose in zip(numbers, found, strict=True):
                poses[number] = pose
