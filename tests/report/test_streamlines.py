import nibabel as nib
import numpy as np
import pytest

from bids_tract.core.types import Streamlines
from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid
from bids_tract.files.sidecars import read_json
from bids_tract.files.tractograms import stream, write_tractogram
from bids_tract.files.tractograms.trx import TrxWriter
from bids_tract.names import density_path, sidecar_path
from bids_tract.report.streamlines import (
    has_density,
    measure_tractogram,
    remove_density,
    write_density,
)

# The first voxel axis runs backwards from y = 6, the second up, the third to the right.
GRID = Grid((4, 4, 4), np.array([[0, 0, 2, 0], [-2, 0, 0, 6], [0, 2, 0, 0], [0, 0, 0, 1.0]]))
NAME = "sub-01/dwi/sub-01_track-prob_desc-csd_tractogram.trx"


def written(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    with TrxWriter(path, GRID) as writer:
        writer.append(Streamlines.from_list(lines, np.arange(len(lines))))
    return path


def line(length, start=(0.0, 0.0, 0.0)):
    return np.linspace(start, np.add(start, (0, length, 0)), 9).astype(np.float32)


def test_lengths_fall_into_the_right_bars(tmp_path):
    path = written(tmp_path / "a.trx", [line(2), line(4), line(12), line(12.5), line(13)])
    found, _ = measure_tractogram(path, GRID, None)
    assert found["Length"]["Histogram"] == {"Start": 0.0, "Width": 5.0, "Counts": [2, 0, 3]}
    assert found["Length"]["Median"] == 12
    assert found["Length"]["Mean"] == pytest.approx(8.7)
    # A fifth and four fifths of the way between the two shortest and the two longest.
    assert found["Length"]["Percentile5"] == pytest.approx(2.4)
    assert found["Length"]["Percentile95"] == pytest.approx(12.9)
    assert found["Length"]["Longest"] == 13
    assert "Visited" not in found


def test_streamlines_are_counted_through_the_affine(tmp_path):
    path = written(tmp_path / "a.trx", [line(4, (6, 2, 0)), line(2, (6, 4, 0))])
    target = np.zeros(GRID.shape, bool)
    target[:3, 0, 3] = True
    found, counts = measure_tractogram(path, GRID, (target, "it"))
    assert counts.dtype == np.int32
    assert counts[:, 0, 3].tolist() == [2, 2, 1, 0]
    assert counts.sum() == 5
    assert found["Visited"] == {"Share": 1.0, "Of": "it"}
    target[0, :3, 0] = True
    assert measure_tractogram(path, GRID, (target, "it"))[0]["Visited"]["Share"] == 0.5


def test_points_outside_the_grid_visit_nothing(tmp_path):
    path = written(tmp_path / "a.trx", [line(6, (100, 0, 0)), line(2, (6, -50, 0))])
    everything = np.ones(GRID.shape, bool)
    assert measure_tractogram(path, GRID, (everything, "it"))[0]["Visited"]["Share"] == 0


@pytest.mark.parametrize("extension", [".trk", ".tck"])
def test_other_formats_are_measured_block_by_block_alike(tmp_path, extension, monkeypatch):
    path = written(tmp_path / "a.trx", [line(i / 4 + 1) for i in range(25)])
    whole, counts = measure_tractogram(path, GRID, None)
    write_tractogram(path, path.with_suffix(extension))
    monkeypatch.setattr(stream, "_BLOCK", 10)
    found, other = measure_tractogram(path.with_suffix(extension), GRID, None)
    assert found["Streamlines"] == whole["Streamlines"] == 25
    assert found["Length"]["Median"] == pytest.approx(whole["Length"]["Median"], rel=1e-5)
    assert counts.max() == 25
    np.testing.assert_array_equal(other, counts)


# --- The density map -----------------------------------------------------------------------------


def test_the_density_is_an_image_of_whole_numbers_beside_the_tractogram(tmp_path):
    path = written(tmp_path / NAME, [line(4, (6, 2, 0))] * 3)
    found, counts = measure_tractogram(path, GRID, None)
    assert not has_density(path)
    write_density(
        tmp_path, path, counts, GRID, streamlines=found["Streamlines"], more={"Also": "this"}
    )
    assert has_density(path)
    place = path.with_name("sub-01_model-csd_param-density_desc-prob_dwimap.nii.gz")
    image = nib.load(place)
    assert image.get_data_dtype() == np.int32
    np.testing.assert_array_equal(np.asarray(image.dataobj), counts)
    np.testing.assert_array_equal(read_grid(place).affine, GRID.affine)
    said = read_json(sidecar_path(place))
    assert said["Sources"] == [f"bids::{NAME}"]
    assert (said["Streamlines"], said["Also"]) == (3, "this")
    remove_density(path)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_a_map_without_its_sidecar_is_not_complete(tmp_path):
    path = written(tmp_path / NAME, [line(4, (6, 2, 0))])
    _, counts = measure_tractogram(path, GRID, None)
    write_density(tmp_path, path, counts, GRID, streamlines=1, more={})
    sidecar_path(density_path(path)).unlink()
    assert not has_density(path)


def test_streamlines_beside_the_image_are_refused(tmp_path):
    path = written(tmp_path / NAME, [line(4, (600, 2, 0))])
    _, counts = measure_tractogram(path, GRID, None)
    with pytest.raises(DataError, match="no streamline passes through the image"):
        write_density(tmp_path, path, counts, GRID, streamlines=1, more={})
    assert not has_density(path)


def test_of_an_empty_tractogram_the_density_is_nothing_everywhere(tmp_path):
    path = written(tmp_path / NAME, [])
    found, counts = measure_tractogram(path, GRID, None)
    assert found == {"Streamlines": 0}
    write_density(tmp_path, path, counts, GRID, streamlines=0, more={})
    assert has_density(path)
    assert not counts.any()
