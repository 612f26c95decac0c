"""The part of a participant's page that is about one diffusion series."""

from __future__ import annotations

import io
import logging
import math
import re
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from bids_tract.names import run_label
from bids_tract.report.document import WORDS, Section, picture, problem, verdict
from bids_tract.report.figures import Figure, figure_path, make_figures, save_figures
from bids_tract.report.matrices import matrix_files
from bids_tract.report.matrix_sections import HOW_TO_READ, matrix_picture_path, show_matrix
from bids_tract.report.measures import Measures, scan_files, tractograms
from bids_tract.report.svg import histogram, trace
from bids_tract.report.tract_checks import tractogram_name
from bids_tract.report.verdicts import Check, tally
from bids_tract.report.viewer import make_view, packed_niivue

LOGGER = logging.getLogger(__name__)

_QUALITY = 80  # of WebP, where pictures are made smaller: a little less than that of whole ones
# A matrix may take this share of what pictures have left: a thousand regions take 700 kB.
_MATRIX_SHARE = 0.25
_TRIALS = 4  # to bring a picture to a size in bytes: two are enough for slices of brains


@dataclass
class Scan:
    """One diffusion series on a page.

    Attributes
    ----------
    entities : mapping of str to str
        As in `names.output_path`.
    failure : str
        Why it was not finished; empty where it was.
    measures : dict
        As `measure_scan` gives them.
    checks : list of Check
        What they mean.
    figures : list of Figure
        Its pictures; `broken` is what to show where they could not be made.
    matrices : str
        Its connectivity matrices, HTML; empty where it has none.

    """

    entities: Mapping[str, str]
    failure: str = ""
    measures: Measures = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    broken: str = ""
    matrices: str = ""

    @property
    def label(self) -> str:
        """Its short name."""
        return run_label(self.entities)

    @property
    def has_outputs(self) -> bool:
        """Whether there is anything to show."""
        return bool(self.measures.get("Inputs"))


@dataclass
class Parts:
    """What a page gathers while it is made.

    Attributes
    ----------
    output_dir : pathlib.Path
        Where the outputs are.
    room : int
        Bytes that all pictures may take in the page.
    views_room : int
        Bytes for each interactive view.
    picture_bytes, room_left : int
        Bytes of the pictures as they were made; what is left of `room`.
    data : dict of str to str
        Base64 for scripts, by name.
    errors : list of str
        What could not be shown.

    """

    output_dir: Path
    room: int
    views_room: int
    picture_bytes: int = 0
    room_left: int = field(init=False)
    data: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.room_left = self.room

    def guarded(self, scan: Scan, what: str, make: Callable[[], str]) -> str:
        """A part of the page; where it cannot be made, why. One part must not break the others."""
        try:
            return make()
        except Exception as error:
            LOGGER.debug("%s: report: %s", scan.label, what, exc_info=True)
            return self.failed(scan, f"{what} could not be made: {error or type(error).__name__}")

    def failed(self, scan: Scan, said: str) -> str:
        """Note an error and show it."""
        self.errors.append(f"{scan.label}: {said}")
        return problem(said[:1].upper() + said[1:])


def scan_section(scan: Scan, parts: Parts, title: str) -> Section:
    """All about one series below a title, in the fixed order of reports."""
    html = f'<ul class="tally">{_tally(scan.checks)}</ul>' if scan.checks else ""
    if scan.failure:
        html += problem(f"This scan was not finished: {scan.failure}")
    if not scan.has_outputs:
        said = "" if scan.failure else parts.failed(scan, "there are no outputs of this scan")
        return Section(scan.label, title, html + said)
    sections = [
        Section("checks", "Checks", _check_table(scan.checks) + parts.guarded(
            scan, "the table of the gradient check", lambda: _axes_table(scan.measures)
        )),
        *_figures(scan, parts),
        Section("connectivity", "Connectivity", scan.matrices),
        Section("3d", "Interactive view", parts.guarded(
            scan, "the interactive view", lambda: _view(scan, parts)
        )),
        Section("histograms", "Histograms", parts.guarded(
            scan, "the histograms", lambda: _charts(scan.measures)
        )),
    ]  # fmt: skip
    placed = [
        Section(f"{scan.label}-{one.anchor}", one.title, one.html) for one in sections if one.html
    ]
    return Section(scan.label, title, html, placed)


def _tally(checks: Sequence[Check]) -> str:
    return "".join(
        f"<li>{verdict(kind, f'{count} {WORDS[kind]}')}</li>" for kind, count in tally(checks)
    )


