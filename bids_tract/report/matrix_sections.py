"""The part of a page about connectivity matrices: words, a drawing, the strongest pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import numpy as np

from bids_tract.files.atomic import replacing
from bids_tract.names import KINDS, format_name, output_path
from bids_tract.report.document import Section
from bids_tract.report.group_matrices import GroupMatrix
from bids_tract.report.matrices import Network, matrix_labels, matrix_name, read_network
from bids_tract.report.matrix_view import matrix_view, pairs_table
from bids_tract.report.verdicts import plural

HOW_TO_READ = (
    '<p class="hint">Point at a cell for its pair and value; arrow keys go from cell to cell.</p>'
)
_MOST_ALONE = 8  # regions that are named


@dataclass(frozen=True)
class ShownMatrix:
    """A matrix of a scan as its page shows it.

    Attributes
    ----------
    said, drawing, table : str
        HTML: what it is in words, how it looks, and its strongest pairs.
    data : str
        Base64 for the page's script.

    """

    said: str
    drawing: str
    table: str
    data: str


def matrix_picture_path(source: Mapping[str, str], key: str) -> PurePosixPath:
    """Where the picture of a scan's matrix lies, relative to the output folder.

    Parameters
    ----------
    source : mapping of str to str
        The entities of the scan; all but ``desc`` stand in the name.
    key : str
        As `matrices.matrix_files` calls it.

    Returns
    -------
    PurePosixPath
        ``sub-01/figures/sub-01_track-prob_atlas-DK_meas-count_desc-csd_relmat.svg``.

    """
    scan = {name: label for name, label in source.items() if name != "desc"}
    folder = output_path("brain_mask", source).parent.parent / "figures"
    return folder / format_name(scan | matrix_labels(key), KINDS["matrix"].suffix, ".svg")


def show_matrix(
    output_dir: Path, source: Mapping[str, str], key: str, path: Path, name: str
) -> ShownMatrix:
    """Read a matrix of a scan, save its picture beside the others, and show it.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of results.
    source : mapping of str to str
        The entities of the scan.
    key, path
        As `matrices.matrix_files` gives them.
    name : str
        By which the page's script finds the data.

    Raises
    ------
    DataError, MissingInputError
        The file cannot be read.
    OutputError
        The picture cannot be written.

    """
    network = read_network(path)
    title = matrix_name(key)
    alt = f"Connectivity matrix: {title}. {in_words(network)}"
    unit = matrix_labels(key).get("meas", "")
    view = matrix_view(network, name, alt, unit)
    with replacing(output_dir / matrix_picture_path(source, key)) as temporary:
        temporary.write_text(view.file, encoding="utf-8")
    said = f"<h4>{escape(title)}</h4><p>{escape(in_words(network))}</p>"
    table = pairs_table(network, {unit or "Value": network.values})
    return ShownMatrix(said, view.html, table, view.data)


def in_words(network: Network) -> str:
    """How many regions and connections there are, and which regions have none."""
    ends = "from row to column" if network.directed else "without a direction"
    words = f"{plural(len(network.names), 'region')}, {ends}"
    if network.density is not None:
        words += f"; {100 * network.density:.3g} % of the pairs are connected"
    words += ". "
    if network.completed:
        words += "The file has one triangle, which stands for both. "
    if alone := network.alone():
        named = ", ".join(alone[:_MOST_ALONE])
        more = f" and {len(alone) - _MOST_ALONE} more" if len(alone) > _MOST_ALONE else ""
        are = "is" if len(alone) == 1 else "are"
        words += (
            f"{plural(len(alone), 'region')} {are} connected with no other: {named}{more}; does "
            "the atlas lie on the brain? "
        )
    return words.strip()


def group_matrices_section(
    found: Sequence[GroupMatrix], room: int
) -> tuple[Section, dict[str, str]]:
    """The matrices of a study, for its page.

    Parameters
    ----------
    found : sequence of GroupMatrix
        At least one.
    room : int
        Bytes that drawings may take; those that have no room are left out.

    Returns
    -------
    section : Section
    data : dict of str to str
        For the page's script, by name.

    """
    parts = [HOW_TO_READ]
    data: dict[str, str] = {}
    for one in found:
        parts.append(f"<h4>{escape(matrix_name(one.key))}</h4>{_group_words(one)}")
        views = {
            f"matrix-{stat}-{one.key}": matrix_view(
                network, f"matrix-{stat}-{one.key}",
                f"{title} of the connectivity matrices: {matrix_name(one.key)}.", title, half=True,
            )
            for stat, title, network in (
                ("mean", "Mean", one.mean), ("std", "Standard deviation", one.spread)
            )
        }  # fmt: skip
        size = sum(len(view.html) + len(view.data) for view in views.values())
        if size <= room:
            room -= size
            data |= {name: view.data for name, view in views.items()}
            parts.append(
                f'<div class="matrices">{"".join(view.html for view in views.values())}</div>'
            )
        columns = {"Mean": one.mean.values, "Standard deviation": one.spread.values}
        if "scans" in one.files:
            columns["Scans"] = one.counts.astype(np.float64)
        parts.append(pairs_table(one.mean, columns))
    return Section("connectivity", "Connectivity", "".join(parts)), data


def _group_words(one: GroupMatrix) -> str:
    """What went in, and where it is saved."""
    said = f"{plural(len(one.labels), 'scan')}, {in_words(one.mean)}"
    saved = ", ".join(
        f'<a href="{escape(quote(name))}">{stat}</a>' for stat, name in one.files.items()
    )
    html = f"<p>{escape(said)} As files: {saved}.</p>"
    if one.left_out:
        title = f"{plural(len(one.left_out), 'scan')} with other regions, left out"
        listed = escape(", ".join(one.left_out))
        html += f'<details><summary>{title}</summary><p class="names">{listed}</p></details>'
    return html
