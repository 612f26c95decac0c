"""Which images of a diffusion folder are series to work on, judged by their names."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_tract.dataset.listing import IMAGE_EXTENSIONS, Place, entries, images, listed
from bids_tract.dataset.sources import Source
from bids_tract.dataset.types import Skipped
from bids_tract.names import OUTPUT_ENTITIES, ParsedName, split_name

_SCANNER_MAPS = frozenset({"ADC", "FA", "S0map", "colFA", "expADC", "trace"})
# Preprocessing merges runs and resamples: its names have some of the raw entities and these.
_OF_PROCESSING = frozenset({"space", "res", "desc"})


@dataclass(frozen=True)
class Series:
    """A diffusion series by name: whether it can be used is not known yet.

    Attributes
    ----------
    path : pathlib.Path
        The image.
    entities : mapping of str to str
        Those of its name.
    source : Source
        The dataset that it lies in.
    place : Place
        The participant and session.
    note : str
        Why it was chosen, where that needs a word.

    """

    path: Path
    entities: Mapping[str, str]
    source: Source
    place: Place
    note: str = ""

    @property
    def preprocessed(self) -> bool:
        """Whether it is marked as preprocessed."""
        return self.entities.get("desc") == "preproc"


def find_series(source: Source, place: Place) -> tuple[list[Series], list[Skipped]]:
    """Find the diffusion series of a participant or session.

    Parameters
    ----------
    source : Source
        The dataset. Of a derivative dataset only preprocessed series count.
    place : Place
        The participant and session.

    Returns
    -------
    series : list of Series
        Those to work on.
    skipped : list of Skipped
        Other images of the folder that might be taken for one.

    """
    named: dict[frozenset[tuple[str, str]], list[Series]] = defaultdict(list)
    skipped: list[Skipped] = []
    folder = place.folder(source.root) / "dwi"
    for path, name in images(folder):
        reason = _refusal(name, place, source.is_derivative)
        if reason is None:
            key = frozenset(name.entities.items())
            named[key].append(Series(path, name.entities, source, place))
        elif reason:
            skipped.append(Skipped(path, reason))
    skipped += [
        Skipped(path, "does not have a BIDS name (sub-<label>_..._dwi.nii.gz)")
        for path in entries(folder, IMAGE_EXTENSIONS)
        if split_name(path.name) is None
    ]
    series = []
    for same in named.values():
        if len(same) == 1:
            series += same
            continue
        paths = [one.path for one in same]
        reason = f"one of {listed(path.name for path in paths)}, which have the same entities; "
        skipped += [Skipped(path, reason + "keep one of them", "broken") for path in paths]
    return series, skipped


def _refusal(name: ParsedName, place: Place, derivative: bool) -> str | None:
    """Why an image is not a series to work on; empty where nobody would take it for one."""
    if name.suffix == "sbref":
        return "a single-band reference, not a series"
    if name.suffix in _SCANNER_MAPS:
        return f"a map ({name.suffix}), not a series"
    if name.suffix != "dwi":
        return ""
    if {key: name.entities.get(key) for key in ("sub", "ses")} != {
        "sub": place.sub,
        "ses": place.ses,
    }:
        return "its name is of another participant or session than its folder"
    if name.entities.get("part", "mag") != "mag":
        return f"the {name.entities['part']} part; tracking needs the magnitude"
    if taken := sorted(name.entities.keys() & OUTPUT_ENTITIES):
        return f"a result with {listed(taken)} in its name, not a scan"
    desc = name.entities.get("desc")
    if derivative and desc != "preproc":
        return "not marked as preprocessed (desc-preproc), in a derivative dataset"
    if not derivative and desc is not None:
        return f"processed data (desc-{desc}) in a raw dataset"
    return None


def prefer_preprocessed(
    raw: Sequence[Series], place: Place, derivatives: Sequence[Source]
) -> tuple[list[Series], list[str]]:
    """Put preprocessed series of further datasets in the place of the raw ones they came from.

    A preprocessed series came from the raw ones of its session that have all of its entities
    (but for space, res and desc). The first dataset with such a series is taken, and in it the
    series with most entities.

    Parameters
    ----------
    raw : sequence of Series
        The raw series of a session.
    place : Place
        The session.
    derivatives : sequence of Source
        The further datasets, in the order given.

    Returns
    -------
    series : list of Series
        Preprocessed series, and the raw ones that have no such.
    notes : list of str
        What was not replaced or not used.

    """
    offers = [
        [one for one in find_series(source, place)[0] if one.preprocessed]
        for source in derivatives
    ]
    chosen: dict[Path, tuple[Series, list[str]]] = {}
    kept = []
    for series in raw:
        fitting = next((fit for offer in offers if (fit := _made_from(series, offer))), [])
        if not fitting:
            kept.append(series)
        for one in fitting:
            chosen.setdefault(one.path, (one, []))[1].append(series.path.name)
    notes = []
    if chosen and kept:
        names = listed(series.path.name for series in kept)
        notes.append(f"used raw, because no preprocessed series was made from it: {names}")
    unused = [one.path for offer in offers for one in offer if one.path not in chosen]
    if unused:
        notes.append(f"not used, though preprocessed: {listed(map(str, unused))}")
    replacing = [
        Series(
            one.path, one.entities, one.source, place,
            f"{one.path.name} of {one.source.name} is used in place of {listed(replaced)}",
        )
        for one, replaced in chosen.values()
    ]  # fmt: skip
    return replacing + kept, notes


def _made_from(raw: Series, offer: Sequence[Series]) -> list[Series]:
    """The preprocessed series made from a raw one; several only where spaces differ."""

    def of_scan(series: Series) -> dict[str, str]:
        return {k: v for k, v in series.entities.items() if k not in _OF_PROCESSING}

    fitting = [one for one in offer if of_scan(one).items() <= raw.entities.items()]
    most = max((len(of_scan(one)) for one in fitting), default=0)
    best = [one for one in fitting if len(of_scan(one)) == most]
    return [one for one in best if of_scan(one) == of_scan(best[0])]