def _check_table(checks: Sequence[Check]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(one.name)}</th><td class="state">{verdict(one.verdict)}</td>'
        f'<td class="number">{_together(one.number)}</td>'
        f'<td class="sentence">{_together(one.sentence)}</td></tr>\n'
        for one in checks
    )
    return (
        '<table class="checks"><thead><tr><th scope="col">Check</th><th scope="col">Verdict</th>'
        '<th scope="col">Measured</th><th scope="col">Meaning</th></tr></thead>'
        f"<tbody>\n{rows}</tbody></table>"
    )


def _axes_table(measures: Measures) -> str:
    """What each flip and swap of the axes scores, best first; nothing where nobody looked."""
    check = measures.get("GradientCheck") or {}
    scores = check.get("Scores", [])
    if not scores:
        return ""
    rows = "".join(
        f'<tr><td>{rank}</td><th scope="row">{escape(one["Axes"])}</th>'
        f'<td class="number">{one["Score"]:.3f}</td></tr>\n'
        for rank, one in enumerate(scores, start=1)
    )
    return (
        f"<details><summary>The gradient table under all {len(scores)} flips and swaps of its axes"
        "</summary><p>How many voxels fibres run on through, on average. "
        "i,j,k is the table as it was read.</p>"
        '<table class="axes"><thead><tr><th scope="col">Rank</th><th scope="col">Axes</th>'
        f'<th scope="col">Score</th></tr></thead><tbody>\n{rows}</tbody></table></details>'
    )


def _together(text: str) -> str:
    """Escaped text whose numbers do not part from their units at the end of a line."""
    return escape(re.sub(r"(?<=\d) (?=[%a-zA-Z°·])", "\N{NO-BREAK SPACE}", text))


# --- Pictures ----------------------------------------------------------------------------------


def draw(scan: Scan, parts: Parts) -> None:
    """Make the pictures of a scan, and write them beside its maps."""
    if not scan.has_outputs:
        return
    maps = scan_files(parts.output_dir, scan.entities)
    tracts = [*tractograms(parts.output_dir, scan.entities).values()]

    def make() -> str:
        for figure in make_figures(maps, tracts):
            scan.figures.append(figure)
            parts.picture_bytes += len(figure.image or b"")
        return ""

    def save() -> str:
        save_figures(scan.figures, parts.output_dir, scan.entities)
        return ""

    scan.matrices = _matrices(scan, parts)
    scan.broken = parts.guarded(scan, "the pictures", make)
    scan.broken += parts.guarded(scan, "the files of the pictures", save)


def _figures(scan: Scan, parts: Parts) -> list[Section]:
    sections = []
    for figure in scan.figures:
        what = f"the picture '{figure.title}'"
        html = parts.guarded(scan, what, lambda f=figure: _figure(f, scan, parts))  # type: ignore[misc]
        sections.append(Section(figure.name, figure.title, html))
    return [*sections, Section("pictures", "Pictures", scan.broken)]


def _figure(figure: Figure, scan: Scan, parts: Parts) -> str:
    if figure.image is None:
        return parts.failed(scan, f"{figure.title}: {figure.error or 'no image'}")
    file = figure_path(scan.entities, figure.name).as_posix()
    link = f'<a href="{escape(quote(file))}">The whole picture</a> is a file beside the maps.'
    image, width, height = figure.image, figure.width, figure.height
    caption = escape(figure.caption)
    share = parts.room / max(4 * parts.picture_bytes / 3, 1.0)
    if share < 1:
        image, width, height = smaller(image, share)
        caption += f" {link}"
    if 4 * len(image) / 3 > parts.room_left:
        return f'<p class="hint">{caption}</p><p>Left out, to keep this page below 5 MB.</p>'
    parts.room_left -= 4 * len(image) // 3
    shown = picture(image, figure.alt, width, height)
    return f"<figure><figcaption>{caption}</figcaption>{shown}</figure>"


def smaller(image: bytes, share: float) -> tuple[bytes, int, int]:
    """A picture that takes about `share` of the bytes, with its width and height."""
    wanted, factor, packed = share * len(image), 1.0, image
    with Image.open(io.BytesIO(image)) as opened:
        whole = opened.convert("RGB")
    size = whole.size
    for _ in range(_TRIALS):
        if len(packed) <= wanted:
            break
        # Bytes go with the area, or somewhat slower where there is much fine detail.
        factor *= 0.95 * math.sqrt(wanted / len(packed))
        size = (max(1, round(factor * whole.width)), max(1, round(factor * whole.height)))
        stream = io.BytesIO()
        whole.resize(size, Image.Resampling.LANCZOS).save(
            stream, "WEBP", quality=_QUALITY, method=4
        )
        packed = stream.getvalue()
    return packed, *size


