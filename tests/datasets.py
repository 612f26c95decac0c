"""Small BIDS datasets on disk, made for one test each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

BVALS = (0, 1000, 1000, 1000, 1000, 1000, 1000)
RAW = {"Name": "raw test data", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
QSIPREP = {
    "Name": "QSIPrep output",
    "BIDSVersion": "1.10.0",
    "DatasetType": "derivative",
    "GeneratedBy": [{"Name": "QSIPrep", "Version": "26.0.0"}],
}
FMRIPREP = {**QSIPREP, "Name": "fMRIPrep output", "GeneratedBy": [{"Name": "fMRIPrep"}]}
SMRIPREP = {**QSIPREP, "Name": "sMRIPrep output", "GeneratedBy": [{"Name": "sMRIPrep"}]}
OTHER = {**QSIPREP, "Name": "some derivative", "GeneratedBy": [{"Name": "something"}]}


def write_json(path: Path, content: object) -> Path:
    """A JSON file, its folders made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def make_dataset(root: Path, description: Mapping[str, Any] = RAW) -> Path:
    """A dataset without participants."""
    write_json(root / "dataset_description.json", description)
    return root


def write_image(path: Path, shape: Sequence[int] = (2, 2, 2), *, shift: float = 0.0) -> Path:
    """A NIfTI image of zeros, 2 mm, its first voxel `shift` mm to the right of the origin."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[0, 3] = shift
    image = nib.Nifti1Image(np.zeros(shape, np.int16), affine)
    nib.save(image, path)
    return path


def write_gradients(stem: Path, bvals: Sequence[float] = BVALS) -> None:
    """`stem`.bval and `stem`.bvec in the FSL layout, all directions along x."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    x = [0 if b == 0 else 1 for b in bvals]
    rows = [x, [0] * len(bvals), [0] * len(bvals)]
    Path(f"{stem}.bval").write_text(" ".join(f"{b:g}" for b in bvals) + "\n")
    Path(f"{stem}.bvec").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows))


def write_dwi(
    root: Path,
    name: str,
    *,
    bvals: Sequence[float] = BVALS,
    gradients: bool = True,
    b_table: bool = False,
    extension: str = ".nii.gz",
    metadata: Mapping[str, Any] | None = None,
    size: Sequence[int] = (2, 2, 2),
    shift: float = 0.0,
) -> Path:
    """A diffusion series in its place: ``write_dwi(root, "sub-01_ses-1_dir-AP_dwi")``."""
    folders = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    stem = root.joinpath(*folders, "dwi", name)
    path = write_image(Path(f"{stem}{extension}"), (*size, len(bvals)), shift=shift)
    if gradients:
        write_gradients(stem, bvals)
    if b_table:
        rows = [f"{0 if b == 0 else 1} 0 0 {b:g}\n" for b in bvals]
        Path(f"{stem}.b").write_text("".join(rows))
    if metadata is not None:
        write_json(Path(f"{stem}.json"), metadata)
    return path


def write_tissue(folder: Path, prefix: str, shape: Sequence[int] = (2, 2, 2)) -> tuple[Path, ...]:
    """Maps of white matter, grey matter and CSF: ``prefix_label-WM_probseg.nii.gz`` ..."""
    return tuple(
        write_image(folder / f"{prefix}_label-{label}_probseg.nii.gz", shape)
        for label in ("WM", "GM", "CSF")
    )


def write_anat(root: Path, name: str, shape: Sequence[int] = (2, 2, 2)) -> Path:
    """An anatomical image in its place: ``write_anat(root, "sub-01_ses-1_T1w")``."""
    folders = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    return write_image(root.joinpath(*folders, "anat", f"{name}.nii.gz"), shape)


def break_link(path: Path) -> Path:
    """Turn a file into what git-annex leaves where the content was not fetched."""
    path.unlink(missing_ok=True)
    path.symlink_to(".git/annex/objects/Zz/9Q/MD5E-s1--0.gz")
    return path


def make_lfs_pointer(path: Path) -> Path:
    """Turn a file into what git leaves where git-lfs did not fetch the content."""
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    return path
