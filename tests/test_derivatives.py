from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import Any

import pytest

from bids_tract import __version__
from bids_tract.core.tracking.outcome import Counts, EndReason, Fate
from bids_tract.derivatives import (
    ALGORITHMS,
    SEEDING_TYPES,
    colour_encoding,
    common_sidecar,
    dataset_description,
    peaks_encoding,
    readme,
    sh_encoding,
    software_versions,
    tractogram_sidecar,
)
from bids_tract.resolved import track_params
from bids_tract.settings import Settings, all_options
from tests.plans import asked

REQUIRED = (
    "StreamlineSeeding",
    "StreamlinePropagation",
    "StreamlineTermination",
    "StreamlineAcceptanceCriteria",
)
COUNTS = Counts(
    Counter({
        Fate.KEPT: 60, Fate.SEED_STOPPED: 1, Fate.SEED_NO_DIRECTION: 2, Fate.TOO_SHORT: 30,
        Fate.TOO_LONG: 4, Fate.INVALID_END: 3,
    }),
    Counter({EndReason.LEFT_MASK: 100, EndReason.NO_DIRECTION: 20}),
)  # fmt: skip


def sidecar(
    settings: Settings | None = None,
    method: Any = "prob",
    rule: str = "threshold",
    source: tuple[str, ...] = ("bids::fa.nii.gz",),
) -> dict[str, Any]:
    settings = settings or asked()
    layout = settings.seeding.seeding
    return tractogram_sidecar(
        tracking={**asdict(track_params(settings, method)), "field": "bids::fod.nii.gz"},
        seeding={
            "layout": layout, "per_voxel": 8, "count": 100, "mask": "bids::seed.nii.gz",
            "voxels": 13,
        },
        stopping={
            "rule": rule, "source": list(source),
            "threshold": 0.2 if rule == "threshold" else None, "metric": "fa",
        },
        counts=COUNTS.as_dict(),
    )  # fmt: skip


def choices(name: str) -> tuple[str, ...]:
    found = {setting.name: setting.metadata["choices"] for _, setting in all_options()}
    return tuple(found[name])


# --- Tractograms: BEP046 ------------------------------------------------------------------------


@pytest.mark.parametrize("method", choices("tracking"))
@pytest.mark.parametrize("rule", choices("stopping"))
def test_what_the_proposal_requires(method, rule):
    written = json.loads(json.dumps(sidecar(method=method, rule=rule)))
    assert all(written[key] for key in REQUIRED)
    (seeds,) = written["StreamlineSeeding"]["Sources"]
    assert {"Type", "Source"} <= seeds.keys()
    propagation = written["StreamlinePropagation"]
    assert {"Algorithm", "Interpolation", "InterpolationOrder", "Source"} <= propagation.keys()
    assert propagation["Algorithm"]["Name"]
    assert propagation["Interpolation"] in {"Nearest", "Linear", "Cubic", "Spline"}


def test_propagation_is_what_was_asked_for():
    settings = asked(step_mm=0.3, max_angle_deg=25, pmf_threshold=0.05)
    propagation = sidecar(settings)["StreamlinePropagation"]
    assert propagation["StepSize"] == 0.3
    assert propagation["AnglePerStep"] == 25
    assert propagation["PmfThreshold"] == 0.05
    assert propagation["Source"] == "bids::fod.nii.gz"


def test_particles_are_told_of_where_there_are_any():
    settings = asked(pft_back_mm=3, pft_front_mm=1.5, particles=20)
    told = sidecar(settings, "pft", "cmc")["StreamlinePropagation"]
    assert told["BackTrackingDistance"] == 3
    assert told["FrontTrackingDistance"] == 1.5
    assert told["Particles"] == 20
    assert "Particles" not in sidecar(settings, "prob")["StreamlinePropagation"]


@pytest.mark.parametrize(
    ("layout", "kind", "per_voxel"),
    [
        ("grid", "GridPerElement", 8),
        ("random", "RandomPerElement", 8),
        ("interface", "RandomPerElement", 8),
        ("total", "Random", None),
    ],
)
def test_seeding(layout, kind, per_voxel):
    (seeds,) = sidecar(asked(seeding=layout))["StreamlineSeeding"]["Sources"]
    assert seeds["Type"] == kind
    assert seeds["Source"] == "bids::seed.nii.gz"
    assert seeds.get("SeedsPerElement") == per_voxel


def test_acceptance_by_length():
    written = sidecar(asked(min_length_mm=12, max_length_mm=210))
    accepted = written["StreamlineAcceptanceCriteria"]
    assert accepted == {"MinimumLength": 12, "MaximumLength": 210}


