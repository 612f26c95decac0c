"""The command line of the extra tools: ``bids_tract_tools demo FOLDER``.

Only the standard library is imported here, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bids_tract import __version__
from bids_tract.errors import BidsTractError


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
    return parser


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
