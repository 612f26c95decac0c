from __future__ import annotations

import json
import shutil
import subprocess
from xml.etree import ElementTree

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bids_tract.errors import DataError
from bids_tract.files.tables import Matrix, write_matrix
from bids_tract.names import run_label
from bids_tract.report.matrices import (
    as_network,
    matrices_by_scan,
    matrix_files,
    matrix_name,
    read_network,
)
from bids_tract.report.matrix_sections import matrix_picture_path
from bids_tract.report.participant import write_report
from tests.report.networks import KEY, counts, matrix_path, put_matrix, region_names
from tests.report.outputs import SCAN, make_outputs

NAMES = ("a", "b", "c")


def test_matrices_are_found_by_scan_and_kind():
    found = matrices_by_scan(
        [
            "sub-01_dir-AP_track-prob_atlas-DK_meas-count_desc-csd_relmat.dense.tsv",
            # As other programs write them: another order, another word, nothing of tracking.
            "sub-01_dir-AP_desc-csd_meas-length_track-prob_atlas-DK_relmat.dense.tsv",
            "sub-01_seg-Schaefer_scale-100_meas-count_relmat.dense.tsv",
            "sub-01_relmat.dense.tsv",
            "sub-01_dir-AP_meas-count_relmat.tsv",
            "sub-01_dir-AP_meas-count_relmat.json",
            "sub-01_dir-AP_dwi.dense.tsv",
            "group_meas-count_relmat.dense.tsv",
        ]
    )
    assert found == {
        "sub-01_dir-AP": {
            KEY: "sub-01_dir-AP_track-prob_atlas-DK_meas-count_desc-csd_relmat.dense.tsv",
            "track-prob_atlas-DK_meas-length_desc-csd":
                "sub-01_dir-AP_desc-csd_meas-length_track-prob_atlas-DK_relmat.dense.tsv",
        },
        "sub-01": {
            "": "sub-01_relmat.dense.tsv",
            "seg-Schaefer_scale-100_meas-count":
                "sub-01_seg-Schaefer_scale-100_meas-count_relmat.dense.tsv",
        },
    }  # fmt: skip


def test_a_scan_has_its_own_matrices_only(tmp_path):
    for scan in ({"sub": "01"}, {"sub": "01", "dir": "AP"}, {"sub": "01", "ses": "1"}):
        assert matrix_files(tmp_path, scan) == {}
        path = put_matrix(tmp_path, scan, np.eye(3))
        assert matrix_files(tmp_path, scan | {"desc": "preproc"}) == {KEY: path}


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (KEY, "count, atlas DK (probabilistic, CSD)"),
        ("seg-Schaefer_scale-100_meas-fa", "fa, atlas Schaefer 100"),
        ("meas-count_desc-mine", "count (mine)"),
        ("track-det_meas-count", "count (deterministic)"),
        ("", "connectivity"),
    ],
)
def test_names_for_people(key, words):
    assert matrix_name(key) == words


@given(st.integers(2, 7), st.integers(0, 1000), st.booleans())
def test_one_triangle_stands_for_both(n, seed, lower):
    rng = np.random.default_rng(seed)
    whole = rng.integers(1, 9, (n, n)).astype(float)
    whole = np.triu(whole) + np.triu(whole, 1).T
    whole[0, 1] = whole[1, 0] = 3.0
    half = np.tril(whole) if lower else np.triu(whole)
    network = as_network(region_names(n), half)
    assert (network.directed, network.completed) == (False, True)
    np.testing.assert_array_equal(network.values, whole)


def test_what_is_not_known_stays_so():
    values = np.array([[0, np.nan, 2], [np.nan, 0, 0], [2, 0, 0.0]])
    assert not as_network(NAMES, values).directed
    network = as_network(NAMES, np.triu(values))
    np.testing.assert_array_equal(network.values, values)
    assert network.density == 1 / 2
    assert as_network(NAMES, np.full((3, 3), np.nan)).density is None
    assert as_network(("a",), np.ones((1, 1))).density is None


def test_a_direction_is_seen_or_said():
    one_way = np.array([[0, 1, 0], [0, 0, 2], [3, 0, 0.0]])
    assert as_network(NAMES, one_way).directed
    assert as_network(NAMES, one_way).density == 3 / 6
    assert as_network(NAMES, one_way, directed=False).directed  # the values say otherwise
    assert as_network(NAMES, np.triu(one_way), directed=True).density == 2 / 6
    assert not as_network(NAMES, np.triu(one_way)).directed
    alike = one_way + one_way.T
    assert as_network(NAMES, alike, directed=True).directed  # it is said, whatever the values
    for factor, directed in ((1 + 1e-6, False), (1.01, True)):
        nearly = alike.copy()
        nearly[0, 1] *= factor
        assert as_network(NAMES, nearly).directed is directed


def test_a_region_that_is_only_reached_is_not_alone():
    values = np.zeros((3, 3))
    values[0, 1] = 4.0
    assert as_network(NAMES, values, directed=True).alone() == ["c"]


def test_the_strongest_pairs_and_the_regions_without_any():
    values = np.diag([9.0, 9, 9, 9])
    values[0, 1] = values[1, 0] = 2.0
    values[1, 3] = values[3, 1] = -5.0
    network = as_network((*NAMES, "d"), values)
    assert [*network.strongest(10)] == [(1, 3), (0, 1)]
    assert [*network.strongest(1)] == [(1, 3)]
    assert network.alone() == ["c"]
    assert network.density == 2 / 6


