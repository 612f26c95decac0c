from __future__ import annotations

import json

import pytest

from bids_tract.report.group_records import Covariates
from bids_tract.report.group_rows import page_columns, page_data, rows_section
from bids_tract.report.group_scans import ScanResult
from bids_tract.report.group_table import Table
from tests.report.studies import PROB


@pytest.fixture
def table():
    """Six scans, of which the last has far fewer streamlines and two bad checks."""
    table = Table()
    for number in range(6):
        last = number == 5
        table.add(
            ScanResult(
                f"sub-{number}", {"sub": str(number)}, "complete", page=f"sub-{number}.html",
                values={
                    "prob_csd_kept": 0.05 if last else 0.6 + number / 100,
                    "brain_volume": 1234.5678 if number else 1300,
                },
                tractograms=(PROB,),
                verdicts={key: (key, "bad") for key in ("mask", "orientation") if last},
            )
        )  # fmt: skip
    table.compare()
    return table


def columns_of(table, covariates):
    said = json.loads("".join(page_data(page_columns(table, covariates), table.pages)))
    return said, {column["title"]: column for column in said["columns"]}


def test_the_page_s_script_gets_the_numbers_of_the_table(table):
    said, columns = columns_of(table, Covariates())
    kept = columns["Seeds kept (probabilistic, CSD)"]
    assert kept["numbers"] == [60, 61, 62, 63, 64, 5]  # percent
    assert (kept["unit"], kept["flagged"]) == ("%", [5])
    assert columns["Brain mask"]["numbers"] == [1300, *[1235] * 5]
    assert columns["Brain mask"]["unit"] == "ml"
    assert columns["Bad"]["numbers"] == [0, 0, 0, 0, 0, 2]
    assert columns["Outlying"]["numbers"] == [0, 0, 0, 0, 0, 1]
    pages = [*said["pages"]["levels"]]
    assert [pages[code] for code in said["pages"]["codes"]] == table.pages


def test_what_is_read_first_comes_first(table):
    _, columns = columns_of(table, Covariates(["age"], {"sub-1": ("<3",)}))
    assert [*columns] == [
        "Scan", "Status", "Bad", "Outlying", "age", "Seeds kept (probabilistic, CSD)",
        "Brain mask",
    ]  # fmt: skip
    assert columns["age"]["levels"] == ["n/a", "<3"]
    assert columns["age"]["codes"] == [0, 1, 0, 0, 0, 0]


def test_words_cannot_end_the_script(table):
    covariates = Covariates(["age"], {"sub-1": ("</script>",)})
    text = "".join(page_data(page_columns(table, covariates), table.pages))
    assert "<" not in text
    assert "</script>" in json.loads(text)["columns"][4]["levels"]


def test_the_first_rows_stand_there_without_a_script(table):
    html = rows_section(page_columns(table, Covariates()), len(table))
    rows = html.split("<tbody>")[1].split("<tr>")[1:]
    assert len(rows) == 6
    assert rows[5].startswith("<td>sub-5</td><td>complete</td><td>2</td><td>1</td>")
    assert '<td class="out">5</td>' in rows[5]
    assert "<td>60</td>" in rows[0]
    assert html.count('class="out"') == 1
