from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import settings as budget

from bids_tract import __version__
from bids_tract.cli import main, make_parser, parse
from bids_tract.errors import UsageError
from bids_tract.settings import (
    PRESETS,
    Response,
    Settings,
    Threshold,
    all_options,
    build,
    option_name,
)
from tests.any_settings import any_values

FOLDERS = ("raw", "out", "participant")
ROOT = Path(__file__).parents[1]
# What users of other BIDS apps type, and our own options: arguments, and what they set.
SPELLINGS: list[tuple[str, str, Any]] = [
    ("--participant-label 01 sub-02", "participant_label", ("01", "02")),
    ("--participant_label 01", "participant_label", ("01",)),
    ("--session-label pre ses-post", "session_label", ("pre", "post")),
    ("--session_label pre", "session_label", ("pre",)),
    ("--session-id pre", "session_label", ("pre",)),
    ("--bids-filter-file f.json", "bids_filter_file", "f.json"),
    ("--derivatives a=x y", "derivatives", ("a=x", "y")),
    ("--datasets x", "derivatives", ("x",)),
    ("-d x", "derivatives", ("x",)),
    ("--bids-database-dir db", "bids_database_dir", "db"),
    ("--skip-bids-validation", "skip_bids_validation", True),
    ("--skip_bids_validation", "skip_bids_validation", True),
    ("--skip-bids-validator", "skip_bids_validation", True),
    ("--bvec-convention voxel", "bvec_convention", "voxel"),
    ("--b0-threshold 100", "b0_threshold", 100),
    ("--b0_threshold 100", "b0_threshold", 100),
    ("--shell 3000", "shell", 3000),
    ("--model csa csd", "model", ("csa", "csd")),
    ("--sh-order 6", "sh_order", 6),
    ("--response auto", "response", None),
    ("--response 1.7e-3,3e-4,3e-4,500", "response", Response((1.7e-3, 3e-4, 3e-4), 500)),
    ("--seeding total", "seeding", "total"),
    ("--seeds 8", "seeds", 8),
    ("--select 1000", "select", 1000),
    ("--seed-mask mask.nii.gz", "seed_mask", "mask.nii.gz"),
    ("--seed-mask wm", "seed_mask", "wm"),
    ("--seed-threshold 25%", "seed_threshold", Threshold(25, percent=True)),
    ("--random-seed 7", "random_seed", 7),
    ("--random_seed 7", "random_seed", 7),
    ("--tracking det prob pft", "tracking", ("det", "prob", "pft")),
    ("--step 1", "step_mm", 1),
    ("--step-size 1", "step_mm", 1),
    ("--max-angle 45", "max_angle_deg", 45),
    ("--min-length 10", "min_length_mm", 10),
    ("--max-length 250", "max_length_mm", 250),
    ("--pmf-threshold 0.05", "pmf_threshold", 0.05),
    ("--stopping act", "stopping", "act"),
    ("--stop-mask gfa", "stop_mask", "gfa"),
    ("--stop-threshold 0.15", "stop_threshold", Threshold(0.15)),
    ("--pft-back 3", "pft_back_mm", 3),
    ("--pft-front 2", "pft_front_mm", 2),
    ("--particles 30", "particles", 30),
    ("--format trx trk tck", "format", ("trx", "trk", "tck")),
    ("--nprocs 4", "nprocs", 4),
    ("--nthreads 4", "nprocs", 4),
    ("--n-cpus 4", "nprocs", 4),
    ("--n_cpus 4", "nprocs", 4),
    ("--omp-nthreads 2", "omp_nthreads", 2),
    ("--mem 16G", "mem_gb", 16),
    ("--mem 16000", "mem_gb", 16),
    ("--mem-mb 16000", "mem_gb", 16),
    ("--mem_mb 16000", "mem_gb", 16),
    ("--use-plugin p.yml", "use_plugin", "p.yml"),
    ("--nipype-plugin-file p.yml", "use_plugin", "p.yml"),
    ("--work-dir w", "work_dir", "w"),
    ("-w w", "work_dir", "w"),
    ("--clean-workdir", "clean_workdir", True),
    ("--stop-on-first-crash", "stop_on_first_crash", True),
    ("--reports-only", "reports_only", True),
    ("--skip-reports", "skip_reports", True),
    ("--preprocessed", "preprocessed", True),
    ("--denoise patch2self", "denoise", "patch2self"),
    ("--unring on", "unring", "on"),
    ("--motion rigid", "motion", "rigid"),
    ("--merge-runs", "merge_runs", True),
    ("--bvec-axes j,i-,k", "bvec_axes", "j,i-,k"),
    ("--gradient-check fix", "gradient_check", "fix"),
    ("--write-graph", "write_graph", True),
    ("--resource-monitor", "resource_monitor", True),
    ("--dry-run", "dry_run", True),
    ("--debug", "debug", True),
    ("--notrack", "notrack", True),
]
SECTION_OF = {setting.name: section for section, setting in all_options()}


