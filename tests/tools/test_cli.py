from __future__ import annotations

import subprocess
import sys

import pytest

from bids_tract.tools.cli import main


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
