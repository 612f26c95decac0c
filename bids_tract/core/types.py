"""The values that pass between the rooms: small frozen classes that check themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bids_tract.errors import DataError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Gradients:
    """A checked gradient table in image axes.

    Attributes
    ----------
    bvals : (N,) float64 array
        Diffusion weighting in s/mm².
    bvecs : (N, 3) float64 array
        Unit vectors along the image's own axes (not world, not FSL); zero rows for b0 volumes.
    b0_threshold : float
        Volumes with b at or below this (s/mm²) count as b0.

    """

    bvals: Float64
    bvecs: Float64
    b0_threshold: float

    def __post_init__(self) -> None:
        if self.bvals.ndim != 1 or self.bvecs.shape != (len(self.bvals), 3):
            raise DataError(
                f"the gradient table has {self.bvals.shape} b-values and {self.bvecs.shape} "
                "directions; expected (N,) and (N, 3)"
            )

    def __len__(self) -> int:
        return len(self.bvals)

    @property
    def is_b0(self) -> Bool:
        """(N,) bool array: which volumes carry no diffusion weighting."""
        return self.bvals <= self.b0_threshold

    def select(self, volumes: NDArray[np.intp]) -> Gradients:
        """The table of the given volumes only."""
        return Gradients(self.bvals[volumes], self.bvecs[volumes], self.b0_threshold)


class Signals(Protocol):
    """Where models pick the signals of voxels from: an array, a memory map, or `Volumes`."""

    def __getitem__(self, voxels: Any, /) -> Float32:
        """The signals (..., N) of the voxels at an index of the first three axes."""
        ...


@dataclass(frozen=True, eq=False)
class Volumes:
    """Some volumes of a series that may be larger than memory; picked as voxels are.

    Attributes
    ----------
    series : (X, Y, Z, M) float32 array
    numbers : (N,) int array
        Which of its volumes.

    """

    series: Float32
    numbers: NDArray[np.intp]

    def __getitem__(self, voxels: Any, /) -> Float32:
        return np.take(self.series[voxels], self.numbers, axis=-1)


@dataclass(frozen=True, eq=False)
class SHField:
    """A field of even, real spherical harmonics.

    Attributes
    ----------
    coeffs : (X, Y, Z, K) float32 array
        Coefficients in DIPY's legacy ``descoteaux07`` basis, image axes; zero outside the mask.

    """

    coeffs: Float32

    def __post_init__(self) -> None:
        if self.coeffs.ndim != 4 or self.lmax_of(self.coeffs.shape[-1]) is None:
            raise DataError(
                f"an SH field of shape {self.coeffs.shape} is not (X, Y, Z, K) with K one of "
                "1, 6, 15, 28, 45, 66, 91"
            )

    @staticmethod
    def lmax_of(n_coeffs: int) -> int | None:
        """The even order whose basis has `n_coeffs` functions, or None."""
        return {(n + 1) * (n + 2) // 2: n for n in range(0, 17, 2)}.get(n_coeffs)

    @property
    def lmax(self) -> int:
        """The highest order of the basis."""
        lmax = self.lmax_of(self.coeffs.shape[-1])
        assert lmax is not None  # checked on construction
        return lmax


@dataclass(frozen=True, eq=False)
class Tissue:
    """Partial volumes of white matter, grey matter and CSF on one grid.

    Attributes
    ----------
    wm, gm, csf : (X, Y, Z) float32 arrays
        Fractions between 0 and 1.

    """

    wm: Float32
    gm: Float32
    csf: Float32

    def __post_init__(self) -> None:
        if not self.wm.shape == self.gm.shape == self.csf.shape or self.wm.ndim != 3:
            raise DataError(
                f"tissue maps have the shapes {self.wm.shape} (WM), {self.gm.shape} (GM) and "
                f"{self.csf.shape} (CSF); expected three equal 3-D shapes"
            )
        for name in ("wm", "gm", "csf"):
            values = getattr(self, name)
            low, high = float(np.min(values)), float(np.max(values))
            if not (np.isfinite(low) and np.isfinite(high) and low >= -1e-3 and high <= 1 + 1e-3):
                raise DataError(
                    f"the {name.upper()} map runs from {low:g} to {high:g}; tissue fractions lie "
                    "between 0 and 1 (percent? divide by 100; labels? give probability maps)"
                )
            if high < 1e-3:
                raise DataError(f"the {name.upper()} map is zero everywhere: it holds no tissue")


@dataclass(frozen=True, eq=False)
class Streamlines:
    """Streamlines as flat arrays.

    Attributes
    ----------
    points : (P, 3) float32 array
        All points one after the other, RAS+ mm.
    offsets : (T + 1,) int64 array
        Streamline t owns ``points[offsets[t]:offsets[t + 1]]``.
    seed_index : (T,) int64 array
        The number of the seed that each streamline grew from.

    """

    points: Float32
    offsets: NDArray[np.int64]
    seed_index: NDArray[np.int64]

    def __post_init__(self) -> None:
        if len(self.offsets) != len(self.seed_index) + 1 or self.offsets[-1] != len(self.points):
            raise DataError("streamline offsets do not match the points")

    def __len__(self) -> int:
        return len(self.seed_index)

    def __getitem__(self, number: int) -> Float32:
        return self.points[self.offsets[number] : self.offsets[number + 1]]

    @classmethod
    def from_list(cls, lines: list[Float32], seed_index: NDArray[np.int64]) -> Streamlines:
        """Pack a list of (n, 3) arrays in RAS+ mm."""
        counts = np.array([len(line) for line in lines], dtype=np.int64)
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)])
        points = np.concatenate(lines) if lines else np.zeros((0, 3))
        return cls(points.astype(np.float32), offsets, np.asarray(seed_index, np.int64))

    @property
    def lengths_mm(self) -> Float32:
        """(T,) float32 array: the length of each streamline along its points, in mm."""
        steps = np.zeros(len(self.points))
        steps[1:] = np.linalg.norm(np.diff(self.points.astype(np.float64), axis=0), axis=1)
        steps[self.offsets[:-1]] = 0.0  # no step from one streamline to the next
        total = np.concatenate([np.zeros(1), np.cumsum(steps)])
        return (total[self.offsets[1:]] - total[self.offsets[:-1]]).astype(np.float32)
