"""What a run left in its folder of logs, for the reports of its participants."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bids_tract.errors import BidsTractError
from bids_tract.files.sidecars import read_json

# "2026-11-21 01:30:38,376 WARNING bids_tract.app sub-01: ..."
_MESSAGE = re.compile(r"(\d{4}-\d\d-\d\d [\d:]+),\d+ (WARNING|ERROR|CRITICAL) \S+ (.*)")
# More are in the log; a page is no place for thousands.
_MOST_MESSAGES = 200


@dataclass
class RunRecord:
    """What one run said.

    Attributes
    ----------
    citation : str
        The methods in words, Markdown.
    bibtex : str
        Its references, for reference managers.
    settings : str
        All settings, TOML, without the command.
    command : str
        The command line, as the settings file has it.
    messages : list of str
        Warnings and errors of the participant and of no participant.
    failures : dict of str to str
        Why scans of the participant were not finished, by their label or file name.
    errors : list of str
        What could not be read.

    """

    citation: str = ""
    bibtex: str = ""
    settings: str = ""
    command: str = ""
    messages: list[str] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


def read_run(log_dir: Path | None, label: str) -> RunRecord:
    """Read what a run left.

    Parameters
    ----------
    log_dir : pathlib.Path, optional
        Its folder of logs; without one, the record is empty.
    label : str
        The participant, ``sub-01`` or ``sub-01_ses-1``: what is about others is left out.

    """
    record = RunRecord()
    if log_dir is None:
        return record
    for name, take in _FILES.items():
        path = log_dir / name
        try:
            if path.is_file():
                take(record, path, label)
        except (OSError, ValueError, BidsTractError) as error:
            record.errors.append(f"{path} could not be read: {error}")
    return record


def _settings(record: RunRecord, path: Path, _: str) -> None:
    text = path.read_text("utf-8")
    if text.startswith("# "):
        record.command, _, text = text[2:].partition("\n")
    record.settings = text.strip()


def _citation(record: RunRecord, path: Path, _: str) -> None:
    record.citation = path.read_text("utf-8")


def _bibtex(record: RunRecord, path: Path, _: str) -> None:
    record.bibtex = path.read_text("utf-8").strip()


def _log(record: RunRecord, path: Path, label: str) -> None:
    record.messages = _messages(path, label)


def _status(record: RunRecord, path: Path, label: str) -> None:
    for name, status in read_json(path).items():
        if isinstance(status, dict) and status.get("Status") == "failed" and is_about(name, label):
            record.failures[name] = str(status.get("Error", "no reason was recorded"))


_FILES: dict[str, Callable[[RunRecord, Path, str], None]] = {
    "settings.toml": _settings,
    "CITATION.md": _citation,
    "CITATION.bib": _bibtex,
    "run.log": _log,
    "status.json": _status,
}


def _messages(path: Path, label: str) -> list[str]:
    """Warnings and errors, each once; read line by line, since logs of large runs are long."""
    found: dict[str, None] = {}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = _MESSAGE.match(line)
            if match and (not re.search(r"\bsub-\w", match[3]) or is_about(match[3], label)):
                found[f"{match[2].capitalize()}: {match[3].strip()}"] = None
    messages = [*found]
    if len(messages) > _MOST_MESSAGES:
        left = len(messages) - _MOST_MESSAGES
        messages = [*messages[:_MOST_MESSAGES], f"{left} more in {path.name}"]
    return messages


def is_about(text: str, label: str) -> bool:
    """Whether a text names the participant (and session): ``sub-1`` is not in ``sub-10``."""
    return re.search(rf"(?<![\w-]){re.escape(label)}(?![A-Za-z0-9+])", text) is not None
