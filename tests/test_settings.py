from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, example, given
from hypothesis import settings as budget

from bids_tract.errors import MissingInputError, UsageError
from bids_tract.settings import (
    PRESETS,
    SECTIONS,
    Response,
    Settings,
    Threshold,
    all_options,
    build,
    option_name,
    parse_value,
    read_toml,
    to_table,
)
from bids_tract.settings.values import as_label, as_memory, as_response, as_threshold
from tests.any_settings import any_values
from tests.plans import asked

OPTIONS = {setting.name: setting for _, setting in all_options()}
BOUNDED = [
    (name, bound, setting.metadata[bound])
    for name, setting in OPTIONS.items()
    for bound in ("low", "above", "high")
    if setting.metadata[bound] is not None
]


def toml(folder: Path, text: str) -> Path:
    path = folder / "settings.toml"
    path.write_text(text, encoding="utf-8")
    return path


# --- The declarations ---------------------------------------------------------------------------


def test_no_two_options_share_a_spelling():
    spellings = Counter(
        spelling
        for _, setting in all_options()
        for spelling in (f"--{option_name(setting)}", *setting.metadata["aliases"])
    )
    assert [spelling for spelling, n in spellings.items() if n > 1] == []


def test_every_default_is_a_value_that_the_option_would_take():
    for name, setting in OPTIONS.items():
        if setting.default not in (None, ()):
            assert parse_value(setting, setting.default) == setting.default, name


def test_every_option_says_what_it_does():
    assert [name for name, setting in OPTIONS.items() if not setting.metadata["help"]] == []
    assert [name for name, cls in SECTIONS.items() if not cls.__doc__] == []


def test_nothing_said_is_the_default():
    assert build() == build({}, {}) == Settings()


# --- Values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "bound", "limit"), BOUNDED)
def test_bounds_hold_on_the_command_line_and_in_toml(name, bound, limit):
    setting = OPTIONS[name]
    inside = limit if bound != "above" else limit + 1e-3
    outside = {"low": limit - 1, "above": limit, "high": limit + 1}[bound]
    for value in (inside, str(inside)):
        parse_value(setting, value)
    for value in (outside, str(outside)):
        with pytest.raises(UsageError, match=f"^--{option_name(setting)} .*must be") as told:
            parse_value(setting, value)
        assert f"{limit:g}" in str(told.value)


@pytest.mark.parametrize("name", [n for n, s in OPTIONS.items() if s.metadata["choices"]])
def test_unknown_words_are_answered_with_the_known_ones(name):
    setting = OPTIONS[name]
    with pytest.raises(UsageError) as told:
        parse_value(setting, "nonsense")
    message = str(told.value)
    assert message.startswith(f"--{option_name(setting)} nonsense: choose from ")
    assert all(word in message for word in setting.metadata["choices"])


@pytest.mark.parametrize(
    ("text", "gigabytes"),
    [
        ("16G", 16), ("16GB", 16), ("16 GiB", 16), ("1.5GB", 1.5), ("16000", 16), (16000, 16),
        ("16000M", 16), ("16000mb", 16), ("2T", 2000), ("500000k", 0.5), ("0.5g", 0.5),
    ],
)  # fmt: skip
def test_memory_sizes(text, gigabytes):
    assert as_memory(text) == pytest.approx(gigabytes)


@pytest.mark.parametrize("text", ["", "G", "16X", "16B", "many", "nan", "infG", True, "1 6"])
def test_what_is_no_memory_size(text):
    with pytest.raises(ValueError, match="expected a"):
        as_memory(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [("01", "01"), ("sub-01", "01"), ("ses-pre", "pre"), ("a+b", "a+b")],
)
def test_labels_come_with_or_without_their_prefix(text, label):
    assert as_label(text) == label


@pytest.mark.parametrize("text", ["", "sub-", "sub-01_ses-1", "a b", "../01", "é", 1, True])
def test_what_is_no_label(text):
    with pytest.raises(ValueError, match=r"a label holds|expected a text"):
        as_label(text)


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("0.2", Threshold(0.2)),
        (0.2, Threshold(0.2)),
        ("25%", Threshold(25, percent=True)),
        (" 2.5 % ", Threshold(2.5, percent=True)),
        ("100%", Threshold(100, percent=True)),
    ],
)
def test_thresholds_are_values_or_shares(text, threshold):
    assert as_threshold(text) == threshold


@pytest.mark.parametrize("text", ["0%", "101%", "-5%", "%", "", "a fifth", "nan", True])
def test_what_is_no_threshold(text):
    with pytest.raises(ValueError, match=r"a percentage lies|expected a"):
        as_threshold(text)


def test_responses():
    known = Response((1.7e-3, 3e-4, 3e-4), 500)
    assert as_response("1.7e-3,3e-4,3e-4,500") == known
    assert as_response("1.7e-3 3e-4 3e-4 500") == known
    assert as_response([1.7e-3, 3e-4, 3e-4, 500]) == known
    assert as_response("auto") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1.7e-3,3e-4,3e-4", "three eigenvalues and S0"),
        ("3e-4,1.7e-3,3e-4,500", "the largest first"),
        ("1.7e-3,3e-4,-3e-4,500", "the largest first"),
        ("0,0,0,500", "the largest first"),
        ("1.7e-3,3e-4,3e-4,0", "S0 > 0"),
        ("1.7,0.3,0.3,500", "mm²/s"),
        ("a,b,c,d", "expected a number"),
    ],
)
def test_what_is_no_response(text, told):
    with pytest.raises(ValueError, match=told):
        as_response(text)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("sh_order", True), ("sh_order", 6.5), ("sh_order", "six"), ("seeds", None),
        ("step_mm", True), ("step_mm", float("nan")), ("step_mm", 10**400), ("step_mm", [1, 2]),
        ("debug", 1), ("debug", "yes"), ("work_dir", True), ("work_dir", ""), ("model", []),
        ("model", [1]), ("format", "trx,trk"), ("derivatives", [7]),
    ],
)  # fmt: skip
def test_values_of_another_type_are_refused(name, value):
    with pytest.raises(UsageError, match=f"^--{option_name(OPTIONS[name])} "):
        parse_value(OPTIONS[name], value)


