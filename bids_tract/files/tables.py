"""Tables in BIDS: one header line, tabs, ``n/a`` where there is nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

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
    require_content(path)
    try:
        with path.open(encoding="utf-8-sig") as lines:
            rows = ([cell.strip() for cell in line.split("\t")] for line in lines if line.strip())
            header = next(rows, [])
            yield from (dict(zip(header, row, strict=False)) for row in rows)
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
    lines = ["\t".join(columns)]
    lines += ["\t".join(map(_word, row)) for row in zip(*columns.values(), strict=True)]
    with replacing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")


def _word(value: object) -> str:
    if isinstance(value, float):  # NumPy's are, too
        return f"{value:.6g}" if math.isfinite(value) else "n/a"
    return "n/a" if value is None else str(value)
