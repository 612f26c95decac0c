"""The page of a study: what stands out, who is missing, every scan as a dot and as a row."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from bids_tract import __version__
from bids_tract.report.document import Section, items, page, problem, verdict
from bids_tract.report.group_columns import Column
from bids_tract.report.group_matrices import GroupMatrix
from bids_tract.report.group_outliers import LEAST_SCANS, Z_BOUND
from bids_tract.report.group_plots import strip
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_rows import (
    PageColumn,
    drawn_columns,
    flagged_rows,
    page_columns,
    page_data,
    rows_section,
)
from bids_tract.report.group_scans import UNFINISHED
from bids_tract.report.group_table import Table, Texts
from bids_tract.report.matrix_sections import group_matrices_section
from bids_tract.report.verdicts import plural


@dataclass(frozen=True)
class Finding:
    """A scan that stands out.

    Attributes
    ----------
    row : int
        Of the table.
    bad : list of str
        What is bad by itself, in sentences.
    differs : list of str
        In what it differs from the others, in sentences.

    """

    row: int
    bad: list[str]
    differs: list[str]


_MATRICES_ROOM = 1_200_000  # bytes of the page
# Dots of all plots together (170 bytes each, and what a browser draws at once), and findings in
# words; the page stays below 5 MB with 10,000 scans.
_MOST_DOTS, _MOST_FINDINGS, _MOST_OF_SCAN = 8000, 200, 6
_LONG_LIST = 12  # names that are seen at once
_SORTS = ("bad", "doubt", "unknown", "good")


def group_page(
    study: str,
    table: Table,
    covariates: Covariates,
    findings: Sequence[Finding],
    failed: Sequence[tuple[str, str]],
    missing: Mapping[str, Sequence[str]],
    matrices: Sequence[GroupMatrix],
    sentences: Sequence[str],
    errors: Sequence[str],
) -> Iterator[str]:
    """Make the page, piece by piece.

    Parameters
    ----------
    study : str
        Its name.
    table : Table
        Compared already.
    covariates : Covariates
        Of the participants.
    findings : sequence of Finding
        What stands out; the gravest first.
    failed : sequence of (str, str)
        Scans, and why.
    missing : mapping of str to sequence of str
        Who is missing, by the reason.
    matrices : sequence of GroupMatrix
        Of the scans; may be empty.
    sentences, errors : sequence of str
        What is to be known of the page, and what could not be read.

    """
    columns = page_columns(table, covariates)
    sections = [
        Section("findings", "What stands out", _findings(table, findings)),
        Section("absent", "Failed and missing", _absent(failed, missing)),
    ]
    if table.verdicts:
        sections.append(Section("checks", "Checks of all scans", _checks(table)))
    plots = _plots(table)
    if plots:
        sections.append(Section("plots", "Measures", _plots_head(columns), plots))
    data: dict[str, Iterable[str]] = {"study": page_data(columns, table.pages)}
    scripts, styles = ["group.js"], ["group.css"]
    if matrices:
        scripts, styles = ["group.js", "matrix.js"], ["group.css", "matrix.css"]
        section, views = group_matrices_section(matrices, _MATRICES_ROOM)
        sections.append(section)
        data |= views
    if len(table):
        sections.append(Section("scans", "Scans", rows_section(columns, len(table))))
    about = items([*sentences, *_about()])
    sections.append(Section("about", "About this page", about))
    lead = _lead(table, findings, failed, missing) + _problems(errors)
    yield from page(study, lead, sections, data, scripts, styles)


def _problems(errors: Sequence[str]) -> str:
    """What could not be read, so that it is seen."""
    more = f" And {len(errors) - _LONG_LIST:,} more." if len(errors) > _LONG_LIST else ""
    return problem(" ".join(errors[:_LONG_LIST]) + more) if errors else ""


def _lead(
    table: Table,
    findings: Sequence[Finding],
    failed: Sequence[tuple[str, str]],
    missing: Mapping[str, Sequence[str]],
) -> str:
    n_missing = sum(map(len, missing.values()))
    n_subs = len({*table.subs()})
    said = Counter(table.status)
    n_complete, n_unknown = said["complete"], said["unknown"]
    # Those that have results of an earlier run are not missing.
    n_running = said["running"] - len(missing.get(UNFINISHED, ()))
    made = time.strftime("%Y-%m-%d %H:%M")
    chips = [verdict("good", f"{n_complete:,} complete")]
    chips += [verdict("bad", f"{len(failed):,} failed")] if failed else []
    chips += [verdict("unknown", f"{n_missing:,} missing")] if n_missing else []
    chips += [verdict("unknown", f"{n_running:,} {UNFINISHED}")] if n_running else []
    chips += [verdict("unknown", f"{n_unknown:,} without a run's word")] if n_unknown else []
    chips += [verdict("doubt", f"{plural(len(findings), 'scan')} to look at")] if findings else []
    return (
        f'<p class="lead">{plural(len(table), "scan")} of {plural(n_subs, "participant")}. '
        f"bids_tract {escape(__version__)}, {made}.</p>"
        f'<ul class="tally">{"".join(f"<li>{chip}</li>" for chip in chips)}</ul>'
    )


def _findings(table: Table, findings: Sequence[Finding]) -> str:
    if not findings and len(table) < LEAST_SCANS:
        return (
            "<p>Nothing: no scan is bad by itself. Fewer than "
            f"{LEAST_SCANS} scans are not compared with each other.</p>"
        )
    if not findings:
        return "<p>Nothing: no scan is bad by itself or differs much from the others.</p>"
    entries = []
    for one in findings[:_MOST_FINDINGS]:
        sentences = [*one.bad, *one.differs]
        shown = items(sentences[:_MOST_OF_SCAN])
        if len(sentences) > _MOST_OF_SCAN:
            n_more = len(sentences) - _MOST_OF_SCAN
            shown += f'<p class="hint">and {n_more} more, see the table</p>'
        sign = verdict("bad") if one.bad else verdict("doubt", "differs")
        kind = "finding grave" if one.bad else "finding"
        name = _link(table.labels[one.row], table.pages[one.row])
        entries.append(f'<li class="{kind}"><h4>{name} {sign}</h4>{shown}</li>')
    left = len(findings) - len(entries)
    more = (
        f'<p class="hint">{plural(left, "more scan")}: columns bad_checks and outlying of '
        "group_tractography.tsv.</p>"
        if left
        else ""
    )
    return f'<ol class="findings">{"".join(entries)}</ol>{more}'


def _link(label: str, address: str) -> str:
    text = escape(label)
    return f'<a href="{escape(address)}">{text}</a>' if address else text


def _absent(failed: Sequence[tuple[str, str]], missing: Mapping[str, Sequence[str]]) -> str:
    if not failed and not missing:
        return "<p>Nobody: all are there.</p>"
    html = ""
    if failed:
        listed = [f"{label}: {reason or 'no reason was recorded'}" for label, reason in failed]
        html += f"<h4>{plural(len(failed), 'scan')} failed</h4>{_long_list(listed)}"
    for reason, labels in missing.items():
        html += f"<h4>{len(labels):,} missing, {escape(reason)}</h4>"
        html += _long_list([*labels]) if len(labels) > _LONG_LIST else _words(labels)
    return html


def _words(labels: Sequence[str]) -> str:
    return f'<p class="names">{escape(", ".join(labels))}</p>'


def _long_list(texts: Sequence[str]) -> str:
    """A list of which the rest opens on a click."""
    first, rest = texts[:_LONG_LIST], texts[_LONG_LIST:]
    if not rest:
        return items(first)
    summary = f"<summary>{len(rest):,} more</summary>"
    return f"{items(first)}<details>{summary}{items(rest)}</details>"


def _checks(table: Table) -> str:
    """How often each check gave each verdict."""
    head = "".join(f'<th scope="col">{verdict(kind)}</th>' for kind in _SORTS)
    rows = []
    for name, counts in table.verdicts.items():
        total = sum(counts.values())
        cells = "".join(f"<td>{counts[kind] or '-'}</td>" for kind in _SORTS)
        bar = "".join(
            f'<i class="{kind}" style="width:{100 * counts[kind] / total:.2f}%"></i>'
            for kind in _SORTS if counts[kind]
        )  # fmt: skip
        rows.append(
            f'<tr><th scope="row">{escape(name)}</th>{cells}'
            f'<td class="bar-cell" aria-hidden="true"><span class="shares">{bar}</span></td></tr>'
        )
    return (
        '<div class="wide" tabindex="0" role="region" aria-label="Verdicts by check">'
        f'<table class="tallies"><thead><tr><th scope="col">Check</th>{head}'
        f"<td></td></tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _plots_head(columns: Sequence[PageColumn]) -> str:
    options = "".join(
        f'<option value="{number}">{escape(column.title)}</option>'
        for number, column in enumerate(columns)
        if column.colours and isinstance(column.values, Texts) and len(column.values.levels) > 1
    )
    choice = (
        '<p class="choose"><label>Colour by <select id="colour"><option value="">nothing</option>'
        f'{options}</select></label> <span id="legend" role="status"></span></p>'
        if options
        else ""
    )
    return (
        '<p class="hint">Every dot is a scan, at the same height in all plots; a click opens its '
        "report. The line is the median, the band holds the middle half. Diamonds are "
        f"flagged: beyond the dashed lines, or at the edge. Arrow keys go from dot to dot.</p>"
        f"{choice}"
        '<div id="tip" role="tooltip" hidden></div>'
    )


def _plots(table: Table) -> list[Section]:
    drawn = drawn_columns(table)
    by_section: dict[str, list[Column]] = {}
    for column in drawn:
        by_section.setdefault(column.section, []).append(column)
    most = max(_MOST_DOTS // max(len(drawn), 1), 60)
    flagged = flagged_rows(table)
    found = []
    for number, (title, columns) in enumerate(by_section.items()):
        rows, same = "", []
        for column in columns:
            values = table.numbers(column)
            if np.nanmin(values) == np.nanmax(values):
                count = plural(int(np.isfinite(values).sum()), "scan")
                same.append(f"{column.title}: {column.shown(np.nanmin(values))} ({count}).")
                continue
            found_here = flagged.get(column.name, ())
            rows += strip(values, found_here, column, table.labels, table.pages, most)
        told = f'<p class="hint">The same everywhere. {escape(" ".join(same))}</p>' if same else ""
        html = f'<div class="strips">{rows}</div>{told}'
        found.append(Section(f"plots-{number}", title, html))
    return found


def _about() -> list[str]:
    return [
        "group_tractography.tsv holds all numbers, one row a scan; group_tractography.json says "
        "what its columns mean.",
        f"Outliers have a modified z-score (median, median absolute deviation) beyond {Z_BOUND} "
        "(Iglewicz & Hoaglin 1993); volumes, counts, lengths and motion by their logarithm. "
        f"Columns with fewer than {LEAST_SCANS} values have none, and within 5 % of the median "
        "nothing is one.",
        "A scan that differs from the others need not be bad, and where most are bad none "
        "differs: look at the checks of all scans, too.",
    ]
