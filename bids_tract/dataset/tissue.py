"""Brain masks and tissue maps that lie in a space of a diffusion series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bids_tract.dataset.listing import Place, images, listed
from bids_tract.dataset.series import Series
from bids_tract.dataset.sources import Source
from bids_tract.dataset.types import TissueFiles
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.images import read_shape
from bids_tract.files.present import require_content
from bids_tract.names import ParsedName

_SEGMENTATIONS_5TT = frozenset({"hsvs", "5tt", "fsl", "fast", "freesurfer"})
_LABELS = ("WM", "GM", "CSF")
# What may differ between the names of a series and of what lies on its grid.
_OF_THE_MAP = frozenset({"space", "res", "desc", "label", "seg"})


# --- Brain masks -------------------------------------------------------------------------------


def find_brain_mask(series: Series, sources: Sequence[Source]) -> Path | None:
    """Find a brain mask beside a diffusion series, in its space.

    Parameters
    ----------
    series : Series
        The series.
    sources : sequence of Source
        The datasets to look in: the series' own first.

    Returns
    -------
    pathlib.Path or None
        The mask with most of the series' entities, of the first dataset that has one.

    Raises
    ------
    DataError, MissingInputError
        The content of the mask is not here.

    """
    for source in sources:
        fitting = [
            (len(name.entities), path)
            for path, name in images(series.place.folder(source.root) / "dwi")
            if name.suffix == "mask"
            and name.entities.get("desc") == "brain"
            and _is_of_series(name, series, but={"desc"})
            and name.entities.get("space") == series.entities.get("space")
            and name.entities.get("res") == series.entities.get("res")
        ]
        if fitting:
            mask = max(fitting, key=lambda one: one[0])[1]
            require_content(mask)
            return mask
    return None


def _is_of_series(name: ParsedName, series: Series, but: set[str] | frozenset[str]) -> bool:
    """Whether an image has no entity, apart from some, that the series does not have."""
    own = {key: label for key, label in name.entities.items() if key not in but}
    return own.items() <= series.entities.items()


# --- Tissue maps -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Candidate:
    """Tissue maps as found, before it is known whether they are of use."""

    tissue: TissueFiles
    space: str | None
    in_dwi: bool

    def refusal(self, series: Series) -> str | None:
        """Why they cannot be used for a series, or None."""
        first = self.tissue.files[0]
        space = series.entities.get("space")
        where = f"space-{space}" if space else "its own space"
        if self.space is None:
            # Without space-, maps lie where they were made: beside the series in its space, among
            # the anatomical images in that of the T1w image, which older QSIPrep uses for both.
            fits = space is None if self.in_dwi else space == "T1w"
            if not fits:
                lies = "the scanner's space of the series" if self.in_dwi else "T1w space"
                return (
                    f"{first} lies in {lies}, the series in {where}; registration is not part of "
                    "this version: resample the maps to the series and name them space-dwi"
                )
        elif self.space.lower() != "dwi" and self.space != space:
            return f"{first} lies in space-{self.space}, the series in {where}"
        return self._fault()

    def _fault(self) -> str | None:
        """What is wrong with the files, or None."""
        try:
            shapes = [read_shape(path) for path in self.tissue.files]
        except (DataError, MissingInputError) as error:
            return str(error)
        expected = (5,) if self.tissue.kind == "5tt" else ()
        for path, shape in zip(self.tissue.files, shapes, strict=True):
            volumes = shape[3:]
            if volumes != expected and (expected or volumes != (1,)):
                return f"{path} has the shape {shape}; expected {len(expected) + 3}-D" + (
                    " with five volumes" if expected else ""
                )
        return None


def find_tissue(series: Series, sources: Sequence[Source]) -> tuple[TissueFiles | None, list[str]]:
    """Find the tissue maps of a diffusion series.

    Five-tissue images come before three maps, a dataset before those given after it, and the maps
    of the session before those of the participant.

    Parameters
    ----------
    series : Series
        The series.
    sources : sequence of Source
        The datasets to look in.

    Returns
    -------
    tissue : TissueFiles or None
        The first that lie in a space of the series.
    notes : list of str
        What else was there, or, where there is none, why those that are there do not do.

    """
    refused: list[str] = []
    fitting: list[TissueFiles] = []
    for candidate in _candidates(series, sources):
        reason = candidate.refusal(series)
        if reason is None:
            fitting.append(candidate.tissue)
        else:
            refused.append(reason)
    if not fitting:
        return None, [f"tissue maps not used: {reason}" for reason in refused]
    if len(fitting) == 1:
        return fitting[0], []
    others = listed(str(tissue.files[0]) for tissue in fitting[1:])
    return fitting[0], [f"tissue maps of {fitting[0].files[0]} are used, not those of {others}"]


def _candidates(series: Series, sources: Sequence[Source]) -> Iterator[_Candidate]:
    """All tissue maps of the participant, the preferred ones first."""
    found = [
        candidate
        for source in sources
        for folder in _folders(series.place, source)
        for candidate in _tissue_in(folder, series, source)
    ]
    for kind in ("5tt", "probseg"):
        yield from (candidate for candidate in found if candidate.tissue.kind == kind)


def _folders(place: Place, source: Source) -> list[Path]:
    """Where tissue maps may lie, those of the session first."""
    places = dict.fromkeys([place, Place(place.sub)])
    return [one.folder(source.root) / kind for one in places for kind in ("dwi", "anat")]


def _tissue_in(folder: Path, series: Series, source: Source) -> Iterator[_Candidate]:
    in_dwi = folder.name == "dwi"
    maps: dict[tuple[tuple[str, str], ...], dict[str, Path]] = defaultdict(dict)
    for path, name in images(folder):
        entities = dict(name.entities)
        # In anat, the entities of the T1w image say nothing about the series.
        own = name if in_dwi else ParsedName(_only(entities, "sub", "ses"), "", "")
        if name.suffix != "probseg" or not _is_of_series(own, series, but=_OF_THE_MAP):
            continue
        label = entities.pop("label", None)
        if label in _LABELS:
            maps[tuple(sorted(entities.items()))].setdefault(label, path)
        elif label is None and entities.get("seg") in _SEGMENTATIONS_5TT:
            yield _candidate("5tt", (path,), source, entities, in_dwi)
    for key, by_label in maps.items():
        if len(by_label) == len(_LABELS):
            files = tuple(by_label[label] for label in _LABELS)
            yield _candidate("probseg", files, source, dict(key), in_dwi)


def _candidate(
    kind: Literal["probseg", "5tt"],
    files: tuple[Path, ...],
    source: Source,
    entities: dict[str, str],
    in_dwi: bool,
) -> _Candidate:
    return _Candidate(TissueFiles(kind, files, source.name), entities.get("space"), in_dwi)


def _only(entities: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: label for key, label in entities.items() if key in keys}
