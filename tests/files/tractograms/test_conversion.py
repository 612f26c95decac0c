"""TRK and TCK: nibabel and MRtrix see the streamlines of the TRX where they are."""

import shutil
import subprocess
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from nibabel.orientations import aff2axcodes

from bids_tract.core.types import Streamlines
from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.tractograms import WRITERS, read_streamlines, write_tractogram
from tests.files.tractograms.lines import GRIDS, lines, points_and_counts, streamlines, write

needs_mrtrix = pytest.mark.skipif(
    not shutil.which("tckconvert"), reason="MRtrix (tckinfo, tckconvert) is not installed"
)
OTHERS = [".trk", ".tck"]


@pytest.fixture(params=GRIDS)
def grid(request):
    return GRIDS[request.param]


@pytest.fixture
def converted(tmp_path, grid):
    """The three formats of 12,000 streamlines, which is more than one block."""
    source = write(tmp_path / "a.trx", grid, streamlines(12_000, steps=6))
    for extension in OTHERS:
        write_tractogram(source, tmp_path / f"b{extension}")
    return {extension: tmp_path / f"b{extension}" for extension in OTHERS}


@pytest.mark.parametrize("extension", OTHERS)
def test_nibabel_sees_the_same_points(converted, extension):
    expected = streamlines(12_000, steps=6)
    points, counts = points_and_counts(nib.streamlines.load(converted[extension]).streamlines)
    np.testing.assert_allclose(points, expected.points, atol=1e-4)
    np.testing.assert_array_equal(counts, np.diff(expected.offsets))


def test_the_trk_header_describes_the_grid(converted, grid):
    expected = streamlines(12_000, steps=6)
    file = nib.streamlines.load(converted[".trk"], lazy_load=True)
    header = file.header
    assert header["nb_streamlines"] == 12_000
    assert tuple(header["dimensions"]) == grid.shape
    assert header["voxel_order"].decode() == "".join(aff2axcodes(grid.affine))
    np.testing.assert_allclose(header["voxel_sizes"], grid.voxel_sizes, rtol=1e-6)
    np.testing.assert_allclose(header["voxel_to_rasmm"], grid.affine, rtol=1e-6)
    data = nib.streamlines.load(converted[".trk"]).tractogram.data_per_streamline
    np.testing.assert_array_equal(data["seed_index"][:, 0], expected.seed_index)
    np.testing.assert_array_equal(data["length_mm"][:, 0], expected.lengths_mm)


def test_trk_counts_from_the_corner_of_the_first_voxel(tmp_path):
    grid = GRIDS["oblique"]
    voxels = np.array([[0, 0, 0], [1, 2, 3]])
    points = voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    block = Streamlines.from_list([points.astype(np.float32)], np.zeros(1, int))
    write_tractogram(write(tmp_path / "a.trx", grid, block), tmp_path / "a.trk")
    stored = np.frombuffer((tmp_path / "a.trk").read_bytes()[1000:], "<f4")[1:7].reshape(2, 3)
    np.testing.assert_allclose(stored, (voxels + 0.5) * grid.voxel_sizes, atol=2e-5)


@needs_mrtrix
def test_mrtrix_counts_the_same(converted):
    told = subprocess.run(
        ["tckinfo", "-count", converted[".tck"]], capture_output=True, text=True, check=True
    ).stdout.split()
    assert told.count("12000") == 2  # in the header and in the file


@needs_mrtrix
def test_mrtrix_sees_the_same_points(tmp_path, grid):
    expected = streamlines(20)
    source = write(tmp_path / "a.trx", grid, expected)
    write_tractogram(source, tmp_path / "a.tck")
    subprocess.run(
        ["tckconvert", "-quiet", tmp_path / "a.tck", tmp_path / "line-[].txt"], check=True
    )
    texts = sorted(tmp_path.glob("line-*.txt"))
    points, counts = points_and_counts(np.loadtxt(text) for text in texts)
    np.testing.assert_allclose(points, expected.points, atol=1e-4)
    np.testing.assert_array_equal(counts, np.diff(expected.offsets))