def value_of(settings: Settings, name: str) -> Any:
    return getattr(getattr(settings, SECTION_OF[name]), name)


# --- Options ------------------------------------------------------------------------------------


def test_nothing_said_gives_the_defaults():
    command = parse(FOLDERS)
    assert command.settings == Settings()
    assert (command.bids_dir, command.output_dir, command.verbosity) == ("raw", "out", 0)
    assert command.levels == ("participant",)


@pytest.mark.parametrize(("typed", "name", "value"), SPELLINGS)
def test_what_users_type(typed, name, value):
    settings = parse([*FOLDERS, *typed.split()]).settings
    assert value_of(settings, name) == value
    others = [other for other in SECTION_OF if other != name]
    assert [value_of(settings, other) for other in others] == [
        value_of(Settings(), other) for other in others
    ]


def test_the_table_of_spellings_is_complete():
    typed = {word for words, *_ in SPELLINGS for word in words.split() if word.startswith("-")}
    known = {
        spelling
        for action in make_parser()._actions
        for spelling in action.option_strings
        if "." in action.dest  # made from the settings: section.field
    }
    assert typed == known
    assert {name for _, name, _ in SPELLINGS} == set(SECTION_OF)


def as_typed(value: Any) -> list[str]:
    if isinstance(value, tuple):
        return [str(item) for item in value]
    return [str(value)]


@given(any_values())
@budget(max_examples=40, deadline=None)
def test_any_settings_can_be_typed(said):
    argv = list(FOLDERS)
    for section, setting in all_options():
        value = said.get(section, {}).get(setting.name)
        if value is None or value is False:
            continue
        argv.append(f"--{option_name(setting)}")
        if setting.name == "mem_gb":
            argv.append(f"{value!r}G")
        elif value is not True:
            argv += as_typed(value)
    assert parse(argv).settings == build(said)


def test_options_may_stand_before_the_folders():
    command = parse(["--step", "1", *FOLDERS])
    assert command.settings.tracking.step_mm == 1
    assert command.bids_dir == "raw"


@pytest.mark.parametrize(
    ("typed", "levels"),
    [
        (["participant", "group"], ("participant", "group")),
        (["group", "participant"], ("participant", "group")),
        (["group"], ("group",)),
        (["group", "group"], ("group",)),
    ],
)
def test_levels_come_in_the_order_of_the_work(typed, levels):
    assert parse(["raw", "out", *typed]).levels == levels


@pytest.mark.parametrize(
    ("typed", "verbosity"), [(["-v"], 1), (["-vv"], 2), (["--verbose", "-v"], 2)]
)
def test_verbosity(typed, verbosity):
    assert parse([*FOLDERS, *typed]).verbosity == verbosity


# --- Files and presets --------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "my.toml"
    path.write_text("[tracking]\nstep = 0.7\nmax-angle = 40\n[model]\nmodel = ['csd']\n")
    return str(path)


def test_the_command_line_beats_the_file_and_the_file_the_preset(config):
    typed = ["--preset", "dipy-basic", "--config-file", config, "--step", "0.9"]
    settings = parse([*FOLDERS, *typed]).settings
    assert settings.tracking.step_mm == 0.9
    assert settings.tracking.max_angle_deg == 40
    assert settings.model.model == ("csd",)
    assert settings.model.sh_order == 6
    assert settings.seeding.seed_mask == "gfa"
    assert settings.output == Settings().output


