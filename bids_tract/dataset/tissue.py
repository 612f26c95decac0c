"""Brain masks and tissue maps of a diffusion series."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bids_tract.dataset.anatomical import find_reference, volume_fault
from bids_tract.dataset.labels import tissue_labels
from bids_tract.dataset.listing import Place, images, listed
from bids_tract.dataset.series import Series
from bids_tract.dataset.sources import Source
from bids_tract.dataset.spaces import describe, is_elsewhere, is_of_participant, space_of
from bids_tract.dataset.types import TissueFiles, TissueKind
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.images import read_shape
from bids_tract.files.present import require_content
from bids_tract.names import ParsedName

_SEGMENTATIONS_5TT = frozenset({"hsvs", "5tt", "fsl", "fast", "freesurfer"})
_LABELS = ("WM", "GM", "CSF")
# From the most to the least faithful picture, and what a note calls them.
_KINDS: Mapping[TissueKind, str] = {
    "5tt": "five-tissue images", "probseg": "probability maps", "dseg": "labels",
}  # fmt: skip
# What sets other label images than those of plain tissue apart: aseg, aparcaseg, atlases.
_NO_TISSUE = frozenset({"desc", "seg", "atlas", "label", "scale"})
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
    """Tissue maps as found, before it is known whether they are of use.

    Attributes
    ----------
    tissue : TissueFiles
        Without reference, and of labels without their meaning.
    entities : mapping of str to str
        Those of the name, or what the names of three maps have in common.
    source : Source
        Their dataset.
    place : Place
        The participant or session whose folder they lie in.
    in_dwi : bool
        Whether that is the diffusion folder; else it is the anatomical one.
    elsewhere : bool
        Whether they lie in no space of the series.

    """

    tissue: TissueFiles
    entities: Mapping[str, str]
    source: Source
    place: Place
    in_dwi: bool
    elsewhere: bool

    @property
    def rank(self) -> tuple[bool, int]:
        """The lowest is wanted most."""
        return self.elsewhere, list(_KINDS).index(self.tissue.kind)

    @property
    def in_template(self) -> bool:
        """Whether they lie in a template's space, where programs put copies of their maps."""
        return self.elsewhere and not is_of_participant(
            space_of(self.entities, in_dwi=self.in_dwi)
        )

    def settle(self, series: Series) -> TissueFiles:
        """Find what is needed to use them; a DataError or MissingInputError says why not."""
        tissue = self.tissue
        for path in tissue.files:
            if fault := _fault_of_5tt(path) if tissue.kind == "5tt" else volume_fault(path):
                raise DataError(fault)
        if tissue.kind == "dseg":
            labels, table = tissue_labels(tissue.files[0], self.source)
            tissue = replace(tissue, labels=labels, label_table=table)
        return self._with_reference(tissue, series) if self.elsewhere else tissue

    def _with_reference(self, tissue: TissueFiles, series: Series) -> TissueFiles:
        named = "space" in self.entities or not self.in_dwi
        reference = find_reference(self.entities, self.place, self.source) if named else None
        if reference is None:
            lies = describe(self.entities, in_dwi=self.in_dwi)
            space = series.entities.get("space")
            raise DataError(
                f"{tissue.files[0]} lies in {lies}, the series in "
                f"{f'space-{space}' if space else 'its own space'}, and {self.source.name} has no "
                "preprocessed T1w image of the participant there (desc-preproc_T1w), by which the "
                "maps could be registered to the series; add it, or resample the maps to the "
                "series and name them space-dwi"
            )
        return replace(tissue, reference=reference)


