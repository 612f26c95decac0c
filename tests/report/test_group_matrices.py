from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pytest

from bids_tract.files.sidecars import read_json
from bids_tract.files.tables import read_matrix, read_table
from bids_tract.report.group import write_group
from bids_tract.report.group_matrices import GroupMatrices, write_group_matrices
from tests.report.networks import KEY, counts, matrix_path, put_matrix, region_names
from tests.report.studies import make_study, typical, write_scan

N = 12
NAMES = "group_track-prob_atlas-DK_meas-count_stat-{}_desc-csd_relmat.dense.tsv"


def matrices(n_scans):
    rng = np.random.default_rng(5)
    return [counts(N, rng) for _ in range(n_scans)]


@pytest.fixture
def study(tmp_path):
    """Nine scans with matrices, of which sub-04 has other regions and sub-06 lacks a pair."""
    bids, out = make_study(tmp_path, 9)
    found = matrices(9)
    found[5][2, 3] = found[5][3, 2] = np.nan
    for number, values in enumerate(found, start=1):
        names = region_names(N)
        if number == 4:
            names = (*names[:-1], "another")
        put_matrix(out, {"sub": f"{number:02d}"}, values, names)
    return bids, out, [values for number, values in enumerate(found, start=1) if number != 4]


def test_mean_and_spread_equal_numpy_s(study):
    bids, out, found = study
    result = write_group(out, bids)
    assert result.errors == []
    kept = np.stack(found)
    for stat, wanted in (
        ("mean", np.nanmean(kept, axis=0)),
        ("std", np.nanstd(kept, axis=0, ddof=1)),
        ("scans", np.isfinite(kept).sum(axis=0)),
    ):
        path = out / NAMES.format(stat)
        assert path in result.paths
        matrix = read_matrix(path)
        assert matrix.names == region_names(N)
        np.testing.assert_allclose(matrix.values, wanted, rtol=1e-5)
        said = json.loads(path.with_name(path.name.replace(".dense.tsv", ".json")).read_text())
        assert said["Scans"] == 8
        assert said["ScansWithOtherRegions"] == ["sub-04"]
        assert (said["Directed"], said["NonNegative"]) == (False, True)
        assert said["RelationshipMeasure"] == "count"
    assert "8 scans; 1 scan has other regions and is left out: sub-04." in result.sentences[-1]


def test_the_page_shows_them(study):
    bids, out, found = study
    text = write_group(out, bids).paths[2].read_text()
    assert "<h3>Connectivity</h3>" in text
    assert text.count('class="matrix') == 2
    assert f'id="matrix-mean-{KEY}"' in text
    assert "1 scan with other regions, left out</summary>" in text
    assert "sub-04</p>" in text
    strongest = np.nanmax(np.nanmean(np.stack(found), axis=0))
    assert f'number">{strongest:,.0f}<' in text or f'number">{strongest:.3g}<' in text


def test_density_is_a_column_of_the_table(study):
    bids, out, found = study
    sparse = np.zeros((N, N))
    sparse[0, 1] = 5  # one triangle, as MRtrix3 writes it
    put_matrix(out, {"sub": "09"}, sparse)
    result = write_group(out, bids)
    rows = {row["participant_id"]: row for row in read_table(result.paths[0])}
    pairs = np.triu_indices(N, 1)
    density = float(rows["sub-01"]["prob_DK_count_csd_density"])
    assert density == pytest.approx(np.mean(found[0][pairs] > 0), rel=1e-5)
    assert float(rows["sub-09"]["prob_DK_count_csd_density"]) == pytest.approx(1 / 66, rel=1e-5)
    assert "prob_DK_count_csd_density" in rows["sub-09"]["outlying"]
    said = json.loads(result.paths[1].read_text())["prob_DK_count_csd_density"]
    assert said["Units"] == "1"
    assert KEY in said["Description"]


def test_a_matrix_that_cannot_be_read_is_said_and_stops_nothing(study):
    bids, out, found = study
    matrix_path(out, {"sub": "09"}).write_text("a\tb\n0\t1\n")
    result = write_group(out, bids)
    (error,) = result.errors
    assert error.startswith("it is not in the mean matrix: ")
    assert "sub-09" in error
    np.testing.assert_allclose(
        read_matrix(out / NAMES.format("mean")).values,
        np.nanmean(np.stack(found[:-1]), axis=0),
        rtol=1e-5,
    )
    rows = {row["participant_id"]: row for row in read_table(result.paths[0])}
    assert rows["sub-09"]["prob_DK_count_csd_density"] == "n/a"


