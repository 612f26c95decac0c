"""Scans that differ from the others, by robust z-scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.report.group_columns import Column

# Iglewicz & Hoaglin (1993), "How to detect and handle outliers", recommend this bound for the
# modified z-score; 0.6745 is the median absolute deviation of a normal distribution of spread 1.
Z_BOUND = 3.5
_MAD_OF_NORMAL = 0.6745
# With fewer scans, the middle of the others is as uncertain as the one that differs.
LEAST_SCANS = 5
# Half of a study's scans may be equal (counts of volumes) or nearly so (one phantom scanned again
# and again): within 5 % of the median nothing is an outlier (3.5 / 0.6745 times this).
_RELATIVE_FLOOR = 0.01
_LEAST = 1e-12  # where all is zero


@dataclass(frozen=True)
class Outlier:
    """A value that differs from the others.

    Attributes
    ----------
    row : int
        Its scan.
    column : Column
        What it is.
    value, median : float
        The value, and that of the middle scan.
    z : float
        The modified z-score.

    """

    row: int
    column: Column
    value: float
    median: float
    z: float

    def sentence(self) -> str:
        """What differs, and how much."""
        shown = self.column.shown
        return (
            f"{self.column.full_title}: {shown(self.value)}; the median is {shown(self.median)} "
            f"(robust z {self.z:+.1f})."
        )


@dataclass(frozen=True)
class Scale:
    """The middle of a study in one column, and how far scans usually are from it.

    Attributes
    ----------
    middle, spread : float
        Median, and median absolute deviation; of the logarithms where `least` is given.
    least : float or None
        What counts as this much where it is less, before the logarithm is taken.

    """

    middle: float
    spread: float
    least: float | None

    def z(self, values: Float64) -> Float64:
        """Modified z-scores of values; NaN stays NaN."""
        if self.least is not None:
            values = np.log(np.maximum(values, self.least))
        return _MAD_OF_NORMAL * (values - self.middle) / self.spread

    def at(self, z: float) -> float:
        """The value of a modified z-score."""
        value = self.middle + z * self.spread / _MAD_OF_NORMAL
        return value if self.least is None else float(np.exp(value))


def scale_of(values: Float64, column: Column) -> Scale | None:
    """The scale of a column; None with fewer than `LEAST_SCANS`.

    Parameters
    ----------
    values : (N,) float64 array
        NaN where a scan has none. Where the column is relative, factors count, not differences.
    column : Column
        Its floor is the least median absolute deviation that is believed.

    """
    known = values[np.isfinite(values)]
    if len(known) < LEAST_SCANS:
        return None
    floor, least = max(column.floor, _RELATIVE_FLOOR * abs(float(np.median(known)))), None
    if column.relative and known.max() > 0:
        # Nothing at all is as far away as a hundredth of the least that there is.
        least = float(known[known > 0].min()) / 100
        floor /= max(float(np.median(known)), least)
        known = np.log(np.maximum(known, least))
    middle = float(np.median(known))
    return Scale(middle, max(float(np.median(np.abs(known - middle))), floor, _LEAST), least)


def outliers(values: Float64, column: Column) -> Iterator[Outlier]:
    """The outliers of a column, on the side on which it is suspect.

    Parameters
    ----------
    values : (N,) float64 array
        NaN where a scan has none.
    column : Column
        What they are.

    """
    scale = scale_of(values, column)
    if scale is None:
        return
    scores = scale.z(values)
    low = (scores < -Z_BOUND) & (column.suspect in ("low", "both"))
    high = (scores > Z_BOUND) & (column.suspect in ("high", "both"))
    for row in np.flatnonzero(low | high):
        yield Outlier(
            int(row), column, float(values[row]), float(np.nanmedian(values)), float(scores[row])
        )
