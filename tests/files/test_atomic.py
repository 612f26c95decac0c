"""Nothing half-written carries a final name."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bids_tract.errors import OutputError
from bids_tract.files.atomic import check_writable, replacing


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_appears_whole_and_only_at_the_end(tmp_path):
    target = tmp_path / "sub-01" / "map.nii.gz"
    with replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        temporary.write_text("whole")
    assert target.read_text() == "whole"
    assert names(target.parent) == ["map.nii.gz"]


def test_the_temporary_file_is_hidden_beside_the_target_with_its_extension(tmp_path):
    with replacing(tmp_path / "map.nii.gz") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.name.startswith(f".{os.getpid()}")
        assert temporary.suffixes[-2:] == [".nii", ".gz"]
        temporary.touch()


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.EIO, "")])
def test_a_failing_body_leaves_the_former_file(tmp_path, error):
    target = tmp_path / "map.txt"
    target.write_text("former")
    with pytest.raises(type(error)), replacing(target) as temporary:
        temporary.write_text("half")
        raise error
    assert target.read_text() == "former"
    assert names(tmp_path) == ["map.txt"]


def test_two_writers_of_one_file_do_not_share_a_temporary_name(tmp_path):
    with replacing(tmp_path / "a") as one, replacing(tmp_path / "a") as other:
        assert one != other
        one.write_text("one")
        other.write_text("other")
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_failures_to_write_are_one_sentence_with_the_folder(tmp_path, number):
    with pytest.raises(OutputError) as caught, replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise OSError(number, os.strerror(number))
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


def test_an_unreadable_input_is_not_taken_for_the_output(tmp_path):
    with pytest.raises(PermissionError), replacing(tmp_path / "out" / "a.txt"):
        raise PermissionError(errno.EACCES, "denied", str(tmp_path / "input.nii"))


def test_a_file_in_the_way_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    for folder in (tmp_path / "out", tmp_path / "out" / "below"):
        with pytest.raises(OutputError, match="cannot be made"):
            check_writable(folder)


def test_a_folder_in_the_way_of_the_file(tmp_path):
    (tmp_path / "a.txt").mkdir()
    with (
        pytest.raises(OutputError, match=r"in the way of a file: .*/a\.txt; move it away"),
        replacing(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_check_writable_makes_the_folder_and_leaves_nothing_in_it(tmp_path):
    check_writable(tmp_path / "a" / "b")
    assert names(tmp_path / "a" / "b") == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_check_writable_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="no permission to write"):
        check_writable(tmp_path)


FULL_DISK = """
from pathlib import Path
from bids_tract.errors import OutputError
from bids_tract.files.atomic import replacing
folder = Path({folder!r})
try:
    with replacing(folder / "big") as temporary:
        temporary.write_bytes(b"x" * 1_000_000)
except OutputError as error:
    print(error)
print(list(folder.iterdir()))
"""


def test_a_disk_that_is_really_full(tmp_path):
    mount = f"mount -t tmpfs -o size=64k tmpfs '{tmp_path}'"
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    try:
        allowed = subprocess.run([*unshare, mount], capture_output=True).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("this machine does not let a test mount a small disk")
    script = FULL_DISK.format(folder=str(tmp_path))
    done = subprocess.run(
        [*unshare, f'{mount} && exec "$0" -c "$1"', sys.executable, script],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.splitlines() == [
        f"no space left in {tmp_path}; free some or choose another output folder",
        "[]",
    ], done.stderr
