"""JSON beside the data, and what identifies a file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np

from bids_tract.errors import DataError
from bids_tract.files.atomic import replacing
from bids_tract.files.present import require_content

_DIGEST_BYTES = 16


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds one object.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is not JSON, or holds something other than an object.

    """
    require_content(path)
    try:
        content = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a UTF-8 text file; expected JSON") from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON ({error}); correct it") from error
    if not isinstance(content, dict):
        raise DataError(
            f"{path} holds a JSON {type(content).__name__}; expected an object {{...}}"
        )
    return content


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object, keys in the order given; the file appears whole or not at all.

    NumPy scalars and arrays and paths are written as numbers, lists and text; numbers that are
    not finite, which JSON has no word for, as null.

    Raises
    ------
    OutputError
        The file cannot be written.

    """
    text = json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def file_digest(path: Path) -> str:
    """BLAKE2b of a file's content, 16 bytes in hexadecimal, read in pieces.

    Raises
    ------
    DataError, MissingInputError
        The file is not here or is empty.

    """
    require_content(path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=_DIGEST_BYTES))
    return digest.hexdigest()


def bids_uri(path: Path, root: Path, dataset: str = "") -> str:
    """Name a file of a dataset as BIDS does: ``bids:raw:sub-01/dwi/sub-01_dwi.nii.gz``.

    Parameters
    ----------
    path, root : pathlib.Path
        The file, and the dataset that holds it.
    dataset : str
        The dataset's name in ``DatasetLinks``; empty for the dataset that the URI stands in.

    Raises
    ------
    ValueError
        The file is not below `root`.

    """
    # Not resolved: a git-annex link must keep the name that it has in the dataset.
    relative = path.absolute().relative_to(root.absolute())
    return f"bids:{dataset}:{quote(relative.as_posix(), safe='/+')}"


def _plain(value: Any) -> Any:
    """The same value in types that JSON knows."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
