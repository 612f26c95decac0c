"""The scans of a participant as a group sees them: measures, verdicts, and what runs said."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bids_tract.errors import BidsTractError, DataError
from bids_tract.files.present import is_pointer
from bids_tract.files.sidecars import file_digest, read_json
from bids_tract.names import KINDS, label_entities, parse_name, run_label, sidecar_path
from bids_tract.report.checks import checks
from bids_tract.report.group_columns import Value, scan_columns, tractogram_columns
from bids_tract.report.group_records import Status, labelled_folders
from bids_tract.report.matrices import matrices_by_scan
from bids_tract.report.measures import Measures, measures_path, tractograms
from bids_tract.report.verdicts import Verdict

_MEASURED_AGAIN = "run the participant level with --reports-only to measure it again"
_FOLDERS = sorted({kind.folder for kind in KINDS.values()})
# Why results are missing.
UNFINISHED = "still running, or stopped before it ended"
_DELETED = "said to be complete, but without results"


@dataclass
class ScanResult:
    """One row of the group's table.

    Attributes
    ----------
    label : str
        ``sub-01_ses-1_dir-AP``.
    entities : dict of str to str
        Those of the scan.
    status : str
        ``complete``, ``failed``, ``running``, ``unknown`` where no run said, or ``missing`` where
        a run said ``complete`` and nothing is there.
    reason : str
        Why it failed.
    page : str
        The file name of its report; empty where there is none.
    values : dict of str to value
        By the names of `group_columns`.
    tractograms : tuple of str
        Which it has.
    matrices : dict of str to pathlib.Path
        Its connectivity matrices, by what they are.
    verdicts : dict of str to (str, verdict)
        Name and verdict of each check, by its key.
    bad : list of str
        What is wrong by itself, in sentences.
    error : str
        Why it was not measured.
    missing : str
        Why it has no results, where that is no failure: a reason as `missing_places` has them.

    """

    label: str
    entities: dict[str, str]
    status: str
    reason: str = ""
    page: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    tractograms: tuple[str, ...] = ()
    matrices: dict[str, Path] = field(default_factory=dict)
    verdicts: dict[str, tuple[str, Verdict]] = field(default_factory=dict)
    bad: list[str] = field(default_factory=list)
    error: str = ""
    missing: str = ""


def read_participant(
    output_dir: Path,
    sub: str,
    said: Mapping[str, Status],
    pages: Collection[str],
    sessions: Collection[str] = (),
) -> list[ScanResult]:
    """Read what is saved of a participant's scans; no map, no tractogram and no matrix.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of results.
    sub : str
        ``sub-01``.
    said : mapping of str to Status
        What runs said of the scans, by label.
    pages : collection of str
        Names of the files in the folder of results.
    sessions : collection of str
        Labels of the sessions that are asked for; all, and what lies in none, by default.

    Returns
    -------
    list of ScanResult
        By label. Scans without outputs of which a run said something are among them.

    """
    found: dict[str, ScanResult] = {}
    for folder in _dwi_folders(output_dir / sub, sessions):
        names = [path.name for path in folder.iterdir()]
        measured: dict[str, Measures] = {}
        matrices = matrices_by_scan(names)
        for entities in _scans(names, matrices):
            label = run_label(entities)
            status = said.get(label, Status("unknown"))
            result = ScanResult(label, entities, status.status, status.reason)
            own = matrices.get(label, {})
            result.matrices = {key: folder / name for key, name in own.items()}
            found[label] = result
            try:
                measured[label] = _measures(output_dir, entities, names)
            except BidsTractError as error:
                if status.status == "running":  # files change while it runs
                    result.missing = UNFINISHED
                else:
                    result.error = str(error)
        # A report compares the scans that it shows: those of one folder.
        for label, measures in measured.items():
            others = [one for other, one in measured.items() if other != label]
            _judge(found[label], measures, others)
    for label, status in said.items():
        entities = label_entities(label)
        if label not in found and (not sessions or entities.get("ses") in sessions):
            found[label] = _without_results(label, entities, status)
    for result in found.values():
        session = f"_ses-{result.entities['ses']}" if "ses" in result.entities else ""
        options = (f"{sub}{session}.html", f"{sub}.html")
        result.page = next((page for page in options if page in pages), "")
    return [found[label] for label in sorted(found)]


def _dwi_folders(folder: Path, sessions: Collection[str]) -> Iterator[Path]:
    names = sorted(f"ses-{ses}" for ses in sessions) or ["", *labelled_folders(folder, "ses")]
    places = (folder / name / "dwi" for name in names)
    return (place for place in places if place.is_dir())


def _without_results(label: str, entities: dict[str, str], said: Status) -> ScanResult:
    """A scan that only runs know of."""
    result = ScanResult(label, entities, said.status, said.reason)
    if said.status == "running":
        result.missing = UNFINISHED
    elif said.status == "complete":
        result.status, result.missing = "missing", _DELETED
        result.error = (
            f"{label} is said to be complete, but has no results: run the participant level again"
        )
    return result


def _scans(names: list[str], with_matrices: Iterable[str]) -> list[dict[str, str]]:
    """The entities of the scans that a folder holds something of."""
    found: dict[str, dict[str, str]] = {}
    marks = [name for name in names if name.endswith(("_measures.json", "_desc-brain_mask.json"))]
    for name in sorted([*marks, *(f"{label}_dwi" for label in with_matrices)]):
        parsed = parse_name(name)
        if parsed is not None:
            entities = {key: one for key, one in parsed.entities.items() if key != "desc"}
            found[run_label(entities)] = entities
    return [*found.values()]


def _measures(output_dir: Path, entities: Mapping[str, str], names: list[str]) -> Measures:
    """The saved measures of a scan, where they are those of its files as they are now."""
    path = measures_path(output_dir, entities)
    if path.name not in names:
        raise DataError(f"{run_label(entities)} was not measured; {_MEASURED_AGAIN}")
    measures = read_json(path)
    inputs = measures.get("Inputs")
    if not isinstance(inputs, dict) or not inputs:
        raise DataError(f"{path} does not say what it was taken from; {_MEASURED_AGAIN}")
    place = path.parent.parent
    for name, digest in inputs.items():
        files = [place / folder / name for folder in _FOLDERS if (place / folder / name).is_file()]
        if not files or file_digest(files[0]) != digest:
            raise DataError(f"{name} changed after it was measured; {_MEASURED_AGAIN}")
    measured = measures.get("Files")  # older measures have none
    for name, size in measured.items() if isinstance(measured, dict) else ():
        if any(_changed(place / folder / name, size) for folder in _FOLDERS):
            raise DataError(f"{name} changed after it was measured; {_MEASURED_AGAIN}")
    for sidecar in map(sidecar_path, tractograms(output_dir, entities).values()):
        if sidecar.name not in inputs and _size(sidecar):
            raise DataError(f"{sidecar.name} came after measuring; {_MEASURED_AGAIN}")
    return measures


def _changed(path: Path, size: int) -> bool:
    """Whether a file has another size than when it was measured; not so where it is not here."""
    return _size(path) not in (None, size) and not is_pointer(path)


def _size(path: Path) -> int | None:
    """Bytes of a file; None where it is not here, or is a link to what is not here."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def _judge(result: ScanResult, measures: Measures, others: list[Measures]) -> None:
    """Take the values and verdicts of a scan."""
    tractograms = measures.get("Tractograms", {})
    result.tractograms = tuple(tractograms) if isinstance(tractograms, dict) else ()
    columns = [*scan_columns()]
    for which in result.tractograms:
        columns += tractogram_columns(which)
    values = ((column.name, column.value(measures)) for column in columns)
    result.values = {name: value for name, value in values if value is not None}
    for check in checks(measures, others):
        result.verdicts[check.key] = check.name, check.verdict
        # A table that was corrected is only doubted in the scan, and a fault of the study still.
        corrected = result.values.get("gradient_check") == "wrong" and check.key == "orientation"
        if check.verdict == "bad" or corrected:
            result.bad.append(f"{check.name}: {check.number}. {check.sentence}")