def test_a_matrix_without_a_scan_is_a_scan_that_was_not_measured(study):
    bids, out, _ = study
    put_matrix(out, {"sub": "09", "acq": "b"}, matrices(1)[0])
    result = write_group(out, bids)
    assert any("sub-09_acq-b was not measured" in error for error in result.errors)
    said = json.loads((out / NAMES.format("mean").replace(".dense.tsv", ".json")).read_text())
    assert said["Scans"] == 9


def test_a_study_without_matrices_has_no_trace_of_them(tmp_path):
    bids, out = make_study(tmp_path, 6)
    result = write_group(out, bids)
    assert [path.name for path in out.glob("group*relmat*")] == []
    assert "Connectivity" not in result.paths[2].read_text()
    assert "density" not in result.paths[0].read_text().split("\n")[0]


def test_threads_change_nothing(study):
    bids, out, _ = study

    def files(n_threads):
        paths = write_group(out, bids, n_threads=n_threads).paths
        return [path.read_bytes() for path in paths if path.name != "group.html"]

    assert files(1) == files(4)


def test_the_regions_of_most_scans_are_taken_whoever_comes_first(tmp_path):
    errors: list[str] = []
    group = GroupMatrices(errors)
    values = matrices(9)
    lists = ["x", "y", "z", "z", "v", "w", "u", "z", "y"]  # u is one list too many
    for number, (own, one) in enumerate(zip(lists, values, strict=True)):
        path = put_matrix(tmp_path, {"sub": str(number)}, one, (own, *region_names(N)[1:]))
        group.add(f"sub-{number}", {KEY: path})
    (found,) = group.finish()
    assert found.mean.names[0] == "z"
    assert found.labels == ["sub-2", "sub-3", "sub-7"]
    assert found.left_out == [f"sub-{number}" for number in (0, 1, 4, 5, 6, 8)]
    np.testing.assert_allclose(found.mean.values, np.mean(values[2:4] + values[7:8], axis=0))


def test_one_scan_has_no_spread(tmp_path):
    group = GroupMatrices([])
    path = put_matrix(tmp_path, {"sub": "1"}, matrices(1)[0])
    group.add("sub-1", {KEY: path})
    (found,) = group.finish()
    assert np.isnan(found.spread.values).all()
    np.testing.assert_array_equal(found.mean.values, matrices(1)[0])


def test_directions_and_signs_are_told_and_no_map_of_scans_where_none_lacks_a_pair(tmp_path):
    group = GroupMatrices([])
    values = np.array([[0.0, -1, 2], [3, 0, 1], [1, 1, 0]])
    for number in (1, 2):
        path = put_matrix(tmp_path, {"sub": str(number)}, number * values)
        group.add(f"sub-{number}", {KEY: path})
    paths = write_group_matrices(tmp_path, group.finish())
    stats = ("mean", "std")
    assert [path.name for path in paths[::2]] == [NAMES.format(stat) for stat in stats]
    said = dict(zip(stats, map(read_json, paths[1::2]), strict=True))
    assert [said[stat]["Directed"] for stat in stats] == [True, True]
    assert [said[stat]["NonNegative"] for stat in stats] == [False, True]
    np.testing.assert_allclose(read_matrix(paths[0]).values, 1.5 * values)


def test_memory_does_not_grow_with_the_scans(tmp_path):
    rng = np.random.default_rng(0)
    paths = [put_matrix(tmp_path, {"sub": str(i)}, counts(60, rng)) for i in range(4)]

    def peak(n_scans):
        group = GroupMatrices([])
        tracemalloc.start()
        for number in range(n_scans):
            group.add("sub-1", {KEY: paths[number % 4]})
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    assert peak(40) - peak(4) < 60 * 60 * 8  # not one matrix more


def test_scans_with_results_count_as_before(tmp_path):
    """A matrix alone makes no results: the maps of such a scan are not looked for."""
    bids, out = make_study(tmp_path, 1)
    write_scan(out, {"sub": "02"}, typical(np.random.default_rng(0)))
    put_matrix(out, {"sub": "02", "acq": "b"}, matrices(1)[0])
    rows = [*read_table(write_group(out, bids).paths[0])]
    assert [row["acq"] for row in rows] == ["n/a", "n/a", "b"]
    assert rows[2]["brain_volume"] == "n/a"


def test_a_direction_that_is_said_stays_in_mean_and_spread(tmp_path):
    group = GroupMatrices([])
    values = np.array([[0.0, 1, 0], [0, 0, 2], [0, 0, 0]])
    for number in (1, 2):
        path = put_matrix(tmp_path, {"sub": str(number)}, number * values)
        path.with_name(path.name.replace(".dense.tsv", ".json")).write_text('{"Directed": true}')
        group.add(f"sub-{number}", {KEY: path})
    (found,) = group.finish()
    assert found.mean.directed and found.spread.directed
    np.testing.assert_allclose(found.mean.values, 1.5 * values)
    assert not np.tril(found.spread.values).any()
