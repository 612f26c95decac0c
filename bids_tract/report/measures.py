"""What is measured of one scan, once, and kept beside its maps.

The checks of a report and the table of a group need the same numbers. They are taken from the
sidecars and, where no sidecar has them, from the maps and tractograms; the result is a small JSON
file, so that whoever compares a thousand scans reads a thousand small files and no tractogram.
Of each tractogram, the pass over it also leaves a map: how many streamlines pass through a voxel.

Keys of the measures, all but ``Scan``, ``Entities``, ``Inputs`` and ``Files`` absent where not
known:

``Scan``, ``Entities``
    Short name of the scan, and its entities.
``Version``, ``Inputs``
    Of this list of keys; digest of each sidecar that was read, by its name.
``Files``
    Bytes of each map and tractogram that was measured, by its name: one that was replaced or cut
    off beside the same sidecar has another size. Times change where folders are copied.
``Gradients``, ``GradientCheck``
    As in the sidecar of the brain mask: volumes and directions of each shell; the orientation
    check.
``Denoising``, ``GibbsUnringing``, ``Motion``
    As in the sidecar of the corrected series; ``Motion.Framewise`` and ``Motion.Restricted``
    are the displacement of each volume (mm), the latter without what eddy currents may make.
``Mask``
    ``Volume`` (ml), ``Voxels``, ``VoxelVolume`` (mm³), ``Extent`` (mm to the right, front and
    top), ``LeftOut``: bright tissue beside the mask, as a share of it (see `report.brain`).
``Tissue``
    ``WM``, ``GM``, ``CSF`` (ml), ``Source``, ``Registration``.
``Tensor``
    ``MeanFA``, ``MedianFA``, ``MedianMD`` (mm²/s) within the mask, and ``FAHistogram``.
``Models``
    By model: ``Order``, ``Shell`` (s/mm²) and, where there is one, ``ResponseFunction``.
``Seeds``, ``Stop``
    ``Volume`` (ml) of the seed and stop masks; ``Rule``, ``Threshold`` and ``Map`` of the latter.
``Tractograms``
    By ``track-prob_desc-csd``: ``Count``, ``Attempts``, ``Kept``, ``Rejected``, ``Ends``,
    ``Select``, ``MinimumLength``, ``MaximumLength`` (mm), ``StepSize`` (mm), ``AnglePerStep``
    (degrees), ``Criterion`` that ended it, with its ``Threshold`` of a ``Metric`` and that
    ``Map``, ``WallTime`` (s), ``PeakMemoryGB``, ``Streamlines`` (found in the file; absent where
    it cannot be read), ``Length`` (``Mean``, ``Median``, ``Percentile5``, ``Percentile95``,
    ``Longest`` in mm, ``Histogram``), ``Visited`` (``Share`` of the volume ``Of`` what).
``WallTime``, ``PeakMemoryGB``
    Seconds of all stages together; the most memory that one of them held.
``Notes``, ``SoftwareVersions``, ``Errors``
    What the sidecars say; what could not be measured, in sentences.

A histogram has ``Start``, ``Width`` and ``Counts``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np

from bids_tract.core.types import Bool
from bids_tract.errors import BidsTractError, DataError, MissingInputError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map
from bids_tract.files.sidecars import file_digest, read_json, write_json
from bids_tract.files.tables import read_table
from bids_tract.names import KINDS, output_path, parse_name, run_label, sidecar_path
from bids_tract.report.brain import extent_mm, left_out
from bids_tract.report.streamlines import (
    has_density,
    measure_tractogram,
    remove_density,
    write_density,
)

LOGGER = logging.getLogger(__name__)

Measures = dict[str, Any]

_VERSION = 3
_TRACTOGRAM_TYPES = KINDS["tractogram"].extensions
_FA_BINS = 25
_DISPLACEMENTS = {"Framewise": "framewise_displacement", "Restricted": "restricted_displacement"}
# The maps that numbers are taken from; the others are only shown.
_MEASURED = (
    "brain_mask", "dwiref", "confounds", "wm_probseg", "gm_probseg", "csf_probseg",
    "tensor_fa", "tensor_md", "seed_mask", "stop_mask",
)  # fmt: skip
# Where streamlines should come, the best first; a voxel counts as white matter where more than
# half of it is.
_TARGETS = (
    ("wm_probseg", "white matter", 0.5),
    ("stop_mask", "the stop mask", 0.0),
    ("seed_mask", "the seed mask", 0.0),
)


def measures_path(output_dir: Path, entities: Mapping[str, str]) -> Path:
    """Where the measures of a scan lie: ``sub-01/dwi/sub-01_dir-AP_measures.json``."""
    mask = output_path("brain_mask", entities)
    return output_dir / mask.with_name(f"{run_label(entities)}_measures.json")


def scan_files(output_dir: Path, entities: Mapping[str, str]) -> dict[str, Path]:
    """The maps of a scan that are there, by their key in `names.KINDS`; no tractograms."""
    kinds = [key for key, kind in KINDS.items() if not kind.given]
    paths = {key: output_dir / output_path(key, entities) for key in kinds}
    return {key: path for key, path in paths.items() if path.is_file()}


def tractograms(output_dir: Path, entities: Mapping[str, str]) -> dict[str, Path]:
    """The tractograms of a scan, by ``track-prob_desc-csd``; each in one format, TRX if there."""
    folder = (output_dir / output_path("brain_mask", entities)).parent
    found: dict[str, Path] = {}
    for extension in _TRACTOGRAM_TYPES:
        for path in sorted(folder.glob(f"{run_label(entities)}_*_tractogram{extension}")):
            parsed = parse_name(path.name)
            given = {} if parsed is None else dict(parsed.entities)
            own = {key: given.pop(key, "") for key in KINDS["tractogram"].given}
            if given == {key: label for key, label in entities.items() if key != "desc"}:
                found.setdefault("_".join(f"{key}-{own[key]}" for key in own), path)
    return dict(sorted(found.items()))


def measure_scan(output_dir: Path, entities: Mapping[str, str]) -> Measures:
    """Measure one scan, or read what was measured where it still holds.

    The density maps of its tractograms are written beside them; where one is missing, the scan is
    measured again.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of a run's results.
    entities : mapping of str to str
        The scan, as in `names.output_path`.

    Returns
    -------
    dict
        The keys of this module's description. What could not be read, measured or saved is a
        sentence among ``Errors``. Of a scan without outputs nothing is saved.

    """
    maps, tracts = scan_files(output_dir, entities), tractograms(output_dir, entities)
    sidecars = _sidecars(output_dir, entities)
    found = [*sidecars.values(), *map(sidecar_path, tracts.values())]
    taken_from = {
        "Inputs": {path.name: file_digest(path) for path in sorted(found) if _has_content(path)},
        "Files": _sizes([*(maps[key] for key in _MEASURED if key in maps), *tracts.values()]),
    }
    target = measures_path(output_dir, entities)
    known = _still_valid(target, taken_from)
    if known is not None and all(map(has_density, tracts.values())):
        return known
    measures = _Measuring(output_dir, entities, taken_from).measure(maps, tracts, sidecars)
    if not (maps or found):
        return measures
    try:
        write_json(target, measures)
        return read_json(target)  # exactly what later readers get
    except (BidsTractError, OSError) as error:
        measures["Errors"].append(f"{target.name} could not be saved: {error}")
        return measures


def _sizes(paths: Iterable[Path]) -> dict[str, int]:
    """Bytes of files by their names, without links to files that are not here."""
    return {path.name: path.stat().st_size for path in sorted(paths) if path.is_file()}


def _sidecars(output_dir: Path, entities: Mapping[str, str]) -> dict[str, Path]:
    """The sidecars of a scan's maps, also where the map itself was not kept."""
    kinds = [key for key, kind in KINDS.items() if not kind.given]
    paths = {key: sidecar_path(output_dir / output_path(key, entities)) for key in kinds}
    return {key: path for key, path in paths.items() if path.is_file()}


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _still_valid(path: Path, taken_from: Mapping[str, Any]) -> Measures | None:
    """Measures taken from the same sidecars and files, without errors."""
    if not path.is_file():
        return None
    try:
        known = read_json(path)
    except BidsTractError:
        return None
    same = all(known.get(key) == one for key, one in {"Version": _VERSION, **taken_from}.items())
    return known if same and not known.get("Errors") else None


