"""NIfTI images in, NIfTI images out."""

from __future__ import annotations

import logging
import math
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from nibabel.volumeutils import COMPRESSED_FILE_LIKES, array_from_file
from numpy.typing import DTypeLike, NDArray

from bids_tract.core.types import Float32
from bids_tract.errors import DataError
from bids_tract.files.atomic import replacing, writing_in
from bids_tract.files.grids import Grid, corner_distance
from bids_tract.files.present import require_content

LOGGER = logging.getLogger(__name__)

# What nibabel, gzip and zlib raise on files that are damaged, cut off or of another kind.
_UNREADABLE = (
    ImageFileError,
    HeaderDataError,
    EOFError,
    OSError,
    OverflowError,
    MemoryError,
    ValueError,
    zlib.error,
)
_SFORM_QFORM_TOLERANCE_MM = 1.0
_PIECE = 1 << 20  # bytes of a compressed file unpacked at a time
_PORTION = 1 << 28  # bytes of an image written at a time


def read_shape(path: Path) -> tuple[int, ...]:
    """The shape of an image, from its header alone.

    Axes of length one beyond the third are dropped when there are five or more axes.

    Raises
    ------
    DataError, MissingInputError
        The file is not a readable NIfTI image, or its content is not here.

    """
    return _shape_of(_open(path)[0])


def read_grid(path: Path) -> Grid:
    """The voxel grid of an image, from its header alone.

    The sform counts where it is set, else the qform; a difference between the two is logged.

    Raises
    ------
    DataError, MissingInputError
        The file is not a readable NIfTI image, its content is not here, its orientation is
        unknown (neither sform nor qform), or its grid is not usable (see `Grid`).

    """
    return _grid_of(path, *_open(path))


def read_dwi(path: Path, place: Path) -> tuple[Float32, Grid]:
    """Lay out a diffusion series on the disk so that voxels can be picked from it.

    A whole brain at high resolution does not fit in memory as float32: the values go slice by
    slice from one memory map to another, which the system writes out and drops as it sees fit.

    Parameters
    ----------
    path : pathlib.Path
        The image.
    place : pathlib.Path
        Where the values go: a ``.npy`` file, float32, C order. While it is filled, a compressed
        image takes up its unpacked size in the same folder as well.

    Returns
    -------
    data : (X, Y, Z, N) float32 array
        Signal, a writable memory map of `place`. NaN and infinite voxels of the file are there
        as they are.
    grid : Grid
        Where the voxels lie.

    Raises
    ------
    DataError, MissingInputError
        As `read_grid`; the image is not a 4-D series of real numbers; the file is cut off or
        damaged; or its scaling leaves the range of float32.
    OutputError
        There is no room for it beside `place`.

    """
    image, stored_header = _open(path)
    shape = _shape_of(image)
    if len(shape) != 4:
        raise DataError(f"{path} is {len(shape)}-D (shape {shape}); a DWI series is 4-D")
    grid = _grid_of(path, image, stored_header)
    _check_numbers(path, image, stored_header)
    try:
        with writing_in(place.parent):  # a full disk is not the fault of the image
            stored = _map_stored(image.dataobj, place.parent)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    data = make_series(place, shape)
    # Slices lie scattered in it: what the system reads ahead is not wanted yet and, where memory
    # is short, would be dropped and read again with each of them.
    _advise(data, mmap.MADV_RANDOM)
    _scale(path, image, stored.reshape(shape, order="F"), data)
    _advise(data, mmap.MADV_NORMAL)
    return data, grid


def read_map(path: Path, grid: Grid | None = None, *, ndim: int = 3) -> Float32:
    """Read a map: a mask, tissue fractions, labels or, with `ndim=4`, coefficients.

    Parameters
    ----------
    path : pathlib.Path
        The image.
    grid : Grid, optional
        Where the map must lie.
    ndim : {3, 4}
        The dimensions expected. A 4-D image of one volume counts as 3-D.

    Returns
    -------
    (X, Y, Z) or (X, Y, Z, K) float32 array, C order

    Raises
    ------
    DataError, MissingInputError
        As `read_dwi`; or the map lies on another grid.

    """
    image, stored_header = _open(path)
    shape = _shape_of(image)
    if ndim == 3 and shape[3:] == (1,):
        shape = shape[:3]
    if len(shape) != ndim:
        raise DataError(f"{path} is {len(shape)}-D (shape {shape}); expected {ndim}-D")
    own_grid = _grid_of(path, image, stored_header)
    if grid is not None and not own_grid.matches(grid):
        raise DataError(
            f"{path} lies on another grid: shape {own_grid.shape}, expected {grid.shape}; "
            f"corners up to {grid.distance(own_grid):.3g} mm apart; resample it to the grid "
            "of the DWI"
        )
    return _read_values(path, image, stored_header).reshape(shape)


