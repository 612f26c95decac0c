"""JSON sidecars, digests and BIDS URIs."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from bids_tract.errors import DataError, MissingInputError
from bids_tract.files.sidecars import bids_uri, file_digest, read_json, write_json


def test_written_json_keeps_order_and_plain_values(tmp_path):
    path = tmp_path / "a.json"
    write_json(
        path,
        {
            "Zeta": np.float32(0.5),
            "Alpha": np.arange(3, dtype=np.uint8),
            "Flag": np.bool_(True),
            "Path": Path("sub-01") / "dwi",
            "Nested": {1: (np.int64(7), [np.nan, -np.inf])},
            "Unit": "s/mm²",
        },
    )
    text = path.read_text(encoding="utf-8")
    assert text.endswith("}\n")
    assert '\n  "Zeta": 0.5,\n' in text
    assert "s/mm²" in text
    read = read_json(path)
    assert list(read) == ["Zeta", "Alpha", "Flag", "Path", "Nested", "Unit"]
    assert read["Alpha"] == [0, 1, 2]
    assert read["Flag"] is True
    assert read["Path"] == "sub-01/dwi"
    assert read["Nested"] == {"1": [7, [None, None]]}


def test_what_json_cannot_hold_leaves_no_file(tmp_path):
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"object": object()})
    assert list(tmp_path.iterdir()) == []


def test_json_with_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"EchoTime": 0.1}).encode())
    assert read_json(path) == {"EchoTime": 0.1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b'{"EchoTime": 0.1,}', "line 1"),
        (b"[1, 2]", "holds a JSON list"),
        (b"3", "holds a JSON int"),
        (b"\xff\xff", "not a UTF-8 text file"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_broken_json(tmp_path, content, said):
    path = tmp_path / "sub-01_dwi.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_absent_json(tmp_path):
    with pytest.raises(MissingInputError):
        read_json(tmp_path / "none.json")


def test_digest_is_blake2b_of_the_content(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(bytes(range(256)) * 10_000)
    digest = file_digest(path)
    assert len(digest) == 32
    path.write_bytes(bytes(range(256)) * 9_999 + bytes(255) + b"\x00")
    assert file_digest(path) != digest
    path.write_bytes(b"abc")
    try:  # coreutils computes the same function
        other = subprocess.run(["b2sum", "-l", "128", path], capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no b2sum to compare with")
    assert file_digest(path) == other.stdout.split()[0]


def test_uris():
    root = Path("/data/raw")
    path = root / "sub-01" / "dwi" / "sub-01_dwi.nii.gz"
    assert bids_uri(path, root) == "bids::sub-01/dwi/sub-01_dwi.nii.gz"
    assert bids_uri(path, root, "raw") == "bids:raw:sub-01/dwi/sub-01_dwi.nii.gz"
    assert bids_uri(root / "source data" / "a.nii", root) == "bids::source%20data/a.nii"


def test_uri_of_an_unresolved_link_and_of_a_stranger(tmp_path):
    (tmp_path / "raw").mkdir()
    link = tmp_path / "raw" / "a.nii"
    link.symlink_to(tmp_path / "annex" / "objects" / "b.nii")
    assert bids_uri(link, tmp_path / "raw") == "bids::a.nii"
    with pytest.raises(ValueError, match="subpath"):
        bids_uri(tmp_path / "annex", tmp_path / "raw")