def test_saying_the_default_beats_the_file_too(config):
    default = str(Settings().tracking.step_mm)
    settings = parse([*FOLDERS, "--config-file", config, "--step", default]).settings
    assert settings.tracking.step_mm == Settings().tracking.step_mm


def test_auto_beats_a_response_in_the_file(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(tomli_w.dumps({"model": {"response": "1.7e-3,3e-4,3e-4,500"}}))
    typed = [*FOLDERS, "--config-file", str(path)]
    assert parse(typed).settings.model.response is not None
    assert parse([*typed, "--response", "auto"]).settings.model.response is None


def test_the_preset_alone():
    assert parse([*FOLDERS, "--preset", "dipy-basic"]).settings == build(PRESETS["dipy-basic"])


def test_contradictions_between_file_and_command_line_are_found(config):
    with pytest.raises(UsageError, match="--min-length 400 is above --max-length 300"):
        parse([*FOLDERS, "--config-file", config, "--min-length", "400"])


# --- What goes wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("--step 0", "--step 0: must be above 0 mm"),
        ("--max-angle 91", "--max-angle 91: must be at most 90 degrees"),
        ("--seeds 7", "1 or 8; any number goes with --seeding random"),
        ("--seed-threshold -1", "--seed-threshold -1: must be at least 0"),
        ("--seed-threshold 120%", "a percentage lies above 0 and up to 100"),
        ("--tracking fact", "--tracking fact: choose from det, prob, pft"),
        ("--tracking pft --stopping mask", "use --stopping cmc or act"),
        ("--response 1,2,3", "expected 'auto', or three eigenvalues and S0"),
        ("--participant-label sub_01", "a label holds letters and digits only"),
        ("--mem lots", "--mem lots: expected a number"),
    ],
)
def test_faults_are_one_sentence_and_exit_code_2(typed, told, capsys):
    assert main([*FOLDERS, *typed.split()]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("bids_tract: --")
    assert told in err
    assert err.count("\n") == 1


def test_an_unknown_key_of_the_file_has_exit_code_2(tmp_path, capsys):
    path = tmp_path / "my.toml"
    path.write_text("[tracking]\nstep-length = 1\n")
    assert main([*FOLDERS, "--config-file", str(path)]) == 2
    assert f"{path}: unknown key 'step-length'" in capsys.readouterr().err


def test_a_file_that_is_not_there_has_exit_code_66(tmp_path, capsys):
    assert main([*FOLDERS, "--config-file", str(tmp_path / "no.toml")]) == 66
    assert "no.toml: cannot be read (No such file or directory)" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["raw", "out"],
        ["raw", "out", "everything"],
        [*FOLDERS, "--no-such-option"],
        [*FOLDERS, "--participant", "01"],  # no abbreviations: they change meaning over time
        [*FOLDERS, "--preset", "unknown"],
        [*FOLDERS, "--step"],
    ],
)
def test_what_cannot_be_understood_ends_with_2(argv, capsys):
    with pytest.raises(SystemExit) as stop:
        main(argv)
    assert stop.value.code == 2
    assert "usage: bids_tract" in capsys.readouterr().err


# --- Help ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "answer"),
    [("--help", "usage: bids_tract "), ("--version", f"bids_tract {__version__}\n")],
)
def test_answers_without_loading_the_science(asked, answer):
    code = (
        "import sys\n"
        "from bids_tract.cli import main\n"
        f"try: main([{asked!r}])\n"
        "except SystemExit as stop: assert stop.code == 0\n"
        "else: raise AssertionError('no exit')\n"
        "heavy = {'numpy', 'scipy', 'nibabel', 'dipy', 'nipype', 'bids', 'yaml'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(answer)


def test_help_tells_units_bounds_and_defaults(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    text = make_parser().format_help()
    for _, setting in all_options():
        assert f"--{option_name(setting)}" in text
    assert "step [mm; > 0 and <= 10; default 0.5]" in text
    assert "largest turn at one step [degrees; > 0 and <= 90; default 30.0]" in text
    assert "'25%' for the top quarter" in text
    assert "constrained spherical deconvolution (csd) [default csd]" in text
