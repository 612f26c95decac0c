"""The group's table: one row a scan, a column for every number behind every check."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bids_tract.core.types import Float64
from bids_tract.files.sidecars import write_json
from bids_tract.files.tables import write_table
from bids_tract.names import ENTITY_ORDER
from bids_tract.report.group_columns import (
    Column,
    Value,
    matrix_columns,
    scan_columns,
    tractogram_columns,
)
from bids_tract.report.group_outliers import Outlier, outliers
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_scans import ScanResult

_STATUS = {
    "Description": "What the latest run said of the scan.",
    "Levels": {
        "complete": "all outputs were made",
        "failed": "a stage failed; numbers, if any, are those of an earlier run",
        "running": "a run is under way, or was stopped before it ended; numbers, if any, are "
        "those of an earlier run",
        "missing": "a run says that all outputs were made, but there are none",
        "unknown": "there are outputs, but no run says so",
    },
}
_FINDINGS = {
    "bad_checks": "Checks of the scan that are bad, comma between; see its report.",
    "doubtful_checks": "Checks of the scan that are doubtful, comma between.",
    "outlying": "Columns of this table in which the scan differs from the others (modified "
    "z-score beyond 3.5; volumes, counts, lengths and motion by their logarithm), comma between.",
}


class Texts:
    """A column of texts, of which many are equal: each is kept once.

    Attributes
    ----------
    levels : dict of str or None to int
        The texts, and the number of each.
    codes : array of int
        The number of each row.

    """

    def __init__(self, texts: Iterable[str | None] = ()) -> None:
        self.levels: dict[str | None, int] = {}
        self.codes = array("I")
        for text in texts:
            self.append(text)

    def append(self, text: str | None) -> None:
        """Add a row."""
        self.codes.append(self.levels.setdefault(text, len(self.levels)))

    def __iter__(self) -> Iterator[str | None]:
        levels = [*self.levels]
        return (levels[code] for code in self.codes)


class Table:
    """The rows of a study, kept by column so that thousands of scans stay small.

    Attributes
    ----------
    labels, pages : list of str
        Of the scans: their names, and the files of their reports.
    status, bad, doubtful : Texts
        What runs said; the keys of the checks that are bad or doubtful, comma between.
    tractograms, matrices : set of str
        Kinds that some scan has.
    outliers : dict of int to list of Outlier
        By row, once rows are compared; the strongest first.
    verdicts : dict of str to Counter
        Of all scans together, by the name of the check, in the order first met.

    """

    def __init__(self) -> None:
        self.labels: list[str] = []
        self.pages: list[str] = []
        self.status, self.bad, self.doubtful = Texts(), Texts(), Texts()
        self.tractograms: set[str] = set()
        self.matrices: set[str] = set()
        self.outliers: dict[int, list[Outlier]] = {}
        self.verdicts: dict[str, Counter[str]] = {}
        self._keys: set[str] = set()
        # A row holds the numbers of the columns that were met so far: few large blocks that grow
        # would leave holes in memory.
        self._places: dict[str, int] = {}
        self._numbers: list[array[float]] = []
        self._texts: dict[str, Texts] = {}

    def __len__(self) -> int:
        return len(self.labels)

    def add(self, scan: ScanResult) -> None:
        """Add a row."""
        for name, value in scan.values.items():
            if isinstance(value, str):
                if name not in self._texts:
                    self._texts[name] = Texts([None] * len(self))
            else:
                self._places.setdefault(name, len(self._places))
        for name, texts in self._texts.items():
            found = scan.values.get(name)
            texts.append(found if isinstance(found, str) else None)
        numbers = (scan.values.get(name) for name in self._places)
        self._numbers.append(
            array("d", [one if isinstance(one, int | float) else math.nan for one in numbers])
        )
        self.labels.append(scan.label)
        self.pages.append(scan.page)
        self.status.append(scan.status)
        self.bad.append(_joined(scan, "bad"))
        self.doubtful.append(_joined(scan, "doubt"))
        self.tractograms.update(scan.tractograms)
        self.matrices.update(scan.matrices)
        self._keys.update(scan.entities)
        for name, verdict in scan.verdicts.values():
            self.verdicts.setdefault(name, Counter())[verdict] += 1

    def compare(self) -> None:
        """Find the outliers, once all rows are there; the strongest of a scan come first."""
        for column in self.columns():
            if column.suspect:
                for one in outliers(self.numbers(column), column):
                    self.outliers.setdefault(one.row, []).append(one)
        for found in self.outliers.values():
            found.sort(key=lambda one: -abs(one.z))

    def columns(self) -> list[Column]:
        """The columns of measures that have a value, in order."""
        everything = [*scan_columns()]
        for which in sorted(self.tractograms):
            everything += tractogram_columns(which)
        for which in sorted(self.matrices):
            everything += matrix_columns(which)
        known = {*self._places, *self._texts}
        return [column for column in everything if column.name in known]

    def numbers(self, column: Column) -> Float64:
        """(N,) float64 array: the values of a column of numbers, NaN where a scan has none."""
        return np.fromiter(self._of_rows(column), np.float64, len(self))

    def values(self, column: Column) -> Iterator[Value]:
        """The values of a column, by row; whole numbers as such."""
        if column.name in self._texts:
            yield from self._texts[column.name]
            return
        for value in self._of_rows(column):
            whole = math.isfinite(value) and value.is_integer()
            yield int(value) if whole else value if math.isfinite(value) else None

    def _of_rows(self, column: Column) -> Iterator[float]:
        place = self._places[column.name]
        return (row[place] if place < len(row) else math.nan for row in self._numbers)

    def subs(self) -> Iterator[str]:
        """The participant of each row: ``sub-01``."""
        return (label.split("_", 1)[0] for label in self.labels)

    def entity_keys(self) -> list[str]:
        """The entities that some scan has, beside participant and session."""
        found = self._keys - {"sub", "ses"}
        known = [key for key in ENTITY_ORDER if key in found]
        return known + sorted(found.difference(known))

    def entity(self, key: str) -> Iterator[str | None]:
        """The label of an entity, by row."""
        start = f"{key}-"
        for label in self.labels:
            pairs = (pair for pair in label.split("_") if pair.startswith(start))
            yield next((pair.removeprefix(start) for pair in pairs), None)

    def whole(self, covariates: Covariates) -> dict[str, tuple[Iterable[object], dict[str, Any]]]:
        """All columns of the file: name -> values, and what the data dictionary says."""
        return dict(self._whole(covariates))

    def _whole(
        self, covariates: Covariates
    ) -> Iterator[tuple[str, tuple[Iterable[object], dict[str, Any]]]]:
        yield "participant_id", (self.subs(), {"Description": "The participant."})
        if "ses" in self._keys:
            sessions = (f"ses-{one}" if one else None for one in self.entity("ses"))
            yield "session_id", (sessions, {"Description": "The session."})
        for key in self.entity_keys():
            said = {"Description": f"The scan's label of the BIDS entity {key}."}
            yield key, (self.entity(key), said)
        yield "status", (self.status, _STATUS)
        for column in self.columns():
            yield column.name, (self.values(column), _described(column))
        named = (
            ", ".join(one.column.name for one in self.outliers.get(row, ())) or None
            for row in range(len(self))
        )
        findings: tuple[Iterable[object], ...] = (self.bad, self.doubtful, named)
        for name, texts in zip(_FINDINGS, findings, strict=True):
            yield name, (texts, {"Description": _FINDINGS[name]})
        for name, called in self.covariate_names(covariates).items():
            said = dict(covariates.described.get(name, {}))
            said.setdefault("Description", f"The column {name} of participants.tsv.")
            yield called, (covariates.values(name, self.subs()), said)

    def covariate_names(self, covariates: Covariates) -> dict[str, str]:
        """What each covariate is called in the file, where no two columns have one name."""
        own = {"participant_id", "session_id", "status", *self.entity_keys(), *_FINDINGS}
        own |= {column.name for column in self.columns()}
        found = {name: name for name in covariates.names if name not in own}
        taken = own.union(found)
        for name in covariates.names:
            if name in own:
                called = f"participants_{name}"
                while called in taken:
                    called = f"participants_{called}"
                taken.add(called)
                found[name] = called
        return {name: found[name] for name in covariates.names}

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
