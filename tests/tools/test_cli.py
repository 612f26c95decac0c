from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bids_tract.tools.boutiques import descriptor
from bids_tract.tools.cli import main

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; from bids_tract.tools.cli import main; sys.exit(main())"


def test_errors_are_one_sentence_with_an_exit_code(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine")
    assert main(["demo", str(tmp_path)]) == 73
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bids_tract_tools: ") and err.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["unknown"], ["demo"]])
def test_what_cannot_be_understood_ends_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: bids_tract_tools" in capsys.readouterr().err


def test_help_does_not_load_the_science():
    code = (
        "import sys\n"
        "from bids_tract.tools.cli import main\n"
        "try: main(['demo', '--help'])\n"
        "except SystemExit: pass\n"
        "assert not {'numpy', 'scipy', 'nibabel', 'dipy', 'nipype'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "usage: bids_tract_tools demo" in result.stdout


def test_kernels_go_where_they_were_asked_for_or_nowhere(tmp_path):
    (tmp_path / "file").write_text("in the way")
    code, said = tool("compile", "--cache", tmp_path / "file" / "cache", HOME=tmp_path)
    assert code == 73
    assert said.splitlines()[-1].endswith("cache cannot be written; choose another folder.")


def test_the_descriptor_is_printed():
    code, said = tool("boutiques")
    assert code == 0
    assert said == descriptor()


def tool(*words: object, **environment: object) -> tuple[int, str]:
    """Run a tool in a process of its own; exit code, and all that it said."""
    changes = {name: str(value) for name, value in environment.items()}
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, words)],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT), **changes},
        check=False,
    )  # fmt: skip
    return result.returncode, result.stdout + result.stderr
