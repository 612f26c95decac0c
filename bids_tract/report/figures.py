"""The pictures of a scan: made from the saved maps and tractograms, one failure at a time."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from bids_tract.core.types import Float32
from bids_tract.errors import BidsTractError
from bids_tract.files.atomic import replacing
from bids_tract.names import format_name, parse_name
from bids_tract.report.map_figures import MAP_FIGURES, Drawn, Maps
from bids_tract.report.tract_figures import TRACT_FIGURES, Tracts

LOGGER = logging.getLogger(__name__)

# Thin sticks and letters look as with 85, in 70 % of the bytes: a page holds them all.
_QUALITY = 75


@dataclass(frozen=True)
class Figure:
    """One picture of a report.

    Attributes
    ----------
    name : str
        Letters and digits: ``mask``, ``tissue``, ``colfa``, ``gfa`` (FA where there is no
        GFA), ``peaks``, ``seeds``; for each tractogram ``density``, ``slices`` and ``views``
        followed by its method and model (``viewsProbCsd``). The label of ``desc`` in the name of
        its file.
    title : str
        A few words.
    caption : str
        What is seen and what to look for.
    alt : str
        What those learn who cannot see it.
    image : bytes or None
        A WebP file; None where the picture could not be made.
    error : str
        Why it could not be made; else empty.
    width, height : int
        Pixels.

    """

    name: str
    title: str
    caption: str
    alt: str
    image: bytes | None
    error: str
    width: int
    height: int


def make_figures(scan_files: Mapping[str, Path], tractograms: Sequence[Path]) -> Iterator[Figure]:
    """Draw the pictures of one scan, in the order of the report.

    Parameters
    ----------
    scan_files : mapping of str to pathlib.Path
        Existing files by their kind (`names.KINDS`). A picture whose maps are not among them is
        left out.
    tractograms : sequence of pathlib.Path
        TRX, TRK or TCK files.

    Yields
    ------
    Figure
        What cannot be drawn has an `error` and no `image`; nothing is raised.

    """
    maps = Maps(scan_files)
    for kind in MAP_FIGURES:
        if any(all(key in scan_files for key in keys) for keys in kind.needs):
            yield _attempt(kind.name, kind.title, partial(kind.draw, maps))
    for path in tractograms:
        label, words = _labels(path)
        tracts = Tracts(path, maps)
        for shown in TRACT_FIGURES:
            title = f"{shown.title} ({words})" if words else shown.title
            yield _attempt(shown.name + label, title, partial(shown.draw, tracts))


def figure_path(source: Mapping[str, str], name: str) -> PurePosixPath:
    """Where a picture of a scan lies, relative to the output folder.

    Parameters
    ----------
    source : mapping of str to str
        The entities of the scan; all but ``desc`` stand in the name.
    name : str
        Of the figure.

    Returns
    -------
    PurePosixPath
        ``sub-01/ses-1/figures/sub-01_ses-1_dir-AP_desc-mask_dwi.webp``.

    """
    entities = {key: label for key, label in source.items() if key != "desc"}
    folders = [f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities]
    file = format_name(entities | {"desc": name}, "dwi", ".webp")
    return PurePosixPath(*folders, "figures", file)


def save_figures(
    figures: Iterable[Figure], output_dir: Path, source: Mapping[str, str]
) -> list[Path]:
    """Write the pictures that were made; returns their files.

    Raises
    ------
    OutputError
        A file cannot be written.

    """
    paths = []
    for figure in figures:
        if figure.image is not None:
            path = output_dir / figure_path(source, figure.name)
            with replacing(path) as temporary:
                temporary.write_bytes(figure.image)
            paths.append(path)
    return paths


def _attempt(name: str, title: str, draw: Callable[[], Drawn]) -> Figure:
    try:
        drawn = draw()
        image = _encode(drawn.picture)
    except Exception as error:  # no picture is worth a run
        if isinstance(error, BidsTractError):
            reason = str(error)
        else:
            reason = f"{type(error).__name__}: {error}"
            LOGGER.debug("figure %s", name, exc_info=True)
        sentence = f"The picture could not be made: {reason}"
        return Figure(name, title, "", f"{title}: no picture", None, sentence, 0, 0)
    height, width = drawn.picture.shape[:2]
    return Figure(name, title, drawn.caption, drawn.alt, image, "", width, height)


def _encode(picture: Float32) -> bytes:
    """A picture (H, W, 3) of values between 0 and 1 as WebP."""
    pixels = np.rint(255 * np.clip(picture, 0, 1)).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "WEBP", quality=_QUALITY, method=4)
    return stream.getvalue()


def _labels(path: Path) -> tuple[str, str]:
    """Method and model of a tractogram: ``ProbCsd`` for names, ``prob, csd`` for people."""
    parsed = parse_name(path.name)
    entities = parsed.entities if parsed is not None else {}
    words = [entities[key] for key in ("track", "desc") if key in entities]
    return "".join(word.capitalize() for word in words), ", ".join(words)
