from __future__ import annotations

import re

import pytest

from bids_tract.report.group_page import Finding, group_page
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_scans import ScanResult
from bids_tract.report.group_table import Table


@pytest.fixture
def table():
    """250 scans of 125 participants: all of one SNR, the first without a run's word."""
    table = Table()
    for number in range(250):
        label = f"sub-{number // 2:03d}_run-{number % 2}"
        verdicts = {"snr": ("Signal", "good"), "mask": ("Mask", "doubt" if number < 3 else "good")}
        if number == 4:
            verdicts["mask"] = ("Mask", "bad")
        entities = dict(pair.split("-") for pair in label.split("_"))
        table.add(
            ScanResult(
                label, entities, "complete" if number else "unknown", page=f"{label}.html",
                values={"snr": 20.0, "brain_volume": 1400.0 + number}, verdicts=verdicts,
            )
        )  # fmt: skip
    table.compare()
    return table


def made(table, findings=(), *, failed=(), missing=None, sentences=(), errors=()):
    return "".join(
        group_page(
            "A study", table, Covariates(), findings, failed, missing or {}, [], sentences, errors
        )
    )


def test_the_lead_counts_scans_by_what_runs_said(table):
    page = made(
        table, [Finding(4, ["bad"], [])], failed=[("x", "y")], missing={"gone": ["a", "b"]}
    )
    assert "250 scans of 125 participants." in page
    tally = page.split('<ul class="tally">')[1].split("</ul>")[0].replace("&#x27;", "'")
    chips = re.sub("<[^>]+>", "|", tally)
    for words in ("249 complete", "1 failed", "2 missing", "1 without a run's word",
                  "1 scan to look at"):  # fmt: skip
        assert f"{words}|" in chips


def test_verdicts_are_counted_by_check(table):
    text = made(table)
    rows = re.findall(r'<tr><th scope="row">(\w+)</th>(.*?)</tr>', text)
    cells = {name: re.findall(r"<td>([^<]*)</td>", row) for name, row in rows}
    assert cells["Mask"] == ["1", "3", "-", "246"]  # bad, doubt, unknown, good
    assert cells["Signal"] == ["-", "-", "-", "250"]
    shares = re.findall(r'<i class="(\w+)" style="width:([\d.]+)%"', dict(rows)["Mask"])
    assert shares == [("bad", "0.40"), ("doubt", "1.20"), ("good", "98.40")]


def test_of_many_findings_the_first_are_told_and_the_others_counted(table):
    findings = [Finding(row, [], [f"differs {n}" for n in range(9)]) for row in range(230)]
    page = made(table, findings)
    block = page[page.index('<ol class="findings">') : page.index("</ol>")]
    assert block.count('<li class="finding"') == 200
    first = block[: block.index("and 3 more, see the table")]
    assert re.findall(r"differs \d", first) == [f"differs {n}" for n in range(6)]
    assert "30 more scans: columns bad_checks and outlying" in page


def test_what_is_bad_by_itself_is_marked_so(table):
    page = made(table, [Finding(4, ["a bad mask"], []), Finding(7, [], ["differs"])])
    kinds = re.findall(r'<li class="(finding[ \w]*)"><h4><a href="([^"]+)"', page)
    assert kinds == [("finding grave", "sub-002_run-0.html"), ("finding", "sub-003_run-1.html")]


def test_all_who_are_missing_are_named(table):
    labels = [f"sub-9{number:02d}" for number in range(40)]
    for some in (labels, labels[:12]):
        page = made(table, missing={"has no folder": some})
        assert f"{len(some)} missing, has no folder" in page
        assert [label for label in labels if label in page] == some
    assert "28 more</summary>" in made(table, missing={"has no folder": labels})


def test_what_is_the_same_everywhere_has_no_plot(table):
    page = made(table)
    assert "Signal to noise at b = 0: 20 (250 scans)." in page
    assert page.count('<div class="strip">') == 1


def test_errors_are_shown_and_beyond_a_dozen_counted(table):
    page = made(table, errors=[f"error {n}." for n in range(15)])
    assert "error 11." in page and "error 12." not in page
    assert "And 3 more." in page
    assert "more." not in made(table, errors=["error 0."]).split("<section")[0]
