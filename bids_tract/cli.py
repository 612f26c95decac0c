"""The command line: argv in, settings out; everything about the options comes from settings.py.

Only the standard library is imported here, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import Field, dataclass
from typing import Any

from bids_tract import __version__
from bids_tract.errors import BidsTractError
from bids_tract.settings import (
    PRESETS,
    SECTIONS,
    Response,
    Settings,
    Threshold,
    Values,
    all_options,
    build,
    option_name,
    parse_value,
    read_toml,
)

LEVELS = ("participant", "group")
EPILOG = """\
Settings may also stand in a TOML file (--config-file): the section names are those of the groups
above, the keys the long option names. The command line wins over the file, the file over a preset.

Exit codes: 0 all done; 1 some participants or reports failed; 2 command line;
16 not a BIDS dataset; 18 filters selected nothing; 65 unusable data; 66 a needed file is missing;
70 our own fault; 73 the output cannot be written; 130 interrupted; 143 ended by SIGTERM.
"""


@dataclass(frozen=True)
class Command:
    """What the command line asked for."""

    bids_dir: str
    output_dir: str
    levels: tuple[str, ...]
    settings: Settings
    verbosity: int


def _describe(setting: Field[Any]) -> str:
    meta = setting.metadata
    notes = []
    if meta["unit"]:
        notes.append(meta["unit"])
    bounds = [
        f"{sign} {meta[key]:g}"
        for key, sign in (("above", ">"), ("low", ">="), ("high", "<="))
        if meta[key] is not None
    ]
    if bounds:
        notes.append(" and ".join(bounds))
    default = setting.default
    if isinstance(default, (Threshold, Response)):
        default = str(default).replace("%", "%%")
    if isinstance(default, tuple):
        default = " ".join(map(str, default))
    if default not in (None, "", False):
        notes.append(f"default {default}")
    return str(meta["help"]) + (f" [{'; '.join(notes)}]" if notes else "")


def make_parser() -> argparse.ArgumentParser:
    """The parser, made from the settings."""
    parser = argparse.ArgumentParser(
        prog="bids_tract",
        description="BIDS diffusion MRI in, tractograms out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("bids_dir", help="the BIDS dataset, raw or preprocessed")
    parser.add_argument("output_dir", help="the folder for the results")
    parser.add_argument(
        "levels", nargs="+", choices=LEVELS, help="what to do; several may be given",
        metavar="{participant,group}",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"bids_tract {__version__}")
    groups = {
        section: parser.add_argument_group(section, (cls.__doc__ or "").strip())
        for section, cls in SECTIONS.items()
    }
    for section, setting in all_options():
        meta = setting.metadata
        extra: dict[str, Any] = {}
        if setting.default is False:
            extra["action"] = "store_true"
        else:
            extra["nargs"] = "+" if meta["many"] else None
            choices = f"{{{','.join(meta['choices'])}}}" if meta["choices"] else None
            extra["metavar"] = meta["metavar"] or choices or "N"
        groups[section].add_argument(
            *[a for a in meta["aliases"] if not a.startswith("--")],
            f"--{option_name(setting)}",
            *[a for a in meta["aliases"] if a.startswith("--")],
            dest=f"{section}.{setting.name}",
            help=_describe(setting),
            **extra,
        )
    run = groups["run"]
    run.add_argument("--config-file", metavar="FILE", help="TOML file with settings")
    run.add_argument("--preset", choices=sorted(PRESETS), help="a named set of settings")
    run.add_argument("-v", "--verbose", action="count", help="say more; -vv says everything")
    return parser


def parse(argv: Sequence[str]) -> Command:
    """Turn the arguments into a command.

    Raises
    ------
    UsageError, MissingInputError
        For values out of range, contradictions, and configuration files that cannot be used.
        (What argparse itself refuses ends the program with its message and exit code 2.)

    """
    given = vars(make_parser().parse_args(argv))
    said: Values = {}
    for section, setting in all_options():
        dest = f"{section}.{setting.name}"
        if dest in given:
            said.setdefault(section, {})[setting.name] = parse_value(setting, given[dest])
    preset = PRESETS[given["preset"]] if "preset" in given else {}
    config = read_toml(given["config_file"]) if "config_file" in given else {}
    return Command(
        bids_dir=given["bids_dir"],
        output_dir=given["output_dir"],
        levels=tuple(level for level in LEVELS if level in given["levels"]),
        settings=build(preset, config, said),
        verbosity=given.get("verbose", 0),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    try:
        command = parse(sys.argv[1:] if argv is None else argv)
    except BidsTractError as error:
        sys.stderr.write(f"bids_tract: {error}\n")
        return error.exit_code
    from bids_tract.app import run  # imports the science: late, so that --help is quick

    return run(command)
