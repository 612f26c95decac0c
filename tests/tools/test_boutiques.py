"""The Boutiques descriptor: current, complete, and such that its command lines are understood."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bids_tract import cli
from bids_tract.tools.boutiques import EXIT_CODES, descriptor

ROOT = Path(__file__).parents[2]
CONTENT = json.loads(descriptor())
INPUTS = {one["id"]: one for one in CONTENT["inputs"]}
VALUES = {"Number": "1", "Flag": None, "File": "file", "String": "text"}


def test_the_file_is_current():
    said = "run: bids_tract_tools boutiques > boutiques/bids_tract.json"
    assert (ROOT / "boutiques" / "bids_tract.json").read_text() == descriptor(), said


def test_it_has_every_option_of_the_command_line():
    actions = {action.dest: action for action in cli.make_parser()._actions}
    flags = {one.get("command-line-flag") for one in CONTENT["inputs"]} - {None}
    wanted = {
        next(flag for flag in action.option_strings if flag.startswith("--"))
        for action in actions.values()
        if action.option_strings
    }
    assert wanted - flags == {"--help", "--version", "--verbose"}
    assert flags <= wanted


def test_each_input_has_its_place():
    keys = re.findall(r"\[\w+\]", CONTENT["command-line"])
    assert keys == [one["value-key"] for one in CONTENT["inputs"]]
    assert len(set(keys)) == len(keys) == len(INPUTS)
    assert all(re.fullmatch(r"[0-9a-zA-Z_]+", key) for key in INPUTS)


@pytest.mark.parametrize("name", [key for key, one in INPUTS.items() if "value-choices" in one])
def test_each_choice_is_understood(name):
    if "command-line-flag" not in INPUTS[name]:
        return
    for choice in INPUTS[name]["value-choices"]:
        words = [INPUTS[name]["command-line-flag"], choice]
        cli.make_parser().parse_args(["bids", "out", "participant", *words])


def test_bounds_are_those_of_the_settings():
    assert INPUTS["max_angle"]["minimum"] == 0
    assert INPUTS["max_angle"]["exclusive-minimum"] is True
    assert INPUTS["max_angle"]["maximum"] == 90
    assert INPUTS["particles"]["integer"] is True
    assert "integer" not in INPUTS["max_angle"]
    assert INPUTS["model"]["list"] is True
    assert "list" not in INPUTS["stopping"]


def test_the_exit_codes_are_those_of_the_readme():
    section = (ROOT / "README.md").read_text().partition("## Exit codes")[2].partition("\n## ")[0]
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", section, re.MULTILINE)}
    assert codes == EXIT_CODES.keys() | {0}
