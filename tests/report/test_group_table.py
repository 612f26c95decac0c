from __future__ import annotations

import json

import numpy as np

from bids_tract.files.tables import read_table
from bids_tract.names import run_label
from bids_tract.report.group_records import Covariates
from bids_tract.report.group_scans import ScanResult, read_participant
from bids_tract.report.group_table import Table, Texts
from tests.report.studies import PROB, plant, typical, write_scan


def filled(folder, n=9):
    rng = np.random.default_rng(3)
    table, measures = Table(), {}
    for number in range(1, n + 1):
        sub = f"{number:02d}"
        measures[f"sub-{sub}"] = typical(rng)
        plant(number, measures[f"sub-{sub}"])
        write_scan(folder, {"sub": sub, "dir": "AP"}, measures[f"sub-{sub}"])
        for scan in read_participant(folder, f"sub-{sub}", {}, ()):
            table.add(scan)
    table.compare()
    return table, measures


COVARIATES = Covariates(
    ["age", "status"],
    {"sub-01": ("33", "well"), "sub-02": ("",)},
    {"age": {"Description": "Age.", "Units": "year"}},
)


def test_the_table_equals_what_was_measured(tmp_path):
    table, measures = filled(tmp_path)
    table.write(tmp_path / "group.tsv", COVARIATES)
    rows = {row["participant_id"]: row for row in read_table(tmp_path / "group.tsv")}
    assert [*rows] == [*measures]
    for sub, one in measures.items():
        tract, row = one["Tractograms"][PROB], rows[sub]
        assert row["dir"] == "AP"
        assert int(row["prob_csd_count"]) == tract["Count"]
        for name, wanted in (
            ("brain_volume", one["Mask"]["Volume"]),
            ("wm_volume", one["Tissue"]["WM"]),
            ("fd_mean", one["Motion"]["MeanFramewiseDisplacement"]),
            ("prob_csd_length_median", tract["Length"]["Median"]),
            ("prob_csd_rejected_too_short", tract["Rejected"]["TOO_SHORT"] / tract["Attempts"]),
            ("wall_time", one["WallTime"]),
        ):
            # Tables hold six digits.
            np.testing.assert_allclose(float(row[name]), wanted, rtol=1e-5)
    assert "prob_csd_count" in rows["sub-07"]["outlying"].split(", ")
    assert [row["age"] for row in rows.values()][:3] == ["33", "n/a", "n/a"]
    assert [row["status"] for row in rows.values()] == ["unknown"] * 9
    assert rows["sub-01"]["participants_status"] == "well"


def test_the_dictionary_has_every_column_and_no_other(tmp_path):
    table, _ = filled(tmp_path)
    table.write(tmp_path / "group.tsv", COVARIATES)
    header = (tmp_path / "group.tsv").read_text().split("\n", 1)[0].split("\t")
    said = json.loads((tmp_path / "group.json").read_text())
    assert [*said] == header
    assert len(set(header)) == len(header)
    rows = [*read_table(tmp_path / "group.tsv")]
    for name, one in said.items():
        assert one["Description"].endswith((".", ")."))
        numbers = all(row[name].replace(".", "").replace("e-", "").isdigit() for row in rows)
        if numbers and name not in (
            "participant_id",
            "shells",
            *("shell_volumes", "shell_directions"),
        ):
            assert one.get("Units") or name in COVARIATES.names, name
    assert said["age"] == {"Description": "Age.", "Units": "year"}
    assert said["participants_status"]["Description"] == "The column status of participants.tsv."
    assert "wrong" in said["gradient_check"]["Levels"]
    statuses = {"complete", "failed", "running", "missing", "unknown"}
    assert {*said["status"]["Levels"]} == statuses


def test_covariates_with_names_of_ours_are_all_kept():
    table = Table()
    table.add(ScanResult("sub-01", {"sub": "01"}, "complete"))
    names = ["status", "participants_status", "age"]
    covariates = Covariates(names, {"sub-01": ("well", "a patient", "33")})
    whole = {name: [*values] for name, (values, _) in table.whole(covariates).items()}
    assert whole["status"] == ["complete"]
    assert whole["participants_participants_status"] == ["well"]
    assert whole["participants_status"] == ["a patient"]
    assert [*whole][-3:] == ["participants_participants_status", "participants_status", "age"]


def test_columns_without_any_value_are_left_out(tmp_path):
    table, _ = filled(tmp_path, 2)
    names = {column.name for column in table.columns()}
    assert "csd_lmax" in names
    assert "csa_lmax" not in names
    assert "session_id" not in table.whole(Covariates())


def test_rows_with_other_columns_keep_their_place():
    table = Table()
    table.add(ScanResult("sub-01", {"sub": "01"}, "failed"))
    table.add(
        ScanResult(
            "sub-02_ses-a", {"sub": "02", "ses": "a"}, "complete",
            values={"snr": 9.0, "software": "v1"},
        )
    )  # fmt: skip
    table.add(ScanResult("sub-03", {"sub": "03"}, "complete"))
    whole = {name: [*values] for name, (values, _) in table.whole(Covariates()).items()}
    assert whole["snr"] == [None, 9.0, None]
    assert whole["software"] == [None, "v1", None]
    assert whole["session_id"] == [None, "ses-a", None]
    assert whole["status"] == ["failed", "complete", "complete"]


def test_the_farthest_outlier_of_a_scan_comes_first(tmp_path):
    table, _ = filled(tmp_path)
    (row,) = [number for number, label in enumerate(table.labels) if label.startswith("sub-07")]
    scores = [abs(one.z) for one in table.outliers[row]]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
    assert table.outliers[row][0].column.name == "prob_csd_count"


def test_texts_that_are_equal_are_kept_once():
    words = ["well", None, "ill", "well", "", None]
    texts = Texts(words)
    assert [*texts] == words
    assert [*texts] == words  # again
    assert len(texts.levels) == 4


def test_numbers_of_a_column_are_whole_where_they_were():
    table = Table()
    for number, value in enumerate((1234567, 0.25, None, 3.0)):
        values = {} if value is None else {"snr": value, "software": f"v{value}"}
        table.add(ScanResult(f"sub-{number}", {"sub": str(number)}, "complete", values=values))
    (snr, software) = table.columns()
    assert [*table.values(snr)] == [1234567, 0.25, None, 3]
    np.testing.assert_array_equal(table.numbers(snr), [1234567, 0.25, np.nan, 3])
    assert [*table.values(software)] == ["v1234567", "v0.25", None, "v3.0"]


def test_labels_of_entities_by_row():
    table = Table()
    for entities in ({"sub": "1", "ses": "a"}, {"sub": "2", "dir": "AP", "x": "y"}, {"sub": "2"}):
        table.add(ScanResult(run_label(entities), entities, "complete"))
    assert table.entity_keys() == ["dir", "x"]
    assert [*table.entity("dir")] == [None, "AP", None]
    assert [*table.entity("ses")] == ["a", None, None]
    assert [*table.subs()] == ["sub-1", "sub-2", "sub-2"]