def write_map(
    path: Path, data: NDArray[Any], grid: Grid, *, dtype: DTypeLike = np.float32
) -> None:
    """Write an image with a header of its own: no scaling, sform = qform = scanner space.

    Equal content gives equal bytes. The file appears whole or not at all.

    Parameters
    ----------
    path : pathlib.Path
        Ends in ``.nii`` or ``.nii.gz``.
    data : (X, Y, Z) or (X, Y, Z, K) array
        Boolean arrays (masks) are stored as uint8, whatever `dtype`.
    grid : Grid
        Where the voxels lie.
    dtype : dtype
        The type stored.

    Raises
    ------
    OutputError
        The file cannot be written.

    """
    if data.shape[:3] != grid.shape:
        raise ValueError(f"an array of shape {data.shape} does not fit the grid {grid.shape}")
    kind = np.dtype(np.uint8 if data.dtype == bool else dtype)
    stored = data.astype(kind, copy=False)
    if kind.kind in "iu" and not np.array_equal(stored, data):
        raise ValueError(f"the values do not fit {kind}")
    # An empty stand-in: the header without the numbers, which may be a memory map.
    image = nib.Nifti1Image(np.broadcast_to(np.zeros((), kind), stored.shape), grid.affine)
    image.set_sform(grid.affine, code=1)
    image.set_qform(grid.affine, code=1)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary, ImageOpener(temporary, "wb") as stream:
        image.update_header()
        image.header.set_slope_inter(1, 0)
        image.header.write_to(stream)
        for part in _portions(stored):
            stream.write(part.tobytes("F"))