@pytest.mark.parametrize("extension", WRITERS)
def test_an_empty_tractogram_in_every_format(tmp_path, extension):
    source = write(tmp_path / "a.trx", GRIDS["LAS"])
    target = tmp_path / f"b{extension}"
    write_tractogram(source, target)
    assert len(read_streamlines(target)) == 0
    if extension in OTHERS:
        assert len(nib.streamlines.load(target).streamlines) == 0
    if extension == ".tck" and shutil.which("tckinfo"):
        told = subprocess.run(
            ["tckinfo", "-count", target], capture_output=True, text=True, check=True
        )
        assert "actual count in file: 0" in told.stdout


@pytest.mark.parametrize("extension", WRITERS)
@settings(max_examples=40)
@given(arrays=lines)
def test_every_format_comes_back(tmp_path_factory, extension, arrays):
    folder = tmp_path_factory.mktemp("formats")
    block = Streamlines.from_list(arrays, np.arange(len(arrays)))
    source = write(folder / "a.trx", GRIDS["oblique"], block)
    write_tractogram(source, folder / f"b{extension}")
    read = read_streamlines(folder / f"b{extension}")
    np.testing.assert_allclose(read.points, block.points, atol=1e-4)
    np.testing.assert_array_equal(read.offsets, block.offsets)
    np.testing.assert_array_equal(read.seed_index, block.seed_index)
    assert len(list(folder.iterdir())) == 2


@pytest.mark.parametrize("extension", WRITERS)
def test_a_file_that_is_cut_off_anywhere(tmp_path, extension):
    source = write(tmp_path / "a.trx", GRIDS["RAS"], streamlines(3, steps=4))
    whole = tmp_path / f"b{extension}"
    write_tractogram(source, whole)
    content = whole.read_bytes()
    for length in range(0, len(content), 7):
        whole.write_bytes(content[:length])
        with pytest.raises(DataError) as caught:
            read_streamlines(whole)
        assert str(whole) in str(caught.value)


def test_a_trk_cut_between_two_streamlines(tmp_path):
    block = Streamlines.from_list([np.ones((4, 3), np.float32)] * 10, np.arange(10))
    target = tmp_path / "a.trk"
    write_tractogram(write(tmp_path / "a.trx", GRIDS["RAS"], block), target)
    record = 4 * (1 + 3 * 4 + 2)
    target.write_bytes(target.read_bytes()[: 1000 + 4 * record])
    with pytest.raises(DataError, match="announces 10 streamlines and holds 4"):
        read_streamlines(target)


def test_a_tck_with_fewer_streamlines_than_announced(tmp_path):
    target = tmp_path / "a.tck"
    write_tractogram(write(tmp_path / "a.trx", GRIDS["RAS"], streamlines(10)), target)
    target.write_bytes(target.read_bytes().replace(b"count: 10", b"count: 12"))
    with pytest.raises(DataError, match="announces 12 streamlines and holds 10"):
        read_streamlines(target)


def test_files_of_others_without_seeds_or_counts(tmp_path):
    arrays = [np.ones((2, 3), np.float32), np.zeros((3, 3), np.float32)]
    tractogram = nib.streamlines.Tractogram(arrays, affine_to_rasmm=np.eye(4))
    for extension in OTHERS:
        nib.streamlines.save(tractogram, tmp_path / f"a{extension}")
        np.testing.assert_array_equal(
            read_streamlines(tmp_path / f"a{extension}").seed_index, [0, 1]
        )


def test_files_that_are_no_tractogram(tmp_path):
    for name in ("a.trx", "a.trk", "a.tck", "a.vtk"):
        (tmp_path / name).write_text("text")
        with pytest.raises(DataError, match=name):
            read_streamlines(tmp_path / name)
    with pytest.raises(MissingInputError):
        read_streamlines(tmp_path / "none.trk")


@pytest.mark.parametrize("extension", WRITERS)
def test_a_conversion_that_fails_leaves_nothing(tmp_path, extension):
    (tmp_path / "a.trx").write_text("")
    with pytest.raises(DataError):
        write_tractogram(tmp_path / "a.trx", tmp_path / f"b{extension}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.trx"]


@pytest.mark.parametrize("extension", WRITERS)
def test_memory_does_not_grow_with_the_number_of_streamlines(tmp_path, extension):
    block = streamlines(10_000, steps=6)
    source = write(tmp_path / "a.trx", GRIDS["RAS"], *[block] * 20)
    tracemalloc.start()
    try:
        write_tractogram(source, tmp_path / f"b{extension}")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / f"b{extension}").stat().st_size > 8e6
    assert peak < 8e6
