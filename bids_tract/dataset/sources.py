"""The datasets that are read: the BIDS folder itself and the further ones."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_tract.dataset.listing import entries, listed
from bids_tract.errors import DataError, MissingInputError, NotBidsError, UsageError
from bids_tract.files.sidecars import read_json

_DESCRIPTION = "dataset_description.json"
_NAMED_FOLDER = re.compile(r"([A-Za-z0-9_.+-]+)=(.+)")


@dataclass(frozen=True)
class Source:
    """A dataset to read from.

    Attributes
    ----------
    root : pathlib.Path
        Its folder, absolute.
    name : str
        What messages call it.
    description : mapping of str to object
        Its ``dataset_description.json``.

    """

    root: Path
    name: str
    description: Mapping[str, Any]

    @property
    def is_derivative(self) -> bool:
        """Whether it holds processed data.

        Raw datasets may tell what converted them (GeneratedBy): that counts only where
        DatasetType is absent, as in derivatives older than BIDS 1.4.
        """
        kind = self.description.get("DatasetType")
        return kind == "derivative" if kind else bool(self.producers)

    @property
    def producers(self) -> tuple[str, ...]:
        """The names of the programs that made it."""
        made_by = self.description.get("GeneratedBy") or []
        tools = [*made_by] if isinstance(made_by, list) else [made_by]
        tools.append(self.description.get("PipelineDescription"))
        return tuple(
            str(tool["Name"]) for tool in tools if isinstance(tool, dict) and "Name" in tool
        )

    def made_by(self, program: str) -> bool:
        """Whether a program of that name, in small letters, is among the producers."""
        return any(name.lower() == program for name in self.producers)


def open_dataset(folder: Path) -> Source:
    """Open the BIDS folder of a run.

    Raises
    ------
    NotBidsError
        There is no such folder, or no usable ``dataset_description.json`` in it.

    """
    if not folder.is_dir():
        raise NotBidsError(
            f"{folder} is not a folder; give the root of a BIDS dataset (in a container: is it "
            "mounted?)"
        )
    return _open(folder, None)


def open_derivatives(given: Sequence[str]) -> tuple[Source, ...]:
    """Open the further datasets of a run.

    Parameters
    ----------
    given : sequence of str
        ``FOLDER`` or ``NAME=FOLDER``; a dataset without a name is called by its folder.

    Raises
    ------
    MissingInputError
        There is no such folder.
    NotBidsError
        It has no usable ``dataset_description.json``.
    UsageError
        Two datasets have one name.

    """
    sources: dict[str, Source] = {}
    for text in given:
        match = _NAMED_FOLDER.fullmatch(text)
        name, folder = match.groups() if match else (None, text)
        if not Path(folder).is_dir():
            raise MissingInputError(
                f"--derivatives {text}: {folder} is not a folder (in a container: is it mounted?)"
            )
        source = _open(Path(folder), name or Path(folder).resolve().name)
        if source.name in sources:
            raise UsageError(
                f"--derivatives: {sources[source.name].root} and {source.root} are both called "
                f"{source.name}; name them: NAME=FOLDER"
            )
        sources[source.name] = source
    return tuple(sources.values())


def _open(folder: Path, name: str | None) -> Source:
    root = folder.resolve()
    path = root / _DESCRIPTION
    try:
        description = read_json(path)
    except MissingInputError as error:
        if path.is_symlink():  # the content was not fetched, which the error says
            raise NotBidsError(str(error)) from error
        inner = [sub.name for sub in entries(root) if (sub / _DESCRIPTION).is_file()]
        hint = (
            f"give one of the datasets in it: {listed(inner)}"
            if inner
            else 'give the root of the dataset, or write the file: {"Name": "...", '
            '"BIDSVersion": "1.10.0"}'
        )
        raise NotBidsError(
            f"{root} is not a BIDS dataset: it has no {_DESCRIPTION}; {hint}"
        ) from None
    except DataError as error:
        raise NotBidsError(f"{root} is not a usable BIDS dataset: {error}") from error
    own_name = description.get("Name")
    return Source(
        root, name or (own_name if isinstance(own_name, str) else "") or root.name, description
    )
