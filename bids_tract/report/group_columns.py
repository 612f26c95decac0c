"""The columns of the group's table: name, meaning, unit, and where the measures have the value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Literal

from bids_tract.core.tracking.outcome import MEANING_OF_FATE, Fate
from bids_tract.report.matrices import matrix_labels, matrix_name
from bids_tract.report.measures import Measures, is_number
from bids_tract.report.tract_checks import tractogram_name

Value = str | float | None
Suspect = Literal["", "low", "high", "both"]

# What differs less than this from the other scans is no outlier, however alike these are: shares,
# framewise displacement (mm), angles (degrees).
_SHARE_FLOOR, _MM_FLOOR, _DEGREE_FLOOR = 0.01, 0.02, 0.1


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes
    ----------
    name : str
        In the table.
    title : str
        For people.
    description : str
        A sentence for the data dictionary.
    take : callable
        The value in the measures of a scan; may fail where these are not as they should be.
    units : str
        As BIDS writes them; ``1`` for shares and counts, empty for text.
    levels : mapping of str to str
        Of text: what its words mean.
    section : str
        Among which strip plots it is drawn; empty for none.
    suspect : {"", "low", "high", "both"}
        On which side of the other scans it is called an outlier.
    relative : bool
        Whether scans differ by factors rather than by differences: volumes, counts, motion.
    floor : float
        The least median deviation that is believed, in `units`.
    share : bool
        Whether it is shown in percent.
    of : str
        What it is about, where there are several: ``probabilistic, CSD``.

    """

    name: str
    title: str
    description: str
    take: Callable[[Measures], Any]
    units: str = ""
    levels: Mapping[str, str] | None = None
    section: str = ""
    suspect: Suspect = ""
    relative: bool = False
    floor: float = 0.0
    share: bool = False
    of: str = ""

    @property
    def full_title(self) -> str:
        """The title, and what it is about."""
        return f"{self.title} ({self.of})" if self.of else self.title

    def value(self, measures: Measures) -> Value:
        """The value of a scan; None where it has none that makes sense."""
        try:
            found = self.take(measures)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            return None  # a sidecar of another version or edited by hand: its checks say so
        if isinstance(found, bool):
            return str(found).lower()
        if self.units:
            return found if is_number(found) else None
        return " ".join(str(found).split()) or None if found is not None else None

    def shown(self, value: float) -> str:
        """A value for people, with its unit."""
        if self.share:
            return f"{100 * value:.3g} %"
        number = f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"
        return f"{number} {self.shown_units}".strip()

    @property
    def shown_units(self) -> str:
        """The unit as people write it."""
        if self.share:
            return "%"
        return {"1": "", "mL": "ml", "mm^2/s": "mm²/s"}.get(self.units, self.units)


def _at(*keys: str | int) -> Callable[[Measures], Any]:
    """The value at a place of nested measures."""

    def take(measures: Measures) -> Any:
        place: Any = measures
        for key in keys:
            place = place[key]
        return place

    return take


def _of_shells(key: str) -> Callable[[Measures], str]:
    def take(measures: Measures) -> str:
        return ",".join(f"{shell[key]:g}" for shell in measures["Gradients"]["Shells"])

    return take


def _most_directions(measures: Measures) -> int:
    return max(int(shell["Directions"]) for shell in measures["Gradients"]["Shells"])


def _response_ratio(measures: Measures) -> float:
    along, across, *_ = measures["Models"]["csd"]["ResponseFunction"]["Coefficients"]
    return float(across / along)


_RESPONSE = ("Models", "csd", "ResponseFunction")
_ACQUISITION, _BRAIN = "Acquisition and motion", "Brain and tissue"
_MODELS, EFFORT = "Models", "Time and memory"

