"""From a BIDS folder and filters to the scans to work on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bids_tract.dataset.anatomical import find_t1w
from bids_tract.dataset.filters import Restriction, restrict
from bids_tract.dataset.gradients import choose_convention, find_gradients
from bids_tract.dataset.inheritance import merged_metadata
from bids_tract.dataset.listing import Place, listed
from bids_tract.dataset.merging import merge
from bids_tract.dataset.participants import select_participants, select_places
from bids_tract.dataset.series import Series, find_series, prefer_preprocessed
from bids_tract.dataset.sources import Source, open_dataset, open_derivatives
from bids_tract.dataset.tissue import find_brain_mask, find_tissue
from bids_tract.dataset.types import Dataset, Scan, Skipped
from bids_tract.errors import (
    BidsTractError,
    DataError,
    MissingInputError,
    NothingSelectedError,
)
from bids_tract.files.gradients import read_bvals
from bids_tract.files.images import read_shape
from bids_tract.settings import GradientSettings, InputSettings


@dataclass(frozen=True)
class _Asked:
    """What is looked into, and with which settings."""

    source: Source
    derivatives: Sequence[Source]
    restriction: Restriction | None
    gradients: GradientSettings


def index_dataset(
    root: Path, inputs: InputSettings, gradients: GradientSettings, *, merge_runs: bool = False
) -> Dataset:
    """Find the scans to work on, and what belongs to each.

    Only the folders of the participants and sessions asked for are looked into, and of the images
    only the headers are read.

    Parameters
    ----------
    root : pathlib.Path
        The BIDS dataset, raw or derivative.
    inputs : InputSettings
        Participants, sessions, filters and further datasets.
    gradients : GradientSettings
        How directions are read, and up to which b-value volumes count as b0.
    merge_runs : bool
        Whether raw series of a session that differ by their run only become one scan.

    Returns
    -------
    Dataset
        With at least one scan. An image whose files are missing or faulty is skipped with the
        reason, so that the others can go on.

    Raises
    ------
    NotBidsError
        The folder or one of the further ones is not a BIDS dataset.
    UsageError
        Filters make no sense.
    NothingSelectedError, MissingInputError, DataError
        No scan is left: none was asked for, files are missing, or files are faulty.

    """
    source = open_dataset(root)
    derivatives = open_derivatives(inputs.derivatives)
    participants, notes = select_participants(source.root, inputs.participant_label)
    places, more_notes = select_places(source.root, participants, inputs.session_label)
    notes += more_notes
    asked = _Asked(source, derivatives, restrict(source, inputs, participants), gradients)
    series, skipped, more_notes = _series_to_use(asked, places)
    notes += more_notes
    without = set(participants) - {one.place.sub for one in series}
    without -= {_participant_of(one.path, source.root) for one in skipped}
    if without:
        names = listed(f"sub-{label}" for label in participants if label in without)
        notes.append(f"no diffusion images: {names}")
    scans = []
    for one in series:
        built = _scan_or_reason(one, asked)
        if isinstance(built, Scan):
            scans.append(built)
        else:
            skipped.append(built)
    if not scans:
        raise _nothing_left(source, places, skipped)
    if merge_runs:
        scans = merge(scans, skipped)
    return Dataset(
        root=source.root,
        name=source.name,
        description=source.description,
        is_derivative=source.is_derivative,
        derivatives={one.name: one.root for one in derivatives},
        scans=tuple(scans),
        skipped=tuple(skipped),
        notes=tuple(notes),
        participants=participants,
    )


def _series_to_use(
    asked: _Asked, places: Sequence[Place]
) -> tuple[list[Series], list[Skipped], list[str]]:
    """The series by name, after filters, preprocessed ones in the place of raw ones; and notes."""
    source, restriction = asked.source, asked.restriction
    series: list[Series] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    for place in places:
        found, refused = find_series(source, place)
        skipped += refused
        if restriction is not None:
            reasons = {one.path: restriction.refusal(one.path, source) for one in found}
            skipped += [Skipped(path, reason) for path, reason in reasons.items() if reason]
            found = [one for one in found if not reasons[one.path]]
        if not source.is_derivative:
            found, more_notes = prefer_preprocessed(found, place, asked.derivatives)
            notes += more_notes
        series += found
    return series, skipped, notes


def _participant_of(image: Path, root: Path) -> str:
    return image.relative_to(root).parts[0].removeprefix("sub-")


def _scan_or_reason(series: Series, asked: _Asked) -> Scan | Skipped:
    """Look into the files of a series; what is wrong with one does not stop the others."""
    try:
        return _scan(series, asked)
    except MissingInputError as error:
        return Skipped(series.path, str(error), "missing")
    except DataError as error:
        return Skipped(series.path, str(error), "broken")


def _scan(series: Series, asked: _Asked) -> Scan | Skipped:
    settings = asked.gradients
    shape = read_shape(series.path)
    if len(shape) != 4:
        return Skipped(series.path, f"{len(shape)}-D (shape {shape}); a series is 4-D")
    bval, bvec, b_table = find_gradients(series)
    highest = read_bvals(bval, shape[3]).max()
    if highest <= settings.b0_threshold:
        # Not taken for broken: scanners store b0 volumes as b=5, too.
        units = "; if the table is in ms/µm², multiply it by 1000" if 0 < highest < 20 else ""
        return Skipped(
            series.path,
            f"without diffusion weighting: its highest b-value is {highest:g}, and b0 is up to "
            f"{settings.b0_threshold:g} s/mm² (--b0-threshold){units}",
        )
    # The dataset of the series comes first, whichever it is; raw datasets hold no such maps.
    datasets = (asked.source, *asked.derivatives)
    sources = [one for one in datasets if one.is_derivative or one is not asked.source]
    sources.sort(key=lambda one: one.root != series.source.root)
    tissue, notes = find_tissue(series, sources)
    raw = [one for one in datasets if not one.is_derivative]
    t1w, more_notes = find_t1w(series, sources, raw, asked.restriction)
    convention, reason = choose_convention(settings.bvec_convention, series.source, bvec)
    return Scan(
        dwi=series.path,
        bval=bval,
        bvec=bvec,
        b_table=b_table,
        shape=shape,
        entities=series.entities,
        metadata=merged_metadata(series.path, series.source.root),
        convention=convention,
        convention_reason=reason,
        brain_mask=find_brain_mask(series, sources),
        tissue=tissue,
        t1w=t1w,
        dataset_root=series.source.root,
        dataset_name=series.source.name,
        preprocessed=series.preprocessed,
        notes=tuple(filter(None, [series.note, *notes, *more_notes])),
    )


def _nothing_left(
    source: Source, places: Sequence[Place], skipped: Sequence[Skipped]
) -> BidsTractError:
    """The error that says why there is no scan: the first cause that can be mended."""
    errors = {
        "missing": MissingInputError,
        "broken": DataError,
        "unsuitable": NothingSelectedError,
    }
    for cause, error in errors.items():
        reasons = [_sentence(one) for one in skipped if one.cause == cause]
        if reasons:
            why = listed(reasons, "; ")
            return error(f"no diffusion series of {source.root} can be used: {why}")
    looked = listed(dict.fromkeys(f"sub-{place.sub}" for place in places))
    wanted = "desc-preproc_dwi" if source.is_derivative else "dwi"
    return NothingSelectedError(
        f"{source.root} has no diffusion series for {looked}; they are called "
        f"sub-*/[ses-*/]dwi/*_{wanted}.nii[.gz]"
    )


def _sentence(skipped: Skipped) -> str:
    named = str(skipped.path) in skipped.reason
    return skipped.reason if named else f"{skipped.path}: {skipped.reason}"