def find_tissue(series: Series, sources: Sequence[Source]) -> tuple[TissueFiles | None, list[str]]:
    """Find the tissue maps of a diffusion series.

    The first that there are of:

    1. in a space of the series: a five-tissue image, three probability maps, an image of labels;
    2. in another space of the participant, beside a preprocessed T1-weighted image of the same
       dataset in that space, by which they can be registered: the three kinds in the same order.

    Within one kind, a dataset comes before those after it, and the maps of the session before
    those of the participant. Maps in a template's space never serve. Of labels, it must be known
    which tissue they are (see `labels.tissue_labels`).

    Parameters
    ----------
    series : Series
        The series.
    sources : sequence of Source
        The datasets to look in.

    Returns
    -------
    tissue : TissueFiles or None
        The maps.
    notes : list of str
        What else was there, and why it is not used. Maps in a template's space are named only
        where there is nothing to use.

    """
    refused: list[str] = []
    templates: list[str] = []
    fitting: list[TissueFiles] = []
    for candidate in _candidates(series, sources):
        try:
            fitting.append(candidate.settle(series))
        except (DataError, MissingInputError) as error:
            (templates if candidate.in_template else refused).append(str(error))
    if not fitting:
        refused += templates
    notes = [f"tissue maps not used: {reason}" for reason in refused]
    if len(fitting) > 1:
        chosen, *others = fitting
        passed = listed(f"{one.files[0]} ({_why_not(one, chosen)})" for one in others)
        notes.insert(0, f"tissue maps of {chosen.files[0]} are used, not those of {passed}")
    return next(iter(fitting), None), notes


def _why_not(passed: TissueFiles, chosen: TissueFiles) -> str:
    """Why maps that could be used are not, in some words."""
    if passed.reference is not None and chosen.reference is None:
        return "they would have to be registered first"
    if passed.kind != chosen.kind:
        return f"{_KINDS[chosen.kind]} come before {_KINDS[passed.kind]}"
    return "found later"


def _candidates(series: Series, sources: Sequence[Source]) -> list[_Candidate]:
    """All tissue maps of the participant, the preferred ones first."""
    found = [
        candidate
        for source in sources
        for place in dict.fromkeys([series.place, Place(series.place.sub)])
        for in_dwi in (True, False)
        for candidate in _tissue_in(place, series, source, in_dwi=in_dwi)
    ]
    return sorted(found, key=lambda candidate: candidate.rank)


def _tissue_in(
    place: Place, series: Series, source: Source, *, in_dwi: bool
) -> Iterator[_Candidate]:
    """The tissue maps of a folder."""

    def candidate(kind: TissueKind, files: tuple[Path, ...], own: Mapping[str, str]) -> _Candidate:
        elsewhere = is_elsewhere(series, own, source, in_dwi=in_dwi)
        tissue = TissueFiles(kind, files, source.name)
        return _Candidate(tissue, own, source, place, in_dwi, elsewhere)

    maps: dict[tuple[tuple[str, str], ...], dict[str, Path]] = defaultdict(dict)
    for path, name in images(place.folder(source.root) / ("dwi" if in_dwi else "anat")):
        entities = dict(name.entities)
        # In anat, the entities of the T1w image say nothing about the series.
        own = name if in_dwi else ParsedName(_only(entities, "sub", "ses"), "", "")
        if not _is_of_series(own, series, but=_OF_THE_MAP):
            continue
        if name.suffix == "dseg" and not entities.keys() & _NO_TISSUE:
            yield candidate("dseg", (path,), entities)
        if name.suffix != "probseg":
            continue
        label = entities.pop("label", None)
        if label in _LABELS:
            maps[tuple(sorted(entities.items()))].setdefault(label, path)
        elif label is None and entities.get("seg") in _SEGMENTATIONS_5TT:
            yield candidate("5tt", (path,), entities)
    for key, by_label in maps.items():
        if len(by_label) == len(_LABELS):
            files = tuple(by_label[label] for label in _LABELS)
            yield candidate("probseg", files, dict(key))


def _fault_of_5tt(path: Path) -> str | None:
    shape = read_shape(path)
    if len(shape) == 4 and shape[3] == 5:
        return None
    return f"{path} has the shape {shape}; expected 4-D with five volumes"


def _only(entities: dict[str, str], *keys: str) -> dict[str, str]:
    return {key: label for key, label in entities.items() if key in keys}
