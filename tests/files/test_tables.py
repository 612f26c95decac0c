from __future__ import annotations

import numpy as np
import pytest

from bids_tract.errors import DataError, MissingInputError, OutputError
from bids_tract.files.tables import read_table, write_table


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
