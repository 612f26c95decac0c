"""A BIDS folder and filters in, scans out: paths, entities and metadata, no image arrays.

Folders are listed directly, and only those that were asked for. PyBIDS is used for its filters
and databases alone: it finds the wrong b-values for some names (see `inheritance`).
"""

from bids_tract.dataset.index import index_dataset
from bids_tract.dataset.inheritance import find_associated, merged_metadata
from bids_tract.dataset.sources import open_dataset
from bids_tract.dataset.types import Anatomical, Dataset, Scan, Skipped, TissueFiles

__all__ = [
    "Anatomical",
    "Dataset",
    "Scan",
    "Skipped",
    "TissueFiles",
    "find_associated",
    "index_dataset",
    "merged_metadata",
    "open_dataset",
]