def _portions(stored: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """The numbers in the order of the file, some volumes at a time.

    In memory the volumes of a voxel lie together: to fetch one volume alone from the disk is to
    read nearly all of them.
    """
    if stored.ndim == 3:
        yield stored
        return
    count = max(1, _PORTION // max(1, stored[..., 0].nbytes))
    for start in range(0, stored.shape[3], count):
        yield stored[..., start : start + count]


def _open(path: Path) -> tuple[Any, Any]:
    """A NIfTI image whose data are still on disk, and its header exactly as stored.

    nibabel repairs headers when it loads them; the second value shows what there was to repair.
    """
    require_content(path)
    try:
        image = nib.load(path)
        if not isinstance(image, nib.Nifti1Pair):
            raise DataError(f"{path} is not a NIfTI image; convert it to .nii.gz")
        holder = image.file_map.get("header", image.file_map["image"])
        with holder.get_prepare_fileobj("rb") as stream:
            stored_header = type(image.header).from_fileobj(stream, check=False)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    return image, stored_header


def _unreadable(path: Path, error: BaseException) -> DataError:
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return DataError(
        f"{path} cannot be read as a NIfTI image ({reason}); it is damaged, cut off or of "
        "another kind; copy or convert it again"
    )


def _shape_of(image: Any) -> tuple[int, ...]:
    shape = tuple(int(n) for n in image.shape)
    if len(shape) < 5:
        return shape
    return shape[:3] + (tuple(n for n in shape[3:] if n != 1) or (1,))


def _grid_of(path: Path, image: Any, stored_header: Any) -> Grid:
    """The grid of an opened image, with the faults of its header as sentences."""
    shape = image.shape[:3]
    sizes = np.asarray(stored_header["pixdim"][1:4], dtype=np.float64)
    if len(shape) == 3 and not (np.isfinite(sizes).all() and np.all(sizes)):
        raise DataError(
            f"{path} has voxel sizes of {' x '.join(f'{s:g}' for s in sizes)} mm in its header "
            "(pixdim); write the true sizes there"
        )
    try:
        sform, qform = (form(coded=True)[0] for form in (image.get_sform, image.get_qform))
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if sform is None and qform is None:
        raise DataError(
            f"{path} has neither an sform nor a qform, so that its orientation is unknown; "
            "convert it from DICOM again or set them from an image of the same scan"
        )
    try:
        grid = Grid(shape, qform if sform is None else sform)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    if sform is not None and qform is not None:
        distance = corner_distance(grid.shape, sform, qform)
        if distance > _SFORM_QFORM_TOLERANCE_MM:
            LOGGER.warning(
                "%s: sform and qform place corners of the volume %.1f mm apart; the sform is used",
                path,
                distance,
            )
    return grid


def _check_numbers(path: Path, image: Any, stored_header: Any) -> None:
    """Refuse what is not one real number a voxel; say where the scale factor makes no sense."""
    kind = image.dataobj.dtype
    if kind.kind == "c":
        raise DataError(f"{path} holds complex numbers; take the magnitude (part-mag)")
    if kind.kind not in "iuf":
        raise DataError(f"{path} holds {kind} values (colours?); expected one number a voxel")
    scale = float(stored_header["scl_slope"])
    if not math.isfinite(scale):
        LOGGER.warning("%s: the scale factor in the header is %g; none is applied", path, scale)


def _read_values(path: Path, image: Any, stored_header: Any) -> Float32:
    """The scaled values of an opened image, in C order, without needless axes."""
    _check_numbers(path, image, stored_header)
    try:
        stored = _read_stored(image.dataobj).reshape(_shape_of(image), order="F")
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    values = np.empty(stored.shape, np.float32)
    _scale(path, image, stored, values)
    return values


def _read_stored(proxy: Any) -> NDArray[Any]:
    """The numbers as they are on disk, read to the very end of the file."""
    with ImageOpener(proxy.file_like) as stream:
        stored: NDArray[Any] = array_from_file(
            proxy.shape, proxy.dtype, stream, proxy.offset, mmap="r"
        )
        if str(proxy.file_like).endswith(".gz"):
            while stream.read(_PIECE):  # gzip checks its sum only at the end
                pass
    return stored


def _map_stored(proxy: Any, folder: Path) -> NDArray[Any]:
    """A memory map of the numbers as they are on disk, or unpacked into a nameless file."""
    with ImageOpener(proxy.file_like) as stream:
        if not isinstance(stream.fobj, COMPRESSED_FILE_LIKES):
            return _map(proxy, stream.fobj)
        with tempfile.TemporaryFile(dir=folder) as unpacked:  # the map keeps it alive
            room = _end_of(proxy)
            while piece := stream.read(_PIECE):  # to the end, where gzip checks its sum
                unpacked.write(piece[:room])
                room -= min(room, len(piece))
            return _map(proxy, unpacked)


def _end_of(proxy: Any) -> int:
    """The byte after the last number."""
    return int(proxy.offset) + math.prod(map(int, proxy.shape)) * int(proxy.dtype.itemsize)


def _map(proxy: Any, file: Any) -> NDArray[Any]:
    size, expected = file.seek(0, os.SEEK_END), _end_of(proxy)
    if size < expected:
        raise EOFError(f"expected {expected:,} bytes, found {size:,}")
    return np.memmap(file, proxy.dtype, "r", proxy.offset, proxy.shape, order="F")


def make_series(place: Path, shape: tuple[int, ...]) -> Float32:
    """A new ``.npy`` file as a memory map, with room on the disk for all of it.

    Raises
    ------
    OutputError
        There is no room.

    """
    with writing_in(place.parent):
        data = np.lib.format.open_memmap(place, "w+", np.float32, shape)
        # Writing to a map of a file without blocks kills the process when the disk is full.
        with place.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, place.stat().st_size)
    return data


def _advise(data: Float32, advice: int) -> None:
    """Tell the system how a memory map will be used."""
    assert isinstance(data.base, mmap.mmap)
    data.base.madvise(advice)


def _scale(path: Path, image: Any, stored: NDArray[Any], values: Float32) -> None:
    """Scale in float64, keep in float32."""
    slope, inter = float(image.dataobj.slope), float(image.dataobj.inter)
    try:
        with np.errstate(over="raise", invalid="ignore"):
            for k in range(stored.shape[2]):  # slices: little memory, and the cache holds one
                part = stored[:, :, k]
                if (slope, inter) != (1.0, 0.0):
                    part = part.astype(np.float64)
                    part *= slope
                    part += inter
                values[:, :, k] = part
    except FloatingPointError as error:
        raise DataError(
            f"{path} holds values beyond the range of float32 (3.4e38) once scaled by its "
            "header; the data or the scale factor are wrong"
        ) from error
