"""The table of a study's page: its columns, what its script needs of them, and the first rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import islice
from typing import Any

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.report.group_columns import EFFORT, Column
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_table import Table, Texts

_ROWS = 25  # of the table at a time; group.js has the same number
# Covariates of a questionnaire may be hundreds: these come into the page, all into the table.
_MOST_COVARIATES = 12


@dataclass(frozen=True, eq=False)
class PageColumn:
    """A column of the page's table.

    Attributes
    ----------
    title : str
        Its head.
    values : Texts, sequence of str, or (N,) float64 array
        By row; NaN where a scan has none.
    colours : bool
        Whether dots can be coloured by it.
    unit : str
        Of numbers.
    factor : float
        What numbers are multiplied with: 100 for percent.
    flagged : sequence of int
        The rows that differ from the others.

    """

    title: str
    values: Texts | Sequence[str] | Float64
    colours: bool = False
    unit: str = ""
    factor: float = 1.0
    flagged: Sequence[int] = ()

    def content(self) -> dict[str, Any]:
        """What the page's script needs: words as codes, numbers rounded."""
        said: dict[str, Any] = {"title": self.title}
        if isinstance(self.values, np.ndarray):
            numbers = [_rounded(self.factor * value) for value in self.values.tolist()]
            return said | {"numbers": numbers, "unit": self.unit, "flagged": [*self.flagged]}
        texts = self.values if isinstance(self.values, Texts) else Texts(self.values)
        return said | {"colours": self.colours} | _coded(texts)

    def first(self, count: int) -> list[str]:
        """The cells of the first rows as HTML."""
        if isinstance(self.values, np.ndarray):
            cells = []
            for row, value in enumerate(self.values[:count].tolist()):
                shown = _rounded(self.factor * value)
                mark = ' class="out"' if row in self.flagged else ""
                cells.append(f"<td{mark}>{'n/a' if shown is None else f'{shown:,}'}</td>")
            return cells
        return [f"<td>{escape(str(one))}</td>" for one in islice(self.values, count)]


def drawn_columns(table: Table) -> list[Column]:
    """What is shown, what is read first before: tractograms, then what they are made from."""
    drawn = [column for column in table.columns() if column.section]
    return sorted(drawn, key=lambda column: (not column.of, column.section == EFFORT))


def flagged_rows(table: Table) -> dict[str, list[int]]:
    """The rows that differ from the others, by column."""
    found: dict[str, list[int]] = {}
    for outliers in table.outliers.values():
        for one in outliers:
            found.setdefault(one.column.name, []).append(one.row)
    return found


def page_columns(table: Table, covariates: Covariates) -> list[PageColumn]:
    """What the table of the page shows."""
    flagged = flagged_rows(table)
    bad = (0 if one is None else one.count(", ") + 1 for one in table.bad)
    outlying = (len(table.outliers.get(row, ())) for row in range(len(table)))
    columns = [
        PageColumn("Scan", table.labels),
        PageColumn("Status", table.status, colours=True),
        PageColumn("Bad", np.fromiter(bad, np.float64)),
        PageColumn("Outlying", np.fromiter(outlying, np.float64)),
    ]
    for key in ("ses", *table.entity_keys()):
        texts = Texts(label or "n/a" for label in table.entity(key))
        if len(texts.levels) > 1:
            columns.append(PageColumn(key, texts, colours=True))
    for name in covariates.names[:_MOST_COVARIATES]:
        texts = Texts(covariates.values(name, table.subs()))
        columns.append(PageColumn(name, texts, colours=True))
    columns += [
        PageColumn(
            column.full_title, table.numbers(column), unit=column.shown_units,
            factor=100 if column.share else 1, flagged=flagged.get(column.name, ()),
        )
        for column in drawn_columns(table)
    ]  # fmt: skip
    return columns


def _rounded(value: float) -> float | int | None:
    """Four digits that count; whole numbers stay whole."""
    if not math.isfinite(value):
        return None
    if value == int(value):
        return int(value)
    return float(f"{value:.4g}")


def _coded(texts: Texts) -> dict[str, Any]:
    return {"levels": [*texts.levels], "codes": texts.codes.tolist()}


def rows_section(columns: Sequence[PageColumn], n_rows: int) -> str:
    """The table: its head, and the first rows for browsers without scripts."""
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button" data-c="{number}">'
        f"{escape(column.title)}{_unit(column)}</button></th>"
        for number, column in enumerate(columns)
    )
    cells = zip(*(column.first(_ROWS) for column in columns), strict=True)
    body = "".join(f"<tr>{''.join(row)}</tr>" for row in cells)
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
        '<p class="hint" id="rows-hint">These are the first columns; all are in '
        "group_tractography.tsv.</p>"
    )


def _unit(column: PageColumn) -> str:
    return f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""


def page_data(columns: Sequence[PageColumn], pages: Sequence[str]) -> Iterator[str]:
    """JSON for the page's script, column by column."""
    yield '{"columns":['
    for number, column in enumerate(columns):
        yield ("," if number else "") + _json(column.content())
    yield f'],"pages":{_json(_coded(Texts(pages)))}}}'


def _json(content: Mapping[str, Any]) -> str:
    """Within a script element only "<" could end it."""
    return json.dumps(content, separators=(",", ":")).replace("<", "\\u003c")