def test_the_sidecar_is_heard(tmp_path):
    path = put_matrix(tmp_path, SCAN, np.triu(np.ones((3, 3))))
    sidecar = path.with_name(path.name.replace(".dense.tsv", ".json"))
    assert not read_network(path).directed
    sidecar.write_text(json.dumps({"Directed": True}))
    assert read_network(path).directed
    sidecar.write_text(json.dumps({"Directed": "yes"}))
    with pytest.raises(DataError, match="expected true or false"):
        read_network(path)


# --- In the report -----------------------------------------------------------------------------


@pytest.fixture
def report(tmp_path):
    """Writes the page of a scan, and returns what became of it."""
    make_outputs(tmp_path, SCAN, kept=20)
    return lambda: write_report(tmp_path, "sub-01", [SCAN])


def test_a_page_without_matrices_says_nothing_of_them(report):
    text = report().path.read_text()
    assert "Connectivity" not in text
    assert "matrix" not in text.lower().replace("connectivity matri", "")


def test_a_matrix_is_drawn_and_told(report, tmp_path):
    values = counts(20, np.random.default_rng(1))
    values[:, 4] = values[4] = 0
    put_matrix(tmp_path, SCAN, values)
    result = report()
    assert result.errors == []
    text = result.path.read_text()
    assert "<h3>Connectivity</h3>" in text
    assert "count, atlas DK (probabilistic, CSD)" in text
    known = np.triu_indices(20, 1)
    share = f"{100 * np.mean(values[known] != 0):.3g} % of the pairs are connected"
    assert f"20 regions, without a direction; {share}" in text
    assert "1 region is connected with no other: lh-thalamus1;" in text
    rows = text[text.index('<table class="pairs">') :].split("<tr>")[2:12]
    top = np.sort(values[known])[::-1][:10]
    assert [row.split('number">')[1].split("<")[0] for row in rows] == [f"{v:,.0f}" for v in top]
    picture = tmp_path / matrix_picture_path(SCAN, KEY)
    assert picture.name == f"{run_label(SCAN)}_{KEY}_relmat.svg"
    assert picture.parent == tmp_path / "sub-01/figures"
    drawn = ElementTree.parse(picture).getroot()
    assert drawn.get("aria-label").startswith("Connectivity matrix: count, atlas DK")
    texts = {one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")}
    assert {"lh-frontal1", "none", "n/a", "count, logarithmic"} <= texts


def test_a_broken_matrix_is_a_sentence_and_stops_nothing(report, tmp_path):
    put_matrix(tmp_path, SCAN, counts(20, np.random.default_rng(1)))
    broken = matrix_path(tmp_path, SCAN, atlas="other")
    broken.write_text("a\tb\n0\tone\n1\t0\n")
    result = report()
    (error,) = result.errors
    assert f"the matrix {broken.name} could not be made: {broken} holds 'one'" in error
    text = result.path.read_text()
    assert "The matrix sub-01" in text
    assert "20 regions" in text


def test_a_page_stays_small_with_large_matrices(report, tmp_path):
    values = np.random.default_rng(1).random((400, 400))
    values += values.T
    for number in range(5):
        put_matrix(tmp_path, SCAN, values, atlas=f"a{number}")
    result = report()
    assert result.errors == []
    assert result.path.stat().st_size < 5_000_000
    text = result.path.read_text()
    assert text.count('<table class="pairs">') == 5
    assert 0 < text.count('class="matrix"') < 5
    assert "The drawing</a> would make this page too large" in text
    assert len([*(tmp_path / "sub-01/figures").glob("*_relmat.svg")]) == 5


@pytest.mark.skipif(shutil.which("tck2connectome") is None, reason="needs MRtrix3")
def test_a_matrix_of_mrtrix_after_its_lines_have_names(tmp_path):
    """Three cubes of 2 voxels in a row; 5 streamlines join the first two, 2 the last two."""
    labels = np.zeros((9, 3, 3), np.int16)
    for label in (1, 2, 3):
        labels[3 * label - 3 : 3 * label - 1] = label
    nib.save(nib.Nifti1Image(labels, np.eye(4)), tmp_path / "nodes.nii")
    joined = [((0.5, 1, 1), (3.5, 1, 1))] * 5 + [((3.5, 1, 1), (6.5, 1, 1))] * 2
    tracts = nib.streamlines.Tractogram(map(np.array, joined), affine_to_rasmm=np.eye(4))
    nib.streamlines.save(tracts, tmp_path / "a.tck")
    subprocess.run(
        ["tck2connectome", "-quiet", "-nthreads", "0", "a.tck", "nodes.nii", "a.csv"],
        cwd=tmp_path, check=True,
    )  # fmt: skip
    values = np.loadtxt(tmp_path / "a.csv", delimiter=",")
    path = matrix_path(tmp_path, SCAN)
    write_matrix(path, Matrix(NAMES, values))
    network = read_network(path)
    assert network.completed
    np.testing.assert_array_equal(network.values, [[0, 5, 0], [5, 0, 2], [0, 2, 0]])
    assert network.density == 2 / 3
