"""The page of a study: what stands out, who is missing, every scan as a dot and as a row."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from bids_tract import __version__
from bids_tract.report.document import Section, asset, items, page, problem, verdict
from bids_tract.report.group_columns import EFFORT, Column
from bids_tract.report.group_outliers import LEAST_SCANS, Z_BOUND, as_numbers
from bids_tract.report.group_plots import strip
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_table import Table
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


# Dots of all plots together (170 bytes each, and what a browser draws at once), and findings in
# words; the page stays below 5 MB with 10,000 scans.
_MOST_DOTS, _MOST_FINDINGS, _MOST_OF_SCAN = 8000, 200, 6
_ROWS = 25  # of the table at a time; group.js has the same number
_LONG_LIST = 12  # names that are seen at once
# Covariates of a questionnaire may be hundreds: these come into the page, all into the table.
_MOST_COVARIATES = 12
_SORTS = ("bad", "doubt", "unknown", "good")


def group_page(
    study: str,
    table: Table,
    covariates: Covariates,
    findings: Sequence[Finding],
    failed: Sequence[tuple[str, str]],
    missing: Mapping[str, Sequence[str]],
    sentences: Sequence[str],
    errors: Sequence[str],
) -> str:
    """Make the page.

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
    sentences, errors : sequence of str
        What is to be known of the page, and what could not be read.

    """
    columns = _table_columns(table, covariates)
    sections = [
        Section("findings", "What stands out", _findings(table, findings)),
        Section("absent", "Failed and missing", _absent(failed, missing)),
    ]
    if table.verdicts:
        sections.append(Section("checks", "Checks of all scans", _checks(table)))
    plots = _plots(table)
    if plots:
        sections.append(Section("plots", "Measures", _plots_head(columns), plots))
    if len(table):
        sections.append(Section("scans", "Scans", _rows(columns)))
    about = items([*sentences, *_about()])
    sections.append(Section("about", "About this page", about))
    lead = _lead(table, findings, failed, missing) + _problems(errors)
    # Within a script element only "<" could end it.
    data = json.dumps({"columns": columns, "pages": _coded(table.pages)}, separators=(",", ":"))
    text = page(study, lead, sections, {"study": data.replace("<", "\\u003c")}, asset("group.js"))
    return text.replace("</style>", f"{asset('group.css')}</style>", 1)


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
    n_subs = len({entities["sub"] for entities in table.entities})
    n_complete = table.status.count("complete")
    n_unknown = table.status.count("unknown")
    made = time.strftime("%Y-%m-%d %H:%M")
    chips = [verdict("good", f"{n_complete:,} complete")]
    chips += [verdict("bad", f"{len(failed):,} failed")] if failed else []
    chips += [verdict("unknown", f"{n_missing:,} missing")] if n_missing else []
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
        f'<p class="hint">{left:,} more scans: columns bad_checks and outlying of '
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


def _plots_head(columns: Sequence[Mapping[str, Any]]) -> str:
    options = "".join(
        f'<option value="{number}">{escape(column["title"])}</option>'
        for number, column in enumerate(columns)
        if column.get("colours") and len(column["levels"]) > 1
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
    drawn = _drawn(table)
    by_section: dict[str, list[Column]] = {}
    for column in drawn:
        by_section.setdefault(column.section, []).append(column)
    most = max(_MOST_DOTS // max(len(drawn), 1), 60)
    flagged = _flagged(table)
    found = []
    for number, (title, columns) in enumerate(by_section.items()):
        rows, same = "", []
        for column in columns:
            values = as_numbers(table.values(column))
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


def _drawn(table: Table) -> list[Column]:
    """What is shown, what is read first before: tractograms, then what they are made from."""
    drawn = [column for column in table.columns() if column.section]
    return sorted(drawn, key=lambda column: (not column.of, column.section == EFFORT))


def _flagged(table: Table) -> dict[str, list[int]]:
    """The rows that differ from the others, by column."""
    found: dict[str, list[int]] = {}
    for outliers in table.outliers:
        for one in outliers:
            found.setdefault(one.column.name, []).append(one.row)
    return found


def _table_columns(table: Table, covariates: Covariates) -> list[dict[str, Any]]:
    """What the table of the page shows: numbers rounded, words as codes."""
    flagged = _flagged(table)
    columns: list[dict[str, Any]] = [
        {"title": "Scan", **_coded(table.labels)},
        {"title": "Status", "colours": True, **_coded(table.status)},
        _numbers("Bad", [len(one.split(", ")) if one else 0 for one in table.bad]),
        _numbers("Outlying", [len(found) for found in table.outliers]),
    ]
    for key in ("ses", *table.entity_keys()):
        labels = [entities.get(key, "n/a") for entities in table.entities]
        if len(set(labels)) > 1:
            columns.append({"title": key, "colours": True, **_coded(labels)})
    subs = [f"sub-{entities['sub']}" for entities in table.entities]
    for name in covariates.names[:_MOST_COVARIATES]:
        labels = [covariates.of.get(sub, {}).get(name, "n/a") for sub in subs]
        columns.append({"title": name, "colours": True, **_coded(labels)})
    for column in _drawn(table):
        factor = 100 if column.share else 1
        values = [_rounded(factor * value) for value in as_numbers(table.values(column)).tolist()]
        made = _numbers(column.full_title, values)
        columns.append(
            made | {"unit": column.shown_units, "flagged": flagged.get(column.name, [])}
        )
    return columns


def _rounded(value: float) -> float | int | None:
    """Four digits that count; whole numbers stay whole."""
    if not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.4g}")


def _numbers(title: str, values: Sequence[float | int | None]) -> dict[str, Any]:
    return {"title": title, "numbers": [*values]}


def _coded(texts: Sequence[str]) -> dict[str, Any]:
    levels = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return {"levels": [*levels], "codes": [levels[text] for text in texts]}


def _rows(columns: Sequence[Mapping[str, Any]]) -> str:
    """The table: its head, and the first rows for browsers without scripts."""
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button" data-c="{number}">'
        f"{escape(column['title'])}{_unit(column)}</button></th>"
        for number, column in enumerate(columns)
    )
    n_rows = len(columns[0]["codes"])
    body = "".join(f"<tr>{_cells(columns, row)}</tr>" for row in range(min(n_rows, _ROWS)))
    return (
        '<p class="choose"><label>Find <input id="filter" type="search" autocomplete="off" '
        'placeholder="sub-07, patient ..."></label> '
        '<label><input id="only" type="checkbox"> only bad or outlying</label> '
        '<span id="count" role="status"></span></p>'
        f"<noscript><p>Without JavaScript, the first {min(n_rows, _ROWS)} of {n_rows:,} scans "
        "stand here and cannot be sorted; all are in group_tractography.tsv.</p></noscript>"
        '<div class="wide" tabindex="0" role="region" aria-label="Scans">'
        f'<table id="rows"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        '<p class="pager" hidden><button type="button" class="action" id="back">Back</button> '
        '<button type="button" class="action" id="next">Next</button></p>'
    )


def _unit(column: Mapping[str, Any]) -> str:
    return f' <span class="unit">{escape(column["unit"])}</span>' if column.get("unit") else ""


def _cells(columns: Sequence[Mapping[str, Any]], row: int) -> str:
    cells = []
    for column in columns:
        if "codes" in column:
            cells.append(f"<td>{escape(column['levels'][column['codes'][row]])}</td>")
        else:
            value = column["numbers"][row]
            mark = ' class="out"' if row in column.get("flagged", ()) else ""
            cells.append(f"<td{mark}>{'n/a' if value is None else f'{value:,}'}</td>")
    return "".join(cells)


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