class _Measuring:
    """The measures of one scan while they are gathered: what fails is noted, the rest goes on."""

    def __init__(
        self, output_dir: Path, entities: Mapping[str, str], taken_from: Mapping[str, Any]
    ) -> None:
        self.output_dir = output_dir
        self.errors: list[str] = []
        self.notes: dict[str, None] = {}  # an ordered set
        self.seconds: dict[str, float] = {}
        self.peaks: list[float] = []
        self.versions = ""
        self.found: Measures = {
            "Scan": run_label(entities),
            "Entities": {key: label for key, label in entities.items() if key != "desc"},
            "Version": _VERSION,
            **taken_from,
        }

    def measure(
        self,
        maps: Mapping[str, Path],
        tracts: Mapping[str, Path],
        sidecars: Mapping[str, Path],
    ) -> Measures:
        """Everything; see the description of this module."""
        said = {kind: self._sidecar(path) for kind, path in sidecars.items()}
        for name, take in (
            ("Gradients", lambda: said.get("brain_mask", {}).get("Gradients")),
            ("GradientCheck", lambda: said.get("brain_mask", {}).get("GradientCheck")),
            ("Denoising", lambda: said.get("preproc_dwi", {}).get("Denoising")),
            ("GibbsUnringing", lambda: said.get("preproc_dwi", {}).get("GibbsUnringing")),
            ("Motion", lambda: _motion(said.get("preproc_dwi", {}), maps.get("confounds"))),
            ("Mask", lambda: _mask(maps)),
            ("Tissue", lambda: _tissue(maps, said)),
            ("Tensor", lambda: _tensor(maps)),
            ("Models", lambda: _models(said)),
            ("Seeds", lambda: _volume_of(maps.get("seed_mask"))),
            ("Stop", lambda: _stop(maps.get("stop_mask"), said.get("stop_mask", {}))),
        ):
            self._add(self.found, name, take)
        place = {
            key: value
            for key, value in said.get("brain_mask", {}).items()
            if key == "SpatialReference"
        }
        self._add(self.found, "Tractograms", lambda: self._tractograms(maps, tracts, place))
        self.found |= {
            "WallTime": round(sum(self.seconds.values()), 2) if self.seconds else None,
            "PeakMemoryGB": max(self.peaks, default=None),
            "Notes": [*self.notes],
            "SoftwareVersions": self.versions,
            "Errors": self.errors,
        }
        return {key: value for key, value in self.found.items() if value is not None}

    def _add(self, place: Measures, name: str, take: Callable[[], Any]) -> None:
        """Add a measure; a failure to take it is a sentence and stops no other."""
        try:
            value = take()
        except Exception as error:
            reason = str(error) or type(error).__name__
            self.errors.append(f"{name} could not be measured: {reason}")
            LOGGER.debug("%s: %s", self.found["Scan"], name, exc_info=True)
        else:
            if value:
                place[name] = value

    def _sidecar(self, path: Path) -> Mapping[str, Any]:
        """A sidecar, empty where there is none or it cannot be read."""
        if not path.is_file():
            return {}
        try:
            said = read_json(path)
        except BidsTractError as error:
            self.errors.append(str(error))
            return {}
        notes = said.get("Notes")
        self.notes |= dict.fromkeys(map(str, notes if isinstance(notes, list) else []))
        seconds = said.get("WallTime")
        if is_number(seconds):  # the maps of one stage share their digest
            self.seconds[str(said.get("Digest", path.name))] = seconds
        if is_number(peak := said.get("PeakMemoryGB")):
            self.peaks.append(peak)
        versions = said.get("SoftwareVersions", "")
        if isinstance(versions, Mapping):
            versions = ", ".join(f"{name} {number}" for name, number in versions.items())
        self.versions = str(versions) or self.versions
        return said

    def _tractograms(
        self, maps: Mapping[str, Path], tracts: Mapping[str, Path], place: Mapping[str, Any]
    ) -> Measures:
        """Measures of the tractograms; writes their density maps, with `place` said of them."""
        result: Measures = {}
        if not tracts:
            return result
        grid = _grid(maps)
        targets: dict[str, tuple[Bool, str]] = {}
        for kind, words, above in _TARGETS:
            self._add(targets, kind, partial(_target, maps, grid, kind, words, above))
        for key, path in tracts.items():
            tract = result[key] = _said_of_tract(self._sidecar(sidecar_path(path)))
            other_run = is_of_other_run(self.found.get("Stop", {}), tract)
            fitting = (targets[kind] for kind in targets if kind != "stop_mask" or not other_run)
            try:
                try:
                    found, counts = measure_tractogram(path, grid, next(fitting, None))
                    tract |= found
                finally:  # none of a former tractogram may stay, whatever this one is
                    remove_density(path)
                write_density(
                    self.output_dir, path, counts, grid,
                    streamlines=found["Streamlines"], more=place,
                )  # fmt: skip
            except (BidsTractError, MemoryError, OSError) as error:
                self.errors.append(f"{path.name} could not be measured: {error}")
        return result


