"""TRX tractograms: raw arrays in a zip archive (github.com/tee-ar-ex/trx-spec).

Own code on both sides. The writer streams, so that memory does not grow with the number of
streamlines; the reader maps the arrays from within the archive and never opens it for writing.
"""

from __future__ import annotations

import json
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Streamlines
from bids_tract.errors import DataError
from bids_tract.files.atomic import hidden_beside, replacing, writing_in
from bids_tract.files.grids import Grid
from bids_tract.files.present import require_content

_HEADER = "header.json"
_POSITIONS = "positions.3.float32"
_OFFSETS = "offsets.uint64"
_SEED_INDEX = "dps/seed_index.uint32"
_LENGTH = "dps/length_mm.float32"
_MEMBERS = (_POSITIONS, _OFFSETS, _SEED_INDEX, _LENGTH)

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)  # the first that zip knows; equal content, equal bytes
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_POSITION_TYPES = ("float16", "float32", "float64")
# int64 is outside the specification, but widespread: DIPY writes it.
_OFFSET_TYPES = ("uint32", "uint64", "int64")

# What zipfile, json and numpy raise on files that are damaged, cut off or of another kind.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,
    EOFError,
    OSError,
    TypeError,
    ValueError,
)


class TrxWriter:
    """Write a TRX file block by block.

    A context manager. Blocks go to raw files in a hidden folder beside the target; on leaving,
    they are packed (stored, not deflated) and the archive takes its name in one step. When the
    body raises, nothing is left behind.

    Parameters
    ----------
    path : pathlib.Path
        The target, ``.trx``.
    grid : Grid
        The image that the streamlines belong to.

    Raises
    ------
    OutputError
        The folder cannot be written, or the disk is full.

    """

    def __init__(self, path: Path, grid: Grid) -> None:
        self._path = path
        self._grid = grid
        self._folder = hidden_beside(path)
        self._cleanup = ExitStack()
        self._streams: dict[str, IO[bytes]] = {}
        self._n_streamlines = 0
        self._n_points = 0

    def __len__(self) -> int:
        """How many streamlines were appended so far."""
        return self._n_streamlines

    def __enter__(self) -> Self:
        with writing_in(self._path.parent), ExitStack() as cleanup:
            cleanup.callback(shutil.rmtree, self._folder, ignore_errors=True)
            (self._folder / "dps").mkdir(parents=True)
            for name in _MEMBERS:
                stream = cleanup.enter_context((self._folder / name).open("wb"))
                self._streams[name] = stream
            self._put(_OFFSETS, np.zeros(1), "<u8")
            self._cleanup = cleanup.pop_all()
        return self

    def append(self, streamlines: Streamlines) -> None:
        """Add a block of streamlines.

        Raises
        ------
        ValueError
            A streamline has fewer than two points or one that is not finite, which the readers
            of TRX do not cope with; or a seed index does not fit 32 bits. Nothing was added.
        OutputError
            The disk is full.

        """
        _check(streamlines)
        with writing_in(self._path.parent):
            self._put(_POSITIONS, streamlines.points, "<f4")
            self._put(_OFFSETS, streamlines.offsets[1:] + self._n_points, "<u8")
            self._put(_SEED_INDEX, streamlines.seed_index, "<u4")
            self._put(_LENGTH, streamlines.lengths_mm, "<f4")
        self._n_streamlines += len(streamlines)
        self._n_points += len(streamlines.points)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with writing_in(self._path.parent), self._cleanup:
            if kind is None:
                self._pack()

    def _put(self, name: str, values: NDArray[Any], dtype: str) -> None:
        self._streams[name].write(np.ascontiguousarray(values, dtype).data)

    def _pack(self) -> None:
        header = {
            "DIMENSIONS": list(self._grid.shape),
            "VOXEL_TO_RASMM": self._grid.affine.tolist(),
            "NB_VERTICES": self._n_points,
            "NB_STREAMLINES": self._n_streamlines,
        }
        with replacing(self._path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
            archive.writestr(_zip_info(_HEADER), json.dumps(header, indent=2))
            for name in _MEMBERS:
                self._streams[name].close()
                raw = self._folder / name
                info = _zip_info(name)
                info.file_size = raw.stat().st_size  # tells zipfile whether ZIP64 is needed
                with raw.open("rb") as source, archive.open(info, "w") as target:
                    shutil.copyfileobj(source, target, 1 << 20)
                raw.unlink()  # at most one array is on the disk twice


def _zip_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIMESTAMP)
    info.external_attr = 0o644 << 16
    return info


def _check(streamlines: Streamlines) -> None:
    counts = np.diff(streamlines.offsets)
    if streamlines.offsets[0] != 0 or (counts < 2).any():
        raise ValueError("a streamline has fewer than two points")
    if not np.isfinite(streamlines.points).all():
        raise ValueError("a streamline has a point that is not finite")
    seeds = streamlines.seed_index
    if len(seeds) and not 0 <= seeds.min() <= seeds.max() < 2**32:
        raise ValueError("a seed index does not fit 32 bits")