_OF_SCANS: tuple[Column, ...] = (
    Column("b0_volumes", "Volumes at b = 0", "Volumes without diffusion weighting.",
           _at("Gradients", "B0Volumes"), "1", section=_ACQUISITION, suspect="both"),
    Column("shells", "Shells", "Diffusion weightings of the shells in s/mm^2, comma between.",
           _of_shells("b")),
    Column("shell_volumes", "Volumes of the shells", "Volumes of each shell, in the order of "
           "shells.", _of_shells("Volumes")),
    Column("shell_directions", "Directions of the shells", "Different directions of each shell, "
           "in the order of shells.", _of_shells("Directions")),
    Column("directions", "Directions", "Different directions of the shell that has most.",
           _most_directions, "1", section=_ACQUISITION, suspect="both"),
    Column("gradient_check", "Gradient check", "Whether the gradient table fits the image, by "
           "how well main directions of neighbours follow each other.",
           _at("GradientCheck", "Verdict"), levels={
               "right": "the table fits as given",
               "wrong": "another order or sign of the axes fits better",
               "unsure": "no order and sign of the axes fits clearly best",
               "off": "not checked",
           }),
    Column("gradient_check_best", "Best axes", "The order and signs of the axes that fit best; "
           "i,j,k is the table as given.", _at("GradientCheck", "Best")),
    Column("gradient_check_applied", "Table corrected", "Whether the table was corrected to the "
           "best order and signs before models were fitted.", _at("GradientCheck", "Applied"),
           levels={"true": "corrected", "false": "used as given"}),
    Column("gradient_check_score", "Score of the best axes", "How well main directions follow "
           "each other with the best order and signs of the axes, 0 to 1.",
           _at("GradientCheck", "Scores", 0, "Score"), "1", section=_ACQUISITION,
           suspect="low", floor=_SHARE_FLOOR),
    Column("gradient_check_next", "Score of the next axes", "The same with the second best order "
           "and signs.", _at("GradientCheck", "Scores", 1, "Score"), "1"),
    Column("snr", "Signal to noise at b = 0", "Signal to noise of the volumes without diffusion "
           "weighting, before denoising.", _at("Denoising", "SNR"), "1",
           section=_ACQUISITION, suspect="low", relative=True),
    Column("noise", "Noise", "Standard deviation of the noise, in units of the image.",
           _at("Denoising", "NoiseLevel"), "arbitrary"),
    Column("fd_mean", "Motion, mean", "Mean framewise displacement of the head.",
           _at("Motion", "MeanFramewiseDisplacement"), "mm", section=_ACQUISITION,
           suspect="high", relative=True, floor=_MM_FLOOR),
    Column("fd_max", "Motion, largest", "Largest framewise displacement of the head.",
           _at("Motion", "MaxFramewiseDisplacement"), "mm", section=_ACQUISITION,
           suspect="high", relative=True, floor=_MM_FLOOR),
    Column("fd_restricted_mean", "Motion without eddy currents, mean", "Mean framewise "
           "displacement of the head without what eddy currents make as well: shifts along the "
           "phase-encoding axis, and what shears along it add to the rotation.",
           _at("Motion", "MeanRestrictedDisplacement"), "mm", section=_ACQUISITION,
           suspect="high", relative=True, floor=_MM_FLOOR),
    Column("fd_restricted_max", "Motion without eddy currents, largest", "The largest of these "
           "displacements.", _at("Motion", "MaxRestrictedDisplacement"), "mm",
           section=_ACQUISITION, suspect="high", relative=True, floor=_MM_FLOOR),
    Column("translation_max", "Largest shift", "Largest shift of the head from its first place.",
           _at("Motion", "MaxTranslation"), "mm", suspect="high", relative=True, floor=_MM_FLOOR),
    Column("rotation_max", "Largest turn", "Largest rotation of the head from its first place.",
           _at("Motion", "MaxRotation"), "degree", suspect="high", relative=True,
           floor=_DEGREE_FLOOR),
    Column("brain_volume", "Brain mask", "Volume of the brain mask.", _at("Mask", "Volume"), "mL",
           section=_BRAIN, suspect="both", relative=True),
    Column("brain_left_out", "Bright tissue beside the mask", "Volume of bright tissue beside "
           "the brain mask, as a share of the mask.", _at("Mask", "LeftOut"), "1",
           section=_BRAIN, suspect="high", floor=_SHARE_FLOOR, share=True),
    Column("brain_width", "Width of the mask", "Extent of the brain mask from left to right.",
           _at("Mask", "Extent", 0), "mm", suspect="both", relative=True),
    Column("brain_length", "Length of the mask", "Extent of the brain mask from back to front.",
           _at("Mask", "Extent", 1), "mm", suspect="both", relative=True),
    Column("brain_height", "Height of the mask", "Extent of the brain mask from bottom to top.",
           _at("Mask", "Extent", 2), "mm", suspect="both", relative=True),
    Column("wm_volume", "White matter", "Volume of white matter.", _at("Tissue", "WM"), "mL",
           section=_BRAIN, suspect="both", relative=True),
    Column("gm_volume", "Grey matter", "Volume of grey matter.", _at("Tissue", "GM"), "mL",
           section=_BRAIN, suspect="both", relative=True),
    Column("csf_volume", "CSF", "Volume of cerebrospinal fluid.", _at("Tissue", "CSF"), "mL",
           section=_BRAIN, suspect="both", relative=True),
    Column("tissue_source", "Source of the tissue", "Where the tissue maps come from.",
           _at("Tissue", "Source")),
    Column("registration_quality", "Registration of the T1w", "How well edges of the anatomy "
           "follow those of the diffusion series.", _at("Tissue", "Registration", "Quality"), "1",
           section=_BRAIN, suspect="low", floor=_SHARE_FLOOR),
    Column("registration_bound", "Least registration", "The quality below which a registration "
           "is refused.", _at("Tissue", "Registration", "Bound"), "1"),
    Column("fa_mean", "Mean FA", "Mean fractional anisotropy within the brain mask.",
           _at("Tensor", "MeanFA"), "1", section=_MODELS, suspect="both"),
    Column("fa_median", "Median FA", "Median fractional anisotropy within the brain mask.",
           _at("Tensor", "MedianFA"), "1", suspect="both"),
    Column("md_median", "Median diffusivity", "Median mean diffusivity within the brain mask.",
           _at("Tensor", "MedianMD"), "mm^2/s", section=_MODELS, suspect="both"),
    Column("csd_lmax", "Order of CSD", "Highest order of the spherical harmonics of CSD.",
           _at("Models", "csd", "Order"), "1", suspect="both"),
    Column("csd_shell", "Shell of CSD", "Diffusion weighting of the shell that CSD was fitted to.",
           _at("Models", "csd", "Shell"), "s/mm^2"),
    Column("response_axial", "Response along the fibre", "Diffusivity of the response function "
           "along the fibre.", _at(*_RESPONSE, "Coefficients", 0), "mm^2/s",
           section=_MODELS, suspect="both"),
    Column("response_radial", "Response across the fibre", "Diffusivity of the response function "
           "across the fibre.", _at(*_RESPONSE, "Coefficients", 1), "mm^2/s",
           section=_MODELS, suspect="both"),
    Column("response_ratio", "Response, across over along", "Diffusivity of the response "
           "function across the fibre, divided by that along it.", _response_ratio, "1",
           section=_MODELS, suspect="both", floor=_SHARE_FLOOR),
    Column("response_signal", "Response at b = 0", "Signal of the response function without "
           "diffusion weighting, in units of the image.", _at(*_RESPONSE, "Coefficients", 3),
           "arbitrary"),
    Column("response_voxels", "Voxels of the response", "Voxels that the response function was "
           "estimated from.", _at(*_RESPONSE, "Voxels"), "1", section=_MODELS, suspect="low",
           relative=True),
    Column("response_source", "Source of the response", "Where the response function comes from.",
           _at(*_RESPONSE, "Source")),
    Column("csa_lmax", "Order of CSA", "Highest order of the spherical harmonics of CSA.",
           _at("Models", "csa", "Order"), "1", suspect="both"),
    Column("csa_shell", "Shell of CSA", "Diffusion weighting of the shell that CSA was fitted to.",
           _at("Models", "csa", "Shell"), "s/mm^2"),
    Column("seed_volume", "Seed mask", "Volume in which streamlines start.",
           _at("Seeds", "Volume"), "mL", section=_MODELS, suspect="both", relative=True),
    Column("stop_volume", "Stop mask", "Volume in which streamlines may advance.",
           _at("Stop", "Volume"), "mL", section=_MODELS, suspect="both", relative=True),
    Column("stop_rule", "Stop rule", "What ends streamlines.", _at("Stop", "Rule")),
    Column("stop_threshold", "Stop threshold", "The value of the stop rule's map at which "
           "streamlines end.", _at("Stop", "Threshold"), "1"),
    Column("wall_time", "Time", "Time that all stages took.", _at("WallTime"),
           "s", section=EFFORT),
    Column("peak_memory", "Memory", "Most memory that a stage held.", _at("PeakMemoryGB"), "GB",
           section=EFFORT),
    Column("software", "Software", "Versions of the programs that made the outputs.",
           _at("SoftwareVersions")),
)  # fmt: skip


