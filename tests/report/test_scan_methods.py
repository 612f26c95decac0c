import pytest

from bids_tract.report.scan_methods import scan_methods

SHELLS = [
    {"b": 1000.0, "Volumes": 32, "Directions": 30},
    {"b": 2500.0, "Volumes": 1, "Directions": 1},
]
MADE = {
    "Count": 40, "Attempts": 50, "StepSize": 0.5, "AnglePerStep": 30.0,
    "MinimumLength": 20.0, "MaximumLength": 300.0,
}  # fmt: skip


def test_nothing_is_said_of_what_is_not_known():
    assert scan_methods({"Scan": "sub-01"}) == ""


@pytest.mark.parametrize(
    ("measures", "words"),
    [
        (
            {"Gradients": {"B0Volumes": 1, "Shells": SHELLS}},
            "The series has 1 volume without diffusion weighting, 30 directions at "
            "b = 1000 s/mm², 1 direction at b = 2500 s/mm².",
        ),
        (
            {
                "Denoising": {"Method": "patch2self"},
                "Motion": {"Method": "rigid", "Applied": True},
            },
            "It was denoised by patch2self. Head motion was corrected by rigid.",
        ),
        ({"GibbsUnringing": {"Method": "shifts"}}, "Gibbs ringing was removed by shifts."),
        ({"Motion": {"Method": "rigid", "Applied": False}}, ""),
        (
            {"GradientCheck": {"Applied": True, "Used": "j,i-,k"}},
            "The gradient table was read with the axes j,i-,k.",
        ),
        ({"GradientCheck": {"Applied": False, "Used": "i,j,k"}}, ""),
        ({"Tissue": {"WM": 500.0, "Source": "probseg"}}, "Fractions of tissue came from probseg."),
        (
            {"Models": {"csa": {"Order": 4, "Shell": 1000.0}, "csd": {"Order": 8}}},
            "CSA was fitted with harmonics up to order 4 from the shell of b = 1000 s/mm². "
            "CSD was fitted with harmonics up to order 8.",
        ),
        (
            {
                "Models": {
                    "csd": {
                        "Order": 6,
                        "ResponseFunction": {
                            "Coefficients": [1.48e-3, 3.2e-4, 3.1e-4, 294.43],
                            "Source": "FA > 0.7",
                        },
                    }
                }
            },
            "up to order 6 and the response 1.48 / 0.32 / 0.31 · 10⁻³ mm²/s, S0 294.4 (FA > 0.7).",
        ),
        (
            {"Tractograms": {"track-pft_desc-csd": {"Count": 1, "Attempts": 2000}}},
            "Tracking (particle filtering, CSD) from 2,000 seeds kept 1 streamline.",
        ),
        (
            {"Tractograms": {"track-prob_desc-csd": MADE | {
                "Criterion": "threshold", "Threshold": 0.2, "Metric": "fa",
            }}},
            "from 50 seeds kept 40 streamlines with steps of 0.5 mm and turns of at most 30 "
            "degrees, ended where FA falls below 0.2; streamlines of 20 to 300 mm.",
        ),
        (
            {"Tractograms": {"track-pft_desc-csd": MADE | {"Criterion": "cmc"}}},
            "30 degrees, ended by the continuous map criterion; streamlines",
        ),
        (
            {"Tractograms": {"track-prob_desc-csd": MADE | {"Criterion": "mask"}}},
            "30 degrees, ended at the border of the stop mask; streamlines",
        ),
        (
            {
                "Stop": {"Rule": "threshold", "Threshold": 0.1},
                "Tractograms": {"track-prob_desc-csd": {
                    "Criterion": "threshold", "Threshold": 0.2,
                }},
            },
            "The stop mask beside the tractogram (probabilistic, CSD) is of another run",
        ),
        ({"Tractograms": {"track-pft_desc-csd": {"Streamlines": 3}}}, ""),
    ],
)  # fmt: skip
def test_what_was_done_in_words(measures, words):
    found = scan_methods(measures)
    assert words in found
    assert bool(found) == bool(words)
