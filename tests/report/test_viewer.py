import gzip
import io
import zipfile
from base64 import b64decode
from hashlib import sha256

import nibabel as nib
import numpy as np
import pytest

from bids_tract.errors import DataError
from bids_tract.files.grids import Grid
from bids_tract.files.images import write_map
from bids_tract.files.tractograms.trx import open_trx
from bids_tract.report.measures import scan_files
from bids_tract.report.viewer import make_view, packed_niivue
from tests.report.outputs import GRID, SCAN, lines, make_outputs, path_of, write_tract


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_outputs(tmp_path_factory.mktemp("out"))


def view_of(root, room=1_000_000):
    return make_view(scan_files(root, SCAN), path_of(root, "tractogram"), room)


def streamlines(view, folder):
    (folder / "view.trx").write_bytes(view.streamlines)
    return open_trx(folder / "view.trx")


def test_all_streamlines_of_a_small_tractogram_are_shown_where_they_lie(root, tmp_path):
    view = view_of(root)
    assert (view.shown, view.total, view.image) == (300, 300, "mean b0")
    shown, true = streamlines(view, tmp_path), lines(300)
    assert len(shown) == 300
    for number in (0, 17, 299):
        ends = shown.part(number, number + 1).points[[0, -1]]
        # 16 bits: steps of 0.0625 mm from 64 to 128 mm on.
        np.testing.assert_allclose(ends, true[number][[0, -1]], atol=0.04)


def test_straight_streamlines_need_two_points(root, tmp_path):
    assert len(streamlines(view_of(root), tmp_path).points) <= 3 * 300


def test_a_view_keeps_to_its_room(root, tmp_path):
    write_tract(tmp_path, lines(5000))
    maps, tract = scan_files(root, SCAN), path_of(tmp_path, "tractogram")
    large = make_view(maps, tract, 10_000_000)
    assert (large.shown, large.total) == (4000, 5000)
    for room in (30_000, 12_000):
        small = make_view(maps, tract, room)
        assert small.total == 5000
        assert 100 < small.shown < 4000
        taken = (len(small.volume) + len(small.streamlines)) * 4 / 3
        assert 0.8 * room < taken < room


def test_the_image_is_small_and_in_its_place(root):
    image = nib.Nifti1Image.from_bytes(gzip.decompress(view_of(root).volume))
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.affine, GRID.affine)
    inside = np.asarray(image.dataobj)[21, 25, 19]
    assert inside > 200
    assert np.asarray(image.dataobj)[0, 0, 0] < 10


def test_a_large_image_is_made_smaller_around_the_same_centre(root, tmp_path):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:3, 3] = (-100, -50, -20)
    values = np.zeros((210, 150, 2))
    values[60:66, 90:93, :] = 7  # cubes of 3 x 3 x 2
    write_map(tmp_path / "b0.nii.gz", values, Grid(values.shape, affine))
    view = make_view({"dwiref": tmp_path / "b0.nii.gz"}, path_of(root, "tractogram"), 1_000_000)
    image = nib.Nifti1Image.from_bytes(gzip.decompress(view.volume))
    assert image.shape == (70, 50, 1)
    bright = np.argwhere(np.asarray(image.dataobj) > 200)
    assert bright.tolist() == [[20, 30, 0], [21, 30, 0]]
    centre = nib.affines.apply_affine(image.affine, bright).mean(0)
    np.testing.assert_allclose(centre, (-100 + 62.5, -50 + 91, -20 + 1))


def test_without_an_image_or_streamlines_the_reason_is_said(root, tmp_path):
    with pytest.raises(DataError, match="no image"):
        make_view({}, path_of(root, "tractogram"), 1000)
    write_tract(tmp_path, lines(0))
    with pytest.raises(DataError, match="holds no streamline"):
        make_view(scan_files(root, SCAN), path_of(tmp_path, "tractogram"), 1000)


def test_equal_outputs_give_equal_views(root):
    assert view_of(root) == view_of(root)


def test_the_archive_is_whole(root):
    with zipfile.ZipFile(io.BytesIO(view_of(root).streamlines)) as archive:
        assert archive.testzip() is None


def test_niivue_is_the_release_that_its_licence_names():
    program = gzip.decompress(b64decode(packed_niivue()))
    # dist/niivue.umd.js of @niivue/niivue 0.69.0 on npm.
    assert (
        sha256(program).hexdigest()
        == "47b896b77ec4a5be3ef1949c33ad393b6f45629921f326c279000bcf51bdb4af"
    )
    assert b"</script" not in program
