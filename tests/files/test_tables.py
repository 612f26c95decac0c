from __future__ import annotations

import re

import numpy as np
import pytest

from bids_tract.errors import DataError, MissingInputError, OutputError
from bids_tract.files.tables import Matrix, read_matrix, read_table, write_matrix, write_table


def test_a_table_as_bids_has_them(tmp_path):
    path = tmp_path / "a.tsv"
    write_table(
        path,
        {
            "name": ["sub-01", "sub-02", None],
            "mm": np.array([1.0, np.nan, 1 / 3]),
            "count": np.array([1, 2, 3]),
        },
    )
    assert path.read_text() == (
        "name\tmm\tcount\nsub-01\t1\t1\nsub-02\tn/a\t2\nn/a\t0.333333\t3\n"
    )


def test_columns_of_different_length_are_a_fault_of_the_program(tmp_path):
    with pytest.raises(ValueError, match="shorter"):
        write_table(tmp_path / "a.tsv", {"a": [1, 2], "b": [1]})
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_table(tmp_path / "file" / "a.tsv", {"a": [1]})


def test_rows_are_read_by_the_names_of_their_columns(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes("\ufeffname\tage \r\nä b\t 3\r\n\r\n\tn/a\r\nshort\r\n".encode())
    assert [*read_table(path)] == [
        {"name": "ä b", "age": "3"},
        {"name": "", "age": "n/a"},
        {"name": "short"},
    ]


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "a.tsv"
    write_table(path, {"a": [1, None], "b": ["x", "y z"]})
    assert [*read_table(path)] == [{"a": "1", "b": "x"}, {"a": "n/a", "b": "y z"}]


def test_rows_come_before_the_end_was_read(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_bytes(b"a\n1\n" + b"2\n" * 100_000 + b"\xff\n")
    rows = read_table(path)
    assert next(rows) == {"a": "1"}
    with pytest.raises(DataError, match=r"a\.tsv is not a UTF-8 text file"):
        list(rows)


def test_a_table_that_is_not_there_or_empty(tmp_path):
    with pytest.raises(MissingInputError):
        [*read_table(tmp_path / "a.tsv")]
    (tmp_path / "b.tsv").write_bytes(b"")
    with pytest.raises(DataError, match="empty"):
        [*read_table(tmp_path / "b.tsv")]
    (tmp_path / "c.tsv").write_text("\n\n")
    assert [*read_table(tmp_path / "c.tsv")] == []


def matrix_file(folder, text):
    path = folder / "sub-01_meas-count_relmat.dense.tsv"
    path.write_text(text)
    return path


def test_a_matrix_is_read_as_it_was_written(tmp_path):
    values = np.array([[0.0, 1 / 3, np.nan], [12345678.0, -2.0, 1e-9], [1.0, 0.0, 0.5]])
    path = tmp_path / "a_relmat.dense.tsv"
    write_matrix(path, Matrix(("left one", "2", "c"), values))
    assert path.read_text().splitlines()[:2] == ["left one\t2\tc", "0\t0.333333\tn/a"]
    found = read_matrix(path)
    assert found.names == ("left one", "2", "c")
    np.testing.assert_allclose(found.values, values, rtol=5e-6)


def test_a_matrix_as_other_tools_write_it(tmp_path):
    found = read_matrix(matrix_file(tmp_path, "a\t b\r\n\r\n0\t1e3 \r\nnan\t2\r\n"))
    assert found.names == ("a", "b")
    np.testing.assert_array_equal(found.values, [[0, 1000], [np.nan, 2]])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "a\tb\n0\t1\n1\n",
            "different lengths: 2 names, and 1 in row 2 below them; expected a line",
        ),
        ("a\tb\n0\t1\t\n1\t0\n", "2 names, and 3 in row 1 below them"),
        (
            "Node\ta\tb\na\t0\t1\nb\t1\t0\n",
            "is not square: 3 names, rows of numbers: 2; expected a line",
        ),
        ("0\t1\n1\t0\n", "2 names, rows of numbers: 1"),
        ("a\tb\n", "2 names, rows of numbers: 0"),
        ("a\ta\n0\t1\n1\t0\n", "names a region twice or not at all: 'a'"),
        ("a\t\tb\n0\t1\t2\n1\t0\t2\n1\t0\t2\n", "twice or not at all: ''"),
        ("a\tb\n0\tone\n1\t0\n", "holds 'one'; expected finite numbers, or n/a"),
        ("a\tb\n0\t\n1\t0\n", "holds ''; expected finite numbers"),
        ("a\tb\n0\tinf\n1\t0\n", "holds 'inf'; expected finite numbers"),
        ("a\tb\n0\t-1e999\n1\t0\n", "holds '-1e999'; expected finite numbers"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_matrix_is_named_in_one_sentence(tmp_path, text, said):
    path = matrix_file(tmp_path, text)
    with pytest.raises(DataError, match=re.escape(said)) as error:
        read_matrix(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_matrix_that_is_not_there_or_holds_nothing(tmp_path):
    with pytest.raises(MissingInputError):
        read_matrix(tmp_path / "a.tsv")
    with pytest.raises(DataError, match="empty"):
        read_matrix(matrix_file(tmp_path, ""))
    with pytest.raises(DataError, match="holds no line"):
        read_matrix(matrix_file(tmp_path, "\n\n"))


def test_numbers_of_half_the_precision_are_numbers(tmp_path):
    write_table(tmp_path / "a.tsv", {"a": np.array([np.nan, 1 / 3], np.float32)})
    assert (tmp_path / "a.tsv").read_text() == "a\nn/a\n0.333333\n"