@dataclass(frozen=True, eq=False)
class TrxFile:
    """An opened TRX file; the arrays are read-only maps of the file where it is not deflated.

    Attributes
    ----------
    points : (P, 3) float array
        All points one after the other, RAS+ mm.
    offsets : (T + 1,) integer array
        Streamline t owns ``points[offsets[t]:offsets[t + 1]]``.
    data_per_streamline : dict of str to (T,) or (T, K) array
        What the file holds for each streamline.
    grid : Grid
        The image that the streamlines belong to.

    """

    points: NDArray[np.floating]
    offsets: NDArray[np.integer]
    data_per_streamline: dict[str, NDArray[Any]]
    grid: Grid

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def part(self, first: int, last: int) -> Streamlines:
        """Streamlines `first` to `last` (exclusive), copied to memory as float32.

        A streamline's number stands for its seed index where the file has none.
        """
        offsets = np.array(self.offsets[first : last + 1], np.int64)
        seeds = self.data_per_streamline.get("seed_index")
        return Streamlines(
            np.array(self.points[offsets[0] : offsets[-1]], np.float32),
            offsets - offsets[0],
            np.arange(first, last) if seeds is None else np.array(seeds[first:last], np.int64),
        )

    def blocks(self, n: int = 10_000) -> Iterator[Streamlines]:
        """All streamlines in blocks of at most `n`, one block in memory at a time."""
        for first in range(0, len(self), n):
            yield self.part(first, min(first + n, len(self)))


def open_trx(path: Path) -> TrxFile:
    """Open a TRX file for reading, without reading its arrays.

    Raises
    ------
    DataError, MissingInputError
        The file is not here, is not a TRX archive, or its arrays do not fit its counts.

    """
    require_content(path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(_HEADER))
            affine = np.array(header["VOXEL_TO_RASMM"], np.float64).reshape(4, 4)
            grid = Grid(tuple(header["DIMENSIONS"]), affine)
            n_streamlines, n_points = int(header["NB_STREAMLINES"]), int(header["NB_VERTICES"])
            arrays = {
                info.filename.split(".")[0]: _array(path, archive, info)
                for info in archive.infolist()
                if _is_wanted(info)
            }
        offsets = arrays.pop("offsets").ravel()
        points = arrays.pop("positions")
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except KeyError as error:
        raise _not_trx(path, f"missing: {error.args[0]}") from error
    except _UNREADABLE as error:
        raise _not_trx(path, str(error)) from error
    _check_counts(path, n_streamlines, n_points, points, offsets)
    per_streamline = {name.removeprefix("dps/"): values for name, values in arrays.items()}
    for name, values in per_streamline.items():
        if len(values) != n_streamlines:
            raise _not_trx(path, f"{len(values)} values of {name} for {n_streamlines} streamlines")
    return TrxFile(points, offsets, per_streamline, grid)


def _is_wanted(info: zipfile.ZipInfo) -> bool:
    name = info.filename
    if name.startswith("dps/"):
        return not info.is_dir()
    return name.startswith(("positions.", "offsets."))


def _array(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """One array of an archive, (rows,) or (rows, columns) as its name says."""
    stem, *columns, kind = info.filename.split(".")
    known = {"positions": _POSITION_TYPES, "offsets": _OFFSET_TYPES}
    if kind not in known.get(stem, (kind,)):
        raise DataError(f"{info.filename}: {kind} is not a type that TRX has for {stem}")
    dtype = np.dtype("bool" if kind == "bit" else kind).newbyteorder("<")
    shape: tuple[int, ...] = (-1, *map(int, columns))
    if info.file_size % (dtype.itemsize * int(np.prod(shape[1:], initial=1))):
        raise DataError(f"{info.filename} does not hold a whole number of rows")
    if info.file_size == 0:
        return np.zeros((0, *shape[1:]), dtype)  # the system cannot map nothing
    if info.compress_type != zipfile.ZIP_STORED:
        return np.frombuffer(archive.read(info), dtype).reshape(shape)
    mapped = np.memmap(
        path,
        dtype,
        mode="r",
        offset=_data_offset(path, info),
        shape=info.file_size // dtype.itemsize,
    )
    return mapped.view(np.ndarray).reshape(shape)


def _data_offset(path: Path, info: zipfile.ZipInfo) -> int:
    """Where a member's bytes begin: after its local header, whose length the index lacks."""
    with path.open("rb") as stream:
        stream.seek(info.header_offset)
        signature, name_length, extra_length = _LOCAL_HEADER.unpack(
            stream.read(_LOCAL_HEADER.size)
        )
    if signature != b"PK\x03\x04":
        raise DataError(f"{info.filename} is not where the archive's index says")
    return info.header_offset + _LOCAL_HEADER.size + int(name_length) + int(extra_length)


def _check_counts(
    path: Path,
    n_streamlines: int,
    n_points: int,
    points: NDArray[Any],
    offsets: NDArray[Any],
) -> None:
    if points.shape != (n_points, 3):
        raise _not_trx(path, f"{len(points)} points, the header says {n_points}")
    if len(offsets) != n_streamlines + 1:
        raise _not_trx(
            path, f"{len(offsets)} offsets for {n_streamlines} streamlines, expected one more"
        )
    if offsets[0] != 0 or offsets[-1] != n_points or (offsets[1:] < offsets[:-1]).any():
        raise _not_trx(path, f"offsets that do not run from 0 to {n_points}")


def _not_trx(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} cannot be read as a TRX tractogram ({reason}); it is damaged, cut off or of "
        "another kind; copy or convert it again"
    )
