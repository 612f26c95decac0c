"""The group's table: one row a scan, a column for every number behind every check."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from bids_tract.files.sidecars import write_json
from bids_tract.files.tables import write_table
from bids_tract.names import ENTITY_ORDER
from bids_tract.report.group_columns import Column, Value, scan_columns, tractogram_columns
from bids_tract.report.group_outliers import Outlier, outliers
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_scans import ScanResult

_STATUS = {
    "Description": "What the latest run said of the scan.",
    "Levels": {
        "complete": "all outputs were made",
        "failed": "a stage failed; numbers, if any, are those of an earlier run",
        "unknown": "there are outputs, but no run says so",
    },
}
_FINDINGS = {
    "bad_checks": "Checks of the scan that are bad, comma between; see its report.",
    "doubtful_checks": "Checks of the scan that are doubtful, comma between.",
    "outlying": "Columns of this table in which the scan differs from the others (modified "
    "z-score beyond 3.5; volumes, counts, lengths and motion by their logarithm), comma between.",
}


class Table:
    """The rows of a study, kept by column so that thousands of scans stay small."""

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.entities: list[dict[str, str]] = []
        self.pages: list[str] = []
        self.status: list[str] = []
        self.bad: list[str | None] = []
        self.doubtful: list[str | None] = []
        self.tractograms: set[str] = set()
        self.outliers: list[list[Outlier]] = []
        # Verdicts of all scans together, by the name of the check, in the order first met.
        self.verdicts: dict[str, Counter[str]] = {}
        self._values: dict[str, list[Value]] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, scan: ScanResult) -> None:
        """Add a row."""
        for name in scan.values:
            if name not in self._values:
                self._values[name] = [None] * len(self)
        for name, values in self._values.items():
            values.append(scan.values.get(name))
        self.labels.append(scan.label)
        self.entities.append(scan.entities)
        self.pages.append(scan.page)
        self.status.append(scan.status)
        self.bad.append(_joined(scan, "bad"))
        self.doubtful.append(_joined(scan, "doubt"))
        self.outliers.append([])
        self.tractograms.update(scan.tractograms)
        for name, verdict in scan.verdicts.values():
            self.verdicts.setdefault(name, Counter())[verdict] += 1

    def compare(self) -> None:
        """Find the outliers, once all rows are there; the strongest of a scan come first."""
        for column in self.columns():
            for one in outliers(self.values(column), column):
                self.outliers[one.row].append(one)
        for found in self.outliers:
            found.sort(key=lambda one: -abs(one.z))

    def columns(self) -> list[Column]:
        """The columns of measures that have a value, in order."""
        everything = [*scan_columns()]
        for which in sorted(self.tractograms):
            everything += tractogram_columns(which)
        return [column for column in everything if column.name in self._values]

    def values(self, column: Column) -> list[Value]:
        """The values of a column, by row."""
        return self._values[column.name]

    def entity_keys(self) -> list[str]:
        """The entities that some scan has, beside participant and session."""
        found = {key for entities in self.entities for key in entities} - {"sub", "ses"}
        known = [key for key in ENTITY_ORDER if key in found]
        return known + sorted(found.difference(known))

    def whole(self, covariates: Covariates) -> dict[str, tuple[Iterable[object], dict[str, Any]]]:
        """All columns of the file: name -> values, and what the data dictionary says."""
        return dict(self._whole(covariates))

    def _whole(
        self, covariates: Covariates
    ) -> Iterator[tuple[str, tuple[Iterable[object], dict[str, Any]]]]:
        subs = [f"sub-{entities['sub']}" for entities in self.entities]
        yield "participant_id", (subs, {"Description": "The participant."})
        if any("ses" in entities for entities in self.entities):
            labels = [f"ses-{one['ses']}" if "ses" in one else None for one in self.entities]
            yield "session_id", (labels, {"Description": "The session."})
        for key in self.entity_keys():
            labels = [entities.get(key) for entities in self.entities]
            yield key, (labels, {"Description": f"The scan's label of the BIDS entity {key}."})
        yield "status", (self.status, _STATUS)
        for column in self.columns():
            yield column.name, (self.values(column), _described(column))
        named = [", ".join(one.column.name for one in found) or None for found in self.outliers]
        for name, texts in zip(_FINDINGS, (self.bad, self.doubtful, named), strict=True):
            yield name, (texts, {"Description": _FINDINGS[name]})
        taken = {"participant_id", "session_id", "status", *self.entity_keys(), *_FINDINGS}
        taken |= {column.name for column in self.columns()}
        for name in covariates.names:
            texts = [covariates.of.get(sub, {}).get(name, "n/a") or "n/a" for sub in subs]
            said = dict(covariates.described.get(name, {}))
            said.setdefault("Description", f"The column {name} of participants.tsv.")
            yield f"participants_{name}" if name in taken else name, (texts, said)

    def write(self, path: Path, covariates: Covariates) -> None:
        """Write the table, and its data dictionary beside it.

        Raises
        ------
        OutputError
            They cannot be written.

        """
        whole = self.whole(covariates)
        write_table(path, {name: values for name, (values, _) in whole.items()})
        write_json(path.with_suffix(".json"), {name: said for name, (_, said) in whole.items()})


def _joined(scan: ScanResult, verdict: str) -> str | None:
    found = (key for key, (_, given) in scan.verdicts.items() if given == verdict)
    return ", ".join(found) or None


def _described(column: Column) -> dict[str, Any]:
    said: dict[str, Any] = {"LongName": column.full_title, "Description": column.description}
    if column.units:
        said["Units"] = column.units
    if column.levels:
        said["Levels"] = dict(column.levels)
    return said
