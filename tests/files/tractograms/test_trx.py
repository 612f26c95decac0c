"""TRX files: what we write is what others and we read."""

import json
import resource
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings

from bids_tract.core.types import Streamlines
from bids_tract.errors import DataError, MissingInputError, OutputError
from bids_tract.files.tractograms import read_streamlines
from bids_tract.files.tractograms.trx import TrxWriter, open_trx
from tests.files.tractograms.lines import GRIDS, lines, points_and_counts, streamlines, write

GRID = GRIDS["oblique"]


@settings(max_examples=40)
@given(lines)
def test_points_come_back_exactly(tmp_path_factory, arrays):
    block = Streamlines.from_list(arrays, np.arange(len(arrays)) * 1000)
    path = write(tmp_path_factory.mktemp("trx") / "a.trx", GRID, block)
    read = read_streamlines(path)
    np.testing.assert_array_equal(read.points, block.points)
    np.testing.assert_array_equal(read.offsets, block.offsets)
    np.testing.assert_array_equal(read.seed_index, block.seed_index)


def test_blocks_follow_one_another(tmp_path):
    one, other = streamlines(40), streamlines(25, seed=1)
    tractogram = open_trx(write(tmp_path / "a.trx", GRID, one, other))
    assert len(tractogram) == 65
    assert tractogram.grid.matches(GRID)
    np.testing.assert_array_equal(tractogram.points, np.concatenate([one.points, other.points]))
    np.testing.assert_array_equal(
        tractogram.data_per_streamline["seed_index"],
        np.concatenate([one.seed_index, other.seed_index]),
    )
    np.testing.assert_array_equal(
        tractogram.data_per_streamline["length_mm"],
        np.concatenate([one.lengths_mm, other.lengths_mm]),
    )
    blocks = list(tractogram.blocks(30))
    assert [len(block) for block in blocks] == [30, 30, 5]
    for number in (0, 29, 30, 39, 40, 64):
        expected = one[number] if number < 40 else other[number - 40]
        np.testing.assert_array_equal(blocks[number // 30][number % 30], expected)


def test_the_archive_follows_the_specification(tmp_path):
    block = streamlines(10)
    path = write(tmp_path / "a.trx", GRID, block)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.namelist() == [
            "header.json",
            "positions.3.float32",
            "offsets.uint64",
            "dps/seed_index.uint32",
            "dps/length_mm.float32",
        ]
        header = json.loads(archive.read("header.json"))
        offsets = np.frombuffer(archive.read("offsets.uint64"), "<u8")
        points = np.frombuffer(archive.read("positions.3.float32"), "<f4")
    assert header == {
        "DIMENSIONS": [90, 120, 30],
        "VOXEL_TO_RASMM": GRID.affine.tolist(),
        "NB_VERTICES": len(block.points),
        "NB_STREAMLINES": 10,
    }
    np.testing.assert_array_equal(offsets, block.offsets)
    np.testing.assert_array_equal(points.reshape(-1, 3), block.points)


def test_equal_content_gives_equal_bytes_however_it_was_cut(tmp_path):
    block = streamlines(30)
    whole = write(tmp_path / "whole.trx", GRID, block)
    parts = open_trx(whole).blocks(7)
    assert write(tmp_path / "parts.trx", GRID, *parts).read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("name", GRIDS)
def test_trx_python_reads_the_same(tmp_path, name):
    trx = pytest.importorskip("trx.trx_file_memmap")
    block = streamlines(50)
    other = trx.load(str(write(tmp_path / "a.trx", GRIDS[name], block)))
    points, counts = points_and_counts(other.streamlines)
    np.testing.assert_array_equal(points, block.points)
    np.testing.assert_array_equal(counts, np.diff(block.offsets))
    np.testing.assert_array_equal(other.data_per_streamline["seed_index"][:, 0], block.seed_index)
    np.testing.assert_array_equal(other.header["DIMENSIONS"], GRIDS[name].shape)
    np.testing.assert_allclose(other.header["VOXEL_TO_RASMM"], GRIDS[name].affine, rtol=1e-6)
    other.close()


def test_an_empty_tractogram(tmp_path):
    path = write(tmp_path / "a.trx", GRID)
    assert len(open_trx(path)) == len(read_streamlines(path)) == 0
    assert list(open_trx(path).blocks()) == []
    trx = pytest.importorskip("trx.trx_file_memmap")
    other = trx.load(str(path))
    assert len(other.streamlines) == 0
    np.testing.assert_array_equal(other.header["DIMENSIONS"], GRID.shape)
    assert len(other.to_sft()) == 0


# Failing to write


def one_point():
    return Streamlines(np.zeros((3, 3), np.float32), np.array([0, 1, 3]), np.array([0, 1]))


def not_finite():
    points = np.zeros((3, 3), np.float32)
    points[1, 1] = np.nan
    return Streamlines(points, np.array([0, 3]), np.array([0]))


def large_seed():
    return Streamlines(np.zeros((2, 3), np.float32), np.array([0, 2]), np.array([2**32]))


@pytest.mark.parametrize("bad", [one_point, not_finite, large_seed])
def test_streamlines_that_readers_choke_on_are_refused(tmp_path, bad):
    with (
        pytest.raises(ValueError, match=r"streamline|seed"),
        TrxWriter(tmp_path / "a.trx", GRID) as writer,
    ):
        writer.append(streamlines(3))
        writer.append(bad())
    assert list(tmp_path.iterdir()) == []


def test_a_refused_block_leaves_the_file_right(tmp_path):
    path = tmp_path / "a.trx"
    with TrxWriter(path, GRID) as writer:
        writer.append(streamlines(3))
        with pytest.raises(ValueError, match="two points"):
            writer.append(one_point())
        writer.append(streamlines(4, seed=1))
        assert len(writer) == 7
    np.testing.assert_array_equal(read_streamlines(path)[3], streamlines(4, seed=1)[0])


def test_a_writer_that_dies_leaves_nothing_and_keeps_the_former_file(tmp_path):
    path = write(tmp_path / "a.trx", GRID, streamlines(3))
    former = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), TrxWriter(path, GRID) as writer:
        writer.append(streamlines(5))
        raise KeyboardInterrupt
    assert path.read_bytes() == former
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def small_files():
    """Let no file of this process grow beyond 100 kB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize(("n", "appended"), [(168, 3), (400, 1)])
def test_a_file_system_that_takes_no_more(tmp_path, small_files, n, appended):
    block, written = streamlines(n), []
    with (
        pytest.raises(OutputError, match=f"than {tmp_path} takes"),
        TrxWriter(tmp_path / "a.trx", GRID) as writer,
    ):
        for _ in range(3):
            writer.append(block)
            written.append(block.points.nbytes)
    assert len(written) == appended  # with 3 it is the archive that does not fit
    assert list(tmp_path.iterdir()) == []


# Reading what others wrote


def archive(path, members, header=None, compression=zipfile.ZIP_STORED):
    header = {
        "DIMENSIONS": [10, 10, 10],
        "VOXEL_TO_RASMM": np.eye(4).tolist(),
        "NB_VERTICES": 5,
        "NB_STREAMLINES": 2,
    } | (header or {})
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("header.json", json.dumps(header))
        for name, values in members.items():
            file.writestr(name, values.tobytes())
    return path


POINTS = np.arange(15).reshape(5, 3)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("offset_type", ["uint32", "uint64", "int64"])
@pytest.mark.parametrize("type_", ["float16", "float32", "float64"])
def test_every_type_of_the_specification(tmp_path, type_, offset_type, compression):
    members = {
        f"offsets.{offset_type}": np.array([0, 3, 5], offset_type),
        f"positions.3.{type_}": POINTS.astype(type_),
        "dps/colour.3.uint8": np.arange(6, dtype=np.uint8),
        "dps/kept.bit": np.array([True, False]),
        "groups/left.uint32": np.array([1], np.uint32),
        "dpv/fa.float32": np.zeros(5, np.float32),
    }
    path = archive(tmp_path / "a.trx", members, compression=compression)
    tractogram = open_trx(path)
    assert tractogram.points.dtype == type_
    np.testing.assert_array_equal(tractogram.data_per_streamline["colour"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(tractogram.data_per_streamline["kept"], [True, False])
    assert set(tractogram.data_per_streamline) == {"colour", "kept"}
    (block,) = tractogram.blocks()
    np.testing.assert_array_equal(block.points, POINTS)
    assert block.points.dtype == np.float32
    np.testing.assert_array_equal(block.seed_index, [0, 1])


def test_the_file_on_disk_cannot_be_changed_through_it(tmp_path):
    tractogram = open_trx(write(tmp_path / "a.trx", GRID, streamlines(3)))
    with pytest.raises(ValueError, match="read-only"):
        tractogram.points[0] = 0
    with pytest.raises(ValueError, match="read-only"):
        tractogram.offsets[0] = 0


GOOD = {"offsets.uint64": np.array([0, 3, 5], "u8"), "positions.3.float32": POINTS.astype("f4")}


@pytest.mark.parametrize(
    ("members", "header", "said"),
    [
        ({"offsets.uint64": np.array([0, 3], "u8")}, {}, "2 offsets for 2 streamlines"),
        ({"offsets.uint64": np.array([0, 3, 4], "u8")}, {}, "run from 0 to 5"),
        ({"offsets.uint64": np.array([0, 6, 5], "u8")}, {}, "run from 0 to 5"),
        ({"offsets.uint64": np.array([1, 3, 5], "u8")}, {}, "run from 0 to 5"),
        ({"offsets.uint64": np.zeros(5, "u4")}, {}, "whole number of rows"),
        ({}, {"NB_VERTICES": 6}, "5 points, the header says 6"),
        ({}, {"NB_STREAMLINES": 3}, "3 offsets for 3 streamlines"),
        ({}, {"NB_STREAMLINES": None}, "cannot be read as a TRX"),
        ({}, {"VOXEL_TO_RASMM": [1, 2]}, "cannot be read as a TRX"),
        ({}, {"VOXEL_TO_RASMM": np.zeros((4, 4)).tolist()}, "singular"),
        ({"dps/a.float32": np.zeros(3, "f4")}, {}, "3 values of a for 2 streamlines"),
        ({"dps/a.nothing": np.zeros(2, "f4")}, {}, "cannot be read as a TRX"),
        ({"positions.3.float32": POINTS[:, :2].astype("f4")}, {}, "whole number of rows"),
    ],
)
def test_archives_that_contradict_themselves(tmp_path, members, header, said):
    path = archive(tmp_path / "a.trx", GOOD | members, header)
    with pytest.raises(DataError, match=said) as caught:
        open_trx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["offsets.uint64", "positions.3.float32"])
def test_archives_without_an_array(tmp_path, name):
    path = archive(tmp_path / "a.trx", {key: GOOD[key] for key in GOOD if key != name})
    with pytest.raises(DataError, match=f"missing: {name.split('.')[0]}"):
        open_trx(path)


def test_types_outside_of_the_specification(tmp_path):
    members = {"offsets.uint64": GOOD["offsets.uint64"], "positions.3.int16": POINTS.astype("i2")}
    with pytest.raises(DataError, match="int16 is not a type"):
        open_trx(archive(tmp_path / "a.trx", members))


def test_files_that_are_no_archive(tmp_path):
    path = write(tmp_path / "a.trx", GRID, streamlines(3))
    content = path.read_bytes()
    for damaged in (content[:-50], content[: len(content) // 2], b"text"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read as a TRX"):
            open_trx(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "text")
    with pytest.raises(DataError, match=r"missing: .*header\.json"):
        open_trx(path)
    path.unlink()
    with pytest.raises(MissingInputError):
        open_trx(path)


def test_memory_does_not_grow_with_the_number_of_streamlines(tmp_path):
    block = streamlines(2000)
    path = tmp_path / "a.trx"
    tracemalloc.start()
    try:
        with TrxWriter(path, GRID) as writer:
            for _ in range(100):
                writer.append(block)
        n_points = sum(len(part.points) for part in open_trx(path).blocks(2000))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert n_points == 100 * len(block.points)
    assert path.stat().st_size > 3e7
    assert peak < 1.2e7
