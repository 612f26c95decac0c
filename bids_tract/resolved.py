"""Settings resolved: what they mean for a scan, and what they need of it. Pure.

What is asked for ("auto", a method) becomes what is done: corrections with their reasons,
parameters of tracking, rules that streamlines stop by, maps and tissue that have to be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from bids_tract.core.preprocess.denoise import enough_volumes
from bids_tract.core.preprocess.motion import can_register
from bids_tract.core.preprocess.unring import slice_axis_of, unring_advised
from bids_tract.core.tracking.params import TrackParams
from bids_tract.dataset import Scan
from bids_tract.settings import Settings, TrackingName

# --- The series ----------------------------------------------------------------------------------


def runs_of(scan: Scan) -> tuple[Scan, ...]:
    """The single series that a scan is made of."""
    return scan.runs or (scan,)


@dataclass(frozen=True)
class Corrections:
    """What is done to a raw series before the models see it, and why.

    Attributes
    ----------
    denoise : {"mppca", "patch2self"} or None
    unring : int or None
        The image axis across the slices, None where ringing is left alone.
    motion : {"eddy", "rigid"} or None
    reasons : tuple of str
        Why a step is left out that nobody switched off, in sentences.

    """

    denoise: Literal["mppca", "patch2self"] | None = None
    unring: int | None = None
    motion: Literal["eddy", "rigid"] | None = None
    reasons: tuple[str, ...] = ()

    @property
    def steps(self) -> tuple[str, ...]:
        """What is done, in order: ``("mppca", "unring-2", "eddy")``."""
        unring = None if self.unring is None else f"unring-{self.unring}"
        return tuple(word for word in (self.denoise, unring, self.motion) if word)


def corrections(scan: Scan, settings: Settings) -> Corrections:
    """Resolve what is done to a raw series; nothing to a preprocessed one."""
    asked = settings.prepare
    if scan.preprocessed or asked.preprocessed:
        return Corrections()
    reasons = []
    denoise: Literal["mppca", "patch2self"] | None = None
    if asked.denoise == "auto":
        fewest = min(run.shape[3] for run in runs_of(scan))
        if enough_volumes(fewest):
            denoise = "mppca"
        else:
            reasons.append(f"Not denoised: {fewest} volumes are too few (--denoise mppca does).")
    elif asked.denoise != "none":
        denoise = asked.denoise
    unring = asked.unring == "on"
    if asked.unring == "auto":
        unring, why = unring_advised(scan.metadata)
        if not unring:
            reasons.append(f"Ringing was not removed: {why} (--unring on does).")
    motion = None if asked.motion == "none" else asked.motion
    if motion and (why_not := can_register(scan.shape)):
        motion = None
        reasons.append(f"Motion was not corrected. {why_not}")
    slices = slice_axis_of(scan.metadata) if unring else None
    return Corrections(denoise, slices, motion, tuple(reasons))


# --- Tracking, and what it needs -----------------------------------------------------------------


def track_params(settings: Settings, method: TrackingName) -> TrackParams:
    """Resolve the settings of one tracking run."""
    tracking, pft, seeding = settings.tracking, settings.pft, settings.seeding
    return TrackParams(
        method=method,
        step_mm=tracking.step_mm,
        max_angle_deg=tracking.max_angle_deg,
        min_length_mm=tracking.min_length_mm,
        max_length_mm=tracking.max_length_mm,
        pmf_threshold=tracking.pmf_threshold,
        pft_back_mm=pft.pft_back_mm,
        pft_front_mm=pft.pft_front_mm,
        particles=pft.particles,
        select=seeding.select,
        random_seed=seeding.random_seed,
    )


def tissue_rule(settings: Settings, method: str) -> Literal["cmc", "act"] | None:
    """The tissue criterion that a tracking method stops by, None for a map or a mask."""
    asked = settings.stopping.stopping
    if asked == "cmc" or asked == "act":
        return asked
    return "cmc" if method == "pft" else None


def uses_stop_map(settings: Settings) -> bool:
    """Whether any tracking method stops by a map or a mask."""
    return any(tissue_rule(settings, method) is None for method in settings.tracking.tracking)


def maps_used(settings: Settings) -> set[str]:
    """The maps and files that seeds and stops are made from."""
    maps = set()
    if settings.seeding.seeding != "interface":
        maps.add(settings.seeding.seed_mask)
    if uses_stop_map(settings):
        maps.add(settings.stopping.stop_mask)
    return maps


def needs_tissue(settings: Settings) -> bool:
    """Whether tissue maps are needed."""
    return (
        any(tissue_rule(settings, method) for method in settings.tracking.tracking)
        or settings.seeding.seeding == "interface"
        or "wm" in maps_used(settings)
    )


def needs_registration(scan: Scan) -> bool:
    """Whether a T1w image has to be registered to the series before tissue is known there."""
    if scan.tissue is not None:
        return scan.tissue.reference is not None
    return scan.t1w is not None and not scan.t1w.in_scan_space
