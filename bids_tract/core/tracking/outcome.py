"""Why streamlines end and why seeds give none: enumerations with a sentence each, and counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Streamlines


class EndReason(IntEnum):
    """Why a kept streamline ends where it does."""

    LEFT_IMAGE = 1
    LEFT_MASK = 2
    GREY_MATTER = 3
    NO_DIRECTION = 4


class Fate(IntEnum):
    """What became of a seed."""

    KEPT = 0
    SEED_STOPPED = 1
    SEED_NO_DIRECTION = 2
    TOO_SHORT = 3
    TOO_LONG = 4
    INVALID_END = 5


# Two tables: as keys of one, equal numbers of the two enumerations would be the same key.
MEANING_OF_END: dict[EndReason, str] = {
    EndReason.LEFT_IMAGE: "the next step leaves the image",
    EndReason.LEFT_MASK: "the next step leaves the stop mask or meets the stop threshold",
    EndReason.GREY_MATTER: "it reached grey matter",
    EndReason.NO_DIRECTION: "no direction within the largest turn",
}
MEANING_OF_FATE: dict[Fate, str] = {
    Fate.KEPT: "kept",
    Fate.SEED_STOPPED: "seed lies where streamlines stop",
    Fate.SEED_NO_DIRECTION: "no direction at the seed",
    Fate.TOO_SHORT: "shorter than the minimum length",
    Fate.TOO_LONG: "longer than the maximum length",
    Fate.INVALID_END: "an end lies neither in grey matter nor where the image ends",
}


@dataclass(frozen=True, eq=False)
class Block:
    """What came of consecutive seeds.

    Attributes
    ----------
    first : int
        The number of the first seed.
    fates : (N,) int8 array
        One ``Fate`` for each seed.
    streamlines : Streamlines
        Those kept, in the order of their seeds.
    ends : (T, 2) int8 array
        An ``EndReason`` for both ends of each streamline.

    """

    first: int
    fates: NDArray[np.int8]
    streamlines: Streamlines
    ends: NDArray[np.int8]

    def until(self, n_kept: int) -> Block:
        """The block as if it had ended with the seed of its `n_kept`-th streamline."""
        lines = self.streamlines
        n_seeds = int(lines.seed_index[n_kept - 1]) - self.first + 1
        end = lines.offsets[n_kept]
        return Block(
            self.first,
            self.fates[:n_seeds],
            Streamlines(
                lines.points[:end], lines.offsets[: n_kept + 1], lines.seed_index[:n_kept]
            ),
            self.ends[:n_kept],
        )


@dataclass
class Counts:
    """What became of the seeds; attempts = kept + rejected, because each seed has one fate.

    Attributes
    ----------
    fates : Counter of Fate
        Seeds by what became of them.
    ends : Counter of EndReason
        Ends of kept streamlines, two each, by reason.

    """

    fates: Counter[Fate] = field(default_factory=Counter)
    ends: Counter[EndReason] = field(default_factory=Counter)

    def add(self, block: Block) -> None:
        """Count one more block."""
        for fate in Fate:
            self.fates[fate] += int(np.sum(block.fates == fate))
        for reason in EndReason:
            self.ends[reason] += int(np.sum(block.ends == reason))

    @property
    def attempts(self) -> int:
        """Seeds tried."""
        return sum(self.fates.values())

    @property
    def kept(self) -> int:
        """Streamlines kept."""
        return self.fates[Fate.KEPT]

    def as_dict(self) -> dict[str, object]:
        """Plain numbers for a sidecar."""
        return {
            "Attempts": self.attempts,
            "Kept": self.kept,
            "Rejected": {f.name: self.fates[f] for f in Fate if f is not Fate.KEPT},
            "Ends": {e.name: self.ends[e] for e in EndReason},
        }

    def sentence(self) -> str:
        """One line for the log."""
        reasons = [f"{n:,} {MEANING_OF_FATE[f]}" for f, n in self.fates.most_common() if f and n]
        why = f"; rejected: {'; '.join(reasons)}" if reasons else ""
        return f"{self.attempts:,} seeds: {self.kept:,} streamlines kept{why}"
