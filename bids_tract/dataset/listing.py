"""What lies in the folders of a dataset."""

from __future__ import annotations

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


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, in order, hidden names left out; empty where there is no folder.

    Links whose target is not here are listed too.

    Raises
    ------
    DataError
        The folder cannot be listed.

    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise DataError(
            f"{folder} cannot be listed ({error.strerror}); check its permissions"
        ) from error


def images(folder: Path) -> Iterator[tuple[Path, ParsedName]]:
    """The NIfTI images of a folder that have a BIDS name, with the parts of that name."""
    for path in entries(folder):
        name = split_name(path.name)
        if name is not None and name.extension in IMAGE_EXTENSIONS:
            yield path, name


def listed(words: Iterable[str], separator: str = ", ") -> str:
    """Words for a sentence, cut short where there are very many."""
    words = list(words)
    shown = separator.join(words[:_MOST_LISTED])
    return shown if len(words) <= _MOST_LISTED else f"{shown} and {len(words) - _MOST_LISTED} more"
