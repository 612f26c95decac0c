"""The report of a study: a table with its data dictionary, and a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from bids_tract.errors import BidsTractError, NothingSelectedError
from bids_tract.files.atomic import replacing
from bids_tract.files.sidecars import read_json
from bids_tract.report.group_maps import write_mean_fa
from bids_tract.report.group_page import Finding, group_page
from bids_tract.report.group_records import (
    Covariates,
    Status,
    missing_places,
    participant_folders,
    read_covariates,
    read_statuses,
)
from bids_tract.report.group_scans import ScanResult, read_participant
from bids_tract.report.group_table import Table

TABLE, PAGE = "group_tractography.tsv", "group.html"
# Participants that are read ahead of the row that is being added.
_AHEAD = 64


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
    n_threads: int = 1,
) -> GroupResult:
    """Write ``group_tractography.tsv``, its data dictionary and ``group.html``.

    Reads sidecars and saved measures only, participant by participant; where all scans lie in
    the space of one template, maps of FA as well, whose mean is written.

    Parameters
    ----------
    output_dir : pathlib.Path
        The folder of the participants' results.
    bids_dir : pathlib.Path
        The dataset that they were made from.
    participants_expected : sequence of str, optional
        Labels, with or without ``sub-``, of whom the page is about; all who have a folder in
        either or stand in ``participants.tsv`` by default.
    n_threads : int
        Threads that read files; the result does not depend on it.

    Returns
    -------
    GroupResult

    Raises
    ------
    NothingSelectedError
        There is no result at all, and no run said anything.
    OutputError
        The files cannot be written.

    """
    if not output_dir.is_dir():
        raise NothingSelectedError(
            f"{output_dir} does not exist; run the participant level first, with the same folders"
        )
    study = _Study()
    with ThreadPoolExecutor(max(n_threads, 1)) as pool:
        statuses = read_statuses(output_dir, pool, study.errors)
        study.covariates = read_covariates(bids_dir, study.errors)
        if participants_expected is None:
            everybody = [participant_folders(output_dir), participant_folders(bids_dir)]
            subs = sorted({*statuses, *study.covariates.of}.union(*everybody))
        else:
            subs = sorted({*map(_sub, participants_expected)})
        for scan in _scans(output_dir, subs, statuses, pool):
            study.add(scan)
        study.missing = missing_places(bids_dir, subs, study.covariates, study.present, pool)
        maps, study.maps = write_mean_fa(output_dir, study.measured, pool, study.errors)
    if not len(study.table):
        raise NothingSelectedError(
            f"{output_dir} holds no result of any scan; run the participant level first, with the "
            "same folders"
        )
    study.table.compare()
    target, page = output_dir / TABLE, output_dir / PAGE
    study.table.write(target, study.covariates)
    text = study.page(_name(bids_dir))
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    paths = [target, target.with_suffix(".json"), page, *maps]
    return GroupResult(paths, study.errors, study.sentences())


class _Study:
    """What is gathered of a study, scan by scan."""

    def __init__(self) -> None:
        self.table = Table()
        self.covariates = Covariates()
        self.errors: list[str] = []
        self.maps = ""  # what became of the maps, a sentence
        self.measured: list[dict[str, str]] = []
        self.bad: dict[int, list[str]] = {}
        self.failed: list[tuple[str, str]] = []
        self.missing: dict[str, list[str]] = {}
        self.present: defaultdict[str, list[str]] = defaultdict(list)

    def add(self, scan: ScanResult) -> None:
        """Add a scan."""
        if scan.error:
            self.errors.append(scan.error)
        if scan.bad or scan.error:
            self.bad[len(self.table)] = [*scan.bad, *([scan.error] if scan.error else [])]
        if scan.values:
            self.measured.append(scan.entities)
        if scan.status == "failed":
            self.failed.append((scan.label, scan.reason))
        session = f"ses-{scan.entities['ses']}" if "ses" in scan.entities else ""
        self.present[_sub(scan.entities["sub"])].append(session)
        self.table.add(scan)

    def findings(self) -> list[Finding]:
        """What stands out: what is bad by itself before what differs, most first."""
        found = []
        for row, outliers in enumerate(self.table.outliers):
            bad = self.bad.get(row, [])
            if bad or outliers:
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
        return [*said, self.maps]

    def page(self, name: str) -> str:
        """The page."""
        return group_page(
            name, self.table, self.covariates, self.findings(), self.failed, self.missing,
            [self.maps], self.errors,
        )  # fmt: skip


def _scans(
    output_dir: Path,
    subs: Sequence[str],
    statuses: Mapping[str, Mapping[str, Status]],
    pool: Executor,
) -> Iterator[ScanResult]:
    """The scans of all participants, in order; a few participants are read ahead."""
    pages = {path.name for path in output_dir.glob("sub-*.html")}

    def read(sub: str) -> list[ScanResult]:
        return read_participant(output_dir, sub, statuses.get(sub, {}), pages)

    for start in range(0, len(subs), _AHEAD):
        for scans in pool.map(read, subs[start : start + _AHEAD]):
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