def test_repeated_values_count_once():
    assert parse_value(OPTIONS["model"], ["csd", "csa", "csd"]) == ("csd", "csa")


# --- Contradictions -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seeds", "below", "above"), [(2, 1, 8), (5, 1, 8), (7, 1, 8), (9, 8, 27), (1001, 1000, 1331)]
)
def test_grid_seeds_are_a_cube(seeds, below, above):
    with pytest.raises(UsageError, match=f"--seeds {seeds} .* {below} or {above};.*random"):
        asked(seeds=seeds)
    for layout in ("random", "total", "interface"):
        assert asked(seeds=seeds, seeding=layout).seeding.seeds == seeds
    assert asked(seeds=above).seeding.seeds == above


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"min_length_mm": 50, "max_length_mm": 40}, "--min-length 50 .*--max-length 40"),
        ({"sh_order": 5}, "--sh-order 5: must be even"),
        ({"tracking": "pft", "stopping": "threshold"}, "--tracking pft .*cmc or act"),
        ({"tracking": ["det", "pft"], "stopping": "mask"}, "--tracking pft .*cmc or act"),
    ],
)
def test_contradictions(said, told):
    with pytest.raises(UsageError, match=told):
        asked(**said)


def test_equal_length_limits_are_allowed():
    assert asked(min_length_mm=40, max_length_mm=40).tracking.min_length_mm == 40


# --- TOML and layers ----------------------------------------------------------------------------


@given(any_values())
@example({"seeding": {"seed_threshold": Threshold(0.12345678)}})
@example({"model": {"response": Response((0.00171234567, 0.0003, 0.0003), 512.345678)}})
@example({"resources": {"mem_gb": 16.0}})
@budget(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_settings_survive_a_toml_file(tmp_path, said):
    settings = build(said)
    path = toml(tmp_path, tomli_w.dumps(to_table(settings)))
    # A dry run is a matter of one command line.
    assert build(read_toml(path)) == replace(settings, run=replace(settings.run, dry_run=False))


@given(any_values(), any_values())
@budget(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
def test_later_layers_win(earlier, later):
    def valid(*layers: Any) -> Settings | None:
        try:
            return build(*layers)
        except UsageError:  # the two contradict each other
            return None

    settings = valid(earlier, later)
    for section, setting in all_options():
        layers = [later.get(section, {}), earlier.get(section, {})]
        said = [layer[setting.name] for layer in layers if setting.name in layer]
        if settings is not None:
            expected = said[0] if said else setting.default
            assert getattr(getattr(settings, section), setting.name) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[modle]\nmodel = ['csa']", r"unknown section \[modle\]; there are \[input\]"),
        ("model = ['csa']", r"unknown section \[model\]"),
        ("[model]\nsh_order = 6", r"unknown key 'sh_order' in \[model\]; there are model, sh-ord"),
        ("[tracking]\nseeds = 8", r"unknown key 'seeds' in \[tracking\]"),
        ("[run]\ndry-run = true", r"unknown key 'dry-run'"),
        ("[tracking]\nstep = 0", r"\[tracking\] step 0: must be above 0 mm"),
        ("[model]\nmodel = 'dti'", r"\[model\] model dti: choose from csa, csd"),
        ("[run]\ndebug = 'yes'", r"\[run\] debug yes: expected true or false"),
        ("[model", "not a TOML file"),
    ],
)
def test_toml_faults_name_the_file_and_the_key(tmp_path, text, told):
    path = toml(tmp_path, text)
    with pytest.raises(UsageError, match=told) as error:
        read_toml(path)
    assert str(error.value).startswith(f"{path}: ")


def test_a_toml_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes("[run]\nwork-dir = 'é'".encode("latin-1"))
    with pytest.raises(UsageError, match="not a TOML file"):
        read_toml(path)


def test_a_toml_file_that_is_not_there(tmp_path):
    with pytest.raises(MissingInputError, match=r"absent\.toml: cannot be read"):
        read_toml(tmp_path / "absent.toml")


def test_the_preset_is_dipys_example():
    settings = build(PRESETS["dipy-basic"])
    assert settings.model.model == ("csa", "csd")
    assert settings.model.sh_order == 6
    assert settings.seeding.seeds == 8
    assert settings.seeding.seeding == "grid"
    assert settings.stopping.stop_mask == "gfa"
    assert settings.stopping.stop_threshold == Threshold(0.25)
    assert settings.tracking.tracking == ("eudx", "prob")
    assert settings.tracking.step_mm == 0.5
    assert settings.tracking.max_angle_deg == 30


@pytest.mark.parametrize("name", PRESETS)
def test_presets_hold_values_that_the_options_take(name):
    for table in PRESETS[name].values():
        for field, value in table.items():
            assert parse_value(OPTIONS[field], value) == value
