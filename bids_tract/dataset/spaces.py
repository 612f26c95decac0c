"""In which space an image lies, told by its name and folder, and whether a series lies there."""

from __future__ import annotations

from collections.abc import Mapping

from bids_tract.dataset.series import Series
from bids_tract.dataset.sources import Source

# Spaces of the participant, which differ from that of the scanner by a rigid movement at most.
# All other labels name templates, other images or surfaces.
_OF_THE_PARTICIPANT = frozenset({"T1w", "ACPC", "anat", "individual", "orig", "scanner"})


def space_of(entities: Mapping[str, str], *, in_dwi: bool) -> str | None:
    """Name the space of an image.

    Parameters
    ----------
    entities : mapping of str to str
        Those of its name.
    in_dwi : bool
        Whether it lies in a diffusion folder; else it lies among the anatomical images.

    Returns
    -------
    str or None
        The label of ``space-``. Without one, images lie where they were made: anatomical ones in
        ``T1w``, diffusion images in that of the scanner, None.

    """
    return entities.get("space", None if in_dwi else "T1w")


def is_of_participant(space: str | None) -> bool:
    """Whether a space is the participant's own, so that a rigid registration leads out of it."""
    return space is None or space in _OF_THE_PARTICIPANT


def is_elsewhere(
    series: Series, entities: Mapping[str, str], source: Source, *, in_dwi: bool
) -> bool:
    """Whether an image lies in no space of a diffusion series.

    Parameters
    ----------
    series : Series
        The series.
    entities : mapping of str to str
        Those of the image's name.
    source : Source
        The dataset of the image.
    in_dwi : bool
        Whether it lies in a diffusion folder; else it lies among the anatomical images.

    """
    space = space_of(entities, in_dwi=in_dwi)
    if space is not None and space.lower() == "dwi":
        return False
    # Older QSIPrep called its T1w space, after it had turned the head upright, T1w: that is not
    # where the T1w image of another program lies.
    turned = series.source.made_by("qsiprep") and series.source.root != source.root
    if turned and "space" not in entities and not in_dwi:
        return True
    return space != series.entities.get("space")


def describe(entities: Mapping[str, str], *, in_dwi: bool) -> str:
    """Name the space of an image for a sentence: ``space-ACPC``."""
    without = "the scanner's space" if in_dwi else "T1w space"
    return f"space-{entities['space']}" if "space" in entities else without
