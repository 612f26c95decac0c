"""Transforms between images, as text that ANTs, ITK-SNAP, nitransforms and MRtrix3 read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.errors import DataError
from bids_tract.files.atomic import replacing
from bids_tract.files.present import require_content

_FIRST_LINE = "#Insight Transform File V1.0"
_KIND = "MatrixOffsetTransformBase_double_3_3"
# All of ITK's linear transforms whose parameters are the matrix, row by row, and a shift.
_KINDS_READ = (_KIND, "AffineTransform_double_3_3")
# ITK's x points left and its y to the back; ours right and to the front.
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def write_itk_affine(path: Path, matrix: Float64) -> None:
    """Write an affine transform in ITK's text format.

    The file says what `matrix` says, in ITK's frame (LPS+ mm): it takes points of the fixed image
    to points of the moving image, and thereby resamples the moving image onto the fixed one.
    A file named ``from-T1w_to-dwi`` takes points of the DWI to points of the T1w.

    Parameters
    ----------
    path : pathlib.Path
        Ends in ``.txt`` or ``.tfm``, by which ITK knows the format.
    matrix : (4, 4) float64 array
        RAS+ mm of the fixed image to RAS+ mm of the moving image.

    Raises
    ------
    OutputError
        The file cannot be written.

    """
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError(f"not a finite 4 x 4 matrix: {matrix}")
    if not np.array_equal(matrix[3], [0, 0, 0, 1]):
        raise ValueError(f"the last row of an affine matrix is 0 0 0 1, not {matrix[3]}")
    inside = _LPS @ matrix @ _LPS
    parameters = np.concatenate([inside[:3, :3].ravel(), inside[:3, 3]])
    lines = [
        _FIRST_LINE,
        "#Transform 0",
        f"Transform: {_KIND}",
        f"Parameters: {' '.join(_number(value) for value in parameters)}",
        "FixedParameters: 0 0 0",
    ]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")


def read_itk_affine(path: Path) -> Float64:
    """Read an affine transform in ITK's text format.

    Parameters
    ----------
    path : pathlib.Path
        A file with one transform, as `write_itk_affine`, ANTs or ITK-SNAP write it.

    Returns
    -------
    (4, 4) float64 array
        RAS+ mm of the fixed image to RAS+ mm of the moving image.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is not such a text, or holds several transforms, one that is not
        affine, or numbers that make no invertible matrix.

    """
    require_content(path)
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not a text file; expected an affine transform as ITK writes it with the "
            "extension .txt (convert it with `ConvertTransformFile`)"
        ) from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or not lines[0].startswith("#Insight Transform File"):
        raise DataError(f"{path} does not begin with {_FIRST_LINE!r}; expected ITK's text format")
    entries = [line.split(":", 1) for line in lines if not line.startswith("#") and ":" in line]
    kinds = [value.strip() for name, value in entries if name == "Transform"]
    if len(kinds) != 1 or kinds[0] not in _KINDS_READ:
        raise DataError(
            f"{path} holds {' and '.join(kinds) or 'no transform'}; expected one of "
            f"{' or '.join(_KINDS_READ)}"
        )
    found = dict(entries)
    values = _numbers(path, "Parameters", found.get("Parameters", ""), 12)
    centre = _numbers(path, "FixedParameters", found.get("FixedParameters", ""), 3)
    inside = np.eye(4)
    inside[:3, :3] = values[:9].reshape(3, 3)
    inside[:3, 3] = values[9:] + centre - inside[:3, :3] @ centre
    if abs(np.linalg.det(inside)) < 1e-6:
        raise DataError(f"{path} holds a matrix that cannot be inverted; expected an affine one")
    matrix: Float64 = _LPS @ inside @ _LPS
    return matrix


def _number(value: float) -> str:
    """The shortest text that gives the same number back; no minus before a zero."""
    return repr(float(value) + 0.0)


def _numbers(path: Path, name: str, text: str, count: int) -> Float64:
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError as error:
        raise DataError(f"{path}: {name} holds something other than numbers ({error})") from error
    if len(values) != count or not np.isfinite(values).all():
        raise DataError(f"{path}: {name} holds {text.strip()!r}; expected {count} finite numbers")
    return values