def _said_of_tract(sidecar: Mapping[str, Any]) -> Measures:
    """What the sidecar of a tractogram says of its seeds and streamlines, and how it was made."""
    counts = sidecar.get("Counts", {})
    accepted = sidecar.get("StreamlineAcceptanceCriteria", {})
    stepped = sidecar.get("StreamlinePropagation", {})
    ended = sidecar.get("StreamlineTermination", {})
    bound: Mapping[str, Any] = next(iter(ended.get("Anisotropy", ())), {})
    said = {
        "Count": sidecar.get("Count"),
        **{key: counts.get(key) for key in ("Attempts", "Kept", "Rejected", "Ends")},
        **{key: accepted.get(key) for key in ("MinimumLength", "MaximumLength")},
        **{key: stepped.get(key) for key in ("StepSize", "AnglePerStep")},
        "Criterion": ended.get("Criterion"),
        **{key: bound.get(key) for key in ("Threshold", "Metric")},
        "Map": bound.get("Source"),
        **{key: sidecar.get(key) for key in ("Select", "WallTime", "PeakMemoryGB")},
    }
    return {key: value for key, value in said.items() if value is not None}


def _motion(sidecar: Mapping[str, Any], confounds: Path | None) -> Measures:
    motion = dict(sidecar.get("MotionCorrection", {}))
    if confounds is not None:
        rows = [*read_table(confounds)]
        for key, column in _DISPLACEMENTS.items():
            words = [row.get(column) for row in rows]
            moved = [None if word in (None, "", "n/a") else float(word) for word in words]
            if any(one is not None for one in moved):
                motion[key] = moved
    return motion


