"""Images in and out: grids, scaling, faults."""

import gzip
import logging
import resource
import tracemalloc
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bids_tract.errors import DataError, MissingInputError, OutputError
from bids_tract.files.images import (
    Grid,
    make_series,
    read_dwi,
    read_grid,
    read_map,
    read_shape,
    write_map,
)

LAS = np.array([[-2, 0, 0, 90], [0, 2, 0, -126], [0, 0, 2, -72], [0, 0, 0, 1.0]])
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = Rotation.from_euler("xyz", [20, -35, 70], degrees=True).as_matrix() * (2, 2, 3.5)
OBLIQUE[:3, 3] = (-70, 12, 33)
SHAPE = (5, 6, 7)


def save(path, data, affine=LAS, *, sform=1, qform=1, **fields):
    """An image whose header fields are as given, whatever nibabel would write."""
    image = nib.Nifti1Image(data, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    nib.save(image, path)
    edit_header(path, **fields)
    return path


def edit_header(path, **fields):
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as stream:
        content = bytearray(stream.read())
    header = np.frombuffer(content, nib.nifti1.header_dtype, count=1).copy()
    for name, value in fields.items():
        header[name] = value
    content[: header.nbytes] = header.tobytes()
    with opener(path, "wb") as stream:
        stream.write(content)


@pytest.fixture
def dwi(tmp_path):
    data = np.random.default_rng(1).integers(0, 2000, (*SHAPE, 4)).astype(np.int16)
    return save(tmp_path / "sub-01_dwi.nii.gz", data)


def read(path):
    return read_dwi(path, path.with_name("dwi.npy"))


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


# Grids


@pytest.mark.parametrize("affine", [np.diag([2, 2, 2, 1.0]), LAS, OBLIQUE])
@pytest.mark.parametrize(("sform", "qform"), [(1, 1), (1, 0), (0, 1)])
def test_the_grid_of_an_image(tmp_path, affine, sform, qform):
    path = save(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.uint8), affine, sform=sform, qform=qform)
    grid = read_grid(path)
    assert grid.shape == SHAPE
    np.testing.assert_allclose(grid.affine, affine, atol=1e-4)
    np.testing.assert_allclose(grid.voxel_sizes, np.linalg.norm(affine[:3, :3], axis=0), rtol=1e-6)
    assert grid.matches(Grid(SHAPE, affine))


def test_grids_match_by_shape_and_affine():
    grid = Grid(SHAPE, LAS)
    moved = LAS.copy()
    moved[0, 3] += 0.01
    assert grid.matches(Grid(SHAPE, LAS + 1e-6 * (np.arange(16).reshape(4, 4) < 12)))
    assert not grid.matches(Grid((5, 6, 8), LAS))
    assert not grid.matches(Grid(SHAPE, moved))
    assert grid.distance(Grid(SHAPE, moved)) == pytest.approx(0.01)


def with_entry(row, column, value):
    affine = LAS.copy()
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    ("affine", "said"),
    [
        (with_entry(0, 1, 0.1), "sheared by 2.9 degrees"),
        (with_entry(1, 1, 0), "singular"),
        (with_entry(1, 3, np.nan), "finite"),
        (np.eye(3), "4 x 4"),
        (np.column_stack([LAS[:, 0], LAS[:, 0], LAS[:, 2:]]), "singular"),
    ],
)
def test_grids_that_cannot_be(affine, said):
    with pytest.raises(DataError, match=said):
        Grid(SHAPE, affine)


@pytest.mark.parametrize("shape", [(5, 6), (5, 6, 0), (5, 6, 7, 2)])
def test_shapes_that_hold_no_volume(shape):
    with pytest.raises(DataError, match="holds no volume"):
        Grid(shape, LAS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sform_code": 0, "qform_code": 0}, "neither an sform nor a qform"),
        ({"pixdim": [1, 2, 0, 2, 1, 1, 1, 1]}, "2 x 0 x 2 mm"),
        ({"pixdim": [1, 2, np.nan, 2, 1, 1, 1, 1]}, "2 x nan x 2 mm"),
        ({"srow_x": 0, "srow_y": 0, "srow_z": 0}, "singular"),
        ({"srow_x": [-2, 0.5, 0, 0]}, "sheared"),
        ({"datatype": 77}, "cannot be read"),
        ({"sizeof_hdr": 0, "magic": b"xx"}, "cannot be read"),
        ({"sform_code": 0, "quatern_b": 5.0}, "cannot be read"),
    ],
)
def test_headers_that_do_not_say_where(dwi, fields, said):
    edit_header(dwi, **fields)
    with pytest.raises(DataError, match=said) as caught:
        read_grid(dwi)
    assert str(dwi) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sform_and_qform_that_differ(dwi, caplog):
    edit_header(dwi, qoffset_x=40.0)
    with caplog.at_level(logging.WARNING):
        grid = read_grid(dwi)
    assert "50.0 mm apart" in caplog.text
    np.testing.assert_array_equal(grid.affine, LAS)


