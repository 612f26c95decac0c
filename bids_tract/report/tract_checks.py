"""The checks of a tractogram: each gives a verdict, a number and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bids_tract.core.tracking.outcome import MEANING_OF_FATE, Fate
from bids_tract.report.measures import Measures, is_number
from bids_tract.report.verdicts import Judged

# Share of the seeds whose streamline was kept. Measured: 65 % on a human brain, 82 to 95 % on two
# phantoms; anatomical rules cost about half. A tenth of that is in doubt.
_KEPT_DOUBT, _KEPT_BAD = 0.15, 0.02
# Streamlines kept per ml of the brain mask, which are few where --select is small or the bound of
# the seeds high, whatever share was kept. Sound ones: 5.3 (a simulated head), 7.5 (a human brain,
# xa30), 200 (a phantom, FiberCup).
_FEW_PER_ML = 2.0
# Median length over the least that is kept: 3 to 5 measured; at 1.3 most are scraps.
_LENGTH_TO_MINIMUM = 1.3
_TOO_LONG = 0.05  # of the streamlines: loops that run to the greatest length
# Share of the volume visited: 30 % and more with one seed in four voxels (simulated head).
_VISITED_DOUBT, _VISITED_BAD = 0.25, 0.02


def tractogram_name(key: str) -> str:
    """``probabilistic, CSD`` for ``track-prob_desc-csd``."""
    names = {
        "det": "deterministic",
        "prob": "probabilistic",
        "pft": "particle filtering",
        "eudx": "peak-following",
    }
    labels = dict(pair.split("-", 1) for pair in key.split("_"))
    method = labels.get("track", "")
    return f"{names.get(method, method)}, {labels.get('desc', '').upper()}"


def kept(measures: Measures, which: str) -> Judged:
    """How many seeds gave a streamline, and why the others gave none."""
    tract = measures["Tractograms"][which]
    count, attempts, found = tract.get("Count"), tract.get("Attempts"), tract.get("Streamlines")
    if not is_number(count):
        number = f"{found:,}" if is_number(found) else "-"
        return "unknown", number, "The seeds were not recorded."
    number = f"{count:,} kept"
    if is_number(attempts) and attempts:
        number += f" of {attempts:,} seeds ({100 * count / attempts:.0f} %)"
    if not is_number(found):
        return "bad", number, "The file could not be read: where it is cut off, track again."
    if found != count:
        return (
            "bad",
            number,
            f"The file holds {found:,} streamlines: it is cut off or was changed; track again.",
        )
    if count == 0:
        return "bad", number, f"No streamline was kept. {_reasons(tract)}"
    share = count / attempts if is_number(attempts) and attempts else 1.0
    wanted = tract.get("Select")
    if share < _KEPT_DOUBT:
        return (
            "bad" if share < _KEPT_BAD else "doubt",
            number,
            f"Few seeds gave a streamline. {_reasons(tract)} Look at the seeds, the stop mask and "
            "the colour FA.",
        )
    if is_number(wanted) and count < wanted:
        return (
            "doubt",
            number,
            f"{wanted:,} were asked for: the seeds did not suffice; give more --seeds.",
        )
    volume = measures.get("Mask", {}).get("Volume")
    if is_number(volume) and count < _FEW_PER_ML * volume:
        return (
            "doubt",
            number,
            f"Few for a brain of {volume:,.0f} ml ({count / volume:.1f} per ml): maps and "
            "matrices of so few are coarse.",
        )
    return "good", number, _reasons(tract)


def _reasons(tract: Mapping[str, Any]) -> str:
    """Why seeds gave no streamline, the most frequent first."""
    rejected = {key: int(n) for key, n in tract.get("Rejected", {}).items() if n}
    if not rejected:
        return "No seed was rejected."
    known = {fate.name: MEANING_OF_FATE[fate] for fate in Fate}
    ordered = sorted(rejected.items(), key=lambda pair: -pair[1])
    told = "; ".join(f"{n:,} {known.get(key, key)}" for key, n in ordered)
    return f"Rejected: {told}."


def length(measures: Measures, which: str) -> Judged:
    """How long the streamlines are."""
    tract = measures["Tractograms"][which]
    length = tract.get("Length")
    if not length:
        return None
    median = float(length["Median"])
    number = (
        f"median {median:.0f} mm (5 to 95 %: {length['Percentile5']:.0f} to "
        f"{length['Percentile95']:.0f})"
    )
    least = tract.get("MinimumLength")
    if is_number(least) and median < _LENGTH_TO_MINIMUM * least:
        return (
            "doubt",
            number,
            f"Most are scraps near the least length of {least:g} mm: tracking breaks off early.",
        )
    too_long = tract.get("Rejected", {}).get("TOO_LONG", 0)
    kept = tract.get("Kept", 0)
    if kept and too_long / (too_long + kept) > _TOO_LONG:
        return (
            "doubt",
            number,
            f"{too_long:,} more were longer than allowed: streamlines run in loops.",
        )
    return "good", number, "Neither scraps nor loops."


def visited(measures: Measures, which: str) -> Judged:
    """How much of the white matter, or of where they may go, streamlines visit."""
    tract = measures["Tractograms"][which]
    visited = tract.get("Visited")
    if not visited:
        return None
    share, of = float(visited["Share"]), visited["Of"]
    number = f"{100 * share:.0f} % of {of}"
    if share < _VISITED_BAD:
        return "bad", number, "Streamlines reach next to nothing."
    if share < _VISITED_DOUBT:
        return (
            "doubt",
            number,
            "Much is reached by no streamline: few seeds, or tracking that breaks off.",
        )
    return "good", number, "Voxels that a streamline passes through."
