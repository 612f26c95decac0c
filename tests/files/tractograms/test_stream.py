from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.tractograms import read_streamlines, stream, write_tractogram
from bids_tract.files.tractograms.stream import open_tractogram
from tests.files.tractograms.lines import GRIDS, streamlines, write

FORMATS = (".trx", ".trk", ".tck")
# mm: TRK keeps points along image axes; the way back is a float32 product of four terms at 100 mm.
ROUNDING = 5e-5


@pytest.fixture(params=FORMATS)
def path(request, tmp_path):
    """25 streamlines in one of the formats."""
    trx = write(tmp_path / "made.trx", GRIDS["oblique"], streamlines(25, steps=12))
    target = tmp_path / f"tracts{request.param}"
    write_tractogram(trx, target)
    return target


def test_blocks_are_the_whole_in_pieces(path, monkeypatch):
    monkeypatch.setattr(stream, "_BLOCK", 10)
    opened = open_tractogram(path)
    blocks = list(opened.blocks())
    assert opened.count == 25
    assert [len(block) for block in blocks] == [10, 10, 5]
    whole = read_streamlines(path)
    numbers = np.concatenate([block.seed_index for block in blocks])
    expected = whole.seed_index if path.suffix == ".trx" else np.arange(25)
    np.testing.assert_array_equal(numbers, expected)
    points = np.concatenate([block.points for block in blocks])
    np.testing.assert_allclose(points, whole.points, rtol=0, atol=ROUNDING)
    lengths = np.concatenate([np.diff(b.offsets) for b in blocks])
    np.testing.assert_array_equal(lengths, np.diff(whole.offsets))


def test_a_part_is_chosen_evenly(path, monkeypatch):
    monkeypatch.setattr(stream, "_BLOCK", 10)
    whole, part = read_streamlines(path), open_tractogram(path).evenly(5)
    assert part.seed_index.tolist() == [2, 7, 12, 17, 22]
    for n, number in enumerate(part.seed_index):
        np.testing.assert_allclose(part[n], whole[number], rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("count", [25, 26, 10**9])
def test_where_there_are_not_more_all_are_taken(path, count, monkeypatch):
    monkeypatch.setattr(stream, "_BLOCK", 10)
    points = open_tractogram(path).evenly(count).points
    np.testing.assert_allclose(points, read_streamlines(path).points, rtol=0, atol=ROUNDING)


@given(st.integers(0, 10**7), st.integers(1, 50))
def test_chosen_numbers_are_even_and_exist(total, count):
    numbers = stream.even_numbers(total, count)
    assert len(numbers) == min(total, count)
    if len(numbers):
        assert numbers[0] >= 0 and numbers[-1] < total
        steps = np.diff(numbers)
        assert len(steps) == 0 or (steps.min() >= 1 and np.ptp(steps) <= 1)


@pytest.mark.parametrize("suffix", FORMATS)
def test_an_empty_tractogram_has_no_blocks(tmp_path, suffix):
    trx = write(tmp_path / "made.trx", GRIDS["LAS"])
    target = tmp_path / f"empty{suffix}"
    write_tractogram(trx, target)
    opened = open_tractogram(target)
    assert opened.count == 0
    assert list(opened.blocks()) == []
    assert len(opened.evenly(10)) == 0


@pytest.mark.parametrize("suffix", (".trk", ".tck"))
def test_a_file_without_a_count_is_counted(tmp_path, suffix):
    trx = write(tmp_path / "made.trx", GRIDS["LAS"], streamlines(7))
    target = tmp_path / f"tracts{suffix}"
    write_tractogram(trx, target)
    data = bytearray(target.read_bytes())
    if suffix == ".tck":
        data = data.replace(b"count: 7", b"count: 0")
    else:
        data[988:992] = bytes(4)  # nb_streamlines, as the format's page has it
    target.write_bytes(data)
    assert len(open_tractogram(target).evenly(100)) == 7


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_that_is_cut_off_is_refused(tmp_path, suffix):
    trx = write(tmp_path / "made.trx", GRIDS["LAS"], streamlines(50))
    target = tmp_path / f"tracts{suffix}"
    write_tractogram(trx, target)
    target.write_bytes(target.read_bytes()[: target.stat().st_size // 2])
    with pytest.raises(DataError, match=str(target)):
        list(open_tractogram(target).blocks())


@pytest.mark.parametrize("suffix", (".trk", ".tck"))
def test_a_file_with_fewer_streamlines_than_it_announces_is_refused(tmp_path, suffix):
    trx = write(tmp_path / "made.trx", GRIDS["LAS"], streamlines(7))
    target = tmp_path / f"tracts{suffix}"
    write_tractogram(trx, target)
    data = bytearray(target.read_bytes())
    if suffix == ".tck":
        assert b"count: 7" in data
        data = data.replace(b"count: 7", b"count: 9")
    else:
        data[988] = 9
    target.write_bytes(data)
    with pytest.raises(DataError, match="announces 9 streamlines and holds 7"):
        list(open_tractogram(target).blocks())


def test_what_is_no_tractogram_is_refused(tmp_path):
    (tmp_path / "tracts.vtk").write_text("lines")
    with pytest.raises(DataError, match=r"\.trx, \.trk or \.tck"):
        open_tractogram(tmp_path / "tracts.vtk")
    (tmp_path / "tracts.trk").write_text("lines" * 300)
    with pytest.raises(DataError, match="damaged"):
        open_tractogram(tmp_path / "tracts.trk")
    with pytest.raises(MissingInputError, match="does not exist"):
        open_tractogram(tmp_path / "absent.tck")
