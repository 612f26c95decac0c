"""The page of a study as a browser shows it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bids_tract.report.group import write_group
from tests.e2e.browser import CHROMIUM, Browser
from tests.e2e.test_report_in_browser import point_at, said_pair
from tests.report.networks import counts, put_matrix, region_names
from tests.report.studies import make_study

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
DESKTOP, PHONE = 1300, 390
ROWS = "[...document.querySelectorAll('#rows tbody tr')]"


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    bids, out = make_study(tmp_path_factory.mktemp("study"), 60, missing=3)
    rng = np.random.default_rng(1)
    for number in range(1, 58):
        put_matrix(out, {"sub": f"{number:02d}"}, counts(30, rng))
    return write_group(out, bids).paths[2]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def quiet(browser):
    with browser.quiet("file", "data"):
        yield


def column(browser, title):
    """What the rows that are shown have in a column."""
    return browser.run(
        "(() => { const heads = [...document.querySelectorAll('#rows th')];"
        f" const at = heads.findIndex(one => one.innerText.startsWith('{title}'));"
        f" return {ROWS}.map(row => row.cells[at].innerText); }})()"
    )


def click_head(browser, title):
    """Click on the head of a column; how it is sorted then."""
    return browser.run(
        "(() => { const head = [...document.querySelectorAll('#rows th')]"
        f".find(one => one.innerText.startsWith('{title}')); head.querySelector('button').click();"
        " return head.getAttribute('aria-sort'); })()"
    )


def title(browser):
    """That of the page, also while another one opens."""
    history = browser.ask("Page.getNavigationHistory")
    return history["entries"][history["currentIndex"]]["title"]


def find(browser, text):
    browser.run(
        f"(() => {{ const box = document.getElementById('filter'); box.value = '{text}';"
        " box.dispatchEvent(new Event('input')); })()"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE, 768])
def test_nothing_is_wider_than_the_page(browser, page, width, dark):
    browser.open(page, width=width, dark=dark, phone=width == PHONE)
    assert browser.run("document.documentElement.scrollWidth") <= width
    wide = browser.run(
        "[...document.querySelectorAll('main *')].filter(one => !one.closest('.wide') &&"
        f" one.getBoundingClientRect().right > {width}).map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []


def test_rows_are_sorted_by_a_click_on_the_head(browser, page):
    browser.open(page, width=DESKTOP)
    assert column(browser, "Scan")[:3] == ["sub-01", "sub-02", "sub-03"]
    title = "Streamlines (probabilistic, CSD)"
    assert click_head(browser, title) == "ascending"
    counts = [int(one.replace(",", "")) for one in column(browser, title)]
    assert counts == sorted(counts)
    assert column(browser, "Scan")[0] == "sub-07"
    assert click_head(browser, title) == "descending"
    counts = [int(one.replace(",", "")) for one in column(browser, title)]
    assert counts == sorted(counts, reverse=True)
    assert click_head(browser, "Scan") == "ascending"
    sorts = browser.run(
        "[...document.querySelectorAll('#rows th')].map(one => one.getAttribute('aria-sort'))"
    )
    assert sorts.count("none") == len(sorts) - 1
    assert column(browser, "Scan")[:3] == ["sub-01", "sub-02", "sub-03"]


def test_rows_are_found_by_words(browser, page):
    browser.open(page, width=DESKTOP)
    find(browser, "control SITE2")
    assert browser.run("document.getElementById('count').innerText") == "5 scans"
    assert set(column(browser, "group")) == {"control"}
    assert set(column(browser, "site")) == {"site2"}
    dim = browser.run("document.querySelectorAll('.strip')[0].querySelectorAll('a.dim').length")
    assert dim == 57 - 5
    find(browser, "nobody")
    assert column(browser, "Scan") == []
    find(browser, "")
    assert "57 scans" in browser.run("document.getElementById('count').innerText")


def test_only_what_stands_out(browser, page):
    browser.open(page, width=DESKTOP)
    browser.run("document.getElementById('only').click()")
    scans = column(browser, "Scan")
    assert {"sub-07", "sub-11", "sub-23"} <= set(scans)
    listed = browser.run("[...document.querySelectorAll('.finding h4 a')].map(a => a.innerText)")
    assert sorted(scans) == sorted(listed)


def test_pages_of_rows(browser, page):
    browser.open(page, width=DESKTOP)
    seen = column(browser, "Scan")
    for _ in range(2):
        browser.run("document.getElementById('next').click()")
        seen += column(browser, "Scan")
    assert seen == [f"sub-{number:02d}" for number in range(1, 58)]
    assert browser.run("document.getElementById('next').disabled")
    browser.run("document.getElementById('back').click()")
    assert column(browser, "Scan")[0] == "sub-26"


def test_dots_name_their_scan_and_open_its_report(browser, page):
    browser.open(page, width=DESKTOP)
    dot = "document.querySelector('.strip a[aria-label^=\"sub-07: 3,323\"]')"
    browser.run(f"{dot}.scrollIntoView({{block: 'center', behavior: 'instant'}})")
    browser.until(lambda: browser.run(f"{dot}.getBoundingClientRect().y > 50"))
    place = browser.run(
        f"(() => {{ const r = {dot}.querySelector('path').getBoundingClientRect();"
        " return [r.x + r.width / 2, r.y + r.height / 2]; })()"
    )
    mouse = {"x": place[0], "y": place[1], "button": "left", "clickCount": 1}
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=place[0], y=place[1])
    browser.until(lambda: not browser.run("document.getElementById('tip').hidden"))
    assert browser.run("document.getElementById('tip').innerText") == "sub-07: 3,323, flagged"
    browser.ask("Input.dispatchMouseEvent", type="mousePressed", **mouse)
    browser.ask("Input.dispatchMouseEvent", type="mouseReleased", **mouse)
    browser.until(lambda: title(browser) == "a report")
    assert browser.run("location.pathname.split('/').pop()") == "sub-07.html"


def test_all_links_lead_to_reports_that_are_there(browser, page):
    browser.open(page, width=DESKTOP)
    links = browser.run(
        "[...new Set([...document.querySelectorAll('.strip a, #rows a, .finding a')]"
        ".map(a => a.getAttribute('href')))]"
    )
    assert len(links) == 57
    assert all((page.parent / link).is_file() for link in links)


def test_the_keyboard_goes_from_dot_to_dot(browser, page):
    browser.ask("Emulation.setFocusEmulationEnabled", enabled=True)  # as if it were in front
    browser.open(page, width=DESKTOP)
    stops = browser.run(
        "[...document.querySelectorAll('.strip > svg')].map(one =>"
        " [...one.querySelectorAll('a')].filter(a => a.tabIndex === 0).length)"
    )
    assert set(stops) == {1}
    browser.run("document.querySelector('.strip a').focus()")
    labels = []
    for _ in range(3):
        labels.append(browser.run("document.getElementById('tip').innerText"))
        browser.ask("Input.dispatchKeyEvent", type="keyDown", key="ArrowRight")
    values = [int(label.split(": ")[1].split(", f")[0].replace(",", "")) for label in labels]
    assert values == sorted(values)
    assert len(set(values)) == 3


@pytest.mark.parametrize(("title", "kinds"), [("group", 2), ("site", 4), ("age", 5)])
def test_dots_take_the_colour_of_a_covariate(browser, page, title, kinds):
    browser.open(page, width=DESKTOP)
    choice = (
        "(() => {{ const box = document.getElementById('colour'); box.value = {value};"
        " box.dispatchEvent(new Event('change')); }})()"
    )
    value = f"[...box.options].find(one => one.text === '{title}').value"
    browser.run(choice.format(value=value))
    fills = browser.run(
        "[...document.querySelectorAll('.strip circle')].map(one => getComputedStyle(one).fill)"
    )
    assert len(set(fills)) == kinds
    legend = browser.run("document.querySelectorAll('#legend span').length")
    assert legend == kinds
    browser.run(choice.format(value="''"))
    fills = browser.run(
        "[...document.querySelectorAll('.strip circle')].map(one => getComputedStyle(one).fill)"
    )
    assert len(set(fills)) == 1


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_flagged_dots_differ_in_shape_and_colour(browser, page, dark):
    browser.open(page, width=DESKTOP, dark=dark)
    colours = browser.run(
        "['circle', 'path'].map(one => getComputedStyle("
        "document.querySelector('.strip a ' + one)).fill)"
    )
    assert len(set(colours)) == 2
    browser.run("document.querySelector('.strip').scrollIntoView({behavior: 'instant'})")
    pixels = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("RGB"), int)
    wanted = [int(part) for part in colours[0][4:-1].split(",")]
    # Dots are a quarter transparent: most of their pixels lie near their colour.
    assert (np.abs(pixels - wanted).sum(-1) < 120).sum() > 57 * 10


def test_without_scripts_the_content_is_there(browser, page):
    browser.ask("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, width=DESKTOP)
        tree = browser.ask("DOM.getDocument", depth=1)["root"]["nodeId"]
        html = browser.ask("DOM.getOuterHTML", nodeId=tree)["outerHTML"]
    finally:
        browser.ask("Emulation.setScriptExecutionDisabled", value=False)
    body = html.split("<tbody>")[-1].split("</tbody>")[0]
    assert body.count("<tr>") == 25
    assert "sub-25" in body
    assert "cannot be sorted" in html


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
@pytest.mark.parametrize(("which", "stat"), [(0, np.mean), (1, np.std)])
def test_matrices_tell_mean_and_spread_of_a_pair(browser, page, width, which, stat):
    rng = np.random.default_rng(1)
    found = np.stack([counts(30, rng) for _ in range(57)])
    value = stat(found[:, 4, 9]) * (np.sqrt(57 / 56) if stat is np.std else 1)
    names = region_names(30)
    browser.open(page, width=width, phone=width == PHONE)
    point_at(browser, which, 30, 4, 9)
    browser.until(lambda: said_pair(browser).startswith(f"{names[4]} \N{EN DASH} {names[9]}: "), 5)
    said = float(said_pair(browser).split(": ")[1].replace(",", ""))
    assert said == pytest.approx(value, rel=1e-3)
