"""The mean of a study's maps, where all lie in the space of one template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path

import numpy as np

from bids_tract.core.types import Float32, Float64
from bids_tract.errors import BidsTractError, DataError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map, write_map
from bids_tract.files.sidecars import write_json
from bids_tract.names import output_path, sidecar_path

# The templates of BIDS whose voxels mean the same place in all people start so; other labels of
# space- (T1w, ACPC, orig) are the participant's own.
_TEMPLATE = "MNI"
# Maps that are in memory at a time.
_AT_ONCE = 4


def common_space(scans: Sequence[Mapping[str, str]]) -> str | None:
    """The label of the template that all scans lie in; None where there is no such."""
    spaces = {entities.get("space", "") for entities in scans}
    (space, *others) = spaces or {""}
    return space if not others and space.startswith(_TEMPLATE) else None


def write_mean_fa(
    output_dir: Path, scans: Sequence[Mapping[str, str]], pool: Executor, errors: list[str]
) -> tuple[list[Path], str]:
    """Write the mean FA of a study, where all scans lie in one template's space.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of results.
    scans : sequence of mapping of str to str
        The entities of the scans that have results.
    pool : concurrent.futures.Executor
        Reads maps, a few at a time.
    errors : list of str
        Takes what could not be read, in sentences; the mean is that of the others.

    Returns
    -------
    paths : list of pathlib.Path
        The map and its sidecar; none where there is no common space or no map.
    sentence : str
        What was done, or why nothing.

    Raises
    ------
    OutputError
        The map cannot be written.

    """
    space = common_space(scans)
    if space is None:
        found = sorted({entities.get("space", "the scanner's") for entities in scans})
        return [], (
            "There is no mean FA of the study: scans lie in spaces of their own "
            f"({', '.join(found)}), not in that of one template."
        )
    paths = [output_dir / output_path("tensor_fa", entities) for entities in scans]
    paths = [path for path in paths if path.is_file()]
    mean = _mean(paths, pool, errors)
    if mean is None:
        return [], f"There is no mean FA of the study: no map of FA in {space} can be read."
    values, grid, count = mean
    target = output_dir / f"group_space-{space}_model-tensor_param-fa_dwimap.nii.gz"
    write_map(target, values.astype(np.float32), grid)
    sentence = f"{target.name} is the mean FA of {count:,} scans in {space}."
    write_json(sidecar_path(target), {"Description": sentence, "Scans": count})
    return [target, sidecar_path(target)], sentence


def _mean(
    paths: Sequence[Path], pool: Executor, errors: list[str]
) -> tuple[Float64, Grid, int] | None:
    """The mean of the maps that can be read, added in their order, and how many these are."""
    grid: Grid | None = None
    total, count = np.zeros(()), 0
    for start in range(0, len(paths), _AT_ONCE):
        batch = paths[start : start + _AT_ONCE]
        if grid is None:
            grid = _first_grid(batch)
            if grid is None:
                errors += [f"{path} cannot be read" for path in batch]
                continue
            total = np.zeros(grid.shape)
        for found in pool.map(_read_or_say, batch, [grid] * len(batch)):
            if isinstance(found, str):
                errors.append(found)
            else:
                total += found
                count += 1
    return (total / count, grid, count) if grid is not None and count else None


def _first_grid(paths: Sequence[Path]) -> Grid | None:
    for path in paths:
        try:
            return read_grid(path)
        except BidsTractError:
            continue
    return None


def _read_or_say(path: Path, grid: Grid) -> Float32 | str:
    try:
        found = read_map(path, grid)
        if not np.isfinite(found).all():
            raise DataError(f"{path} holds values that are no numbers")
    except BidsTractError as error:
        return f"it is not in the mean FA: {error}"
    return found
