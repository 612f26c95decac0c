from __future__ import annotations

import re

import pytest

from bids_tract import __version__
from bids_tract.citation import REFERENCES, as_bibtex, as_markdown, references
from bids_tract.resolved import Corrections
from tests.plans import asked

CSA, CSD, PFT, ACT = "Aganj", "Tournier", "Girard", "Smith"


@pytest.mark.parametrize(
    ("said", "cited"),
    [
        ({}, {CSD}),
        ({"model": "csa"}, {CSA}),
        ({"model": ["csa", "csd"]}, {CSA, CSD}),
        ({"stop_mask": "gfa"}, {CSA, CSD}),  # of CSA's ODF
        ({"seed_mask": "gfa", "seeding": "interface"}, {CSD}),  # nobody reads it
        ({"tracking": "pft"}, {CSD, PFT}),
        ({"stopping": "cmc"}, {CSD, PFT}),
        ({"stopping": "act"}, {CSD, ACT}),
        ({"tracking": "pft", "stopping": "act"}, {CSD, PFT, ACT}),
    ],
)
def test_what_was_used_is_cited_and_nothing_else(said, cited):
    text = as_markdown(asked(**said), [])
    assert {name for name in (CSA, CSD, PFT, ACT) if name in text} == cited
    assert "Garyfallidis" in text
    assert "Gorgolewski" in text


def test_the_methods_in_words():
    text = as_markdown(
        asked(model=["csa", "csd"], tracking=["det", "prob"], step_mm=0.4, random_seed=3), []
    )
    assert f"bids_tract {__version__}" in text
    assert "constant solid angle ODFs and constrained spherical deconvolution" in text
    assert "deterministic and probabilistic tracking" in text
    assert "steps of 0.4 mm and turns of at most 30 degrees" in text
    assert "between 20 and 300 mm" in text
    assert "random seed 3" in text


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "seeds on a grid, 1 in each voxel of FA above 0.2. "),
        ({}, "They ended outside the voxels of FA above 0.2."),
        ({"seeding": "random", "seeds": 3, "seed_threshold": "25%"}, "3 in each voxel of FA the "),
        ({"seeding": "total", "seeds": 5000}, "5,000 seeds at random places in the voxels of FA"),
        ({"seeding": "interface", "seeds": 2}, "2 in each voxel where white meets grey matter."),
        ({"select": 1000}, "up to 1,000 streamlines"),
        ({"seed_mask": "/a/white.nii.gz"}, "each voxel of white.nii.gz (a mask, or above 0.2)"),
        ({"stop_mask": "gfa", "stop_threshold": 0.1}, "outside the voxels of GFA above 0.1."),
        ({"sh_order": 6}, "deconvolution with spherical harmonics of order 6 where"),
        ({"tracking": "pft"}, "15 particles, 2 mm back and 1 mm ahead"),
        ({"stopping": "act"}, "They ended by anatomical constraints."),
        (
            {"tracking": ["det", "pft"]},
            "They ended outside the voxels of FA above 0.2 (deterministic) and by the continuous "
            "map criterion (particle filtering).",
        ),
    ],
)
def test_seeds_and_ends_in_words(said, words):
    assert words in as_markdown(asked(**said), [])


RAW = Corrections("mppca", 2, "eddy")


@pytest.mark.parametrize(
    ("said", "done", "cited"),
    [
        ({}, [RAW, RAW], {"mppca", "unring", "motion", "orientation"}),
        ({}, [Corrections()], {"orientation"}),
        ({}, [Corrections("patch2self", None, "rigid")], {"patch2self", "motion", "orientation"}),
        ({}, [RAW, Corrections("patch2self")],
         {"mppca", "patch2self", "unring", "motion", "orientation"}),
        ({"gradient_check": "off"}, [Corrections()], set()),
        ({"tracking": "pft"}, [Corrections()], {"orientation", "registration", "segmentation"}),
    ],
)  # fmt: skip
def test_what_was_done_to_series_is_cited(said, done, cited):
    optional = {
        "mppca", "patch2self", "unring", "motion", "orientation", "registration", "segmentation",
    }  # fmt: skip
    found = {key for key in optional if REFERENCES[key] in references(asked(**said), done)}
    assert found == cited


def test_corrections_in_words():
    text = as_markdown(asked(), [Corrections("mppca", None, "rigid")])
    assert (
        "Raw series were denoised by Marchenko-Pastur PCA and corrected for head motion by "
        "registration." in text
    )
    text = as_markdown(asked(), [RAW, Corrections(None, None, "eddy")])
    assert (
        "Raw series were denoised by Marchenko-Pastur PCA (1 of 2 series), freed from Gibbs "
        "ringing (1 of 2 series) and corrected for head motion and eddy currents by registration."
        in text
    )
    assert "Raw series" not in as_markdown(asked(), [Corrections()])


def test_bibtex_has_an_entry_for_each_reference():
    settings = asked(tracking=["prob", "pft"], model=["csa", "csd"])
    text = as_bibtex(settings, [])
    entries = re.findall(r"^@article\{(\w+),$", text, re.MULTILINE)
    assert entries == [reference.key for reference in references(settings, [])]
    assert len(set(entries)) == len(entries) == text.count("doi = {10.")
    assert text.count("{") == text.count("}")


def test_two_authors_and_many():
    texts = {key: reference.text for key, reference in REFERENCES.items()}
    assert texts["motion"].startswith("Leemans and Jones (2009). ")
    assert texts["csd"].startswith("Tournier et al. (2007). ")