def _grid(maps: Mapping[str, Path]) -> Grid:
    """Where all images of a scan lie."""
    images = [path for path in maps.values() if path.name.endswith(".nii.gz")]
    if not images:
        raise MissingInputError("there is no map of the scan, on whose grid streamlines count")
    return read_grid(maps.get("brain_mask", images[0]))


def _mask(maps: Mapping[str, Path]) -> Measures:
    if "brain_mask" not in maps:
        return {}
    grid = read_grid(maps["brain_mask"])
    mask = read_map(maps["brain_mask"], grid) > 0
    voxel = abs(float(np.linalg.det(grid.affine[:3, :3])))
    found: Measures = {
        "Voxels": int(mask.sum()),
        "VoxelVolume": voxel,
        "Volume": float(mask.sum()) * voxel / 1000,
    }
    if not mask.any():
        return found
    found["Extent"] = list(extent_mm(mask, grid.affine))
    if "dwiref" in maps:
        found["LeftOut"] = left_out(read_map(maps["dwiref"], grid), mask)
    return found


def _tissue(maps: Mapping[str, Path], said: Mapping[str, Mapping[str, Any]]) -> Measures:
    found: Measures = {}
    for name in ("wm", "gm", "csf"):
        kind = f"{name}_probseg"
        if kind not in maps:
            continue
        sidecar = said.get(kind, {})
        volume = sidecar.get("Volume")
        if volume is None:
            volume = (_volume_of(maps[kind]) or {}).get("Volume")
        found[name.upper()] = volume
        for key, wanted in (("TissueSource", "Source"), ("Registration", "Registration")):
            if key in sidecar:
                found[wanted] = sidecar[key]
    return found


