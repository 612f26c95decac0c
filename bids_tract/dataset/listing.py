"""What lies in the folders of a dataset."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bids_tract.errors import DataError
from bids_tract.names import ParsedName, split_name

IMAGE_EXTENSIONS = (".nii", ".nii.gz")
_MOST_LISTED = 20


@dataclass(frozen=True)
class Place:
    """A participant, or one session of a participant.

    Attributes
    ----------
    sub : str
        The participant's label.
    ses : str or None
        The session's label; None for what lies in no session.

    """

    sub: str
    ses: str | None = None

    @property
    def entities(self) -> dict[str, str]:
        """The entities that every name there has."""
        return {"sub": self.sub} if self.ses is None else {"sub": self.sub, "ses": self.ses}

    def folder(self, root: Path) -> Path:
        """Its folder in the dataset at `root`."""
        return root.joinpath(*(f"{key}-{label}" for key, label in self.entities.items()))


def entries(folder: Path, ending: str | tuple[str, ...] = "") -> list[Path]:
    """List what lies in a folder, in order, hidden names left out; nothing where it is absent.

    Links whose target is not here are listed too.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.
    ending : str or tuple of str
        How the names end.

    Raises
    ------
    DataError
        The folder cannot be listed.

    """
    try:
        with os.scandir(folder) as found:
            # Names first: the root of a large dataset is listed for every scan.
            names = [one.name for one in found if one.name.endswith(ending)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}); check its permissions"
        ) from error
    return [folder / name for name in sorted(names) if not name.startswith(".")]


def images(folder: Path) -> Iterator[tuple[Path, ParsedName]]:
    """The NIfTI images of a folder that have a BIDS name, with the parts of that name."""
    for path in entries(folder, IMAGE_EXTENSIONS):
        name = split_name(path.name)
        if name is not None and name.extension in IMAGE_EXTENSIONS:
            yield path, name


def listed(words: Iterable[str], separator: str = ", ") -> str:
    """Words for a sentence, cut short where there are very many."""
    words = list(words)
    shown = separator.join(words[:_MOST_LISTED])
    return shown if len(words) <= _MOST_LISTED else f"{shown} and {len(words) - _MOST_LISTED} more"
