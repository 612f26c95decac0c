"""Gradient tables as text files: FSL's bval and bvec, MRtrix's b."""

from __future__ import annotations

import logging
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Float64
from bids_tract.errors import DataError
from bids_tract.files.atomic import replacing
from bids_tract.files.present import require_content

_LOG = logging.getLogger(__name__)


def read_bvals(path: Path, n_volumes: int | None = None) -> Float64:
    """Read b-values: one row, or one column.

    Parameters
    ----------
    path : pathlib.Path
        The bval file.
    n_volumes : int, optional
        How many values are expected.

    Returns
    -------
    (N,) float64 array
        s/mm².

    Raises
    ------
    DataError, MissingInputError
        The file is not here or is empty, holds a word that is no number, is a table, or has
        another number of values than the image has volumes.

    """
    table = _read_table(path)
    if 1 not in table.shape:
        raise DataError(
            f"{path} is a table of {_size(table)} values; b-values stand in one row of N"
        )
    bvals = table.ravel()
    _check_count(path, len(bvals), n_volumes)
    return bvals


def read_bvecs(path: Path, n_volumes: int) -> Float64:
    """Read gradient directions: three rows (x, y, z), or one row a volume.

    A 3 x 3 table is read as three rows, as the BIDS specification has it.

    Returns
    -------
    (N, 3) float64 array
        As in the file (for BIDS: FSL's axes); NaN where the file has it, as for b0 volumes.

    Raises
    ------
    DataError, MissingInputError
        The file is not here or is empty, holds a word that is no number, has rows of unequal
        length, or does not fit the number of volumes.

    """
    table = _read_table(path, allow_nan=True)
    rows, columns = table.shape
    if rows == 3 and (columns == n_volumes or columns != 3):
        _check_count(path, columns, n_volumes, "directions")
        return table.T.copy()
    if columns == 3:
        _check_count(path, rows, n_volumes, "directions")
        _LOG.warning(
            "%s has one direction a row and is read so; expected three rows (x, y, z)", path
        )
        return table
    raise DataError(f"{path} is a table of {_size(table)} values; expected 3 rows of {n_volumes}")


def read_b_table(path: Path, n_volumes: int | None = None) -> tuple[Float64, Float64]:
    """Read an MRtrix gradient table: rows of x y z b, RAS+ world axes.

    Returns
    -------
    bvals : (N,) float64 array
        s/mm².
    vectors : (N, 3) float64 array
        World axes, as in the file.

    Raises
    ------
    DataError, MissingInputError
        The file is not here or is empty, holds a word that is no number, has no four columns,
        or has another number of rows than the image has volumes.

    """
    table = _read_table(path, allow_nan=True)
    if table.shape[1] != 4:
        raise DataError(f"{path} is a table of {_size(table)} values; expected rows of x y z b")
    bvals = table[:, 3].copy()
    if np.isnan(bvals).any():
        raise DataError(f"{path} holds 'nan' where a b-value is expected")
    _check_count(path, len(bvals), n_volumes, "rows")
    return bvals, table[:, :3].copy()


def write_bvals(path: Path, bvals: NDArray[np.floating]) -> None:
    """Write b-values (s/mm²) in one row."""
    _write_table(path, np.asarray(bvals, np.float64)[np.newaxis])


def write_bvecs(path: Path, bvecs: NDArray[np.floating]) -> None:
    """Write (N, 3) directions as FSL's three rows, in the axes that they are given in."""
    _write_table(path, np.asarray(bvecs, np.float64).T)


def _read_table(path: Path, *, allow_nan: bool = False) -> Float64:
    """The numbers of a text file as a rectangle, rows as in the file."""
    require_content(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")  # editors on Windows add a byte order mark
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file; expected numbers") from error
    lines = (line.partition("#")[0].replace(",", " ").split() for line in text.splitlines())
    rows = [[_number(path, word, allow_nan=allow_nan) for word in line] for line in lines if line]
    if not rows:
        raise DataError(f"{path} holds no numbers")
    for place, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{path}: row {place} has {len(row)} values, row 1 has {len(rows[0])}; "
                "expected equally many"
            )
    return np.array(rows)


def _number(path: Path, word: str, *, allow_nan: bool) -> float:
    try:
        value = float(word)
    except ValueError:
        value = math.inf
    if math.isinf(value) or (math.isnan(value) and not allow_nan):
        raise DataError(f"{path} holds {word!r} where a number is expected")
    return value


def _check_count(path: Path, found: int, n_volumes: int | None, what: str = "values") -> None:
    if n_volumes is not None and found != n_volumes:
        raise DataError(
            f"{path} has {found} {what}, the image {n_volumes} volumes; give the table that "
            "belongs to this image"
        )


def _size(table: Float64) -> str:
    return f"{table.shape[0]} x {table.shape[1]}"


def _write_table(path: Path, table: Float64) -> None:
    """Write rows of numbers, each as short as it can be without loss."""
    with replacing(path) as temporary, temporary.open("w", encoding="ascii") as stream:
        for row in table:
            stream.write(" ".join(np.format_float_positional(v, trim="-") for v in row) + "\n")
