"""The command line of the extra tools, such as ``bids_tract_tools demo FOLDER``.

Only the standard library is imported here, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bids_tract import __version__, log, machine
from bids_tract.errors import BidsTractError, OutputError, UsageError


def make_parser() -> argparse.ArgumentParser:
    """Make the parser: one subcommand a tool, each with the function that runs it."""
    parser = argparse.ArgumentParser(
        prog="bids_tract_tools", description="What goes with bids_tract.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"bids_tract {__version__}")
    tools = parser.add_subparsers(title="tools", required=True, metavar="TOOL")
    demo = tools.add_parser(
        "demo",
        help="simulate a small BIDS dataset and run bids_tract on it",
        description="Simulates a small BIDS dataset whose bundles are known, runs bids_tract on "
        "it and says how many streamlines connect what is connected.",
        allow_abbrev=False,
    )
    demo.add_argument("folder", type=Path, help="a new folder for the dataset and the results")
    demo.set_defaults(run=_demo)
    _add_picture(tools)
    kernels = tools.add_parser(
        "compile",
        help="compile the kernels now, not at the first run",
        description="Compiles the numerical kernels, so that no later run on this machine has to. "
        "With --portable they suit all CPUs of this kind, as an image needs it.",
        allow_abbrev=False,
    )
    kernels.add_argument(
        "--cache", type=Path, metavar="DIR", help="where to keep them (default: where runs look)"
    )
    kernels.add_argument("--portable", action="store_true", help="not for this very CPU")
    kernels.set_defaults(run=_compile)
    boutiques = tools.add_parser(
        "boutiques",
        help="print the Boutiques descriptor of bids_tract",
        description="Prints the Boutiques descriptor of bids_tract, made from its settings.",
        allow_abbrev=False,
    )
    boutiques.set_defaults(run=_boutiques)
    return parser


def _add_picture(tools: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    picture = tools.add_parser(
        "picture",
        help="draw a tractogram from several sides",
        description="Draws streamlines in the colours of their directions: red left-right, green "
        "front-back, blue up-down.",
        allow_abbrev=False,
    )
    picture.add_argument("tractogram", type=Path, help="a .trx, .trk or .tck file")
    picture.add_argument("output", type=Path, help="the picture: .png, .webp or .jpg")
    picture.add_argument(
        "--on", type=Path, metavar="IMAGE",
        help="a NIfTI image in the same space, shown behind the streamlines: its slice through "
        "their middle",
    )  # fmt: skip
    picture.add_argument(
        "--view", default="left,back,top", metavar="VIEWS",
        help="left, right, front, back, top, bottom, or azimuth:elevation in degrees (0:0 is the "
        "front, 90:0 the left), with commas between [default %(default)s]",
    )  # fmt: skip
    picture.add_argument(
        "--size", type=int, default=1000, metavar="PIXELS",
        help="longest side of a view [default %(default)s]",
    )  # fmt: skip
    picture.add_argument(
        "--background", choices=("black", "white", "transparent"), default="black",
        help="what is where there is nothing [default %(default)s]",
    )  # fmt: skip
    picture.add_argument(
        "--max-streamlines", type=int, default=20_000, metavar="N",
        help="of more, so many are drawn, evenly chosen [default %(default)s]",
    )  # fmt: skip
    picture.set_defaults(run=_picture)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a tool; returns its exit code."""
    arguments = make_parser().parse_args(argv)
    try:
        code: int = arguments.run(arguments)
    except BidsTractError as error:
        sys.stderr.write(f"bids_tract_tools: {error}\n")
        return error.exit_code
    return code


def _demo(arguments: argparse.Namespace) -> int:
    from bids_tract.tools.demo import run_demo  # imports the science: late

    return run_demo(arguments.folder)


def _set_up() -> None:
    """Do what the main command does first: find where to write, before numba is imported."""
    log.configure(logging.INFO, None, debug=False)
    for note in machine.prepare_environment(machine.work_folder(None)):
        sys.stderr.write(f"{note}\n")


def _compile(arguments: argparse.Namespace) -> int:
    asked = None if arguments.cache is None else str(arguments.cache.absolute())
    if asked is not None:
        os.environ["NUMBA_CACHE_DIR"] = asked
    if arguments.portable:
        cpu = machine.portable_target()
        if cpu is None:
            raise UsageError("--portable: this CPU is older than those that images are made for.")
        machine.target(cpu)
    _set_up()
    if asked not in (None, os.environ["NUMBA_CACHE_DIR"]):
        raise OutputError(f"{arguments.cache} cannot be written; choose another folder.")
    from bids_tract.tools.compiled import ensure_compiled  # imports numba: late

    ensure_compiled()
    return 0


def _boutiques(_: argparse.Namespace) -> int:
    from bids_tract.tools.boutiques import descriptor

    sys.stdout.write(descriptor())
    return 0


def _picture(arguments: argparse.Namespace) -> int:
    _set_up()
    from bids_tract.tools.compiled import ensure_compiled  # imports numba: late

    ensure_compiled()
    from bids_tract.tools.picture import make_picture

    sentence = make_picture(
        arguments.tractogram, arguments.output, on=arguments.on, views=arguments.view,
        size=arguments.size, background=arguments.background,
        max_streamlines=arguments.max_streamlines,
    )  # fmt: skip
    sys.stderr.write(f"{sentence}\n")
    return 0