def test_sform_and_qform_that_agree_are_not_mentioned(dwi, caplog):
    edit_header(dwi, qoffset_x=90.5)
    with caplog.at_level(logging.WARNING):
        read_grid(dwi)
    assert not caplog.records


# Reading


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        ((5, 6, 7), (5, 6, 7)),
        ((5, 6, 7, 1), (5, 6, 7, 1)),
        ((5, 6, 7, 4, 1), (5, 6, 7, 4)),
        ((5, 6, 7, 1, 4), (5, 6, 7, 4)),
        ((5, 6, 7, 1, 1), (5, 6, 7, 1)),
        ((5, 6, 7, 2, 2), (5, 6, 7, 2, 2)),
    ],
)
def test_shapes_without_needless_axes(tmp_path, stored, read):
    path = save(tmp_path / "a.nii", np.zeros(stored, np.float32))
    assert read_shape(path) == read


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32, np.float64, ">i2"])
def test_dwi_values(tmp_path, extension, dtype):
    data = np.random.default_rng(2).integers(0, 100, (*SHAPE, 4)).astype(dtype)
    values, grid = read(save(tmp_path / f"a{extension}", data))
    np.testing.assert_array_equal(values, data)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert grid.shape == SHAPE


def test_a_big_endian_image(tmp_path):
    data = numbers(*SHAPE, 4)
    header = nib.Nifti1Header(endianness=">")
    nib.save(nib.Nifti1Image(data, LAS, header), tmp_path / "a.nii.gz")
    values, grid = read(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(values, data)
    assert values.dtype == np.float32
    assert grid.matches(Grid(SHAPE, LAS))


def test_a_fifth_axis_of_one_keeps_the_order_of_volumes(tmp_path):
    data = numbers(*SHAPE, 4)
    values, _ = read(save(tmp_path / "a.nii", data[:, :, :, np.newaxis]))
    np.testing.assert_array_equal(values, data)


def test_scaling_is_done_in_float64(dwi):
    stored = np.asanyarray(nib.load(dwi).dataobj)
    edit_header(dwi, scl_slope=0.1, scl_inter=-1e6)
    values, _ = read(dwi)
    slope = np.float64(np.float32(0.1))
    np.testing.assert_array_equal(values, (stored * slope - 1e6).astype(np.float32))


@pytest.mark.parametrize(("slope", "warned"), [(0, False), (np.nan, True), (np.inf, True)])
def test_scale_factors_that_mean_none(dwi, slope, warned, caplog):
    stored = np.asanyarray(nib.load(dwi).dataobj)
    edit_header(dwi, scl_slope=slope, scl_inter=3)
    with caplog.at_level(logging.WARNING):
        values, _ = read(dwi)
    np.testing.assert_array_equal(values, stored)
    assert bool(caplog.records) == warned


def test_nan_and_infinite_voxels_are_returned_as_they_are(tmp_path):
    data = numbers(*SHAPE, 4)
    data[0, 0, 0, 0], data[1, 1, 1, 1] = np.nan, np.inf
    for scale in (1, 2):
        path = save(tmp_path / "a.nii", data, scl_slope=scale)
        values, _ = read(path)
        np.testing.assert_array_equal(values, data * scale)


@pytest.mark.parametrize(
    ("data", "slope"),
    [
        (np.full((*SHAPE, 4), 1e39), 1),
        (np.full((*SHAPE, 4), 30000, np.int16), 1e38),
        (np.full((*SHAPE, 4), 1e300), 3e38),
    ],
)
def test_values_beyond_float32(tmp_path, data, slope):
    path = save(tmp_path / "a.nii.gz", data, scl_slope=slope)
    with pytest.raises(DataError, match=r"a\.nii\.gz holds values beyond the range of float32"):
        read(path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (np.zeros(SHAPE, np.float32), "is 3-D"),
        (np.zeros((*SHAPE, 2, 2), np.float32), "is 5-D"),
        (np.zeros((*SHAPE, 4), np.complex64), "take the magnitude"),
        (np.zeros((*SHAPE, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "colours"),
    ],
)
def test_images_that_are_no_dwi(tmp_path, data, said):
    path = save(tmp_path / "a.nii.gz", data)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert str(path) in str(caught.value)


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def cut_the_sum(path):
    path.write_bytes(path.read_bytes()[:-4])


def flip_the_sum(path):
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)


def flip_a_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def forty_bytes(path):
    path.write_bytes(path.read_bytes()[:40])


def unpack_only(path):
    path.write_bytes(gzip.decompress(path.read_bytes()))


def lfs_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "cut off"),
        (cut_the_sum, "cut off"),
        (flip_the_sum, "damaged"),
        (flip_a_byte, "damaged"),
        (empty, "is empty"),
        (forty_bytes, "cannot be read"),
        (unpack_only, "cannot be read"),
        (lfs_pointer, "git lfs pull"),
    ],
)
def test_damaged_files(dwi, damage, said):
    damage(dwi)
    with pytest.raises(DataError, match=said) as caught:
        read(dwi)
    assert str(dwi) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_plain_image_that_is_cut_off(tmp_path):
    path = save(tmp_path / "a.nii", numbers(*SHAPE, 4))
    cut(path)
    with pytest.raises(DataError, match="cut off"):
        read(path)


