from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bids_tract import machine
from bids_tract.core.types import Streamlines
from bids_tract.files.grids import Grid
from bids_tract.files.images import write_map
from bids_tract.files.tractograms import write_tractogram
from bids_tract.tools.cli import main
from bids_tract.tools.compiled import ensure_compiled
from tests.e2e.program import ROOT, undone
from tests.files.tractograms.lines import GRIDS, streamlines, write


@pytest.fixture(scope="module", autouse=True)
def kernels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where compiled kernels lie: pictures wait for them, and say so."""
    with undone():
        machine.prepare_environment(tmp_path_factory.mktemp("work"))
        ensure_compiled()
        return os.environ["NUMBA_CACHE_DIR"]


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The tool changes environment and logging of its process."""
    with undone():
        yield


def bundle():
    """Streamlines from left to right through (0, 10, -5) mm, 40 mm long."""
    lines = [
        np.linspace((-20, 10 + y, -5), (20, 10 + y, -5), 41).astype(np.float32)
        for y in np.linspace(-1, 1, 5)
    ]
    return Streamlines.from_list(lines, np.arange(5))


@pytest.fixture
def trx(tmp_path):
    return write(tmp_path / "bundle.trx", GRIDS["oblique"], bundle())


def draw(*arguments):
    return main(["picture", *map(str, arguments)])


def pixels(path):
    return np.asarray(Image.open(path)).astype(int)


