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
from bids_tract.plan import maps_used, tissue_rule
from bids_tract.settings import Settings

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


REFERENCES = {
    "csa": "Aganj et al. (2010). Reconstruction of the orientation distribution function in "
    "single- and multiple-shell q-ball imaging within constant solid angle. "
    "doi:10.1002/mrm.22365",
    "csd": "Tournier, Calamante, Connelly (2007). Robust determination of the fibre orientation "
    "distribution in diffusion MRI: non-negativity constrained super-resolved spherical "
    "deconvolution. doi:10.1016/j.neuroimage.2007.02.016",
    # Both the continuous map criterion and particle filtering.
    "cmc": "Girard et al. (2014). Towards quantitative connectivity analysis: reducing"
    " tractography biases. doi:10.1016/j.neuroimage.2014.04.074",
    "act": "Smith et al. (2012). Anatomically-constrained tractography. "
    "doi:10.1016/j.neuroimage.2012.06.005",
    "dipy": "Garyfallidis et al. (2014). Dipy, a library for the analysis of diffusion MRI data. "
    "doi:10.3389/fninf.2014.00008",
    "nipype": "Gorgolewski et al. (2011). Nipype: a flexible, lightweight and extensible "
    "neuroimaging data processing framework in Python. doi:10.3389/fninf.2011.00013",
}


def citation(settings: Settings) -> str:
    """The methods in words, with the references of what was used, as Markdown."""
    tracking = settings.tracking
    names = {"csa": "constant solid angle ODFs", "csd": "constrained spherical deconvolution"}
    models = " and ".join(names[model] for model in settings.model.model)
    methods = " and ".join(ALGORITHMS[method][0] for method in tracking.tracking)
    used: set[str | None] = {*settings.model.model, "dipy", "nipype"}
    used |= {tissue_rule(settings, method) for method in tracking.tracking}
    if "pft" in tracking.tracking:
        used.add("cmc")
    if "gfa" in maps_used(settings):
        used.add("csa")
    listed = "\n".join(f"- {text}" for key, text in REFERENCES.items() if key in used)
    return (
        "# Methods\n\n"
        f"Diffusion data were processed with bids_tract {__version__}. Fibre orientations were "
        f"estimated by {models}. Streamlines were made by {methods} tracking with steps of "
        f"{tracking.step_mm:g} mm and turns of at most {tracking.max_angle_deg:g} degrees; those "
        f"between {tracking.min_length_mm:g} and {tracking.max_length_mm:g} mm long were kept "
        f"(random seed {settings.seeding.random_seed}).\n\n"
        f"# References\n\n{listed}\n"
    )


def readme(source_name: str) -> str:
    """``README.md`` of the output folder."""
    return (
        f"# Tractograms of {source_name}\n\n"
        f"Made by bids_tract {__version__}. Each scan has its maps, masks and tractograms in\n"
        "`sub-*/[ses-*/]dwi/`, each with a JSON file that says how it was made. Tractograms are\n"
        "in RAS+ mm. `logs/` holds the settings, the plan and the messages of each run, and the\n"
        "text to cite (`CITATION.md`).\n"
    )
