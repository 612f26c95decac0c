"""Made-up connectivity matrices, as a tracking of a brain gives them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.files.tables import Matrix, write_matrix
from bids_tract.names import output_path

COUNT = {"track": "prob", "desc": "csd", "atlas": "DK", "meas": "count"}
KEY = "track-prob_atlas-DK_meas-count_desc-csd"
_PLACES = ("frontal", "parietal", "temporal", "occipital", "thalamus", "insula", "cingulate")


def region_names(count: int) -> tuple[str, ...]:
    """Left ones, then right ones."""
    half = -(-count // 2)
    names = [f"{side}-{_PLACES[i % 7]}{i // 7 + 1}" for side in ("lh", "rh") for i in range(half)]
    return tuple(names[:count])


def counts(count: int, rng: np.random.Generator) -> Float64:
    """(N, N) float64 array, symmetric: many between neighbours of one side, few across."""
    place = np.arange(count)
    half = -(-count // 2)
    side = place // half
    apart = np.abs(place[:, None] % half - place % half)
    expected = 2000.0 * np.exp(-apart / 2.5) / np.where(side[:, None] == side, 1, 25)
    found = np.triu(rng.poisson(expected * rng.gamma(2, 0.5, (count, count))), 1)
    return (found + found.T).astype(float)


def matrix_path(root: Path, scan: Mapping[str, str], **own: str) -> Path:
    return root / output_path("matrix", scan, **COUNT | own)


def put_matrix(
    root: Path, scan: Mapping[str, str], values: Float64, names: tuple[str, ...] = (), **own: str
) -> Path:
    """Write a matrix of a scan; returns its file."""
    path = matrix_path(root, scan, **own)
    write_matrix(path, Matrix(names or region_names(len(values)), values))
    return path
