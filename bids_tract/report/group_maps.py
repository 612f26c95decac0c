"""The means of a study's maps, where all scans lie in the space of one template."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_tract.core.types import Float32, Float64
from bids_tract.errors import BidsTractError, DataError
from bids_tract.files.atomic import remove
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map, write_map
from bids_tract.files.sidecars import read_json, write_json
from bids_tract.names import density_path, format_name, output_path, run_label, sidecar_path
from bids_tract.report.verdicts import plural

Entities = Mapping[str, str]

# The templates of BIDS whose voxels mean the same place in all people start so; other labels of
# space- (T1w, ACPC, orig) are the participant's own.
_TEMPLATE = "MNI"
# Maps that are in memory at a time.
_AT_ONCE = 4


@dataclass(frozen=True)
class _Mean:
    """A map of the study: the mean over its scans of what one map of each is turned into.

    Attributes
    ----------
    entities : mapping of str to str
        What its name adds to the space.
    meaning : str
        What a voxel holds, for the sidecar.

    """

    entities: Entities
    meaning: str


@dataclass(frozen=True)
class _Subject:
    """One kind of the scans' maps, and the maps of the study that come of it.

    Attributes
    ----------
    words : str
        What it is: "FA".
    path_of : callable
        Where it lies, by the entities of a scan and relative to the folder of results.
    take : callable
        Reads it on a grid, and turns it into what each of `means` is the mean of.
    means : tuple of _Mean
        The maps of the study.
    told : str
        What they are: "mean FA".

    """

    words: str
    path_of: Callable[[Entities], Path]
    take: Callable[[Path, Grid | None], Sequence[Float32]]
    means: tuple[_Mean, ...]
    told: str


def common_space(scans: Sequence[Entities]) -> str | None:
    """The label of the template that all scans lie in; None where there is no such."""
    spaces = {entities.get("space", "") for entities in scans}
    (space, *others) = spaces or {""}
    return space if not others and space.startswith(_TEMPLATE) else None


def write_group_maps(
    output_dir: Path,
    scans: Sequence[Entities],
    tractograms: Collection[str],
    pool: Executor,
    errors: list[str],
) -> tuple[list[Path], str]:
    """Write the maps of a study, where all scans lie in one template's space.

    These are the mean FA and, of each tractogram, the mean density and the share of scans with a
    streamline in the voxel. Maps are read a few at a time and added in the order of the scans.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of results.
    scans : sequence of mapping of str to str
        The entities of the scans that have results.
    tractograms : collection of str
        Which there are, as ``track-prob_desc-csd``.
    pool : concurrent.futures.Executor
        Reads maps.
    errors : list of str
        Takes what could not be read, in sentences; the maps are of the other scans.

    Returns
    -------
    paths : list of pathlib.Path
        The maps and their sidecars; none where there is no common space.
    sentence : str
        What was done, or why nothing.

    Raises
    ------
    OutputError
        A map cannot be written.

    """
    space = common_space(scans)
    if space is None:
        found = sorted({entities.get("space", "the scanner's") for entities in scans})
        return [], (
            "There are no maps of the study: scans lie in spaces of their own "
            f"({', '.join(found)}), not in that of one template."
        )
    paths: list[Path] = []
    told = []
    for subject in [_FA, *map(_density, sorted(tractograms))]:
        found_paths, words = _write(output_dir, space, scans, subject, pool, errors)
        paths += found_paths
        told.append(words)
    return paths, f"Maps of the study in {space}: {'; '.join(told)}."


def _write(
    output_dir: Path,
    space: str,
    scans: Sequence[Entities],
    subject: _Subject,
    pool: Executor,
    errors: list[str],
) -> tuple[list[Path], str]:
    """Write the maps of one subject; their files, and what is said of them."""
    paths = {run_label(one): output_dir / subject.path_of(one) for one in scans}
    there = {label: path for label, path in paths.items() if path.is_file()}
    left_out = {label: "it has no such map" for label in paths if label not in there}
    found = _means(there, subject.take, pool)
    for label, reason in found.failures.items():
        errors.append(f"{label} is not in the study's maps of {subject.words}: {reason}")
    if found.grid is None or not found.count:
        return [], f"none of {subject.words}, for no scan has one that can be read"
    written = []
    for mean, values in zip(subject.means, found.means, strict=True):
        name = format_name({"space": space, **mean.entities}, "dwimap", ".nii.gz")
        target = output_dir / f"group_{name}"
        remove(sidecar_path(target))  # which must not vouch for the new map
        write_map(target, values.astype(np.float32), found.grid)
        said = {
            "Description": f"{mean.meaning}, in {space}.",
            "Units": "1",
            "Scans": found.count,
            "LeftOut": left_out | found.failures,
        }
        write_json(sidecar_path(target), said)
        written += [target, sidecar_path(target)]
    among = f"{found.count:,} of " if found.count < len(scans) else ""
    return written, f"{subject.told} of {among}{plural(len(scans), 'scan')}"


# --- What is averaged ----------------------------------------------------------------------------


def _take_fa(path: Path, grid: Grid | None) -> Sequence[Float32]:
    values = read_map(path, grid)
    if not np.isfinite(values).all():
        raise DataError(f"{path} holds values that are no numbers")
    return (values,)


_FA = _Subject(
    "FA",
    lambda scan: Path(output_path("tensor_fa", scan)),
    _take_fa,
    (_Mean({"model": "tensor", "param": "fa"}, "Mean over scans of FA"),),
    "mean FA",
)


def _take_density(path: Path, grid: Grid | None) -> Sequence[Float32]:
    """Shares of the scan's streamlines, so that scans with more do not weigh more; and where."""
    streamlines = read_json(sidecar_path(path)).get("Streamlines")
    if not isinstance(streamlines, int) or streamlines < 1:
        raise DataError(f"{path} counts no streamline")
    counts = read_map(path, grid)
    return counts / np.float32(streamlines), (counts > 0).astype(np.float32)


