"""The connectivity matrices of a scan: where they lie, and what they say in numbers.

They are taken as they are, whichever program put them there: ``<scan>_..._relmat.dense.tsv``
beside the maps, with the names of the regions in the first line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_tract.core.types import Bool, Float64
from bids_tract.errors import DataError
from bids_tract.files.sidecars import read_json
from bids_tract.files.tables import read_matrix
from bids_tract.names import KINDS, format_name, output_path, parse_name, run_label, sidecar_path
from bids_tract.report.tract_checks import tractogram_name

_KIND = KINDS["matrix"]
# What tells the matrices of one scan apart; other programs call an atlas seg-, and give its scale.
_OWN = {*_KIND.given, "seg", "scale"}
# Symmetric matrices are, but for the last digits of those who wrote them.
_ALIKE = 1e-4


@dataclass(frozen=True, eq=False)
class Network:
    """A matrix as it is meant.

    Attributes
    ----------
    names : tuple of str
        Of the N regions.
    values : (N, N) float64 array
        Both triangles are filled where it has no direction; NaN where it is not known.
    directed : bool
        Whether the way from one region to the other differs from the way back.
    completed : bool
        Whether the file has one triangle only.

    """

    names: tuple[str, ...]
    values: Float64
    directed: bool
    completed: bool = False

    @property
    def pairs(self) -> Bool:
        """(N, N) bool array: each pair once, with a direction both ways; no region with itself."""
        every = ~np.eye(len(self.names), dtype=bool)
        return every if self.directed else np.triu(every)

    @property
    def density(self) -> float | None:
        """The share of the pairs that are connected; None where no pair is known."""
        known = self.values[self.pairs & np.isfinite(self.values)]
        return float(np.mean(known != 0)) if known.size else None

    def alone(self) -> list[str]:
        """The regions that are connected with no other."""
        others = np.nan_to_num(self.values) * ~np.eye(len(self.names), dtype=bool)
        touched = (others != 0) | (others != 0).T
        return [self.names[row] for row in np.flatnonzero(~touched.any(axis=1))]

    def strongest(self, most: int) -> Iterator[tuple[int, int]]:
        """The pairs with the largest values, the largest first."""
        sizes = np.where(self.pairs, np.abs(np.nan_to_num(self.values)), 0.0)
        order = np.argsort(-sizes, axis=None, kind="stable")[:most]
        for flat in order[sizes.flat[order] > 0]:
            row, column = divmod(int(flat), len(self.names))
            yield row, column


def as_network(names: tuple[str, ...], values: Float64, directed: bool | None = None) -> Network:
    """Tell what a matrix means.

    Parameters
    ----------
    names : tuple of str
        Of the N regions.
    values : (N, N) float64 array
    directed : bool, optional
        What is said of it. Unless it is said to have a direction, a matrix with one triangle (as
        MRtrix3 writes it) or with two that are alike has none.

    """
    upper, lower = np.triu(values, 1), np.tril(values, -1)
    filled = [bool(np.nan_to_num(half).any()) for half in (upper, lower)]
    if not directed and filled.count(True) == 1:
        half = upper if filled[0] else lower
        whole = half + half.T
        np.fill_diagonal(whole, values.diagonal())
        return Network(names, whole, directed=False, completed=True)
    same = np.allclose(values, values.T, rtol=_ALIKE, atol=0, equal_nan=True)
    return Network(names, values, directed=bool(directed) or not same)


def read_network(path: Path) -> Network:
    """Read a matrix, and what its sidecar says of directions.

    Raises
    ------
    DataError, MissingInputError
        The file, or the sidecar beside it, cannot be read.

    """
    matrix, sidecar = read_matrix(path), sidecar_path(path)
    directed = read_json(sidecar).get("Directed") if sidecar.is_file() else None
    if not isinstance(directed, bool | None):
        raise DataError(f"{sidecar} holds Directed: {directed!r}; expected true or false")
    return as_network(matrix.names, matrix.values, directed)


def matrices_by_scan(filenames: Iterable[str]) -> dict[str, dict[str, str]]:
    """The names that are those of matrices, by the label of their scan and what they are.

    Parameters
    ----------
    filenames : iterable of str
        Of a folder.

    Returns
    -------
    dict of str to dict of str to str
        ``{"sub-01_dir-AP": {"track-prob_atlas-DK_meas-count_desc-csd": "sub-01_..."}}``.

    """
    found: dict[str, dict[str, str]] = {}
    for name in sorted(filenames):
        parsed = parse_name(name) if name.endswith(_KIND.extensions) else None
        if parsed is not None and parsed.suffix == _KIND.suffix:
            own = {key: label for key, label in parsed.entities.items() if key in _OWN}
            scan = {key: label for key, label in parsed.entities.items() if key not in _OWN}
            key = format_name(own, _KIND.suffix, "").removesuffix(_KIND.suffix).rstrip("_")
            found.setdefault(run_label(scan), {})[key] = name
    return {label: dict(sorted(names.items())) for label, names in found.items()}


def matrix_files(output_dir: Path, entities: Mapping[str, str]) -> dict[str, Path]:
    """The matrices of a scan, by ``track-prob_atlas-DK_meas-count_desc-csd``."""
    folder = (output_dir / output_path("brain_mask", entities)).parent
    names = (path.name for path in folder.glob(f"*_{_KIND.suffix}{_KIND.extensions[0]}"))
    own = matrices_by_scan(names).get(run_label(entities), {})
    return {key: folder / name for key, name in own.items()}


def matrix_labels(key: str) -> dict[str, str]:
    """The entities of what `matrix_files` calls a matrix."""
    return dict(pair.split("-", 1) for pair in key.split("_")) if key else {}


def matrix_name(key: str) -> str:
    """For people: ``count, atlas DK (probabilistic, CSD)``."""
    labels = matrix_labels(key)
    words = [labels.get("meas", "connectivity")]
    if atlas := " ".join(labels[one] for one in ("atlas", "seg", "scale") if one in labels):
        words.append(f"atlas {atlas}")
    of = tractogram_name(key) if "track" in labels else labels.get("desc", "")
    return ", ".join(words) + (f" ({of.removesuffix(', ')})" if of else "")
