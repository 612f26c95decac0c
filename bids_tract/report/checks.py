"""Whether a scan's tractography is sound: a table of checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from bids_tract.report import scan_checks, tract_checks
from bids_tract.report.measures import Measures, is_number
from bids_tract.report.tract_checks import tractogram_name
from bids_tract.report.verdicts import Check, Judged, as_sentence, duration, plural

Judge = Callable[[Measures], Judged]


def checks(measures: Measures, others: Sequence[Measures] = ()) -> list[Check]:
    """Judge one scan.

    Parameters
    ----------
    measures : dict
        As `measure_scan` gives them.
    others : sequence of dict
        Those of the other scans of the same person, for comparison.

    Returns
    -------
    list of Check
        In the order of processing. What was not measured is ``unknown``; what the scan does not
        need (tissue, a response) is left out.

    """
    found = []
    for key, name, judge in _judges(measures, others):
        try:
            judged = judge(measures)
        # Sidecars of other versions, or edited by hand, may hold anything.
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            reason = f"It could not be judged ({type(error).__name__}: {error})."
            judged = ("unknown", "-", reason)
        if judged is not None:
            found.append(Check(key, name, *judged))
    return found


def _judges(measures: Measures, others: Sequence[Measures]) -> Iterator[tuple[str, str, Judge]]:
    """Key, name and judge of each check, in the order of processing."""
    yield "gradients", "Gradient table", scan_checks.gradients
    yield "orientation", "Orientation of the gradients", scan_checks.orientation
    yield "motion", "Head motion", scan_checks.motion
    yield "snr", "Signal to noise", scan_checks.noise
    yield "mask", "Brain mask", partial(scan_checks.mask, others=others)
    yield "tissue", "Tissue volumes", scan_checks.tissue
    yield "registration", "Registration of the T1w", scan_checks.registration
    yield "response", "Response function", scan_checks.response
    yield "lmax", "Order of harmonics", scan_checks.order
    for which in measures.get("Tractograms", {}):
        words = tractogram_name(which)
        for key, name, judge in (
            ("kept", "Streamlines", tract_checks.kept),
            ("length", "Length", tract_checks.length),
            ("visited", "Volume covered", tract_checks.visited),
        ):
            yield f"{key}_{which}", f"{name} ({words})", partial(judge, which=which)
    if not measures.get("Tractograms"):
        yield "kept", "Streamlines", _no_tractogram
    yield "effort", "Time and memory", _effort
    yield "files", "Files", _files


def _no_tractogram(_: Measures) -> Judged:
    return "bad", "none", "There is no tractogram of this scan."


def _effort(measures: Measures) -> Judged:
    seconds, memory = measures.get("WallTime"), measures.get("PeakMemoryGB")
    told = [duration(seconds)] if is_number(seconds) else []
    told += [f"{memory:.2g} GB"] if is_number(memory) else []
    if not told:
        return "unknown", "-", "Not recorded."
    return "good", ", ".join(told), "All stages together; the most that one held."


def _files(measures: Measures) -> Judged:
    errors = measures.get("Errors")
    if not errors:
        return None
    said = " ".join(map(as_sentence, errors))
    return "bad", plural(len(errors), "problem"), said
