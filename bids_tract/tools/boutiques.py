"""The program's Boutiques descriptor: what platforms such as CBRAIN make their forms of.

It is made from the settings, like the command line. Schema: Boutiques 0.5,
https://github.com/boutiques/boutiques (Glatard et al., GigaScience 2018,
doi:10.1093/gigascience/giy016).
"""

from __future__ import annotations

import json
from dataclasses import Field
from typing import Any

from bids_tract import __version__
from bids_tract.settings import PRESETS, Response, Threshold, all_options, option_name
from bids_tract.settings.values import as_integer, as_number

SCHEMA = "0.5"
IMAGE = "bids_tract"
LEVELS = ("participant", "group")
EXIT_CODES = {
    1: "some scans failed; the others are complete",
    2: "the command line or the configuration file makes no sense",
    16: "the input is not a BIDS dataset",
    18: "the filters selected nothing",
    65: "the data cannot be used",
    66: "a needed file is missing",
    70: "a fault of this program",
    73: "the output cannot be written",
    130: "interrupted",
    143: "ended by SIGTERM",
}


def descriptor() -> str:
    """The descriptor as JSON text."""
    # Folders and levels first: options that take many values would take those for theirs.
    inputs = [*_POSITIONAL, *(_option(setting) for _, setting in all_options()), *_OTHERS]
    content = {
        "name": "bids_tract",
        "tool-version": __version__,
        "description": "BIDS diffusion MRI in, tractograms out.",
        "schema-version": SCHEMA,
        "command-line": " ".join(["bids_tract", *(str(one["value-key"]) for one in inputs)]),
        "container-image": {
            "type": "docker", "image": f"{IMAGE}:{__version__}", "container-opts": [],
        },
        "inputs": inputs,
        "output-files": [
            {
                "id": "output",
                "name": "The results, a BIDS derivative dataset",
                "path-template": "[OUTPUT_DIR]",
            }
        ],
        "error-codes": [{"code": code, "description": EXIT_CODES[code]} for code in EXIT_CODES],
        "tags": {"domain": ["neuroinformatics", "diffusion MRI"], "purpose": "tractography"},
    }  # fmt: skip
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _key(name: str) -> str:
    return f"[{name.replace('-', '_').upper()}]"


def _option(setting: Field[Any]) -> dict[str, Any]:
    """One option as an input; see `bids_tract.settings.option.option`."""
    meta, name = setting.metadata, option_name(setting)
    given: dict[str, Any] = {
        "id": name.replace("-", "_"),
        "name": f"--{name}",
        "description": _sentence(setting),
        "type": _type(setting),
        "optional": True,
        "command-line-flag": f"--{name}",
        "value-key": _key(name),
    }
    if meta["many"]:
        given["list"] = True
    if meta["choices"]:
        given["value-choices"] = list(meta["choices"])
    if given["type"] == "Number":
        given |= _bounds(meta["low"], meta["high"], meta["above"])
        if meta["parse"] is as_integer:
            given["integer"] = True
    return given


def _type(setting: Field[Any]) -> str:
    if setting.default is False:
        return "Flag"
    if setting.metadata["parse"] in (as_integer, as_number):
        return "Number"
    return "File" if setting.metadata["metavar"] == "FILE" else "String"


def _bounds(low: float | None, high: float | None, above: float | None) -> dict[str, Any]:
    bounds: dict[str, Any] = {}
    if low is not None or above is not None:
        bounds["minimum"] = low if low is not None else above
    if above is not None:
        bounds["exclusive-minimum"] = True
    if high is not None:
        bounds["maximum"] = high
    return bounds


def _sentence(setting: Field[Any]) -> str:
    """The option's help, its unit and its default."""
    text = setting.metadata["help"].replace("%%", "%")
    default = setting.default
    if isinstance(default, (Threshold, Response)):
        default = str(default)
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    notes = [setting.metadata["unit"]] if setting.metadata["unit"] else []
    if default not in (None, "", False):
        notes.append(f"default {default}")
    return f"{text} [{'; '.join(notes)}]" if notes else text


_POSITIONAL: list[dict[str, Any]] = [
    {
        "id": "bids_dir",
        "name": "BIDS dataset",
        "description": "the BIDS dataset, raw or preprocessed",
        "type": "File",
        "value-key": "[BIDS_DIR]",
    },
    {
        "id": "output_dir",
        "name": "Output folder",
        "description": "the folder for the results",
        "type": "String",
        "value-key": "[OUTPUT_DIR]",
    },
    {
        "id": "analysis_level",
        "name": "Levels",
        "description": "what to do; several may be given",
        "type": "String",
        "list": True,
        "value-choices": list(LEVELS),
        "value-key": "[ANALYSIS_LEVEL]",
    },
]
_OTHERS: list[dict[str, Any]] = [
    {
        "id": "config_file",
        "name": "--config-file",
        "description": "TOML file with settings",
        "type": "File",
        "optional": True,
        "command-line-flag": "--config-file",
        "value-key": "[CONFIG_FILE]",
    },
    {
        "id": "preset",
        "name": "--preset",
        "description": "a named set of settings",
        "type": "String",
        "optional": True,
        "command-line-flag": "--preset",
        "value-choices": sorted(PRESETS),
        "value-key": "[PRESET]",
    },
]