# --- Matrices ----------------------------------------------------------------------------------


def _matrices(scan: Scan, parts: Parts) -> str:
    """The connectivity matrices of a scan, before its pictures: these can be made smaller."""
    found = matrix_files(parts.output_dir, scan.entities)
    shown = [
        parts.guarded(scan, f"the matrix {path.name}", partial(_matrix, scan, parts, key, path))
        for key, path in found.items()
    ]
    return "".join([HOW_TO_READ, *shown]) if shown else ""


def _matrix(scan: Scan, parts: Parts, key: str, path: Path) -> str:
    name = f"matrix-{scan.label}-{key}"
    shown = show_matrix(parts.output_dir, scan.entities, key, path, name)
    size = len(shown.drawing) + len(shown.data)
    if size > _MATRIX_SHARE * parts.room:
        file = quote(matrix_picture_path(scan.entities, key).as_posix())
        link = f'<p><a href="{escape(file)}">The drawing</a> would make this page too large.</p>'
        return f"{shown.said}{link}{shown.table}"
    parts.room -= size
    parts.room_left -= size
    parts.data[name] = shown.data
    return f"{shown.said}{shown.drawing}{shown.table}"


# --- The interactive view ----------------------------------------------------------------------


def _view(scan: Scan, parts: Parts) -> str:
    found = tractograms(parts.output_dir, scan.entities)
    counts = scan.measures.get("Tractograms", {})
    filled = [key for key in found if counts.get(key, {}).get("Streamlines")]
    if not filled:
        return ""
    key = filled[0]
    view = make_view(scan_files(parts.output_dir, scan.entities), found[key], parts.views_room)
    volume, lines = f"volume-{scan.label}", f"lines-{scan.label}"
    if "niivue" not in parts.data:
        parts.data["niivue"] = packed_niivue()
    parts.data[volume] = b64encode(view.volume).decode("ascii")
    parts.data[lines] = b64encode(view.streamlines).decode("ascii")
    shown = f"{view.shown:,} of {view.total:,} streamlines, simplified"
    buttons = "".join(
        f'<button type="button" class="action" value="{value}">{name}</button>'
        for value, name in (
            ("lines", "streamlines"),
            ("both", "in the head"),
            ("slices", "slices"),
        )
    )
    return (
        f'<p class="hint">{shown}, on the {escape(view.image)} '
        f"({escape(tractogram_name(key))}). Red runs left-right, green front-back, blue up-down. "
        "Nothing is fetched: all of it is in this page.</p>"
        f'<div class="viewer" data-volume="{escape(volume)}" data-lines="{escape(lines)}">'
        '<div class="controls"><button type="button" class="action first">Show in 3D</button>'
        f'</div><div class="controls choices" hidden>{buttons}</div>'
        f'<div class="stage" hidden><canvas aria-label="Interactive view: {shown}"></canvas></div>'
        '<p class="hint" role="status"></p>'
        "<noscript><p>The interactive view needs JavaScript.</p></noscript></div>"
    )


# --- Charts ------------------------------------------------------------------------------------


def _charts(measures: Measures) -> str:
    charts = []
    for key, tract in measures.get("Tractograms", {}).items():
        if length := tract.get("Length"):
            drawn = histogram(
                length["Histogram"], label="length of streamlines", unit="mm",
                marks=[(length["Median"], "median")],
            )  # fmt: skip
            charts.append((f"Length: {tractogram_name(key)}", drawn))
    if tensor := measures.get("Tensor"):
        drawn = histogram(
            tensor["FAHistogram"], label="FA within the brain mask", unit="",
            marks=[(tensor["MedianFA"], "median")],
        )  # fmt: skip
        charts.append(("Fractional anisotropy", drawn))
    motion = measures.get("Motion", {})
    across = motion.get("Restricted")
    if moved := across or motion.get("Framewise"):
        label = "restricted displacement" if across else "framewise displacement"
        drawn = trace(moved, label=label, unit="mm", axis="volume")
        charts.append(("Head motion", drawn))
    if not charts:
        return ""
    shown = "".join(f"<div><h4>{escape(name)}</h4>{drawn}</div>" for name, drawn in charts)
    return f'<div class="charts">{shown}</div>'