def scan_columns() -> tuple[Column, ...]:
    """The columns that all scans share."""
    return _OF_SCANS


@cache
def tractogram_columns(which: str) -> tuple[Column, ...]:
    """The columns of one kind of tractogram.

    Parameters
    ----------
    which : str
        As in the measures: ``track-prob_desc-csd``; its columns begin with ``prob_csd_``.

    """
    words = tractogram_name(which)
    prefix = "_".join(pair.split("-", 1)[-1] for pair in which.split("_"))
    section = f"Tractogram ({words})"
    at = partial(_at, "Tractograms", which)

    def share(*keys: str) -> Callable[[Measures], float]:
        count, attempts = at(*keys), at("Attempts")
        return lambda measures: float(count(measures) / attempts(measures))

    def column(name: str, title: str, said: str, take: Any, units: str, **more: Any) -> Column:
        return Column(
            f"{prefix}_{name}", title, f"{said} Tractogram: {words} ({which}).", take, units,
            of=words, **more,
        )  # fmt: skip

    drawn: dict[str, Any] = {"section": section}
    length = {"suspect": "both", "relative": True}
    return (
        column("count", "Streamlines", "Streamlines kept.", at("Count"), "1", **drawn, **length),
        column("attempts", "Seeds", "Seeds that were tried.", at("Attempts"), "1", **length),
        column("kept", "Seeds kept", "Share of the seeds whose streamline was kept.",
               share("Count"), "1", share=True, suspect="both", floor=_SHARE_FLOOR, **drawn),
        *(
            column(f"rejected_{fate.name.lower()}", f"Rejected: {MEANING_OF_FATE[fate]}",
                   f"Share of the seeds that gave no streamline: {MEANING_OF_FATE[fate]}.",
                   share("Rejected", fate.name), "1", share=True, suspect="high",
                   floor=_SHARE_FLOOR)
            for fate in Fate if fate is not Fate.KEPT
        ),
        column("select", "Streamlines asked for", "Streamlines that were asked for, where a "
               "number was.", at("Select"), "1"),
        column("in_file", "Streamlines in the file", "Streamlines found in the file.",
               at("Streamlines"), "1"),
        column("length_mean", "Mean length", "Mean length of the streamlines.",
               at("Length", "Mean"), "mm"),
        column("length_median", "Median length", "Median length of the streamlines.",
               at("Length", "Median"), "mm", **drawn, **length),
        column("length_p5", "Length, 5th percentile", "Length that 5 % of the streamlines do not "
               "reach.", at("Length", "Percentile5"), "mm"),
        column("length_p95", "Length, 95th percentile", "Length that 95 % of the streamlines do "
               "not exceed.", at("Length", "Percentile95"), "mm", **length),
        column("length_max", "Longest", "Length of the longest streamline.",
               at("Length", "Longest"), "mm"),
        column("length_lower_bound", "Least length kept", "Shorter streamlines were rejected.",
               at("MinimumLength"), "mm"),
        column("length_upper_bound", "Greatest length kept", "Longer streamlines were rejected.",
               at("MaximumLength"), "mm"),
        column("visited", "Volume covered", "Share of the volume's voxels that a streamline "
               "passes through; see the column visited_of.", at("Visited", "Share"), "1",
               share=True, suspect="low", floor=_SHARE_FLOOR, **drawn),
        column("visited_of", "Volume to cover", "The volume that `visited` is a share of.",
               at("Visited", "Of"), ""),
        column("wall_time", "Time of tracking", "Time that tracking took.", at("WallTime"), "s"),
        column("peak_memory", "Memory of tracking", "Most memory that tracking held.",
               at("PeakMemoryGB"), "GB"),
    )  # fmt: skip


@cache
def matrix_columns(which: str) -> tuple[Column, ...]:
    """The columns of one kind of connectivity matrix.

    Parameters
    ----------
    which : str
        As `matrices.matrix_files` calls it: ``track-prob_atlas-DK_meas-count_desc-csd``; its
        columns begin with ``prob_DK_count_csd_``.

    """
    words = matrix_name(which)
    return (
        Column(
            "_".join([*matrix_labels(which).values(), "density"]), "Connected pairs",
            f"Share of the pairs of regions that are connected. Matrix: {words} ({which}).",
            _at("Matrices", which, "Density"), "1", section=f"Connectivity ({words})",
            suspect="both", floor=_SHARE_FLOOR, share=True, of=words,
        ),
    )  # fmt: skip
