import numpy as np
import pytest

from bids_tract.core.types import Streamlines
from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.tractograms import write_tractogram
from bids_tract.files.tractograms.trx import TrxWriter
from bids_tract.report import streamlines
from bids_tract.report.streamlines import evenly, measure_tractogram, sample

# The first voxel axis runs backwards from y = 6, the second up, the third to the right.
GRID = Grid((4, 4, 4), np.array([[0, 0, 2, 0], [-2, 0, 0, 6], [0, 2, 0, 0], [0, 0, 0, 1.0]]))


def written(path, lines):
    with TrxWriter(path, GRID) as writer:
        writer.append(Streamlines.from_list(lines, np.arange(len(lines))))
    return path


def line(length, start=(0.0, 0.0, 0.0)):
    return np.linspace(start, np.add(start, (0, length, 0)), 9).astype(np.float32)


def test_lengths_fall_into_the_right_bars(tmp_path):
    path = written(tmp_path / "a.trx", [line(2), line(4), line(12), line(12.5), line(13)])
    found = measure_tractogram(path, None, None)
    assert found["Length"]["Histogram"] == {"Start": 0.0, "Width": 5.0, "Counts": [2, 0, 3]}
    assert found["Length"]["Median"] == 12
    assert found["Length"]["Longest"] == 13
    assert "Visited" not in found


def test_visited_voxels_are_found_through_the_affine(tmp_path):
    path = written(tmp_path / "a.trx", [line(4, (6, 2, 0))])
    target = np.zeros(GRID.shape, bool)
    target[:3, 0, 3] = True
    assert measure_tractogram(path, GRID, (target, "it"))["Visited"] == {"Share": 1.0, "Of": "it"}
    target[0, :3, 0] = True
    assert measure_tractogram(path, GRID, (target, "it"))["Visited"]["Share"] == 0.5


def test_points_outside_the_grid_visit_nothing(tmp_path):
    path = written(tmp_path / "a.trx", [line(6, (100, 0, 0)), line(2, (6, -50, 0))])
    everything = np.ones(GRID.shape, bool)
    assert measure_tractogram(path, GRID, (everything, "it"))["Visited"]["Share"] == 0


def test_samples_are_spread_over_the_file(tmp_path):
    path = written(tmp_path / "a.trx", [line(i + 1) for i in range(100)])
    lines, total = sample(path, 4)
    assert total == 100
    assert [round(float(one[-1, 1])) for one in lines] == [13, 38, 63, 88]


@pytest.mark.parametrize("extension", [".trk", ".tck"])
def test_other_formats_give_the_same_sample(tmp_path, extension):
    path = written(tmp_path / "a.trx", [line(i + 1) for i in range(20)])
    write_tractogram(path, path.with_suffix(extension))
    one, other = sample(path, 5), sample(path.with_suffix(extension), 5)
    assert one[1] == other[1] == 20
    for left, right in zip(one[0], other[0], strict=True):
        np.testing.assert_allclose(left, right, atol=1e-5)


def test_a_file_too_large_to_be_read_whole_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path / "a.trx", [line(3)])
    write_tractogram(path, path.with_suffix(".tck"))
    monkeypatch.setattr(streamlines, "_WHOLE_FILE_LIMIT", 10)
    with pytest.raises(DataError, match="--format trx"):
        sample(path.with_suffix(".tck"), 5)
    assert len(sample(path, 5)[0]) == 1


def test_even_numbers():
    assert evenly(10, 3) == [1, 5, 8]
    assert evenly(3, 10) == [0, 1, 2]
    assert evenly(0, 5) == []
