"""What a check says, and the words that checks share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["good", "doubt", "bad", "unknown"]
# Verdict, what was measured with its unit, what it means and what to do; None where the scan has
# no such thing.
Judged = tuple[Verdict, str, str] | None


@dataclass(frozen=True)
class Check:
    """One line of the table of checks.

    Attributes
    ----------
    key : str
        A word for tables: ``mask``; ``kept_track-prob_desc-csd`` for one of several tractograms.
    name : str
        Its name for people.
    verdict : {"good", "doubt", "bad", "unknown"}
    number : str
        What was measured, with its unit.
    sentence : str
        What it means and what to do.

    """

    key: str
    name: str
    verdict: Verdict
    number: str
    sentence: str


def tally(found: Sequence[Check]) -> Iterator[tuple[Verdict, int]]:
    """How often each verdict was given, the worst first; those not given are left out."""
    verdicts: tuple[Verdict, ...] = ("bad", "doubt", "unknown", "good")
    for verdict in verdicts:
        if count := sum(check.verdict == verdict for check in found):
            yield verdict, count


def as_sentence(text: object) -> str:
    """A reason as a sentence of its own."""
    words = str(text).strip()
    return words[:1].upper() + words[1:] + ("" if not words or words[-1] in ".!?" else ".")


def plural(count: int, word: str) -> str:
    """A number with its word."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


def duration(seconds: float) -> str:
    """``1 h 05 min``, ``3 min 20 s``, ``4.7 s``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
