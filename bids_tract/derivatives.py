"""What the JSON files of a run say: dataset description and sidecars. Pure.

The keys for maps follow BEP016, those for tractograms BEP046; both proposals are still open, so
they stand here and nowhere else.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from bids_tract import __version__

BIDS_VERSION = "1.11.1"


def software_versions() -> str:
    """Versions of what the numbers depend on, in one text: BIDS takes no table here."""
    packages = ("dipy", "nibabel", "nipype", "numba", "numpy", "scipy")
    versions = {
        "bids_tract": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
    return ", ".join(f"{name} {number}" for name, number in versions.items())


def dataset_description(
    source_name: str, sources: Mapping[str, str], container: Mapping[str, str]
) -> dict[str, Any]:
    """``dataset_description.json`` of the output.

    Parameters
    ----------
    source_name : str
        Name of the dataset that was processed.
    sources : mapping of str to str
        Name (as in ``bids:<name>:path``) to address of each dataset that was read.
    container : mapping of str to str
        Type, tag and address of the container, empty outside one.

    """
    made_by: dict[str, Any] = {
        "Name": "bids_tract",
        "Version": __version__,
    }
    if container:
        made_by["Container"] = dict(container)
    return {
        "Name": f"bids_tract: tractograms of {source_name}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [made_by],
        "SourceDatasets": [{"URL": url} for url in sources.values()],
        "DatasetLinks": dict(sources),
        "HowToAcknowledge": "See logs/*/CITATION.md for the methods used and their references.",
    }


def common_sidecar(
    *, digest: str, sources: Sequence[str], description: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """What every sidecar says."""
    sidecar: dict[str, Any] = {
        "Description": description,
        "Sources": list(sources),
        "Digest": digest,
        "SoftwareVersions": software_versions(),
    }
    if notes:
        sidecar["Notes"] = list(notes)
    return sidecar


def sh_encoding(lmax: int) -> dict[str, Any]:
    """How a map of spherical harmonic coefficients is to be read."""
    return {
        "OrientationEncoding": {
            "Type": "sh",
            "EncodingAxis": 3,
            "Reference": "ijk",
            "AntipodalSymmetry": True,
            # The proposal's schema and its text spell these differently.
            "SphericalHarmonicsBasis": "descoteaux",
            "SphericalHarmonicBasis": "descoteaux",
            "SphericalHarmonicsDegree": lmax,
            "SphericalHarmonicDegree": lmax,
        }
    }


def peaks_encoding(n_peaks: int) -> dict[str, Any]:
    """How a map of peaks is to be read."""
    return {
        "OrientationEncoding": {
            "Type": "3vector",
            "EncodingAxis": 3,
            "Reference": "ijk",
            "AntipodalSymmetry": True,
        },
        "NumberOfPeaks": n_peaks,
    }


def colour_encoding() -> dict[str, Any]:
    """How a map of direction-encoded colour is to be read."""
    return {"OrientationEncoding": {"Type": "dec", "EncodingAxis": 3, "Reference": "xyz"}}


SEEDING_TYPES = {
    "grid": "GridPerElement",
    "random": "RandomPerElement",
    "total": "Random",
    "interface": "RandomPerElement",
}
ALGORITHMS = {
    "det": ("deterministic", "the maximum of the ODF within the largest turn"),
    "prob": ("probabilistic", "a draw from the ODF within the largest turn"),
    "pft": ("particle filtering", "doi:10.1016/j.neuroimage.2014.04.074"),
    "eudx": ("peak-following", "the weighted mean of the nearest peaks of the voxels around"),
}


def tractogram_sidecar(
    *,
    tracking: Mapping[str, Any],
    seeding: Mapping[str, Any],
    stopping: Mapping[str, Any],
    counts: Mapping[str, Any],
) -> dict[str, Any]:
    """The BEP046 part of a tractogram's sidecar, and the counts.

    Parameters
    ----------
    tracking : mapping
        Fields of `TrackParams`, and ``field``: BIDS URI of the orientation field.
    seeding : mapping
        ``layout``, ``per_voxel``, ``count``, ``mask`` (URI), ``voxels``.
    stopping : mapping
        ``rule``, ``source`` (list of URIs); for a threshold ``metric`` (fa, gfa, wm or the
        map's file name) and ``threshold``.
    counts : mapping
        As `Counts.as_dict` gives them.

    """
    name, description = ALGORITHMS[tracking["method"]]
    seed_source: dict[str, Any] = {
        "Type": SEEDING_TYPES[seeding["layout"]],
        "Source": seeding["mask"],
    }
    if seeding["layout"] != "total":
        seed_source["SeedsPerElement"] = seeding["per_voxel"]
    propagation: dict[str, Any] = {
        "Algorithm": {"Name": name, "Description": description},
        "AnglePerStep": tracking["max_angle_deg"],
        "Interpolation": "Linear",
        "InterpolationOrder": 0,  # the proposal: 0 where the interpolation is linear
        "Source": tracking["field"],
        "StepSize": tracking["step_mm"],
    }
    if tracking["method"] != "eudx":  # which follows peaks, whatever their amplitude
        propagation["PmfThreshold"] = tracking["pmf_threshold"]
    if tracking["method"] == "pft":
        propagation |= {
            "BackTrackingDistance": tracking["pft_back_mm"],
            "FrontTrackingDistance": tracking["pft_front_mm"],
            "Particles": tracking["particles"],
        }
    acceptance: dict[str, Any] = {
        "MinimumLength": tracking["min_length_mm"],
        "MaximumLength": tracking["max_length_mm"],
    }
    termination: dict[str, Any] = {
        "Criterion": stopping["rule"],
        "AnglePerStep": tracking["max_angle_deg"],
    }
    if stopping["rule"] in ("cmc", "act"):
        termination["AnatomicalSegmentation"] = stopping["source"]
        acceptance["AnatomicalSegmentation"] = stopping["source"]
    elif stopping["rule"] == "mask":
        termination["Masks"] = stopping["source"]
    else:
        termination["Anisotropy"] = [
            {"Metric": stopping["metric"], "Source": source, "Threshold": stopping["threshold"]}
            for source in stopping["source"]
        ]
    return {
        "StreamlineSeeding": {"Sources": [seed_source]},
        "StreamlinePropagation": propagation,
        "StreamlineTermination": termination,
        "StreamlineAcceptanceCriteria": acceptance,
        "StreamlineReconstructionDensity": {
            "Seeds": counts["Attempts"],
            "GeneratedStreamlines": counts["Attempts"]
            - counts["Rejected"]["SEED_STOPPED"]
            - counts["Rejected"]["SEED_NO_DIRECTION"],
            "AcceptedStreamlines": counts["Kept"],
        },
        "Count": counts["Kept"],
        "Counts": dict(counts),
        "SeedVoxels": seeding["voxels"],
        "SeedsAvailable": seeding["count"],
        "RandomSeed": tracking["random_seed"],
        "Select": tracking["select"],
    }


def readme(source_name: str) -> str:
    """``README.md`` of the output folder."""
    return (
        f"# Tractograms of {source_name}\n\n"
        f"Made by bids_tract {__version__}. Each scan has its maps, masks and tractograms in\n"
        "`sub-*/[ses-*/]dwi/`, each with a JSON file that says how it was made. Tractograms are\n"
        "in RAS+ mm. `logs/` holds the settings, the plan and the messages of each run, and the\n"
        "text to cite (`CITATION.md`, `CITATION.bib`).\n"
    )
