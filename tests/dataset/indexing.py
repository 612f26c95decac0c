"""Short words for the tests of the index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bids_tract.dataset import Dataset, index_dataset
from bids_tract.settings import GradientSettings, InputSettings


def index(
    root: Path,
    gradients: GradientSettings | None = None,
    *,
    merge_runs: bool = False,
    **inputs: Any,
) -> Dataset:
    """Index with settings by name."""
    return index_dataset(
        root, InputSettings(**inputs), gradients or GradientSettings(), merge_runs=merge_runs
    )


def labels(dataset: Dataset) -> list[str]:
    """The scans by their short names."""
    return [scan.label for scan in dataset.scans]


def reasons(dataset: Dataset) -> dict[str, str]:
    """Why images were skipped, by their names."""
    return {skipped.path.name: skipped.reason for skipped in dataset.skipped}
