import re
import shutil

import pytest

from bids_tract.names import output_path, run_label, sidecar_path
from bids_tract.report import participant
from bids_tract.report.measures import measures_path
from bids_tract.report.participant import write_report
from tests.report.outputs import (
    SCAN,
    change,
    make_logs,
    make_outputs,
    path_of,
)
from tests.report.test_document import Reader


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Of one sound scan, with the logs of its run."""
    root = tmp_path_factory.mktemp("out")
    make_outputs(root)
    make_logs(root)
    return root


@pytest.fixture(scope="module")
def sound(outputs):
    (logs,) = (outputs / "logs").iterdir()
    return write_report(outputs, "sub-01", [SCAN], log_dir=logs)


@pytest.fixture(scope="module")
def text(sound):
    return sound.path.read_text()


@pytest.fixture
def root(outputs, sound, tmp_path):
    """A copy to be broken."""
    return shutil.copytree(outputs, tmp_path / "out")


def made(root, scans=(SCAN,), **more):
    result = write_report(root, "sub-01", scans, **more)
    return result, Reader(result.path.read_text())


def ids(read):
    return [one["id"] for tag, one in read.elements if tag == "section"]


def test_a_sound_report_has_no_errors_and_a_name(sound, outputs):
    assert sound.errors == []
    assert sound.path == outputs / "sub-01.html"


def test_the_order_is_fixed(text):
    found = ids(Reader(text))
    scan = "sub-01_dir-AP"
    assert found[0] == scan
    assert found[1] == f"{scan}-checks"
    assert found[-3:] == ["methods", "software", "messages"]
    names = [name.removeprefix(f"{scan}-") for name in found[2:-3]]
    assert names[-2:] == ["3d", "histograms"]
    assert names[:3] == ["mask", "tissue", "colfa"]
    assert names.index("viewsProbCsd") < names.index("3d")


def test_every_picture_is_inside_and_saved(text, outputs):
    images = Reader(text).named("img")
    assert len(images) >= 6
    for image in images:
        assert image["src"].startswith("data:image/webp;base64,")
        assert len(image["alt"]) > 10
        assert int(image["width"]) > 100
    assert len([*outputs.glob("sub-01/figures/*.webp")]) == len(images)


def test_no_address_is_loaded(text):
    read = Reader(text)
    for tag, attributes in read.elements:
        for name in ("src", "srcset", "poster", "data", "action"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        if tag == "link":
            assert attributes["href"].startswith("data:")
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_page_is_small(sound):
    assert sound.path.stat().st_size < participant.PAGE_LIMIT


def test_the_checks_stand_in_the_table(text):
    read = Reader(text)
    assert "1,000 ml" not in read.text
    for words in ("Gradient table", "64 directions at b = 2000", "300 kept of 500", "good"):
        assert words in read.text.replace("\N{NO-BREAK SPACE}", " ")


def test_the_table_of_the_gradient_check_is_there(text):
    table = re.search(r'<table class="axes">.*?</table>', text, re.DOTALL)[0]
    rows = re.findall(r"<tr><td>(\d+)</td><th scope=\"row\">([^<]+)</th>.*?>([\d.]+)</td>", table)
    assert rows == [("1", "i,j,k", "0.500"), ("2", "j,i,k", "0.400")]
    assert "under all 2 flips and swaps" in text


def test_without_a_gradient_check_there_is_no_such_table(root):
    change(root, "brain_mask", SCAN, GradientCheck={"Verdict": "off"})
    _, read = made(root)
    assert not [one for tag, one in read.elements if one.get("class") == "axes"]


def test_the_methods_say_what_was_done_to_each_scan(text):
    read = Reader(text)
    assert "As it was done for sub-01_dir-AP" in read.text
    assert "64 directions at b = 2000 s/mm²" in read.text
    assert "500 seeds kept 300 streamlines" in read.text


def test_a_note_is_not_repeated_from_the_log(outputs, tmp_path):
    root = shutil.copytree(outputs, tmp_path / "out")
    (logs,) = (root / "logs").iterdir()
    start = "2026-11-21 01:30:39,376 WARNING bids_tract.workflow sub-01_dir-AP: prepare: "
    (logs / "run.log").write_text(
        f"{start}12 voxels were <odd> & set to zero.\n{start}something else\n"
    )
    _, read = made(root, log_dir=logs)
    assert read.text.count("12 voxels were <odd> & set to zero.") == 1
    assert read.text.count("prepare: something else") == 1


def test_a_sidecar_that_makes_no_sense_does_not_end_the_methods(root):
    change(root, "csd_fod", SCAN, ResponseFunction={"Coefficients": []})
    result, read = made(root)
    assert "What was done could not be made" in read.text
    assert any("what was done" in error for error in result.errors)


def test_the_command_is_that_of_the_run(text):
    assert "<pre>bids_tract in out participant</pre>" in text


def test_the_run_is_told(text):
    read = Reader(text)
    for words in (
        "bids_tract in out participant",
        "bids_tract 0.1.0, numpy 2.0",
        "Made with <care>.",
        "12 voxels were <odd> & set to zero.",
        "Error: the disk is slow",
        "no <bval>",
        "@article{aganj, title = {<b>}}",
        "300 of 300 streamlines, simplified",
    ):
        assert words in read.text
    assert "about another" not in read.text


def test_a_broken_map_is_said_in_its_place_and_the_rest_stands(root):
    path = path_of(root, "tensor_colfa")
    path.write_bytes(path.read_bytes()[:500])
    result, read = made(root)
    assert len(result.errors) == 1
    assert "tensor" in result.errors[0]
    section = read.text[read.text.index("Colour FA", read.text.index("Meaning")) :]
    assert "could not be" in section[:400]
    assert "sub-01_dir-AP-histograms" in ids(read)
    assert "1 part of this report could not be made" in read.text


def test_a_broken_tractogram_breaks_no_report(root):
    path_of(root, "tractogram").write_bytes(b"broken")
    change(root, "tractogram", Digest="new")
    result, read = made(root)
    assert result.errors
    assert "sub-01_dir-AP-mask" in ids(read)
    assert "sub-01_dir-AP-3d" not in ids(read)


def test_a_scan_without_outputs_or_reason_is_an_error(tmp_path):
    result, read = made(tmp_path)
    assert result.errors == ["sub-01_dir-AP: there are no outputs of this scan"]
    assert "There are no outputs of this scan" in read.text


def test_two_scans_and_one_that_failed(root):
    other, failed = SCAN | {"dir": "PA"}, SCAN | {"run": "3"}
    make_outputs(root, other)
    result, read = made(
        root, [SCAN, other, failed],
        failures={run_label(failed): "no <bvec>", "sub-01_run-4_dwi.nii.gz": "cut off"},
    )  # fmt: skip
    assert result.errors == []
    assert len(set(ids(read))) == len(ids(read))
    assert ids(read).index("sub-01_dir-AP") < ids(read).index("sub-01_dir-PA-checks")
    scripts = {one["id"] for one in read.named("script") if "id" in one}
    views = {f"{what}-sub-01_dir-{way}" for what in ("volume", "lines") for way in ("AP", "PA")}
    assert scripts == {"niivue", *views}
    assert "This scan was not finished: no <bvec>" in read.text
    assert "sub-01_run-4_dwi.nii.gz was not finished: cut off" in read.text


def fixed_room(n_tractograms):
    """What all but the pictures may take."""
    text = participant._TEXT_ROOM + participant._TRACTOGRAM_ROOM * n_tractograms
    return participant._PROGRAM_ROOM + participant._VIEWS_ROOM + text


def test_text_has_room_for_many_tractograms(tmp_path, monkeypatch):
    scans = [SCAN, SCAN | {"dir": "PA"}]
    for scan in scans:
        make_outputs(tmp_path, scan, kept=20, attempts=50)
        for kind in ("tensor_fa", "tensor_colfa", "gm_probseg"):  # whose pictures take their time
            path_of(tmp_path, kind, scan).unlink()
        path = path_of(tmp_path, "tractogram", scan)
        for track in ("det", "eudx"):
            other = tmp_path / output_path("tractogram", scan, track=track, desc="csa")
            shutil.copy(path, other)
            shutil.copy(sidecar_path(path), sidecar_path(other))
    # What the page of one scan and tractogram takes: all more must come from the tractograms.
    monkeypatch.setattr(participant, "_TEXT_ROOM", 35_000)
    limit = fixed_room(6) + 100_000
    monkeypatch.setattr(participant, "PAGE_LIMIT", limit)
    result, read = made(tmp_path, scans)
    assert result.errors == []
    content = result.path.read_text()
    assert len(content.encode()) < limit
    pictures = sum(len(image["src"]) for image in read.named("img"))
    assert 0 < pictures <= 100_000 + 30 * len(read.named("img"))
    text = re.sub('src="data:[^"]*"|<script type="text/plain".*?</script>', "", content)
    assert 35_000 + 15_000 < len(text.encode()) < 35_000 + 6 * participant._TRACTOGRAM_ROOM


def test_no_room_leaves_a_page_without_pictures(root, monkeypatch):
    monkeypatch.setattr(participant, "PAGE_LIMIT", fixed_room(1) - 1000)
    result, read = made(root)
    assert result.errors == []
    assert not read.named("img")
    assert "Left out, to keep this page below" in read.text


def test_measures_that_cannot_be_saved_lose_no_page(root):
    path = measures_path(root, SCAN)
    path.unlink()
    path.mkdir()
    result, read = made(root)
    (error,) = result.errors
    assert path.name in error
    assert "300 kept of 500" in read.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "sub-01_dir-AP-histograms" in ids(read)


def test_pictures_shrink_to_keep_the_page_small(root, monkeypatch):
    whole = (root / "sub-01.html").read_text()
    sizes = [int(size) for size in re.findall(r'<img [^>]* width="(\d+)"', whole)]
    bytes_of = sum(map(len, re.findall(r'data:image/webp;base64,([^"]+)"', whole)))
    monkeypatch.setattr(participant, "PAGE_LIMIT", fixed_room(1) + bytes_of // 2)
    result, read = made(root)
    assert result.errors == []
    smaller = [int(image["width"]) for image in read.named("img")]
    assert len(smaller) == len(sizes)
    assert all(less < more for less, more in zip(smaller, sizes, strict=True))
    shown = sum(len(image["src"]) for image in read.named("img"))
    assert shown <= bytes_of // 2 + 30 * len(smaller)
    assert read.text.count("The whole picture") == len(sizes)
    links = [link["href"] for link in read.named("a") if link["href"].endswith(".webp")]
    assert all((root / link).is_file() for link in links)


def test_the_same_outputs_give_the_same_page(root):
    def plain(text):
        return re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d\.", "", text)

    (logs,) = (root / "logs").iterdir()
    before = plain((root / "sub-01.html").read_text())
    made(root, log_dir=logs)
    assert plain((root / "sub-01.html").read_text()) == before
