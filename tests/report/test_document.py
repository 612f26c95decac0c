from base64 import b64encode
from html.parser import HTMLParser

import pytest

from bids_tract.report.document import (
    Section,
    asset,
    items,
    page,
    picture,
    problem,
    prose,
    verdict,
)

PNG = b"\x89PNG\r\n\x1a\nabc"


class Reader(HTMLParser):
    """Elements with their attributes, and whether each is closed."""

    VOID = ("br", "hr", "img", "input", "link", "meta")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] not in (["script"], ["style"]):
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def made():
    parts = [Section("a-1", "Part <1>", "<p>one</p>")]
    sections = [Section("a", "A & B", "<p>intro</p>", parts), Section("b", "Last", "<p>z</p>")]
    data = {"niivue": "QUJD", "study": iter(["[1,", "2]"])}
    return "".join(page("sub-<01>", "<p>lead</p>", sections, data, ["page.js"], ["group.css"]))


def test_a_page_is_well_formed_and_titled():
    read = Reader(made())
    assert "sub-<01>" in read.text
    assert "Part <1>" in read.text
    assert read.elements[0] == ("html", {"lang": "en"})


def test_every_section_can_be_reached():
    read = Reader(made())
    targets = {link["href"] for link in read.named("a")}
    anchors = {f"#{one['id']}" for tag, one in read.elements if "id" in one and tag != "script"}
    assert targets == anchors == {"#content", "#a", "#a-1", "#b"}


def test_nothing_may_be_fetched():
    (policy,) = [
        meta["content"]
        for meta in Reader(made()).named("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy
    assert "*" not in policy


def test_data_is_inside_whole_or_in_pieces():
    assert '<script type="text/plain" id="niivue">QUJD</script>' in made()
    assert '<script type="text/plain" id="study">[1,2]</script>' in made()


def test_scripts_and_styles_are_inside_in_their_order():
    text = made()
    common, special = text.index(asset("page.css")), text.index(asset("group.css"))
    assert text.index("<style>") < common < special < text.index("</style>")
    assert text.index("<script>") < text.index(asset("page.js"))
    assert asset("group.css") not in "".join(page("a", "", [], {}, []))


@pytest.mark.parametrize(
    "name", ["page.css", "page.js", "group.css", "group.js", "matrix.css", "matrix.js"]
)
def test_the_page_s_own_files_name_no_address(name):
    assert "http" not in asset(name)
    assert "</script" not in asset(name)
    assert "</style" not in asset(name)


@pytest.mark.parametrize("kind", ["good", "doubt", "bad", "unknown"])
def test_verdicts_differ_in_word_and_shape(kind):
    others = [one for one in ("good", "doubt", "bad", "unknown") if one != kind]
    shape = verdict(kind).split("stroke-width", 1)[1]
    assert all(verdict(one).split("stroke-width", 1)[1] != shape for one in others)
    assert all(Reader(verdict(one)).text != Reader(verdict(kind)).text for one in others)


def test_what_comes_from_data_is_escaped():
    evil = '<img src=x onerror="1"> & more'
    for html in (problem(evil), items([evil]), verdict("bad", evil), prose(evil)):
        assert Reader(html).text.strip() == evil
        assert Reader(html).named("img") == []


def test_a_picture_is_in_the_page():
    (image,) = Reader(picture(PNG, 'the "alt" <text>', 30, 20)).named("img")
    assert image["src"] == f"data:image/png;base64,{b64encode(PNG).decode()}"
    assert image["alt"] == 'the "alt" <text>'
    assert (image["width"], image["height"]) == ("30", "20")
    with pytest.raises(ValueError, match="neither"):
        picture(b"GIF89a", "", 1, 1)


def test_markdown_headings_paragraphs_and_lists():
    html = prose("# Title\n\nOne\ntwo.\n\n## Next\n\n- first\n  goes on\n- second\n")
    assert html == (
        '<div class="prose"><h4>Title</h4><p>One two.</p><h4>Next</h4>'
        "<ul><li>first goes on</li><li>second</li></ul></div>"
    )


def test_a_heading_right_above_a_list():
    assert "<h4>T</h4><ul><li>a</li></ul>" in prose("# T\n- a")


def test_addresses_can_be_clicked():
    read = Reader(prose("See doi:10.1002/mrm.22365. And (https://a.org/b?c=1&d)."))
    assert [link["href"] for link in read.named("a")] == [
        "https://doi.org/10.1002/mrm.22365", "https://a.org/b?c=1&d",
    ]  # fmt: skip
    assert read.text == "See doi:10.1002/mrm.22365. And (https://a.org/b?c=1&d)."
