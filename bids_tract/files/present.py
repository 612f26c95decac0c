"""Whether a file is really here, or only its name."""

from __future__ import annotations

from pathlib import Path

from bids_tract.errors import DataError, MissingInputError

_LFS_POINTER = b"version https://git-lfs"
_ANNEX_POINTER = b"/annex/objects/"


def is_pointer(path: Path) -> bool:
    """Whether a file only says where git-lfs or git-annex has its content.

    Raises
    ------
    OSError
        It cannot be read.

    """
    with path.open("rb") as stream:
        return stream.read(64).startswith((_LFS_POINTER, _ANNEX_POINTER))


def require_content(path: Path) -> None:
    """Raise unless `path` is a file with content of its own.

    Datasets under git-annex or git-lfs show names whose content has not been fetched: broken
    links or small pointer files.

    Raises
    ------
    MissingInputError
        There is no such file, or its content has not been fetched.
    DataError
        The file is empty, a git-lfs pointer, a folder, or may not be read.

    """
    if path.is_symlink() and not path.exists():
        raise MissingInputError(
            f"{path} is a link to content that is not here; fetch it with `datalad get {path}`"
        )
    if not path.exists():
        raise MissingInputError(f"{path} does not exist")
    try:
        with path.open("rb") as stream:
            start = stream.read(64)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise DataError(f"{path} is empty (0 bytes); copy or download it again")
    if start.startswith(_LFS_POINTER):
        raise DataError(
            f"{path} is a git-lfs pointer, not the file itself; fetch it with `git lfs pull`"
        )
    if start.startswith(_ANNEX_POINTER):
        raise MissingInputError(
            f"{path} is a git-annex pointer, not the file itself; fetch it with "
            f"`datalad get {path}`"
        )
