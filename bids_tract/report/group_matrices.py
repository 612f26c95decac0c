"""The connectivity matrices of a study: mean and spread of each kind, pair by pair.

A matrix is read when its scan's turn comes and is gone before the next one; what is kept of all of
them are a mean, a sum of squares and a count for each pair.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_tract import __version__
from bids_tract.core.types import Float64
from bids_tract.errors import BidsTractError
from bids_tract.files.sidecars import write_json
from bids_tract.files.tables import Matrix, write_matrix
from bids_tract.names import KINDS, format_name, sidecar_path
from bids_tract.report.matrices import (
    Network,
    matrix_labels,
    matrix_name,
    read_network,
)
from bids_tract.report.verdicts import plural

Counts = NDArray[np.int64]

_KIND = KINDS["matrix"]
# Lists of regions for which sums are kept: the first that are met. That of most scans is taken.
_MOST_LISTS = 4


@dataclass(eq=False)
class _Sums:
    """What is kept of the matrices with one list of regions, by Welford's method.

    Welford (1962), "Note on a method for calculating corrected sums of squares and products".
    """

    names: tuple[str, ...]
    directed: bool = False  # whether any of the matrices is
    labels: list[str] = field(default_factory=list)
    counts: Counts = field(init=False)
    mean: Float64 = field(init=False)
    squares: Float64 = field(init=False)

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.names))
        self.counts = np.zeros(shape, np.int64)
        self.mean, self.squares = np.zeros(shape), np.zeros(shape)

    def add(self, label: str, network: Network) -> None:
        values = network.values
        known = np.isfinite(values)
        self.labels.append(label)
        self.directed |= network.directed
        self.counts += known
        apart = np.where(known, values - self.mean, 0.0)
        self.mean += apart / np.maximum(self.counts, 1)
        self.squares += apart * np.where(known, values - self.mean, 0.0)


@dataclass(frozen=True, eq=False)
class GroupMatrix:
    """Mean and spread of one kind of matrix.

    Attributes
    ----------
    key : str
        Which: ``track-prob_atlas-DK_meas-count_desc-csd``.
    mean, spread : Network
        Mean over the scans, and standard deviation (n - 1); NaN where no or only one scan has a
        value.
    counts : (N, N) int64 array
        Scans that have a value.
    labels, left_out : list of str
        The scans, and those that have other regions.
    """

    key: str
    mean: Network
    spread: Network
    counts: Counts
    labels: list[str]
    left_out: list[str]

    @property
    def files(self) -> dict[str, str]:
        """Names of the files: ``mean``, ``std`` and, where some scan lacks a pair, ``scans``."""
        labels = matrix_labels(self.key)
        stats = ["mean", "std", *(["scans"] if (self.counts < len(self.labels)).any() else [])]
        return {
            stat: "group_"
            + format_name(labels | {"stat": stat}, _KIND.suffix, _KIND.extensions[0])
            for stat in stats
        }

    def sentence(self) -> str:
        """What was done."""
        said = f"{self.files['mean']} is the mean of {plural(len(self.labels), 'scan')}"
        if self.left_out:
            have = "has" if len(self.left_out) == 1 else "have"
            said += (
                f"; {plural(len(self.left_out), 'scan')} {have} other regions and "
                f"{'is' if have == 'has' else 'are'} left out: {', '.join(self.left_out)}"
            )
        return f"{said}."


class GroupMatrices:
    """The matrices of a study while they are read, scan by scan."""

    def __init__(self, errors: list[str]) -> None:
        self._errors = errors
        self._sums: defaultdict[str, dict[tuple[str, ...], _Sums]] = defaultdict(dict)
        self._others: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, label: str, paths: Mapping[str, Path]) -> dict[str, dict[str, Any]]:
        """Read the matrices of a scan and add them up.

        Returns
        -------
        dict of str to dict
            ``Density`` by kind, for the table. What cannot be read is a sentence among the errors.

        """
        found: dict[str, dict[str, Any]] = {}
        for key, path in paths.items():
            try:
                network = read_network(path)
            except BidsTractError as error:
                self._errors.append(f"it is not in the mean matrix: {error}")
                continue
            found[key] = {"Density": network.density}
            lists = self._sums[key]
            if network.names not in lists and len(lists) == _MOST_LISTS:
                self._others[key].append(label)
                continue
            sums = lists.setdefault(network.names, _Sums(network.names))
            sums.add(label, network)
        return found

    def finish(self) -> list[GroupMatrix]:
        """Mean and spread of each kind, over the scans with the most common list of regions."""
        return [self._finished(key) for key in sorted(self._sums)]

    def _finished(self, key: str) -> GroupMatrix:
        lists = [*self._sums[key].values()]
        sums = max(lists, key=lambda one: len(one.labels))  # the first met, where two are equal
        others = [label for one in lists if one is not sums for label in one.labels]
        mean = np.where(sums.counts > 0, sums.mean, np.nan)
        variance = sums.squares / np.maximum(sums.counts - 1, 1)
        spread = np.where(sums.counts > 1, np.sqrt(variance), np.nan)
        return GroupMatrix(
            key, Network(sums.names, mean, sums.directed),
            Network(sums.names, spread, sums.directed), sums.counts,
            sums.labels, sorted([*others, *self._others[key]]),
        )  # fmt: skip


def write_group_matrices(output_dir: Path, found: list[GroupMatrix]) -> list[Path]:
    """Write the matrices of a study, each with its sidecar.

    Returns
    -------
    list of pathlib.Path
        ``group_track-prob_atlas-DK_meas-count_stat-mean_desc-csd_relmat.dense.tsv`` and others.

    Raises
    ------
    OutputError
        They cannot be written.

    """
    paths = []
    for one in found:
        counts = one.counts.astype(np.float64)
        values = {"mean": one.mean.values, "std": one.spread.values, "scans": counts}
        for stat, name in one.files.items():
            path = output_dir / name
            write_matrix(path, Matrix(one.mean.names, values[stat]))
            write_json(sidecar_path(path), _sidecar(one, stat, values[stat]))
            paths += [path, sidecar_path(path)]
    return paths


_MEANING = {
    "mean": "Mean over the scans, pair by pair; scans without a value are left out.",
    "std": "Standard deviation over the scans (n - 1), pair by pair; n/a with fewer than two.",
    "scans": "Scans that have a value, pair by pair.",
}


def _sidecar(one: GroupMatrix, stat: str, values: Float64) -> dict[str, Any]:
    """What BEP017 asks for, and what went in."""
    return {
        "Description": f"{_MEANING[stat]} Matrix: {matrix_name(one.key)}.",
        "RelationshipMeasure": matrix_labels(one.key).get("meas", "n/a"),
        "Weighted": True,
        "Directed": one.mean.directed,
        "ValidDiagonal": bool(np.nan_to_num(one.mean.values.diagonal()).any()),
        "NonNegative": bool(np.nan_to_num(values).min(initial=0) >= 0),
        "Software": f"bids_tract {__version__}",
        "Scans": len(one.labels),
        "ScansWithOtherRegions": one.left_out,
    }