def test_a_header_that_announces_more_than_any_memory(dwi):
    edit_header(dwi, dim=[4, 32767, 32767, 32767, 32767, 1, 1, 1])
    with pytest.raises(DataError, match="cannot be read"):
        read(dwi)


def test_images_that_are_not_here(tmp_path):
    link = tmp_path / "a.nii.gz"
    with pytest.raises(MissingInputError, match="does not exist"):
        read_shape(link)
    link.symlink_to("../.git/annex/objects/key")
    with pytest.raises(MissingInputError, match=f"datalad get {link}"):
        read_shape(link)
    with pytest.raises(DataError, match="directory"):
        read_shape(tmp_path)


def test_an_image_of_another_format(tmp_path):
    path = tmp_path / "a.mgz"
    nib.save(nib.MGHImage(numbers(*SHAPE), LAS), path)
    with pytest.raises(DataError, match="not a NIfTI image"):
        read_shape(path)


@settings(max_examples=150, deadline=None)
@given(place=st.integers(0, 347), value=st.integers(0, 255))
def test_any_damage_to_a_header_is_told_in_one_sentence(tmp_path_factory, place, value):
    path = tmp_path_factory.mktemp("fuzz") / "a.nii"
    save(path, np.ones((3, 3, 3, 2), np.int16))
    content = bytearray(path.read_bytes())
    content[place] = value
    path.write_bytes(content)
    try:
        values, grid = read(path)
    except DataError as error:
        assert str(path) in str(error)
    else:
        assert values.shape[:3] == grid.shape


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_series_is_laid_out_on_the_disk_and_not_in_memory(tmp_path, extension):
    stored = np.random.default_rng(4).integers(0, 2000, (40, 41, 42, 60)).astype(np.int16)
    path, place = save(tmp_path / f"a{extension}", stored, scl_slope=0.5), tmp_path / "dwi.npy"
    tracemalloc.start()
    values, _ = read_dwi(path, place)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < stored.nbytes / 3  # float32 is twice as much
    np.testing.assert_array_equal(np.load(place), stored * 0.5)
    values[3, 4, 5, 6] = -1
    values.flush()
    assert np.load(place)[3, 4, 5, 6] == -1
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name, "dwi.npy"]


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_disk_without_room_for_a_series(tmp_path, extension):
    path = save(tmp_path / f"a{extension}", np.zeros((*SHAPE, 50), np.int16))
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, most))
    try:
        with pytest.raises(OutputError, match=f"larger than {tmp_path} takes"):
            read(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


# Maps


def test_a_map_on_its_grid(tmp_path):
    data = numbers(*SHAPE)
    path = save(tmp_path / "a.nii.gz", data)
    np.testing.assert_array_equal(read_map(path, Grid(SHAPE, LAS)), data)


def test_a_map_of_one_volume_is_three_dimensional(tmp_path):
    data = numbers(*SHAPE, 1)
    path = save(tmp_path / "a.nii.gz", data)
    np.testing.assert_array_equal(read_map(path), data[..., 0])
    np.testing.assert_array_equal(read_map(path, ndim=4), data)


@pytest.mark.parametrize(("shape", "ndim"), [((*SHAPE, 2), 3), (SHAPE, 4)])
def test_a_map_of_other_dimensions(tmp_path, shape, ndim):
    path = save(tmp_path / "a.nii.gz", numbers(*shape))
    with pytest.raises(DataError, match=f"expected {ndim}-D"):
        read_map(path, ndim=ndim)


def test_a_map_on_another_grid(tmp_path):
    path = save(tmp_path / "mask.nii.gz", numbers(*SHAPE))
    moved = LAS.copy()
    moved[:3, 3] += (0, 3, 4)
    with pytest.raises(DataError, match=r"mask.*another grid.*up to 5 mm apart; resample"):
        read_map(path, Grid(SHAPE, moved))
    with pytest.raises(DataError, match=r"\(5, 6, 7\), expected \(5, 6, 8\)"):
        read_map(path, Grid((5, 6, 8), LAS))


# Writing


@pytest.mark.parametrize("affine", [np.diag([2, 2, 2, 1.0]), LAS, OBLIQUE])
def test_a_written_map_is_read_back(tmp_path, affine):
    path, grid, data = tmp_path / "dwi" / "fa.nii.gz", Grid(SHAPE, affine), numbers(*SHAPE, 3)
    data[0, 0, 0, 0] = np.nan
    write_map(path, data, grid)
    np.testing.assert_array_equal(read_map(path, grid, ndim=4), data)
    header = nib.load(path).header
    assert header.get_data_dtype() == np.float32
    assert (int(header["sform_code"]), int(header["qform_code"])) == (1, 1)
    assert header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(header.get_qform(), affine, atol=1e-4)
    stored = np.frombuffer(gzip.decompress(path.read_bytes()), header.template_dtype, 1)
    assert (stored["scl_slope"], stored["scl_inter"]) == (1, 0)
    assert [p.name for p in path.parent.iterdir()] == ["fa.nii.gz"]


def test_masks_are_bytes(tmp_path):
    mask = numbers(*SHAPE) > 0
    write_map(tmp_path / "mask.nii.gz", mask, Grid(SHAPE, LAS))
    image = nib.load(tmp_path / "mask.nii.gz")
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), mask)


