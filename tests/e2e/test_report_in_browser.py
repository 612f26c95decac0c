"""The report of a participant as a browser shows it."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from bids_tract.report.participant import write_report
from tests.e2e.browser import CHROMIUM, Browser
from tests.report.networks import counts, put_matrix, region_names
from tests.report.outputs import SCAN, change, make_logs, make_outputs

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]
DESKTOP, PHONE = 1300, 390


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Of one scan whose name and messages are as long as they come."""
    root = tmp_path_factory.mktemp("out")
    scan = SCAN | {"acq": "multiband4repetition" * 3}
    make_outputs(root, scan)
    change(root, "brain_mask", scan, Notes=["/data/" + 200 * "x", "a note"])
    values = counts(30, np.random.default_rng(1))
    names = (60 * "w", *region_names(30)[1:])
    put_matrix(root, scan, values, names)
    put_matrix(root, scan, np.arange(900.0).reshape(30, 30), atlas="oneWay")
    failures = {f"sub-01_{150 * 'y'}": 150 * "z", "sub-01_dir-PA": "no bvec"}
    result = write_report(root, "sub-01", [scan], log_dir=make_logs(root), failures=failures)
    assert result.errors == []
    return result.path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def quiet(browser):
    with browser.quiet("file", "data", "blob"):
        yield


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [DESKTOP, PHONE, 768])
def test_nothing_is_wider_than_the_page(browser, report, width, dark):
    browser.open(report, width=width, dark=dark, phone=width == PHONE)
    assert browser.run("document.documentElement.scrollWidth") <= width
    if width == DESKTOP:  # else the contents are one line, which is pushed along
        assert browser.run(
            "(one => one.scrollWidth <= one.clientWidth)(document.querySelector('nav'))"
        )
    wide = browser.run(
        "[...document.querySelectorAll('main *')].filter(one =>"
        f" one.getBoundingClientRect().right > {width} && !one.closest('thead'))"
        ".map(one => one.outerHTML.slice(0, 80))"
    )
    assert wide == []


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_words_stand_out_from_their_ground(browser, report, dark):
    """WCAG 2.2 asks for a contrast of 4.5 for text."""
    browser.open(report, width=DESKTOP, dark=dark)
    colours = browser.run(
        """(() => {
            const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
            const ground = (one) => {
                for (let at = one; at; at = at.parentElement) {
                    const colour = numbers(getComputedStyle(at).backgroundColor);
                    if (colour.length < 4 || colour[3] === 1) return colour;
                }
                return [255, 255, 255];
            };
            return [...document.querySelectorAll("p, h1, h2, h3, td, th, .verdict, nav a")]
                .filter((one) => one.textContent.trim())
                .map((one) => [numbers(getComputedStyle(one).color), ground(one)]);
        })()"""
    )
    assert len(colours) > 50
    levels = np.array([[colour[:3] for colour in pair] for pair in colours]) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    light = np.sort(linear @ [0.2126, 0.7152, 0.0722], axis=1)
    assert ((light[:, 1] + 0.05) / (light[:, 0] + 0.05)).min() >= 4.5


def test_light_and_dark_follow_the_reader(browser, report):
    grounds = []
    for dark in (False, True):
        browser.open(report, width=DESKTOP, dark=dark)
        image = np.asarray(Image.open(io.BytesIO(browser.picture())).convert("L"))
        grounds.append(np.median(image))
    assert grounds[0] > 200
    assert grounds[1] < 60


def test_checks_are_a_table_on_a_desk_and_cards_on_a_phone(browser, report):
    places = "[...document.querySelectorAll('.checks tbody tr:first-child > *')].map(one => one.getBoundingClientRect().top)"  # noqa: E501
    browser.open(report, width=DESKTOP)
    assert len(set(browser.run(places))) == 1
    browser.open(report, width=PHONE, phone=True)
    name, verdict, number, sentence = browser.run(places)
    assert name == pytest.approx(verdict, abs=5)
    assert name < number < sentence


def test_all_is_there(browser, report):
    browser.open(report, width=DESKTOP)
    titles = browser.run("[...document.querySelectorAll('h3')].map(one => one.textContent)")
    for title in ("Checks", "Brain mask", "Colour FA", "Interactive view", "Histograms",
                  "Methods", "Software and command", "Warnings and errors"):  # fmt: skip
        assert title in titles
    assert browser.run("document.querySelectorAll('.checks tbody tr').length") >= 11
    broken = browser.run(
        "Promise.all([...document.images].map(one => one.decode().then(() => 0, () => 1)))"
    )
    assert len(broken) >= 6
    assert sum(broken) == 0


def test_a_picture_opens_at_its_full_size(browser, report):
    browser.open(report, width=PHONE, phone=True)
    browser.run("document.querySelector('.picture').click()")
    shown, true = browser.run(
        "(() => { const one = document.querySelector('dialog[open] img');"
        " return [one.getBoundingClientRect().width, one.naturalWidth]; })()"
    )
    assert shown == true > PHONE
    browser.run("document.querySelector('dialog').click()")
    assert not browser.run("document.querySelector('dialog').open")


