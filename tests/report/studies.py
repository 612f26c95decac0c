"""Made-up studies: sidecars and saved measures of any number of participants, no map."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from bids_tract.files.sidecars import file_digest
from bids_tract.names import output_path, run_label, sidecar_path
from bids_tract.report.measures import measures_path

PROB = "track-prob_desc-csd"
AGREES = {
    "Verdict": "right", "Applied": False, "Best": "i,j,k",
    "Reason": "the table as given makes fibres the most coherent",
    "Scores": [{"Axes": "i,j,k", "Score": 0.502}, {"Axes": "j,i,k", "Score": 0.444}],
}  # fmt: skip
FLIPPED = {
    "Verdict": "wrong", "Applied": False, "Best": "i,-j,k",
    "Reason": "with the second axis flipped, fibres are far more coherent",
    "Scores": [{"Axes": "i,-j,k", "Score": 0.51}, {"Axes": "i,j,k", "Score": 0.42}],
}  # fmt: skip


def typical(rng: np.random.Generator) -> dict[str, Any]:
    """Measures as scans of one protocol have them: volumes differ by 8 %, counts by 20 %."""
    volume = 1400.0 * np.exp(rng.normal(0, 0.08))
    attempts = int(50_000 * np.exp(rng.normal(0, 0.08)))
    kept = int(attempts * rng.uniform(0.58, 0.72))
    short = int((attempts - kept) * rng.uniform(0.6, 0.8))
    moved = 0.15 + rng.gamma(2.0, 0.05)
    median = rng.normal(75, 3)
    return {
        "Version": 2,
        "Gradients": {"B0Volumes": 4, "Shells": [{"b": 2000.0, "Volumes": 64, "Directions": 64}]},
        "GradientCheck": AGREES,
        "Denoising": {"NoiseLevel": rng.normal(12, 1), "SNR": rng.normal(24, 2)},
        "Motion": {
            "MeanFramewiseDisplacement": moved, "MaxFramewiseDisplacement": 4 * moved,
            "MaxTranslation": 3 * moved, "MaxRotation": 2 * moved,
        },
        "Mask": {
            "Voxels": int(volume * 125), "VoxelVolume": 8.0, "Volume": volume,
            "Extent": [135.0, 170.0, 130.0], "LeftOut": rng.uniform(0.01, 0.05),
        },
        "Tissue": {
            "WM": volume * rng.normal(0.38, 0.015), "GM": volume * rng.normal(0.47, 0.015),
            "CSF": volume * rng.normal(0.15, 0.02), "Source": "T1w",
            "Registration": {"Quality": rng.normal(0.62, 0.03), "Bound": 0.3},
        },
        "Tensor": {"MeanFA": rng.normal(0.27, 0.012), "MedianFA": rng.normal(0.23, 0.012),
                   "MedianMD": rng.normal(0.00075, 0.00003)},
        "Models": {"csd": {"Order": 8, "Shell": 2000.0, "ResponseFunction": {
            "Coefficients": [rng.normal(0.0017, 0.00006), rng.normal(0.0003, 0.00002),
                             rng.normal(0.0003, 0.00002), 900.0],
            "Source": "FA > 0.7 in the centre", "Voxels": int(rng.normal(700, 80))}}},
        "Seeds": {"Volume": volume * 0.4},
        "Stop": {"Volume": volume * 0.4, "Rule": "threshold", "Threshold": 0.2},
        "Tractograms": {PROB: {
            "Count": kept, "Attempts": attempts, "Kept": kept, "Streamlines": kept,
            "Rejected": {"SEED_STOPPED": attempts - kept - short, "SEED_NO_DIRECTION": 0,
                         "TOO_SHORT": short, "TOO_LONG": 0, "INVALID_END": 0},
            "MinimumLength": 20.0, "MaximumLength": 300.0,
            "Length": {"Mean": median + 6, "Median": median, "Percentile5": 28.0,
                       "Percentile95": median * 2.1, "Longest": 290.0,
                       "Histogram": {"Start": 0.0, "Width": 5.0, "Counts": [0, 1, 2] * 20}},
            "Visited": {"Share": rng.uniform(0.6, 0.75), "Of": "white matter"},
            "WallTime": rng.uniform(200, 400), "PeakMemoryGB": rng.uniform(1.5, 2),
        }},
        "WallTime": rng.uniform(700, 1200),
        "PeakMemoryGB": rng.uniform(1.5, 2),
        "Notes": [],
        "SoftwareVersions": "bids_tract 0.1.0, numpy 2.1.0",
        "Errors": [],
    }  # fmt: skip


def write_scan(root: Path, entities: dict[str, str], measures: dict[str, Any]) -> None:
    """Write the sidecars that the measures are taken from, and the measures."""
    mask = sidecar_path(root / output_path("brain_mask", entities))
    sidecars = {mask: {key: measures.get(key) for key in ("Gradients", "GradientCheck")}}
    for which, tract in measures.get("Tractograms", {}).items():
        given = dict(pair.split("-") for pair in which.split("_"))
        path = sidecar_path(root / output_path("tractogram", entities, **given))
        sidecars[path] = {"Count": tract["Count"], "Counts": {"Attempts": tract["Attempts"]}}
    mask.parent.mkdir(parents=True, exist_ok=True)
    for path, said in sidecars.items():
        path.write_text(json.dumps(said))
    own = {
        "Scan": run_label(entities),
        "Entities": entities,
        "Inputs": {path.name: file_digest(path) for path in sidecars},
    }
    measures_path(root, entities).write_text(json.dumps(measures | own))


def write_status(root: Path, run: str, status: dict[str, Any]) -> None:
    folder = root / "logs" / run
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "status.json").write_text(json.dumps(status))


def plant(number: int, measures: dict[str, Any]) -> None:
    """The three faults that must be found: in sub-07, sub-11 and sub-23."""
    tract, mask = measures["Tractograms"][PROB], measures["Mask"]
    if number == 7:
        tract["Rejected"]["TOO_SHORT"] += tract["Count"] - tract["Count"] // 10
        tract["Count"] = tract["Kept"] = tract["Streamlines"] = tract["Count"] // 10
    if number == 11:
        measures["GradientCheck"] = FLIPPED
    if number == 23:
        mask["Volume"] /= 2
        mask["Extent"], mask["LeftOut"] = [68.0, 170.0, 130.0], 0.9


def make_study(folder: Path, n: int, *, missing: int = 0) -> tuple[Path, Path]:
    """A dataset of `n` participants and the results of all but the last; with planted faults."""
    bids, out = folder / "bids", folder / "out"
    rng = np.random.default_rng(7)
    digits = max(2, len(str(n)))
    rows = ["participant_id\tage\tgroup\tsite"]
    status: dict[str, Any] = {}
    for number in range(1, n + 1):
        sub = f"{number:0{digits}d}"
        (bids / f"sub-{sub}" / "dwi").mkdir(parents=True)
        rows.append(f"sub-{sub}\t{rng.integers(18, 75)}\t"
                    f"{'patient' if number % 3 else 'control'}\tsite{number % 4}")  # fmt: skip
        measures = typical(rng)
        if number > n - missing:
            continue
        plant(number, measures)
        write_scan(out, {"sub": sub}, measures)
        (out / f"sub-{sub}.html").write_text("<title>a report</title>")
        status[f"sub-{sub}"] = {"Status": "complete"}
    (bids / "participants.tsv").write_text("\n".join(rows) + "\n")
    (bids / "participants.json").write_text(
        json.dumps({"age": {"Description": "Age at the scan.", "Units": "year"}})
    )
    (bids / "dataset_description.json").write_text('{"Name": "A <made> study"}')
    write_status(out, "20261121T010000-aaaaaa", status)
    return bids, out
