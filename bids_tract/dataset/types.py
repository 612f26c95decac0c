"""What the index of a dataset is made of: paths, entities and metadata, no image arrays."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bids_tract.names import run_label

Convention: TypeAlias = Literal["fsl", "voxel", "world"]
Cause: TypeAlias = Literal["unsuitable", "missing", "broken"]


@dataclass(frozen=True)
class TissueFiles:
    """The tissue maps of one scan, in a space of that scan.

    Attributes
    ----------
    kind : {"probseg", "5tt"}
        Three maps, or one image of five volumes in MRtrix3's order (cortical and subcortical
        grey matter, white matter, CSF, pathology).
    files : tuple of pathlib.Path
        (white matter, grey matter, CSF), or (image,).
    dataset : str
        The name of the dataset that they come from.

    """

    kind: Literal["probseg", "5tt"]
    files: tuple[Path, ...]
    dataset: str


@dataclass(frozen=True)
class Scan:
    """One diffusion series and what belongs to it.

    Attributes
    ----------
    dwi, bval : pathlib.Path
        The image and its b-values.
    bvec : pathlib.Path or None
        Its directions; None where only `b_table` has them.
    b_table : pathlib.Path or None
        QSIPrep's table: x, y, z in world RAS axes and b (s/mm²), one row a volume.
    shape : tuple of int
        (X, Y, Z, N) of the image.
    entities : mapping of str to str
        Those of the image's name, by short key.
    metadata : mapping of str to object
        All sidecars that apply, the one nearest to the image last.
    convention : {"fsl", "voxel", "world"}
        The axes of the directions that are to be used.
    convention_reason : str
        Why these.
    brain_mask : pathlib.Path or None
        A mask of the brain in the space of the image.
    tissue : TissueFiles or None
        Tissue maps in a space of the image.
    dataset_root : pathlib.Path
        The dataset that the image lies in.
    dataset_name : str
        Its name.
    preprocessed : bool
        Whether the image is marked as preprocessed (``desc-preproc``).
    notes : tuple of str
        Choices made for this scan that its user should know of.

    """

    dwi: Path
    bval: Path
    bvec: Path | None
    b_table: Path | None
    shape: tuple[int, ...]
    entities: Mapping[str, str]
    metadata: Mapping[str, Any]
    convention: Convention
    convention_reason: str
    brain_mask: Path | None
    tissue: TissueFiles | None
    dataset_root: Path
    dataset_name: str
    preprocessed: bool
    notes: tuple[str, ...]

    @property
    def label(self) -> str:
        """The scan's short name: ``sub-01_ses-1_dir-AP``."""
        return run_label(self.entities)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is made of."""
        tissue = self.tissue.files if self.tissue else ()
        found = (self.dwi, self.bval, self.bvec, self.b_table, self.brain_mask, *tissue)
        return tuple(path for path in found if path is not None)


@dataclass(frozen=True)
class Skipped:
    """An image of a diffusion folder that is not worked on.

    Attributes
    ----------
    path : pathlib.Path
        The image.
    reason : str
        Why, as the end of a sentence that starts with the image.
    cause : {"unsuitable", "missing", "broken"}
        It is no diffusion series that was asked for; a file that it needs is not here; or its
        files are faulty.

    """

    path: Path
    reason: str
    cause: Cause = "unsuitable"


@dataclass(frozen=True)
class Dataset:
    """A BIDS dataset as far as it was asked for.

    Attributes
    ----------
    root : pathlib.Path
        Its folder.
    name : str
        Its name.
    description : mapping of str to object
        Its ``dataset_description.json``.
    is_derivative : bool
        Whether it holds processed data.
    derivatives : mapping of str to pathlib.Path
        The further datasets by name.
    scans : tuple of Scan
        The series to work on, at least one.
    skipped : tuple of Skipped
        The images that are not worked on.
    notes : tuple of str
        What else was seen on the way.
    participants : tuple of str
        The labels of the participants looked at, with or without scans.

    """

    root: Path
    name: str
    description: Mapping[str, Any]
    is_derivative: bool
    derivatives: Mapping[str, Path]
    scans: tuple[Scan, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    participants: tuple[str, ...]
