"""Nothing half-written carries a final name."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bids_tract.errors import OutputError

_REASONS = {
    errno.ENOSPC: "no space left in {folder}; free some or choose another output folder",
    errno.EDQUOT: "the disk quota is used up in {folder}; free some or choose another folder",
    errno.EFBIG: "a file would be larger than {folder} takes; choose another output folder",
    errno.EROFS: "{folder} is on a read-only file system; choose another output folder",
    errno.EACCES: "no permission to write in {folder}; choose another output folder",
    errno.EPERM: "no permission to write in {folder}; choose another output folder",
    errno.EEXIST: "{folder} cannot be made: a file of that name is in the way",
    errno.ENOTDIR: "{folder} cannot be made: a part of its path is a file",
    errno.EISDIR: "in {folder} a folder is in the way of a file: {target}; move it away",
}


@contextmanager
def writing_in(folder: Path) -> Iterator[None]:
    """Make `folder` and turn the failures to write in it into one sentence.

    Raises
    ------
    OutputError
        The disk is full, read-only, or the folder may not be written.

    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = _REASONS.get(error.errno or 0, f"{{folder}} cannot be made: {error.strerror}")
        raise OutputError(reason.format(folder=folder)) from error
    try:
        yield
    except OSError as error:
        if error.errno not in _REASONS or _is_elsewhere(error, folder):
            raise
        target = error.filename2 or error.filename
        raise OutputError(_REASONS[error.errno].format(folder=folder, target=target)) from error


def _is_elsewhere(error: OSError, folder: Path) -> bool:
    """Whether the error is about a file outside `folder` (an input, say)."""
    if not isinstance(error.filename, str | os.PathLike):
        return False
    culprit = Path(error.filename)
    return not (culprit.is_relative_to(folder) or folder.is_relative_to(culprit))


def hidden_beside(path: Path) -> Path:
    """A hidden name in the folder of `path`, unique to this process, with the same extension."""
    # The process id alone is not unique where several containers share an output folder.
    return path.with_name(f".{os.getpid()}-{secrets.token_hex(3)}.{path.name}")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file beside its place, then put it in place in one step.

    The folder is made if need be. When the body raises, nothing is left behind and a former
    `path` stays as it was.

    Yields
    ------
    pathlib.Path
        Where to write: a hidden name in the same folder with the full extension of `path`.

    Raises
    ------
    OutputError
        The disk is full, read-only, or the folder may not be written.

    """
    temporary = hidden_beside(path)
    with writing_in(path.parent):
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(path)
            _flush(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, where there is one.

    Raises
    ------
    OutputError
        The folder may not be written.

    """
    with writing_in(path.parent):
        path.unlink(missing_ok=True)


def check_writable(folder: Path) -> None:
    """Make `folder` and write a file in it.

    A test of permission bits would miss read-only mounts, quotas and full disks.

    Raises
    ------
    OutputError
        The folder cannot be made or written.

    """
    probe = hidden_beside(folder / "probe")
    with writing_in(folder):
        try:
            probe.write_bytes(b"x" * 4096)
        finally:
            probe.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system write a file or folder to the disk now."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
