"""Tables and matrices in BIDS: one header line, tabs, ``n/a`` where there is nothing."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.errors import DataError
from bids_tract.files.atomic import replacing
from bids_tract.files.present import require_content


def read_table(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table by the names of its columns, one after the other.

    Empty lines are left out, cells stripped; ``n/a`` stays as it is, and a short row lacks its
    last columns.

    Parameters
    ----------
    path : pathlib.Path
        A ``.tsv`` file.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is empty, or is no UTF-8 text; said when a row is asked for.

    """
    rows = read_rows(path)
    header = next(rows, [])
    yield from (dict(zip(header, row, strict=False)) for row in rows)


def read_rows(path: Path) -> Iterator[list[str]]:
    """The cells of each line that is not empty, the header's included, one after the other.

    Parameters
    ----------
    path : pathlib.Path
        A ``.tsv`` file.

    Raises
    ------
    DataError, MissingInputError
        As `read_table`.

    """
    require_content(path)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for line in lines:
                if line.strip():
                    yield [cell.strip() for cell in line.rstrip("\r\n").split("\t")]
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a UTF-8 text file; expected a BIDS table") from error


def write_table(path: Path, columns: Mapping[str, Iterable[object]]) -> None:
    """Write columns of equal length; the file appears whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        A ``.tsv`` file.
    columns : mapping of str to sequence
        Name -> values. None and numbers that are not finite are written as ``n/a``, other numbers
        to six significant digits.

    Raises
    ------
    OutputError
        The file cannot be written.

    """
    with (
        replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as stream,
    ):
        stream.write("\t".join(columns) + "\n")
        for row in zip(*columns.values(), strict=True):
            stream.write("\t".join(map(_word, row)) + "\n")


def _word(value: object) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}" if math.isfinite(value) else "n/a"
    return "n/a" if value is None else str(value)


@dataclass(frozen=True, eq=False)
class Matrix:
    """How strongly regions are connected.

    Attributes
    ----------
    names : tuple of str
        Of the N regions, each once.
    values : (N, N) float64 array
        From the region of the row to that of the column; NaN where it is not known.

    """

    names: tuple[str, ...]
    values: Float64


def read_matrix(path: Path) -> Matrix:
    """Read a matrix: a line with the names of the regions, then a line of numbers for each.

    Parameters
    ----------
    path : pathlib.Path
        A ``_relmat.dense.tsv`` file. ``n/a`` and ``nan`` are what is not known.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is empty, is no UTF-8 text, or is not such a matrix.

    """
    lines = [*read_rows(path)]
    form = "expected a line with the names of the regions, then one of numbers for each"
    if not lines:
        raise DataError(f"{path} holds no line; {form}")
    names, *rows = lines
    for number, row in enumerate(rows, start=1):
        if len(row) != len(names):
            raise DataError(
                f"{path} has rows of different lengths: {len(names)} names, and {len(row)} in "
                f"row {number} below them; {form}"
            )
    if len(rows) != len(names):
        raise DataError(
            f"{path} is not square: {len(names)} names, rows of numbers: {len(rows)}; {form}"
        )
    if twice := [name for name, count in Counter(names).items() if count > 1 or not name]:
        raise DataError(f"{path} names a region twice or not at all: '{twice[0]}'; {form}")
    return Matrix(tuple(names), _numbers(rows, path))


def _numbers(rows: list[list[str]], path: Path) -> Float64:
    try:
        values = np.array([[math.nan if one == "n/a" else float(one) for one in r] for r in rows])
        wrong = [rows[row][column] for row, column in np.argwhere(np.isinf(values))]
    except ValueError as error:
        wrong = [str(error).partition(": ")[2].strip("'\"")]  # Python says which word it was
    if wrong:
        raise DataError(f"{path} holds '{wrong[0]}'; expected finite numbers, or n/a")
    return values


def write_matrix(path: Path, matrix: Matrix) -> None:
    """Write a matrix as `read_matrix` reads it, to six significant digits.

    Raises
    ------
    OutputError
        The file cannot be written.

    """
    write_table(path, dict(zip(matrix.names, matrix.values.T, strict=True)))
