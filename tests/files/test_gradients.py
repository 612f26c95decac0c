"""Gradient tables as scanners, converters and people write them."""

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.gradients import (
    read_b_table,
    read_bvals,
    read_bvecs,
    write_bvals,
    write_bvecs,
)

BVECS = np.array([[0, 0, 0], [1, 0, 0], [0.6, 0.8, 0], [0, 0.6, -0.8]])
ROWS = "0 1 0.6 0\n0 0 0.8 0.6\n0 0 0 -0.8\n"


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "sub-01_dwi.txt"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.mark.parametrize(
    "content",
    [
        "0 1000 2000.5\n",
        "0 1000 2000.5",
        "0\t1000   2000.5  \n\n",
        "0,1000, 2000.5\r\n",
        "0\r\n1000\r\n2000.5\r\n",
        b"\xef\xbb\xbf0 1e3 2.0005e3\n",
    ],
)
def test_bvals_in_every_usual_layout(table, content):
    bvals = read_bvals(table(content))
    assert bvals.dtype == np.float64
    np.testing.assert_array_equal(bvals, [0, 1000, 2000.5])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        (" \n\n", "holds no numbers"),
        ("0 1000 x20", "'x20'"),
        ("0 nan 1000", "'nan'"),
        ("0 inf 1000", "'inf'"),
        ("0 1\n2 3", "2 x 2"),
        (b"\xff\xfe\x00\x01", "not a text file"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ],
)
def test_bvals_that_are_none(table, content, said):
    path = table(content)
    with pytest.raises(DataError) as caught:
        read_bvals(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_bvals_of_another_image(table):
    with pytest.raises(DataError, match=r"sub-01_dwi.txt has 3 values, the image 4 volumes"):
        read_bvals(table("0 1000 1000"), 4)


def test_absent_and_unfetched_files(tmp_path):
    with pytest.raises(MissingInputError, match="does not exist"):
        read_bvals(tmp_path / "none.bval")
    link = tmp_path / "sub-01_dwi.bval"
    link.symlink_to(".git/annex/objects/xx")
    with pytest.raises(MissingInputError, match="datalad get"):
        read_bvals(link)
    link.unlink()
    link.write_text("/annex/objects/MD5E-s12--0123.bval\n")
    with pytest.raises(MissingInputError, match="datalad get"):
        read_bvals(link)


def test_bvecs_in_three_rows(table, caplog):
    np.testing.assert_array_equal(read_bvecs(table(ROWS), 4), BVECS)
    assert not caplog.records


def test_bvecs_in_columns_are_taken_with_a_warning(table, caplog):
    columns = "\n".join(" ".join(map(str, row)) for row in BVECS)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(read_bvecs(table(columns), 4), BVECS)
    assert "one direction a row" in caplog.text


def test_a_square_table_is_three_rows(table, caplog):
    vectors = read_bvecs(table("0 1 0.6\n0 0 0.8\n0 0 0\n"), 3)
    np.testing.assert_array_equal(vectors, BVECS[:3])
    assert not caplog.records


def test_nan_directions_are_kept(table):
    vectors = read_bvecs(table("nan 1\nnan 0\nNaN 0"), 2)
    np.testing.assert_array_equal(vectors, [[np.nan] * 3, [1, 0, 0]])


@pytest.mark.parametrize(
    ("content", "n_volumes", "said"),
    [
        (ROWS, 5, "has 4 directions, the image 5 volumes"),
        ("1 0 0\n0 1 0\n0 0 1\n", 4, "has 3 directions, the image 4 volumes"),
        ("1 0 0\n0 1 0\n", 4, "has 2 directions, the image 4 volumes"),
        ("1 0\n0 1", 2, "2 x 2"),
        ("1 0 0 0\n0 1 0 0", 4, "2 x 4"),
        ("1 0 0\n0 1\n0 0 1", 3, "row 2 has 2 values, row 1 has 3"),
        ("1 0 inf\n0 1 0\n0 0 1", 3, "'inf'"),
        ("", 3, "is empty"),
    ],
)
def test_bvecs_that_do_not_fit(table, content, n_volumes, said):
    with pytest.raises(DataError, match=r"sub-01_dwi.txt") as caught:
        read_bvecs(table(content), n_volumes)
    assert said in str(caught.value)


def test_mrtrix_table(table):
    path = table("# command_history: dwigradcheck\n0 0 0 0\n0.6 0.8 0 1000\nnan nan nan 0\n")
    bvals, vectors = read_b_table(path, 3)
    np.testing.assert_array_equal(bvals, [0, 1000, 0])
    np.testing.assert_array_equal(vectors, [[0, 0, 0], [0.6, 0.8, 0], [np.nan] * 3])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("0 0 1\n", "1 x 3"),
        ("0 0 1 1000\n", "has 1 rows, the image 2 volumes"),
        ("0 0 1 1000\n0 0 1 nan\n", "'nan'"),
    ],
)
def test_mrtrix_table_that_is_none(table, content, said):
    with pytest.raises(DataError, match=said):
        read_b_table(table(content), 2)


finite = st.floats(allow_nan=False, allow_infinity=False)


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 20), st.just(3)), elements=finite))
def test_what_is_written_is_read_exactly(tmp_path_factory, vectors):
    folder = tmp_path_factory.mktemp("tables")
    write_bvecs(folder / "bvec", vectors)
    write_bvals(folder / "bval", vectors[:, 0])
    np.testing.assert_array_equal(read_bvecs(folder / "bvec", len(vectors)), vectors)
    np.testing.assert_array_equal(read_bvals(folder / "bval", len(vectors)), vectors[:, 0])


def test_files_look_as_fsl_writes_them(tmp_path):
    write_bvals(tmp_path / "bval", np.array([0, 1000, 2000.5]))
    write_bvecs(tmp_path / "bvec", BVECS)
    assert (tmp_path / "bval").read_text() == "0 1000 2000.5\n"
    assert (tmp_path / "bvec").read_text() == ROWS