def test_equal_content_gives_equal_bytes(tmp_path):
    data, grid = numbers(*SHAPE), Grid(SHAPE, OBLIQUE)
    write_map(tmp_path / "one.nii.gz", data, grid)
    write_map(tmp_path / "other.nii.gz", np.asfortranarray(data), grid)
    one, other = (Path(tmp_path / f"{name}.nii.gz").read_bytes() for name in ("one", "other"))
    assert one == other
    assert one[4:8] == bytes(4)  # gzip's time stamp


def test_values_that_do_not_fit_the_type_or_the_grid(tmp_path):
    path, grid = tmp_path / "a.nii.gz", Grid(SHAPE, LAS)
    with pytest.raises(ValueError, match="do not fit uint8"):
        write_map(path, np.full(SHAPE, 300), grid, dtype=np.uint8)
    with pytest.raises(ValueError, match="does not fit the grid"):
        write_map(path, np.zeros((7, 6, 5)), grid)
    assert not path.exists()


@pytest.mark.parametrize("portion", [1, 200, 1 << 28])
def test_a_series_is_written_in_portions(tmp_path, monkeypatch, portion):
    monkeypatch.setattr("bids_tract.files.images._PORTION", portion)
    series = np.random.default_rng(0).normal(size=(*SHAPE, 5)).astype(np.float32)
    path = tmp_path / "series.nii.gz"
    write_map(path, series, Grid(SHAPE, LAS))
    image = nib.load(path)
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), series)
    np.testing.assert_array_equal(image.affine, LAS)
    assert (image.dataobj.slope, image.dataobj.inter) == (1, 0)


def test_room_for_a_series(tmp_path):
    place = tmp_path / "series.npy"
    data = make_series(place, (2, 3, 4, 5))
    data[...] = 7
    assert np.load(place).shape == (2, 3, 4, 5)
    assert place.stat().st_blocks * 512 >= data.nbytes
    with pytest.raises(OutputError):
        make_series(place / "series.npy", (2, 3, 4, 5))  # in a file, which is no folder
