"""What the index of a dataset is made of: paths, entities and metadata, no image arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bids_tract.names import run_label

Convention: TypeAlias = Literal["fsl", "voxel", "world"]
Cause: TypeAlias = Literal["unsuitable", "missing", "broken"]
TissueKind: TypeAlias = Literal["5tt", "probseg", "dseg"]


@dataclass(frozen=True)
class Anatomical:
    """A T1-weighted image of the participant.

    Attributes
    ----------
    t1w : pathlib.Path
        The image: one volume, whose content is here.
    brain_mask : pathlib.Path or None
        A mask of the brain in its space, from the same derivative dataset.
    dataset : str
        The name of the dataset that it comes from.
    in_scan_space : bool
        Whether it lies in the world space of the diffusion series already, so that no
        registration is needed.

    """

    t1w: Path
    brain_mask: Path | None
    dataset: str
    in_scan_space: bool

    @property
    def files(self) -> tuple[Path, ...]:
        """The image, and its mask where there is one."""
        return (self.t1w,) if self.brain_mask is None else (self.t1w, self.brain_mask)


@dataclass(frozen=True)
class TissueFiles:
    """The tissue maps of one scan.

    Attributes
    ----------
    kind : {"5tt", "probseg", "dseg"}
        One image of five volumes in MRtrix3's order (cortical and subcortical grey matter, white
        matter, CSF, pathology), three maps, or one image of labels.
    files : tuple of pathlib.Path
        (white matter, grey matter, CSF) for three maps, else (image,).
    dataset : str
        The name of the dataset that they come from.
    labels : mapping of str to tuple of int
        For an image of labels, those of ``"wm"``, ``"gm"`` and ``"csf"``; all others are
        background. Empty for the other kinds.
    label_table : pathlib.Path or None
        The table that says so; None where the program that made the image is known by its labels.
    reference : Anatomical or None
        The T1-weighted image in whose space the maps lie, which has to be registered to the
        diffusion series first; None where the maps lie in a space of the series.

    """

    kind: TissueKind
    files: tuple[Path, ...]
    dataset: str
    labels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    label_table: Path | None = None
    reference: Anatomical | None = None

    @property
    def all_files(self) -> tuple[Path, ...]:
        """The maps, and the table and the reference where there are such."""
        table = () if self.label_table is None else (self.label_table,)
        return (*self.files, *table, *(self.reference.files if self.reference else ()))


@dataclass(frozen=True)
class Scan:
    """One diffusion series, or several runs to be merged, and what belongs to it.

    Of merged runs, files and fields are those of the first run unless something else is said.

    Attributes
    ----------
    dwi, bval : pathlib.Path
        The image and its b-values.
    bvec : pathlib.Path or None
        Its directions; None where only `b_table` has them.
    b_table : pathlib.Path or None
        QSIPrep's table: x, y, z in world RAS axes and b (s/mm²), one row a volume.
    shape : tuple of int
        (X, Y, Z, N) of the image; N of merged runs is that of all together.
    entities : mapping of str to str
        Those of the image's name, by short key; of merged runs without ``run``.
    metadata : mapping of str to object
        All sidecars that apply, the one nearest to the image last; of merged runs, what they all
        have in common.
    convention : {"fsl", "voxel", "world"}
        The axes of the directions that are to be used.
    convention_reason : str
        Why these.
    brain_mask : pathlib.Path or None
        A mask of the brain in the space of the image.
    tissue : TissueFiles or None
        Tissue maps in a space of the image, or to be registered to it.
    t1w : Anatomical or None
        A T1-weighted image of the participant.
    dataset_root : pathlib.Path
        The dataset that the image lies in.
    dataset_name : str
        Its name.
    preprocessed : bool
        Whether the image is marked as preprocessed (``desc-preproc``).
    notes : tuple of str
        Choices made for this scan that its user should know of.
    runs : tuple of Scan
        The runs that are merged, each as the scan that it would be alone; empty for one series.

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
    t1w: Anatomical | None
    dataset_root: Path
    dataset_name: str
    preprocessed: bool
    notes: tuple[str, ...]
    runs: tuple[Scan, ...] = ()

    @property
    def label(self) -> str:
        """The scan's short name: ``sub-01_ses-1_dir-AP``."""
        return run_label(self.entities)

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that it is made of, each once."""
        return tuple(dict.fromkeys(path for path in self._files() if path is not None))

    def _files(self) -> Iterator[Path | None]:
        yield from (self.dwi, self.bval, self.bvec, self.b_table, self.brain_mask)
        yield from self.tissue.all_files if self.tissue else ()
        yield from self.t1w.files if self.t1w else ()
        for run in self.runs:
            yield from run.files


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
