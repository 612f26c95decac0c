"""The report of a study: a table with its data dictionary, and a page."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from bids_tract.errors import BidsTractError, NothingSelectedError
from bids_tract.files.atomic import remove, replacing
from bids_tract.files.sidecars import read_json
from bids_tract.names import label_entities
from bids_tract.report.group_columns import matrix_columns
from bids_tract.report.group_maps import write_group_maps
from bids_tract.report.group_matrices import GroupMatrices, GroupMatrix, write_group_matrices
from bids_tract.report.group_page import Finding, group_page
from bids_tract.report.group_records import (
    Covariates,
    Statuses,
    few_at_a_time,
    labelled_folders,
    missing_places,
    read_covariates,
    read_statuses,
    shortened,
)
from bids_tract.report.group_scans import ScanResult, read_participant
from bids_tract.report.group_table import Table

TABLE, PAGE = "group_tractography.tsv", "group.html"


@dataclass(frozen=True)
class GroupResult:
    """What became of a group level.

    Attributes
    ----------
    paths : list of pathlib.Path
        What was written.
    errors : list of str
        What could not be read, in sentences; the page says so as well.
    sentences : list of str
        What is to be known: who is missing, what was left out.

    """

    paths: list[Path]
    errors: list[str]
    sentences: list[str]


def write_group(
    output_dir: Path,
    bids_dir: Path,
    participants_expected: Sequence[str] | None = None,
    *,
    sessions: Collection[str] = (),
    n_threads: int = 1,
) -> GroupResult:
    """Write ``group_tractography.tsv``, its data dictionary and ``group.html``.

    Reads sidecars, saved measures and connectivity matrices, participant by participant, of which
    it writes mean and spread (see `group_matrices`); where all scans lie in
    the space of one template, maps of FA and of streamline density as well, whose means are
    written.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of the participants' results.
    bids_dir : pathlib.Path
        The dataset that they were made from.
    participants_expected : sequence of str, optional
        Labels, with or without ``sub-``, of whom the page is about; all who have a folder in
        either or stand in ``participants.tsv`` by default.
    sessions : collection of str
        Labels, without ``ses-``, of the sessions that it is about; all, and what lies in none, by
        default.
    n_threads : int
        Threads that read files; the result does not depend on it.

    Returns
    -------
    GroupResult

    Raises
    ------
    NothingSelectedError
        There is no result of those who are asked for, and no run said anything of them.
    OutputError
        The files cannot be written.

    """
    if not output_dir.is_dir():
        raise NothingSelectedError(
            f"{output_dir} does not exist; run the participant level first, with the same folders"
        )
    study, maps = _read(output_dir, bids_dir, participants_expected, sessions, n_threads)
    if not len(study.table):
        asked = shortened([*map(_sub, participants_expected or ())]) or "any scan"
        where = f" in {shortened([f'ses-{ses}' for ses in sessions])}" if sessions else ""
        raise NothingSelectedError(
            f"{output_dir} holds no result of {asked}{where}; run the participant level first, "
            "with the same folders"
        )
    study.compare(bids_dir)
    study.means = study.matrices.finish()
    matrices = write_group_matrices(output_dir, study.means)
    target, page = output_dir / TABLE, output_dir / PAGE
    study.table.write(target, study.covariates)
    with replacing(page) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.writelines(study.page(_name(bids_dir)))
    paths = [target, target.with_suffix(".json"), page, *maps, *matrices]
    _remove_former(output_dir, paths)
    return GroupResult(paths, study.errors, study.sentences())


def _remove_former(output_dir: Path, paths: Sequence[Path]) -> None:
    """Remove maps and matrices of a former study that this one does not have."""
    for kind in ("dwimap", "relmat"):
        for path in output_dir.glob(f"group_*_{kind}.*"):
            if path not in paths:
                remove(path)


def _read(
    output_dir: Path,
    bids_dir: Path,
    expected: Sequence[str] | None,
    sessions: Collection[str],
    n_threads: int,
) -> tuple[_Study, list[Path]]:
    """Read all that is known of a study; its maps, which cannot be kept, are written at once."""
    study = _Study()
    with ThreadPoolExecutor(max(n_threads, 1)) as pool:
        statuses = read_statuses(output_dir, pool, study.errors)
        known = statuses.subs().union(
            labelled_folders(output_dir, "sub"), labelled_folders(bids_dir, "sub")
        )
        study.covariates = read_covariates(bids_dir, known, study.errors)
        everybody = known.union(study.covariates.of)
        subs = sorted(everybody if expected is None else {*map(_sub, expected)})
        del known, everybody  # what is kept of each participant counts
        for scan in _scans(output_dir, subs, statuses, pool, sessions):
            study.add(scan)
        study.missing |= missing_places(
            bids_dir, subs, study.covariates, study.present(), pool, sessions
        )
        measured = [*map(label_entities, study.measured)]
        maps, study.maps = write_group_maps(
            output_dir, measured, study.tractograms, pool, study.errors
        )
    return study, maps


class _Study:
    """What is gathered of a study, scan by scan."""

    def __init__(self) -> None:
        self.table = Table()
        self.covariates = Covariates()
        self.errors: list[str] = []
        self.maps = ""  # what became of the maps, a sentence
        self.matrices = GroupMatrices(self.errors)
        self.means: list[GroupMatrix] = []
        self.measured: list[str] = []  # labels
        self.tractograms: set[str] = set()
        self.bad: dict[int, list[str]] = {}
        self.failed: list[tuple[str, str]] = []
        self.missing: dict[str, list[str]] = {}

    def add(self, scan: ScanResult) -> None:
        """Add a scan."""
        if scan.error:
            self.errors.append(scan.error)
        if scan.bad or scan.error:
            self.bad[len(self.table)] = [*scan.bad, *([scan.error] if scan.error else [])]
        if scan.values:
            self.measured.append(scan.label)
            self.tractograms.update(scan.tractograms)
        if scan.status == "failed":
            self.failed.append((scan.label, scan.reason))
        if scan.missing:
            self.missing.setdefault(scan.missing, []).append(scan.label)
        found = {"Matrices": self.matrices.add(scan.label, scan.matrices)}
        for key in scan.matrices:
            values = {column.name: column.value(found) for column in matrix_columns(key)}
            scan.values |= {name: value for name, value in values.items() if value is not None}
        self.table.add(scan)

    def compare(self, bids_dir: Path) -> None:
        """Find the outliers, and covariates that could not keep their name."""
        self.table.compare()
        for name, called in self.table.covariate_names(self.covariates).items():
            if called not in (name, f"participants_{name}"):
                self.errors.append(
                    f"{bids_dir / 'participants.tsv'} has columns {name} and participants_{name}, "
                    f"names that {TABLE} needs; {name} is called {called} there: rename it"
                )

    def present(self) -> dict[str, list[str]]:
        """The sessions of each participant that something is known of."""
        found: defaultdict[str, list[str]] = defaultdict(list)
        for sub, session in zip(self.table.subs(), self.table.entity("ses"), strict=True):
            found[sub].append(f"ses-{session}" if session else "")
        return dict(found)

    def findings(self) -> list[Finding]:
        """What stands out: what is bad by itself before what differs, most first."""
        found = []
        for row in {*self.bad, *self.table.outliers}:
            bad, outliers = self.bad.get(row, []), self.table.outliers.get(row, [])
            farthest = max((abs(one.z) for one in outliers), default=0.0)
            finding = Finding(row, bad, [one.sentence() for one in outliers])
            found.append(((-len(bad), -farthest, row), finding))
        return [finding for _, finding in sorted(found, key=itemgetter(0))]

    def sentences(self) -> list[str]:
        """What is to be known of the study, for the log."""
        said = [f"{label} failed: {reason}" for label, reason in self.failed]
        said += [
            f"missing, {reason}: {', '.join(labels)}" for reason, labels in self.missing.items()
        ]
        for one in self.findings():
            label = self.table.labels[one.row]
            said += [f"{label}: {sentence}" for sentence in (*one.bad, *one.differs)]
        return [*said, self.maps, *(one.sentence() for one in self.means)]

    def page(self, name: str) -> Iterator[str]:
        """The page, piece by piece."""
        return group_page(
            name, self.table, self.covariates, self.findings(), self.failed, self.missing,
            self.means, [self.maps], self.errors,
        )  # fmt: skip


def _scans(
    output_dir: Path,
    subs: Sequence[str],
    statuses: Statuses,
    pool: Executor,
    sessions: Collection[str],
) -> Iterator[ScanResult]:
    """The scans of all participants, in order."""
    with os.scandir(output_dir) as entries:
        pages = {one.name for one in entries if one.name.endswith(".html") and one.is_file()}

    def read(sub: str) -> list[ScanResult]:
        return read_participant(output_dir, sub, statuses.of(sub), pages, sessions)

    for scans in few_at_a_time(pool, read, subs):
        yield from scans


def _sub(label: str) -> str:
    return f"sub-{label.removeprefix('sub-')}"


def _name(bids_dir: Path) -> str:
    """The name of the study."""
    try:
        name = read_json(bids_dir / "dataset_description.json").get("Name")
    except BidsTractError:
        name = None
    return str(name or bids_dir.absolute().name)
