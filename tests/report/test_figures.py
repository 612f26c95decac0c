from __future__ import annotations

import io
import logging
from pathlib import PurePosixPath

import numpy as np
import pytest
from PIL import Image

from bids_tract.names import density_path, parse_name
from bids_tract.report.figures import Figure, figure_path, make_figures, save_figures
from tests.report.scans import GRIDS, make_scan, make_tractogram

ALL = ["mask", "tissue", "colfa", "gfa", "peaks", "seeds"]
OF_TRACTS = ["densityProbCsd", "slicesProbCsd", "viewsProbCsd"]


@pytest.fixture(scope="module", autouse=True)
def small_sheets():
    """What is drawn is tested elsewhere."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bids_tract.report.map_figures.SHEET", 400)
        patch.setattr("bids_tract.report.tract_figures._VIEW_SIZE", 200)
        yield


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    return make_scan(folder, GRIDS["LAS"]), make_tractogram(folder, GRIDS["LAS"])


@pytest.fixture(scope="module")
def figures(scan):
    files, tractogram = scan
    return list(make_figures(files, [tractogram]))


def test_all_figures_come_in_their_order(figures):
    assert [figure.name for figure in figures] == ALL + OF_TRACTS
    assert [figure.error for figure in figures] == [""] * 9


def test_a_figure_is_an_image_with_words(figures):
    for figure in figures:
        image = Image.open(io.BytesIO(figure.image))
        assert image.format == "WEBP"
        assert image.size == (figure.width, figure.height)
        assert np.asarray(image).std() > 5
        for words in (figure.title, figure.caption, figure.alt):
            assert words
        assert figure.caption.endswith(".")


def test_the_tractogram_is_named_in_the_title(figures):
    assert figures[-1].title == "Streamlines from three sides (prob, csd)"


def test_captions_speak_of_oblique_images_only_where_they_are(figures, tmp_path):
    files = make_scan(tmp_path, GRIDS["oblique ASR"])
    keys = ("brain_mask", "dwiref")
    (mask,) = make_figures({key: files[key] for key in keys}, [])
    assert "turned by up to" in mask.caption
    assert not any("turned" in figure.caption for figure in figures)


@pytest.mark.parametrize(
    ("absent", "names"),
    [
        ({"brain_mask"}, ["tissue", "colfa", "gfa", "peaks", "seeds"]),
        ({"gm_probseg"}, ["mask", "colfa", "gfa", "peaks", "seeds"]),
        (
            {"csa_gfa", "csd_peaks", "stop_mask", "tensor_colfa"},
            ["mask", "tissue", "gfa", "seeds"],
        ),
        ({"dwiref", "seed_mask", "csa_gfa", "tensor_fa"}, ["mask", "tissue", "colfa", "peaks"]),
    ],
)
def test_what_has_no_maps_is_left_out(scan, absent, names):
    files = {key: path for key, path in scan[0].items() if key not in absent}
    found = list(make_figures(files, []))
    assert [figure.name for figure in found] == names
    grounds = {"dwiref", "tensor_fa", "csa_gfa"} - absent
    if grounds:
        assert [figure.error for figure in found] == [""] * len(found)


def test_of_nothing_there_are_no_figures():
    assert list(make_figures({}, [])) == []


def test_a_broken_file_breaks_only_its_figure(scan, tmp_path):
    files, tractogram = scan
    broken = tmp_path / "sub-01_desc-seed_mask.nii.gz"
    broken.write_bytes(b"not an image")
    bad = tmp_path / "sub-01_track-det_desc-csa_tractogram.trx"
    bad.write_bytes(tractogram.read_bytes()[:3000])
    keys = ("brain_mask", "dwiref", "seed_mask")
    given = {key: files[key] for key in keys} | {"seed_mask": broken}
    mask, seeds, *others, density, _, _ = make_figures(given, [bad, tractogram])
    assert mask.image and density.image
    assert seeds.image is None and (seeds.width, seeds.height) == (0, 0)
    assert str(broken) in seeds.error and "cannot be read" in seeds.error
    assert [figure.name for figure in others] == ["densityDetCsa", "slicesDetCsa", "viewsDetCsa"]
    assert all(figure.image is None for figure in others)
    assert density_path(bad).name in others[0].error  # which was not measured
    assert all(str(bad) in figure.error for figure in others[1:])


def test_a_map_on_another_grid_is_an_error_in_words(scan, tmp_path):
    files = scan[0]
    other = make_scan(tmp_path, GRIDS["oblique ASR"])
    mask, seeds = make_figures(
        {"brain_mask": files["brain_mask"], "dwiref": files["dwiref"],
         "seed_mask": other["seed_mask"]}, [],
    )  # fmt: skip
    assert mask.error == ""
    assert "another grid" in seeds.error


def test_what_nobody_thought_of_is_an_error_too(scan, monkeypatch, caplog):
    def surprise(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("bids_tract.report.map_figures.outline", surprise)
    keys = ("brain_mask", "dwiref", "tensor_colfa")
    with caplog.at_level(logging.DEBUG):
        mask, colfa = make_figures({key: scan[0][key] for key in keys}, [])
    assert "ZeroDivisionError: division by zero" in mask.error
    assert colfa.image
    assert "surprise" in caplog.text  # the traceback is kept


def test_an_empty_tractogram_is_said_to_be_empty(scan, tmp_path):
    empty = make_tractogram(tmp_path, GRIDS["LAS"], n=0)
    found = list(make_figures({key: scan[0][key] for key in ("brain_mask", "dwiref")}, [empty]))
    assert [figure.error for figure in found[1:]] == [
        "The picture could not be made: "
        "sub-01_dir-AP_track-prob_desc-csd_tractogram.trx holds no streamline"
    ] * 3


# --- Files -------------------------------------------------------------------------------------

SOURCE = {"sub": "01", "ses": "1", "dir": "AP", "desc": "preproc"}


def test_the_name_of_a_file():
    assert figure_path(SOURCE, "mask") == PurePosixPath(
        "sub-01/ses-1/figures/sub-01_ses-1_dir-AP_desc-mask_dwi.webp"
    )
    assert figure_path({"sub": "A"}, "viewsProbCsd").name == "sub-A_desc-viewsProbCsd_dwi.webp"


def test_pictures_are_saved_and_errors_are_not(figures, tmp_path):
    broken = Figure("seeds", "Seeds", "", "", None, "No.", 0, 0)
    paths = save_figures([figures[0], broken, figures[2]], tmp_path, SOURCE)
    assert paths == [tmp_path / figure_path(SOURCE, name) for name in ("mask", "colfa")]
    assert [path.read_bytes() for path in paths] == [figures[0].image, figures[2].image]
    assert [parse_name(path.name).entities["desc"] for path in paths] == ["mask", "colfa"]
    assert sorted(paths[0].parent.iterdir()) == sorted(paths)