def coloured(browser) -> dict[str, int]:
    """Pixels of the stage by their colour."""
    place = browser.run(
        "(() => { const box = document.querySelector('.stage').getBoundingClientRect();"
        " return [box.left, box.top, box.right, box.bottom]; })()"
    )
    image = Image.open(io.BytesIO(browser.picture())).convert("RGB").crop(place)
    red, green, blue = np.moveaxis(np.asarray(image).astype(int), -1, 0)
    return {
        "green": int(np.sum((green > red + 60) & (green > blue + 60))),
        "grey": int(np.sum((abs(red - green) < 8) & (abs(green - blue) < 8) & (green > 40))),
    }


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_interactive_view_draws_streamlines(browser, report, width):
    browser.open(report, width=width, phone=width == PHONE)
    browser.run("document.querySelector('.viewer').scrollIntoView()")
    assert browser.run("document.querySelector('.stage').hidden")
    browser.run("document.querySelector('.viewer .first').click()")
    browser.until(lambda: browser.run("document.querySelector('.viewer').dataset.state"))
    assert browser.run("document.querySelector('.viewer').dataset.state") == "shown"
    # The streamlines run from back to front: green.
    browser.until(lambda: coloured(browser)["green"] > 500)
    before = coloured(browser)["grey"]  # of letters; no head yet
    browser.run("document.querySelector('.viewer [value=slices]').click()")
    browser.until(lambda: coloured(browser)["grey"] > before + 3000)
    assert coloured(browser)["green"] > 50


def test_without_webgl_a_sentence_stands_instead(browser, report):
    script = browser.ask(
        "Page.addScriptToEvaluateOnNewDocument",
        source="HTMLCanvasElement.prototype.getContext = () => null;",
    )
    browser.open(report, width=DESKTOP)
    browser.ask("Page.removeScriptToEvaluateOnNewDocument", **script)
    assert "lacks WebGL 2" in browser.run("document.querySelector('.viewer').textContent")
    assert browser.run("document.querySelector('.viewer .first').hidden")


def test_in_print_all_is_black_on_white(browser, report):
    browser.open(report, width=DESKTOP, dark=True)
    browser.ask("Emulation.setEmulatedMedia", media="print")
    styles = browser.run(
        "['body', 'nav', '.viewer', '.card'].map(name => {"
        " const style = getComputedStyle(document.querySelector(name));"
        " return [style.color, style.backgroundColor, style.display]; })"
    )
    browser.ask("Emulation.setEmulatedMedia", media="")
    body, contents, viewer, card = styles
    assert body[:2] == card[:2] == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]
    assert contents[2] == viewer[2] == "none"


@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_a_matrix_tells_the_pair_that_is_pointed_at(browser, report, width):
    browser.open(report, width=width, phone=width == PHONE)
    values, names = counts(30, np.random.default_rng(1)), region_names(30)
    for row, column in ((3, 7), (7, 3), (29, 12), (12, 12)):
        point_at(browser, 0, 30, row, column)
        browser.until(lambda: browser.run("!document.getElementById('pair').hidden"), 5)
        wanted = f"{names[row]} \N{EN DASH} {names[column]}: {values[row, column]:,.0f}"
        browser.until(lambda wanted=wanted: said_pair(browser) == wanted, 5)
    point_at(browser, 1, 30, 2, 5)
    browser.until(lambda: said_pair(browser) == f"{names[2]} → {names[5]}: 65", 5)
    # Even the longest name stays on the page.
    point_at(browser, 0, 30, 0, 29)
    browser.until(lambda: said_pair(browser).startswith("www"), 5)
    assert browser.run("document.getElementById('pair').getBoundingClientRect().right") <= width
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_keys_go_from_cell_to_cell(browser, report):
    browser.open(report, width=DESKTOP)
    names = region_names(30)
    browser.run("document.querySelectorAll('.matrix svg')[1].focus()")
    for key, wanted in (
        ("ArrowDown", f"{names[0]} → {names[0]}: 0"),
        ("ArrowDown", f"{names[1]} → {names[0]}: 30"),
        ("ArrowRight", f"{names[1]} → {names[1]}: 31"),
        ("ArrowUp", f"{names[0]} → {names[1]}: 1"),
        ("ArrowUp", f"{names[0]} → {names[1]}: 1"),
    ):
        browser.ask("Input.dispatchKeyEvent", type="keyDown", key=key)
        browser.until(lambda wanted=wanted: said_pair(browser) == wanted, 5)
    browser.ask("Input.dispatchKeyEvent", type="keyDown", key="Escape")
    assert browser.run("document.getElementById('pair').hidden")


def test_names_beside_a_matrix_give_way_on_a_phone(browser, report):
    shown = "getComputedStyle(document.querySelector('.matrix .names')).display"
    browser.open(report, width=DESKTOP)
    assert browser.run(shown) != "none"
    browser.open(report, width=PHONE, phone=True)
    assert browser.run(shown) == "none"
    frame, cells = (
        browser.run(
            f"(one => [one.left, one.right, one.bottom])(document.querySelector('{one}')"
            ".getBoundingClientRect())"
        )
        for one in (".matrix", ".matrix .cells")
    )
    np.testing.assert_allclose(cells, frame, atol=3)


def point_at(browser, which, n, row, column):
    """Move the pointer to a cell of a matrix, which is brought into sight."""
    left, top, side = browser.run(
        f"(one => {{ one.scrollIntoView({{behavior: 'instant', block: 'center'}});"
        " const place = one.getBoundingClientRect(); return [place.x, place.y, place.width]; })"
        f"(document.querySelectorAll('.matrix .cells')[{which}])"
    )
    x, y = left + (column + 0.5) * side / n, top + (row + 0.5) * side / n
    browser.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)


def said_pair(browser):
    return browser.run("document.getElementById('pair').textContent")