def _tensor(maps: Mapping[str, Path]) -> Measures:
    if not {"tensor_fa", "brain_mask"} <= set(maps):
        return {}
    grid = read_grid(maps["brain_mask"])
    mask = read_map(maps["brain_mask"], grid) > 0
    fa = read_map(maps["tensor_fa"], grid)[mask]
    if fa.size == 0:
        raise DataError(f"{maps['brain_mask']} holds no voxel")
    counts, _ = np.histogram(fa, _FA_BINS, (0.0, 1.0))
    found: Measures = {
        "MeanFA": float(fa.mean()),
        "MedianFA": float(np.median(fa)),
        "FAHistogram": {"Start": 0.0, "Width": 1 / _FA_BINS, "Counts": counts.tolist()},
    }
    if "tensor_md" in maps:
        found["MedianMD"] = float(np.median(read_map(maps["tensor_md"], grid)[mask]))
    return found


def _models(said: Mapping[str, Mapping[str, Any]]) -> Measures:
    found: Measures = {}
    for kind, model in (("csd_fod", "csd"), ("csa_odf", "csa")):
        sidecar = said.get(kind, {})
        encoding = sidecar.get("OrientationEncoding", {})
        one = {
            "Order": encoding.get("SphericalHarmonicsDegree"),
            "Shell": sidecar.get("Model", {}).get("Parameters", {}).get("Shell"),
            "ResponseFunction": sidecar.get("ResponseFunction"),
        }
        if one := {key: value for key, value in one.items() if value is not None}:
            found[model] = one
    return found


def _volume_of(path: Path | None) -> Measures | None:
    """Volume of a mask, or of a tissue by its fractions, in ml."""
    if path is None:
        return None
    grid = read_grid(path)
    voxel = abs(float(np.linalg.det(grid.affine[:3, :3])))
    return {"Volume": float(read_map(path, grid).sum(dtype=np.float64)) * voxel / 1000}


def _stop(path: Path | None, sidecar: Mapping[str, Any]) -> Measures | None:
    if path is None:
        return None
    said = {key: sidecar.get(key) for key in ("Rule", "Threshold", "Map")}
    return {**(_volume_of(path) or {}), **{key: v for key, v in said.items() if v is not None}}


def is_of_other_run(stop: Mapping[str, Any], tract: Mapping[str, Any]) -> bool:
    """Whether a tractogram was made with another stop mask than the one that lies beside it.

    Parameters
    ----------
    stop, tract : mapping
        ``Stop`` and one of the ``Tractograms`` of the measures of a scan.

    """
    if tract.get("Criterion") not in ("threshold", "mask"):  # tissue ends it, and no such mask
        return False
    pairs = (("Criterion", "Rule"), ("Threshold", "Threshold"), ("Map", "Map"))
    return any(tract[key] != stop[own] for key, own in pairs if key in tract and own in stop)


def _target(
    maps: Mapping[str, Path], grid: Grid, kind: str, words: str, above: float
) -> tuple[Bool, str] | None:
    """Voxels of the brain where a map is above a bound, with their name; None without any."""
    if kind not in maps:
        return None
    mask = read_map(maps[kind], grid) > above
    if "brain_mask" in maps:
        mask &= read_map(maps["brain_mask"], grid) > 0
    return (mask, words) if mask.any() else None


def is_number(value: object) -> TypeGuard[float]:
    """Whether a measure is a number that can be reckoned with."""
    return isinstance(value, int | float) and math.isfinite(value)