def red(picture):
    """Rows and columns of the pixels in which red is strong."""
    others = np.maximum(picture[..., 1], picture[..., 2])
    return np.nonzero((picture[..., 0] > 100) & (others < picture[..., 0] // 3))


def test_three_views_are_the_default(trx, tmp_path, capsys):
    assert draw(trx, tmp_path / "out.png", "--size", 300) == 0
    assert "5 of 5 streamlines" in capsys.readouterr().err
    picture = pixels(tmp_path / "out.png")
    assert picture.shape[2] == 3
    # The flat views from the left and from the back stand beside or above each other; the bundle
    # is 40 mm, the longest side, in two of three.
    assert picture.shape[1] >= 300
    assert len(red(picture)[0]) > 1000


def test_the_bundle_is_where_it_belongs(trx, tmp_path):
    assert draw(trx, tmp_path / "out.png", "--view", "top", "--size", 440) == 0
    picture = pixels(tmp_path / "out.png")
    # 400 pixels for 40 mm, 20 around: streamlines of 0.4 mm with 0.5 mm between.
    assert picture.shape == (60, 440, 3)
    rows, columns = red(picture[:, 20:-20])
    assert (rows.min(), rows.max()) == (18, 41)
    assert (columns.min(), columns.max()) == (0, 399)


@pytest.mark.parametrize("suffix", [".trk", ".tck"])
def test_formats_give_one_picture(tmp_path, suffix):
    trx = write(tmp_path / "walks.trx", GRIDS["oblique"], streamlines(60))
    other = tmp_path / f"walks{suffix}"
    write_tractogram(trx, other)
    for source, name in ((trx, "a.png"), (other, "b.png")):
        assert draw(source, tmp_path / name, "--size", 200) == 0
    # TRK keeps the points along image axes: rounding moves edges, by parts of a pixel.
    one, two = pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png")
    assert (np.abs(one - two).max(axis=2) > 8).mean() < 0.005


@pytest.mark.parametrize("grid", GRIDS)
def test_an_image_lies_behind_the_bundle_in_mm(trx, tmp_path, grid):
    # A ball around the middle of the bundle, on a grid of any orientation.
    where = GRIDS[grid]
    voxels = np.indices(where.shape).reshape(3, -1).T
    places = voxels @ where.affine[:3, :3].T + where.affine[:3, 3]
    distance = np.linalg.norm(places - [0, 10, -5], axis=1).reshape(where.shape)
    write_map(tmp_path / "ball.nii.gz", np.float32(distance < 15), where)
    out = tmp_path / "out.png"
    assert draw(trx, out, "--on", tmp_path / "ball.nii.gz", "--view", "top", "--size", 400) == 0
    picture = pixels(out)
    rows, columns = red(picture)
    grey = (np.ptp(picture, axis=2) == 0) & (picture[..., 0] > 90) & (picture[..., 0] < 200)
    inside = np.zeros(grey.shape, bool)
    inside[20:-40, 20:-20] = True
    ball = [np.mean(np.nonzero(grey & inside)[axis]) for axis in (0, 1)]
    scale = (columns.max() - columns.min() + 1) / 40
    # The voxels are up to 4 mm; the ball's middle is known to a part of one.
    assert ball[0] == pytest.approx((rows.min() + rows.max()) / 2, abs=1.0 * scale)
    assert ball[1] == pytest.approx((columns.min() + columns.max()) / 2, abs=1.0 * scale)


def test_of_many_a_part_is_drawn(tmp_path, capsys):
    many = write(tmp_path / "many.trx", GRIDS["LAS"], streamlines(300))
    assert draw(many, tmp_path / "out.png", "--max-streamlines", 40, "--size", 100) == 0
    assert "40 of 300 streamlines, evenly chosen" in capsys.readouterr().err


def test_a_background_can_be_chosen(trx, tmp_path):
    corners = {}
    for background in ("black", "white", "transparent"):
        out = tmp_path / f"{background}.png"
        assert draw(trx, out, "--background", background, "--size", 100) == 0
        corners[background] = pixels(out)[0, 0].tolist()
    assert corners == {
        "black": [0, 0, 0], "white": [255, 255, 255], "transparent": [0, 0, 0, 0],
    }  # fmt: skip


def test_angles_are_views(trx, tmp_path):
    for name, view in (("a.png", "left"), ("b.png", "90:0"), ("c.png", "90:20")):
        assert draw(trx, tmp_path / name, "--view", view, "--size", 120) == 0
    one, same, other = (pixels(tmp_path / name) for name in ("a.png", "b.png", "c.png"))
    np.testing.assert_array_equal(one, same)
    assert other.shape != one.shape


@pytest.mark.parametrize("name", ["out.webp", "out.jpg", "OUT.PNG"])
def test_formats_of_pictures(trx, tmp_path, name):
    assert draw(trx, tmp_path / name, "--size", 100) == 0
    assert Image.open(tmp_path / name).size[0] >= 100


# --- What goes wrong ---------------------------------------------------------------------------


def fails(code, capsys, *arguments):
    assert draw(*arguments) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bids_tract_tools: ") and err.count("\n") == 1
    return err


@pytest.mark.parametrize(
    "options",
    [("--view", "above"), ("--view", "1:2:3"), ("--view", "nan"), ("--view", "left,"),
     ("--view", "nan:0"), ("--size", "10"), ("--max-streamlines", "0")],
)  # fmt: skip
def test_options_that_make_no_sense(trx, tmp_path, capsys, options):
    fails(2, capsys, trx, tmp_path / "out.png", *options)


@pytest.mark.parametrize("name", ["out", "out.svg"])
def test_names_that_are_no_pictures(trx, tmp_path, capsys, name):
    assert name in fails(2, capsys, trx, tmp_path / name)


def test_what_cannot_be_transparent(trx, tmp_path, capsys):
    fails(2, capsys, trx, tmp_path / "out.jpg", "--background", "transparent")


def test_an_image_of_another_place(trx, tmp_path, capsys):
    affine = np.eye(4)
    affine[:3, 3] = 5000
    write_map(tmp_path / "far.nii.gz", np.ones((4, 4, 4), np.float32), Grid((4, 4, 4), affine))
    said = fails(65, capsys, trx, tmp_path / "a.png", "--on", tmp_path / "far.nii.gz")
    assert "lie in different places of the world" in said
    assert not (tmp_path / "a.png").exists()


def test_files_that_are_not_there(trx, tmp_path, capsys):
    assert "absent.trx" in fails(66, capsys, tmp_path / "absent.trx", tmp_path / "out.png")
    absent = tmp_path / "absent.nii.gz"
    assert "absent.nii.gz" in fails(66, capsys, trx, tmp_path / "out.png", "--on", absent)


def test_files_that_cannot_be_used(trx, tmp_path, capsys):
    (tmp_path / "text.tck").write_text("not a tractogram")
    assert "text.tck" in fails(65, capsys, tmp_path / "text.tck", tmp_path / "out.png")
    fails(65, capsys, trx, tmp_path / "out.png", "--on", trx)
    write(tmp_path / "empty.trx", GRIDS["LAS"])
    assert "no streamline" in fails(65, capsys, tmp_path / "empty.trx", tmp_path / "out.png")


def test_a_folder_that_cannot_be_written(trx, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    fails(73, capsys, trx, tmp_path / "file" / "out.png", "--size", "100")


def test_a_home_that_cannot_be_written_is_no_obstacle(trx, tmp_path, kernels):
    (tmp_path / "home").write_text("in the way")
    program = "import sys; from bids_tract.tools.cli import main; sys.exit(main())"
    changes = {"HOME": str(tmp_path / "home"), "NUMBA_CACHE_DIR": kernels, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", program, "picture", str(trx), "out.png", "--size", "100"],
        capture_output=True, text=True, cwd=tmp_path, env={**os.environ, **changes}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"home folder {tmp_path / 'home'} cannot be written" in done.stderr
    assert Path(tmp_path, "out.png").is_file()
