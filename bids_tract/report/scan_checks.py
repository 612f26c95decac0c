"""The checks of a scan and its models: each gives a verdict, a number and a sentence.

A check doubts what is unusual and calls bad only what is hardly ever right: phantoms, children and
partial brains are odd and sound.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bids_tract.report.measures import Measures, is_number
from bids_tract.report.verdicts import Judged, Verdict, as_sentence, plural

# Directions that carry spherical harmonics of order 6 and 4: measured median errors of a single
# fibre by CSD are 4 degrees with 30 directions at order 6, 17 at order 8.
_DIRECTIONS_FOR_6, _DIRECTIONS_FOR_4 = 28, 15
# Framewise displacement, mm: above half a millimetre on average, studies of children call a scan
# moved (Power et al. 2012, doi:10.1016/j.neuroimage.2011.10.018); 2 mm is a voxel a volume.
_MOTION_DOUBT_MM, _MOTION_BAD_MM = 0.5, 2.0
# Noise biases magnitudes whose SNR is below 3 (Gudbjartsson & Patz 1995,
# doi:10.1002/mrm.1910340618). In white matter (0.7e-3 mm²/s) the signal falls to a fifth at
# b = 2300: a b0 of SNR 15 is needed; to a half at b = 1000: with 5 even that drowns.
_SNR_DOUBT, _SNR_BAD = 15.0, 5.0
# Bright tissue beside the mask (report.brain): 0.3 to 10 % measured on four sound masks, 14 %
# where a tenth of the brain was cut off, 36 % where a quarter was, above 60 % for a half.
_LEFT_OUT_DOUBT, _LEFT_OUT_BAD = 0.12, 0.30
# Brains from small children to large adults, ml; within, a simulated head of 710.
_BRAIN_ML = (600.0, 2200.0)
# Brains are 0.75 to 0.85 as wide as long; half a brain 0.4 or 1.9.
_WIDTH_TO_LENGTH = (0.6, 1.15)
# Scans of one person, in ml against their median: more is another brain or another mask.
_SAME_BRAIN_DOUBT, _SAME_BRAIN_BAD = 0.15, 0.35
# White matter of people, ml, and its ratio to grey matter (adults 0.6 to 1).
_WHITE_ML, _WHITE_TO_GREY = (200.0, 900.0), (0.3, 3.0)
# Diffusion across over along a fibre, in living white matter.
_RESPONSE_RATIO = (0.05, 0.5)
_RESPONSE_VOXELS = 30  # what the estimate itself asks for before it lowers its bound


def _outside(value: float, bounds: tuple[float, float]) -> bool:
    return not bounds[0] <= value <= bounds[1]


def gradients(measures: Measures) -> Judged:
    """Shells and directions."""
    table = measures.get("Gradients")
    if not table:
        return "unknown", "-", "The shells were not recorded."
    shells = table["Shells"]
    n_b0 = int(table["B0Volumes"])
    told = [f"{plural(int(s['Directions']), 'direction')} at b = {s['b']:.0f}" for s in shells]
    number = "; ".join([*told, f"{n_b0} b = 0"])
    most = max((int(shell["Directions"]) for shell in shells), default=0)
    if n_b0 == 0 or most < _DIRECTIONS_FOR_4:
        said = "no volume without diffusion weighting" if n_b0 == 0 else "too few directions"
        return "bad", number, f"There are {said}: no model is sound on these."
    if most < _DIRECTIONS_FOR_6:
        return (
            "doubt",
            number,
            f"With {most} directions, crossings below about 60° cannot be told apart.",
        )
    return "good", number, "Enough directions to tell crossing fibres apart."


def orientation(measures: Measures) -> Judged:
    """Whether the gradient table fits the image."""
    check = measures.get("GradientCheck", {})
    verdict, reason = check.get("Verdict"), as_sentence(check.get("Reason", ""))
    best, scores = check.get("Best", ""), check.get("Scores", [])
    if verdict == "right":
        number = f"{scores[0]['Score']:.3f}" if scores else "right"
        number += f", next {scores[1]['Score']:.3f}" if len(scores) > 1 else ""
        return "good", number, reason or "The table fits the image."
    # Older sidecars say only which axes were used.
    if verdict == "wrong" and check.get("Applied", check.get("Used") == (best or None)):
        return (
            "doubt",
            f"corrected to {best}",
            f"The table did not fit the image and was corrected. {reason} Look whether the "
            "corpus callosum is red in the colour FA, and mend the file.",
        )
    if verdict == "wrong":
        return (
            "bad",
            f"{best} would fit" if best else "wrong",
            f"The gradient table does not fit the image: directions are wrong. {reason} Correct "
            "the bvec file, or run again with --gradient-check fix.",
        )
    if verdict == "unsure":
        return (
            "doubt",
            "unsure",
            f"{reason} Look whether the corpus callosum is red in the colour FA.",
        )
    said = "The check was turned off." if verdict == "off" else "The check was not made."
    return "unknown", "-", said


def motion(measures: Measures) -> Judged:
    """How much the head moved, by what eddy currents do not look like where that is known."""
    moved = measures.get("Motion", {})
    whole, across = moved.get("MeanFramewiseDisplacement"), moved.get("MeanRestrictedDisplacement")
    mean, kind = (across, "Restricted") if is_number(across) else (whole, "Framewise")
    if not is_number(mean):
        return (
            "unknown",
            "-",
            "Motion was not measured here (corrected before, or correction turned off).",
        )
    number = f"{mean:.2f} mm a volume"
    if is_number(most := moved.get(f"Max{kind}Displacement")):
        number += f", at most {most:.2f} mm"
    if mean > _MOTION_BAD_MM:
        verdict: Verdict = "bad"
        said = "The head moved by about a voxel between volumes: correction cannot mend all."
    elif mean > _MOTION_DOUBT_MM:
        verdict = "doubt"
        said = "The head moved noticeably; look for stripes and rims in the FA."
    else:
        verdict, said = "good", "The head lay still."
    if is_number(across) and is_number(whole):
        said += (
            " Not counted are shifts along the phase-encoding axis, where eddy currents shift as "
            f"well: {whole:.2f} mm a volume with them."
        )
    return verdict, number, said


def noise(measures: Measures) -> Judged:
    """Signal to noise of the volumes without diffusion weighting."""
    snr = measures.get("Denoising", {}).get("SNR")
    if not is_number(snr):
        return "unknown", "-", "Noise was not measured (no denoising here)."
    if snr < _SNR_BAD:
        return (
            "bad",
            f"{snr:.1f}",
            "The weighted volumes drown in noise: directions and FA are biased.",
        )
    if snr < _SNR_DOUBT:
        return (
            "doubt",
            f"{snr:.1f}",
            "At high b the signal comes near the noise floor; expect stray directions.",
        )
    return "good", f"{snr:.1f}", "In the volumes without diffusion weighting."


def mask(measures: Measures, others: Sequence[Measures]) -> Judged:
    """Volume, shape and surroundings of the brain mask; `others` are scans of the same person."""
    mask = measures.get("Mask")
    if not mask:
        return "unknown", "-", "There is no brain mask to measure."
    volume = float(mask["Volume"])
    number = f"{volume:,.0f} ml"
    bad, doubts = _faults_of_mask(mask, [one["Mask"]["Volume"] for one in others if "Mask" in one])
    if bad or doubts:
        said = " ".join([*bad, *doubts, "Look at the mask on the mean b0."])
        return "bad" if bad else "doubt", number, said
    beside = mask.get("LeftOut")
    told = f" Bright tissue beside it: {100 * beside:.0f} %." if is_number(beside) else ""
    return "good", number, f"The size and shape of a brain.{told}"


def _faults_of_mask(
    mask: Mapping[str, Any], volumes: Sequence[float]
) -> tuple[list[str], list[str]]:
    """What is wrong with a mask, and what is odd."""
    bad, doubts = [], []
    volume = float(mask["Volume"])
    beside = mask.get("LeftOut")
    if is_number(beside) and beside > _LEFT_OUT_DOUBT:
        said = f"Bright tissue beside the mask is {100 * beside:.0f} % of its volume: "
        if beside > _LEFT_OUT_BAD:
            bad.append(said + "a part of the brain is missing.")
        else:
            doubts.append(said + "an edge of the brain may be missing.")
    if volume <= 0:
        return ["The mask is empty."], []
    if volumes:
        usual = statistics.median([*volumes, volume])
        differs = abs(volume - usual) / max(usual, 1.0)
        said = f"Masks of this person's scans differ; their median is {usual:,.0f} ml."
        if differs > _SAME_BRAIN_BAD:
            bad.append(said)
        elif differs > _SAME_BRAIN_DOUBT:
            doubts.append(said)
    if _outside(volume, _BRAIN_ML):
        size = "small" if volume < _BRAIN_ML[0] else "large"
        doubts.append(f"The mask is {size} for a brain ({_BRAIN_ML[0]:g} to {_BRAIN_ML[1]:g} ml).")
    elif "Extent" in mask:  # the shape of what is no brain says nothing
        width, length, _ = mask["Extent"]
        if _outside(width / max(length, 1.0), _WIDTH_TO_LENGTH):
            doubts.append(
                f"The mask is {width:.0f} mm wide and {length:.0f} mm long, which is no brain's "
                "shape."
            )
    return bad, doubts


def tissue(measures: Measures) -> Judged:
    """Volumes of the tissues."""
    tissue = measures.get("Tissue", {})
    white, grey, fluid = (tissue.get(name) for name in ("WM", "GM", "CSF"))
    if not (is_number(white) and is_number(grey)):
        return None
    number = f"WM {white:,.0f}, GM {grey:,.0f}"
    number += f", CSF {fluid:,.0f} ml" if is_number(fluid) else " ml"
    if white <= 0 or grey <= 0:
        return (
            "bad",
            number,
            "A tissue is missing: rules that stop by tissue cannot work.",
        )
    if _outside(white, _WHITE_ML) or _outside(white / grey, _WHITE_TO_GREY):
        return (
            "doubt",
            number,
            f"Unusual (white matter {_WHITE_ML[0]:g} to {_WHITE_ML[1]:g} ml in people); look at "
            "the edges of the tissue on the b0.",
        )
    source = tissue.get("Source")
    said = f"In the usual range. From {source}." if source else "In the usual range."
    return "good", number, said


def registration(measures: Measures) -> Judged:
    """How well the anatomy lies on the diffusion series."""
    found = measures.get("Tissue", {}).get("Registration")
    if not found:
        return None
    quality, bound = found.get("Quality"), found.get("Bound")
    if not is_number(quality):
        return "unknown", "-", "Its quality was not recorded."
    number = f"{quality:.3g}" + (f" (at least {bound:.3g})" if is_number(bound) else "")
    if is_number(bound) and quality < bound:
        return (
            "bad",
            number,
            "The anatomy does not fit the diffusion series: tissue maps are misplaced.",
        )
    return "good", number, "Edges of the anatomy follow those of the b0."


def response(measures: Measures) -> Judged:
    """The response function of the deconvolution."""
    response = measures.get("Models", {}).get("csd", {}).get("ResponseFunction")
    if not response:
        return None
    along, across, *_ = (float(value) for value in response["Coefficients"])
    ratio = across / along
    number = f"{1e3 * along:.2f} / {1e3 * across:.2f} · 10⁻³ mm²/s, ratio {ratio:.2f}"
    voxels = response.get("Voxels")
    source = as_sentence(response.get("Source", ""))
    if _outside(ratio, _RESPONSE_RATIO):
        return (
            "doubt",
            number,
            f"Living white matter has a ratio of {_RESPONSE_RATIO[0]:g} to "
            f"{_RESPONSE_RATIO[1]:g}: fibres will look too broad or too sharp. {source}",
        )
    if is_number(voxels) and 0 < voxels < _RESPONSE_VOXELS:
        return "doubt", number, f"From {voxels} voxels only. {source}"
    told = f" {voxels:,} voxels." if is_number(voxels) and voxels > 0 else ""
    return "good", number, f"{source}{told}".strip() or "As given."


def order(measures: Measures) -> Judged:
    """The order of spherical harmonics of the models."""
    models = measures.get("Models", {})
    orders = {m: one["Order"] for m, one in models.items() if is_number(one.get("Order"))}
    if not orders:
        return None
    number = ", ".join(f"{order} ({model.upper()})" for model, order in orders.items())
    least = min(orders.values())
    if least < 4:
        return "bad", number, "One direction a voxel at most: crossings are not seen."
    if least < 6:
        return (
            "doubt",
            number,
            "All that the directions of this scan carry; narrow crossings appear as one.",
        )
    return "good", number, "Enough for crossing fibres."
