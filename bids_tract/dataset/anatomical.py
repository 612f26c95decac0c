"""T1-weighted images: which one belongs to a diffusion series, and which one to tissue maps."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_tract.dataset.filters import Restriction
from bids_tract.dataset.listing import Place, entries, images, listed
from bids_tract.dataset.series import Series
from bids_tract.dataset.sources import Source
from bids_tract.dataset.spaces import is_elsewhere, is_of_participant, space_of
from bids_tract.dataset.types import Anatomical
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.images import read_shape

# What the name of an image in some space adds to that of the image it was made from.
_OF_PROCESSING = frozenset({"space", "res", "desc"})


@dataclass(frozen=True)
class _Candidate:
    """A T1-weighted image by name; those of rank 0 are wanted most.

    A choice of a rank that needs a word in the notes says it in `word`.
    """

    path: Path
    entities: Mapping[str, str]
    source: Source
    rank: int
    word: str = ""

    @property
    def order(self) -> tuple[int, int, str]:
        """Plain names first, then the first run."""
        run = self.entities.get("run", "")
        others = len(self.entities.keys() - {"run", "sub", "ses"})
        return others, int(run) if run.isdecimal() else 0, self.path.name


# --- For a series ------------------------------------------------------------------------------


def find_t1w(
    series: Series,
    derivatives: Sequence[Source],
    raw: Sequence[Source],
    restriction: Restriction | None,
) -> tuple[Anatomical | None, list[str]]:
    """Find the T1-weighted image for a diffusion series.

    The first that there is of:

    1. a preprocessed one (``desc-preproc``) in a space of the series;
    2. a preprocessed one in another space of the participant, T1w space first;
    3. a raw one of the same session;
    4. a raw one of another session, the first by name;
    5. a raw one of no session, for a series that has one.

    Within 1 and 2, a dataset comes before those after it, and the session before the participant.
    Of several in one folder, that with the fewest entities is taken, then the first run. An image
    in a template's space never serves.

    Parameters
    ----------
    series : Series
        The series.
    derivatives : sequence of Source
        The datasets to look in for preprocessed images: the series' own first.
    raw : sequence of Source
        The datasets to look in for raw images.
    restriction : Restriction or None
        The filters, which hold for the dataset that they were asked of.

    Returns
    -------
    t1w : Anatomical or None
        The image.
    notes : list of str
        What else was to be had, and what cannot be used, because its content is not here or it is
        not one volume, or was left out by filters.

    """
    candidates = [*_preprocessed(series, derivatives), *_raw(series.place, raw)]
    candidates.sort(key=lambda one: one.rank)
    notes: list[str] = []
    left_out: list[str] = []
    usable: list[_Candidate] = []
    for one in candidates:
        if usable and one.rank > usable[0].rank:
            break
        if restriction is not None and (reason := restriction.refusal(one.path, one.source)):
            left_out.append(f"{one.path}: {reason}")
        elif fault := volume_fault(one.path):
            notes.append(f"T1w image not used: {fault}")
        else:
            usable.append(one)
    if not usable:
        return None, notes + [f"T1w image not used: {reason}" for reason in left_out]
    chosen, *others = usable
    if others or chosen.word:
        passed = f", not {listed(str(one.path) for one in others)}" if others else ""
        notes.append(f"T1w image {chosen.path} is used{chosen.word}{passed}")
    found, more_notes = _anatomical(chosen, in_scan_space=chosen.rank == 0)
    return found, notes + more_notes


def _preprocessed(series: Series, sources: Iterable[Source]) -> Iterator[_Candidate]:
    for source in sources:
        for place in dict.fromkeys([series.place, Place(series.place.sub)]):
            found = []
            for path, entities in _t1w_in(place, source):
                space = space_of(entities, in_dwi=False)
                if entities.get("desc") != "preproc":
                    continue
                if not is_elsewhere(series, entities, source, in_dwi=False):
                    found.append(_Candidate(path, entities, source, 0))
                elif is_of_participant(space):
                    found.append(_Candidate(path, entities, source, 1 if space == "T1w" else 2))
            yield from sorted(found, key=lambda one: one.order)


def _raw(place: Place, sources: Iterable[Source]) -> Iterator[_Candidate]:
    for source in sources:
        root = Place(place.sub).folder(source.root)
        sessions = [path.name[4:] for path in entries(root) if path.name.startswith("ses-")]
        others = [Place(place.sub, ses) for ses in sessions if ses != place.ses]
        # By rank: the session's own; the other sessions, of which the first counts; none.
        ranked = [(3, place, ""), *((4 + n, one, _other(one)) for n, one in enumerate(others))]
        if place.ses is not None:
            ranked.append((4 + len(others), Place(place.sub), ", which is of no session"))
        for rank, where, word in ranked:
            found = [
                _Candidate(path, entities, source, rank, word)
                for path, entities in _t1w_in(where, source)
                if not entities.keys() & {"space", "desc"}
            ]
            yield from sorted(found, key=lambda one: one.order)


def _other(place: Place) -> str:
    return f", which is of another session (ses-{place.ses})"


def _t1w_in(place: Place, source: Source) -> Iterator[tuple[Path, dict[str, str]]]:
    """The T1-weighted images of a participant or session."""
    for path, name in images(place.folder(source.root) / "anat"):
        own = {key: label for key, label in name.entities.items() if key in {"sub", "ses"}}
        # Phase images, and single inversions of an MP2RAGE, show the anatomy in another way.
        shows = name.entities.get("part", "mag") == "mag" and "inv" not in name.entities
        if name.suffix == "T1w" and own == place.entities and shows:
            yield path, dict(name.entities)


# --- For tissue maps ---------------------------------------------------------------------------


def find_reference(maps: Mapping[str, str], place: Place, source: Source) -> Anatomical | None:
    """Find the preprocessed T1-weighted image in whose space tissue maps lie.

    Parameters
    ----------
    maps : mapping of str to str
        The entities of the maps, which lie among the anatomical images or name their space.
    place : Place
        The participant and session whose folder they lie in.
    source : Source
        Their dataset.

    Returns
    -------
    Anatomical or None
        Of the images whose entities the maps have, too, that with most of them; None where there
        is none, or the space is not the participant's own.

    Raises
    ------
    DataError, MissingInputError
        The image is not one volume, or its content is not here.

    """
    space = space_of(maps, in_dwi=False)
    if not is_of_participant(space):
        return None
    fitting = [
        _Candidate(path, entities, source, 0)
        for one in dict.fromkeys([place, Place(place.sub)])
        for path, entities in _t1w_in(one, source)
        if entities.get("desc") == "preproc"
        and space_of(entities, in_dwi=False) == space
        and _without(entities, _OF_PROCESSING).items() <= maps.items()
    ]
    if not fitting:
        return None
    chosen = max(fitting, key=lambda one: len(_without(one.entities, _OF_PROCESSING)))
    if fault := volume_fault(chosen.path):
        raise DataError(fault)
    return _anatomical(chosen, in_scan_space=False)[0]


# --- Both --------------------------------------------------------------------------------------


def volume_fault(path: Path) -> str | None:
    """What is wrong with an image that should be one volume, or None.

    Its header is read. Content that was not fetched is such a fault.
    """
    try:
        shape = read_shape(path)
    except (DataError, MissingInputError) as error:
        return str(error)
    if len(shape) == 3 or shape[3:] == (1,):
        return None
    return f"{path} has the shape {shape}; expected 3-D"


def _anatomical(image: _Candidate, *, in_scan_space: bool) -> tuple[Anatomical, list[str]]:
    """The image with its brain mask, and why a mask that is there is not used."""
    own = _without(image.entities, {"desc"})
    masks = [
        (len(name.entities), path)
        for path, name in images(image.path.parent)
        if "desc" in image.entities  # raw images have no such masks
        and name.suffix == "mask"
        and name.entities.get("desc") == "brain"
        and _without(name.entities, {"desc"}).items() <= own.items()
        and all(name.entities.get(key) == own.get(key) for key in ("space", "res"))
    ]
    mask = max(masks, key=lambda one: one[0])[1] if masks else None
    fault = volume_fault(mask) if mask else None
    notes = [f"brain mask of the T1w image not used: {fault}"] if fault else []
    usable = None if fault else mask
    return Anatomical(image.path, usable, image.source.name, in_scan_space), notes


def _without(entities: Mapping[str, str], keys: Iterable[str]) -> dict[str, str]:
    return {key: label for key, label in entities.items() if key not in keys}