def _density(tractogram: str) -> _Subject:
    """The density of the tractograms that are called ``track-prob_desc-csd``."""
    pairs = (pair.partition("-") for pair in tractogram.split("_"))
    labels = {key: label for key, _, label in pairs if label}
    name = {**labels, "param": "density"}

    def path_of(scan: Entities) -> Path:
        folder = Path(output_path("brain_mask", scan)).parent
        return density_path(folder / format_name({**scan, **labels}, "tractogram", ".trx"))

    return _Subject(
        f"streamline density ({tractogram})",
        path_of,
        _take_density,
        (
            _Mean(
                name | {"stat": "mean"},
                "Mean over scans of the share of a scan's streamlines that pass through the voxel",
            ),
            _Mean(
                name | {"stat": "share"},
                "Share of the scans of which at least one streamline passes through the voxel",
            ),
        ),
        f"mean streamline density and share of scans with streamlines ({tractogram})",
    )


# --- Averaging -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Found:
    """Means over the maps that can be read.

    Attributes
    ----------
    grid : Grid or None
        Where they lie: on the grid of the first that can be read.
    count : int
        How many maps are in them.
    means : list of (X, Y, Z) float64 arrays
        Empty where there is no map.
    failures : dict of str to str
        Why the other maps are not, by label.

    """

    grid: Grid | None
    count: int
    means: list[Float64]
    failures: dict[str, str]


def _means(
    paths: Mapping[str, Path],
    take: Callable[[Path, Grid | None], Sequence[Float32]],
    pool: Executor,
) -> _Found:
    """Average maps, added in their order, a few in memory at a time."""
    grid = _first_grid(paths.values())
    totals: list[Float64] = []
    count, failures = 0, dict[str, str]()

    def attempt(path: Path) -> Sequence[Float32] | str:
        try:
            return take(path, grid)
        except BidsTractError as error:
            return str(error)

    labels = [*paths]
    for start in range(0, len(labels), _AT_ONCE):
        some = labels[start : start + _AT_ONCE]
        taken = pool.map(attempt, [paths[label] for label in some])
        for label, values in zip(some, taken, strict=True):
            if isinstance(values, str):
                failures[label] = values
                continue
            totals = totals or [np.zeros(one.shape) for one in values]
            for total, one in zip(totals, values, strict=True):
                total += one
            count += 1
    return _Found(grid, count, [total / count for total in totals], failures)


def _first_grid(paths: Iterable[Path]) -> Grid | None:
    for path in paths:
        try:
            return read_grid(path)
        except BidsTractError:
            continue
    return None