def test_termination_by_a_threshold():
    written = sidecar()["StreamlineTermination"]
    (bound,) = written["Anisotropy"]
    assert bound["Source"] == "bids::fa.nii.gz"
    assert bound["Threshold"] == 0.2
    assert bound["Metric"] == "fa"


def test_termination_by_a_mask():
    written = sidecar(rule="mask", source=("bids::stop.nii.gz",))["StreamlineTermination"]
    assert written["Masks"] == ["bids::stop.nii.gz"]
    assert "Anisotropy" not in written


@pytest.mark.parametrize("rule", ["cmc", "act"])
def test_termination_by_tissue(rule):
    maps = ("bids::wm.nii.gz", "bids::gm.nii.gz", "bids::csf.nii.gz")
    written = sidecar(method="pft", rule=rule, source=maps)
    assert written["StreamlineTermination"]["AnatomicalSegmentation"] == list(maps)
    assert written["StreamlineAcceptanceCriteria"]["AnatomicalSegmentation"] == list(maps)


def test_counts_add_up():
    written = sidecar(asked(random_seed=7, select=60))
    counts = written["Counts"]
    assert counts["Attempts"] == counts["Kept"] + sum(counts["Rejected"].values()) == 100
    assert sum(counts["Ends"].values()) == 2 * counts["Kept"]
    density = written["StreamlineReconstructionDensity"]
    assert density == {"Seeds": 100, "GeneratedStreamlines": 97, "AcceptedStreamlines": 60}
    assert written["Count"] == 60
    assert (written["RandomSeed"], written["Select"]) == (7, 60)
    assert (written["SeedVoxels"], written["SeedsAvailable"]) == (13, 100)


def test_every_choice_has_a_word():
    assert set(SEEDING_TYPES) == set(choices("seeding"))
    assert set(ALGORITHMS) == set(choices("tracking"))


# --- Maps: BEP016 -------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [4, 8])
def test_how_harmonics_are_read(order):
    encoding = sh_encoding(order)["OrientationEncoding"]
    assert encoding["Type"] == "sh"
    assert encoding["EncodingAxis"] == 3
    assert encoding["Reference"] == "ijk"
    for word in ("SphericalHarmonics", "SphericalHarmonic"):
        assert encoding[f"{word}Basis"] == "descoteaux"
        assert encoding[f"{word}Degree"] == order


def test_how_peaks_and_colours_are_read():
    peaks = peaks_encoding(5)
    assert peaks["NumberOfPeaks"] == 5
    assert peaks["OrientationEncoding"]["Type"] == "3vector"
    assert peaks["OrientationEncoding"]["Reference"] == "ijk"
    colour = colour_encoding()["OrientationEncoding"]
    assert (colour["Type"], colour["Reference"]) == ("dec", "xyz")


# --- All files ----------------------------------------------------------------------------------


def test_every_sidecar_says_how_its_file_was_made():
    said = common_sidecar(digest="d", sources=["bids:source:a"], description="A map.")
    assert said["Digest"] == "d"
    assert said["Sources"] == ["bids:source:a"]
    assert said["Description"] == "A map."
    assert said["SoftwareVersions"] == software_versions()
    assert "Notes" not in said
    noted = common_sidecar(digest="d", sources=[], description="", notes=["lowered"])
    assert noted["Notes"] == ["lowered"]


def test_versions_of_what_the_numbers_depend_on():
    versions = software_versions()
    assert f"bids_tract {__version__}" in versions
    for name in ("python", "numpy", "dipy", "nibabel", "scipy"):
        assert f"{name} " in versions


def test_the_output_is_a_derivative_dataset():
    sources = {"source": "file:///raw", "anat": "file:///anat"}
    made = dataset_description("My data", sources, {})
    assert made["DatasetType"] == "derivative"
    assert "My data" in made["Name"]
    assert made["BIDSVersion"]
    assert made["GeneratedBy"] == [{"Name": "bids_tract", "Version": __version__}]
    assert made["DatasetLinks"] == sources
    assert made["SourceDatasets"] == [{"URL": "file:///raw"}, {"URL": "file:///anat"}]
    container = {"Type": "apptainer", "URI": "file:///a.sif"}
    assert dataset_description("", {}, container)["GeneratedBy"][0]["Container"] == container


def test_the_readme_names_the_source():
    assert readme("My data").startswith("# Tractograms of My data\n")


# --- What to cite -------------------------------------------------------------------------------
