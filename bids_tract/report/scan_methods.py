"""What was done to one scan, in words: the parameters that its data gave, not those asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bids_tract.report.measures import Measures, is_number, is_of_other_run
from bids_tract.report.tract_checks import tractogram_name
from bids_tract.report.verdicts import plural

_ENDS = {
    "mask": "at the border of the stop mask",
    "cmc": "by the continuous map criterion",
    "act": "by anatomical constraints",
}
_METRICS = {"fa": "FA", "gfa": "GFA", "wm": "the fraction of white matter"}


def scan_methods(measures: Measures) -> str:
    """What was done to a scan, to be read after the methods of the run.

    Parameters
    ----------
    measures : dict
        See `report.measures`.

    Returns
    -------
    str
        Sentences; empty where nothing is known.

    """
    found = [
        *_series(measures),
        *_tissue(measures.get("Tissue", {})),
        *(sentence for one in measures.get("Models", {}).items() for sentence in _model(*one)),
        *(
            sentence
            for key, tract in measures.get("Tractograms", {}).items()
            for sentence in _tract(key, tract, measures.get("Stop", {}))
        ),
    ]
    return " ".join(found)


def _series(measures: Measures) -> Iterator[str]:
    gradients = measures.get("Gradients")
    if gradients:
        shells = [
            f"{plural(shell['Directions'], 'direction')} at b = {shell['b']:g} s/mm²"
            for shell in gradients.get("Shells", ())
        ]
        b0s = plural(gradients.get("B0Volumes", 0), "volume") + " without diffusion weighting"
        yield f"The series has {', '.join([b0s, *shells])}."
    denoising, motion = measures.get("Denoising"), measures.get("Motion")
    if denoising:
        yield f"It was denoised by {denoising['Method']}."
    if "GibbsUnringing" in measures:
        yield f"Gibbs ringing was removed by {measures['GibbsUnringing']['Method']}."
    if motion and motion.get("Applied"):
        yield f"Head motion was corrected by {motion['Method']}."
    check = measures.get("GradientCheck", {})
    if check.get("Applied"):
        yield f"The gradient table was read with the axes {check['Used']}."


def _tissue(tissue: Mapping[str, Any]) -> Iterator[str]:
    if "Source" in tissue:
        yield f"Fractions of tissue came from {tissue['Source']}."


def _model(name: str, model: Mapping[str, Any]) -> Iterator[str]:
    shell = f" from the shell of b = {model['Shell']:g} s/mm²" if model.get("Shell") else ""
    sentence = f"{name.upper()} was fitted with harmonics up to order {model['Order']}{shell}"
    response = model.get("ResponseFunction")
    if response:
        evals = " / ".join(f"{1000 * value:.2f}" for value in response["Coefficients"][:3])
        sentence += (
            f" and the response {evals} · 10⁻³ mm²/s, S0 {response['Coefficients'][3]:.4g} "
            f"({response['Source']})"
        )
    yield f"{sentence}."


def _tract(key: str, tract: Mapping[str, Any], stop: Mapping[str, Any]) -> Iterator[str]:
    name = tractogram_name(key)
    count, attempts = tract.get("Count"), tract.get("Attempts")
    if isinstance(count, int) and isinstance(attempts, int):
        yield (
            f"Tracking ({name}) from {plural(attempts, 'seed')} kept "
            f"{plural(count, 'streamline')}{_way(tract)}."
        )
    if is_of_other_run(stop, tract):
        yield (
            f"The stop mask beside the tractogram ({name}) is of another run: its streamlines "
            "were not measured against it."
        )


def _way(tract: Mapping[str, Any]) -> str:
    """With which steps, ends and lengths streamlines were made, as far as it is known."""
    told = ""
    if is_number(step := tract.get("StepSize")) and is_number(turn := tract.get("AnglePerStep")):
        told += f" with steps of {step:g} mm and turns of at most {turn:g} degrees"
    criterion, threshold = tract.get("Criterion"), tract.get("Threshold")
    if criterion == "threshold" and is_number(threshold):
        metric = tract.get("Metric", "the map")
        told += f", ended where {_METRICS.get(metric, metric)} falls below {threshold:.3g}"
    elif criterion in _ENDS:
        told += f", ended {_ENDS[criterion]}"
    least, most = tract.get("MinimumLength"), tract.get("MaximumLength")
    if is_number(least) and is_number(most):
        told += f"; streamlines of {least:g} to {most:g} mm"
    return told
