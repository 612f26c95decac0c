from __future__ import annotations

import numpy as np
import pytest

from bids_tract.core.tracking.outcome import Fate
from bids_tract.report.group_columns import scan_columns, tractogram_columns
from tests.report.studies import PROB, typical

MEASURES = typical(np.random.default_rng(1))
BY_NAME = {column.name: column for column in (*scan_columns(), *tractogram_columns(PROB))}


def test_each_name_stands_once_and_says_what_it_is():
    names = [column.name for column in (*scan_columns(), *tractogram_columns(PROB))]
    assert len(set(names)) == len(names)
    for column in BY_NAME.values():
        assert column.description.endswith((".", ")."))
        assert column.name == column.name.lower()
        assert not (column.units and column.levels)
        # What is compared or drawn is a number.
        assert column.units or not (column.suspect or column.section)


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("b0_volumes", 4),
        ("shells", "2000"),
        ("shell_directions", "64"),
        ("directions", 64),
        ("gradient_check", "right"),
        ("gradient_check_applied", "false"),
        ("gradient_check_score", 0.502),
        ("gradient_check_next", 0.444),
        ("brain_volume", MEASURES["Mask"]["Volume"]),
        ("brain_width", 135.0),
        ("brain_length", 170.0),
        ("brain_height", 130.0),
        ("wm_volume", MEASURES["Tissue"]["WM"]),
        ("gm_volume", MEASURES["Tissue"]["GM"]),
        ("csf_volume", MEASURES["Tissue"]["CSF"]),
        ("registration_quality", MEASURES["Tissue"]["Registration"]["Quality"]),
        ("snr", MEASURES["Denoising"]["SNR"]),
        ("fd_mean", MEASURES["Motion"]["MeanFramewiseDisplacement"]),
        ("fd_max", MEASURES["Motion"]["MaxFramewiseDisplacement"]),
        ("fd_restricted_mean", None),  # where the phase-encoding axis is not known
        ("csd_lmax", 8),
        ("csa_lmax", None),
        ("prob_csd_count", MEASURES["Tractograms"][PROB]["Count"]),
        ("prob_csd_length_median", MEASURES["Tractograms"][PROB]["Length"]["Median"]),
        ("prob_csd_visited_of", "white matter"),
        ("peak_memory", MEASURES["PeakMemoryGB"]),
        ("wall_time", MEASURES["WallTime"]),
        ("noise", MEASURES["Denoising"]["NoiseLevel"]),
        ("translation_max", MEASURES["Motion"]["MaxTranslation"]),
        ("rotation_max", MEASURES["Motion"]["MaxRotation"]),
        ("brain_left_out", MEASURES["Mask"]["LeftOut"]),
        ("registration_bound", 0.3),
        ("fa_mean", MEASURES["Tensor"]["MeanFA"]),
        ("fa_median", MEASURES["Tensor"]["MedianFA"]),
        ("md_median", MEASURES["Tensor"]["MedianMD"]),
        ("csd_shell", 2000.0),
        *(
            (f"response_{name}", MEASURES["Models"]["csd"]["ResponseFunction"]["Coefficients"][n])
            for name, n in (("axial", 0), ("radial", 1), ("signal", 3))
        ),
        ("response_voxels", MEASURES["Models"]["csd"]["ResponseFunction"]["Voxels"]),
        ("seed_volume", MEASURES["Seeds"]["Volume"]),
        ("stop_rule", "threshold"),
        ("stop_threshold", 0.2),
        ("prob_csd_attempts", MEASURES["Tractograms"][PROB]["Attempts"]),
        *(
            (f"prob_csd_length_{name}", MEASURES["Tractograms"][PROB]["Length"][key])
            for name, key in (
                ("mean", "Mean"), ("p5", "Percentile5"), ("p95", "Percentile95"),
                ("max", "Longest"),
            )
        ),
        ("prob_csd_length_lower_bound", 20.0),
        ("prob_csd_length_upper_bound", 300.0),
        ("prob_csd_visited", MEASURES["Tractograms"][PROB]["Visited"]["Share"]),
        ("prob_csd_wall_time", MEASURES["Tractograms"][PROB]["WallTime"]),
        ("prob_csd_peak_memory", MEASURES["Tractograms"][PROB]["PeakMemoryGB"]),
    ],
)  # fmt: skip
def test_values_are_those_of_the_measures(name, wanted):
    assert BY_NAME[name].value(MEASURES) == wanted


def test_of_several_shells_the_most_directions_count():
    shells = [
        {"b": b, "Volumes": n + 1, "Directions": n} for b, n in ((700, 30), (2500, 64), (300, 6))
    ]
    measures = {"Gradients": {"Shells": shells}}
    names = ("shells", "shell_volumes", "shell_directions", "directions")
    assert [BY_NAME[name].value(measures) for name in names] == [
        "700,2500,300", "31,65,7", "30,64,6", 64,
    ]  # fmt: skip


def test_motion_without_eddy_currents_has_columns():
    motion = {"MeanRestrictedDisplacement": 0.3, "MaxRestrictedDisplacement": 1.2}
    measures = {**MEASURES, "Motion": MEASURES["Motion"] | motion}
    assert BY_NAME["fd_restricted_mean"].value(measures) == 0.3
    assert BY_NAME["fd_restricted_max"].value(measures) == 1.2


def test_shares_are_of_the_seeds_and_make_one():
    tract = MEASURES["Tractograms"][PROB]
    assert BY_NAME["prob_csd_kept"].value(MEASURES) == tract["Count"] / tract["Attempts"]
    reasons = [f"prob_csd_rejected_{fate.name.lower()}" for fate in Fate if fate is not Fate.KEPT]
    shares = [BY_NAME[name].value(MEASURES) for name in ("prob_csd_kept", *reasons)]
    assert sum(shares) == pytest.approx(1)


def test_the_ratio_of_the_response():
    along, across, *_ = MEASURES["Models"]["csd"]["ResponseFunction"]["Coefficients"]
    assert BY_NAME["response_ratio"].value(MEASURES) == across / along


@pytest.mark.parametrize(
    ("measures", "wanted"),
    [
        ({}, {}),
        (
            {"Mask": None, "Motion": [], "Gradients": {"Shells": [{}]}, "Tractograms": {PROB: 3}},
            {},
        ),
        ({"Mask": {"Volume": "big"}, "Gradients": {"Shells": []}}, {}),
        ({"Mask": {"Volume": float("nan")}, "GradientCheck": {"Scores": {}}}, {}),
        (
            {"Tractograms": {PROB: {"Count": 3, "Attempts": 0}}},
            {"prob_csd_count": 3, "prob_csd_attempts": 0},
        ),
    ],
)
def test_what_is_not_there_or_makes_no_sense_is_nothing(measures, wanted):
    found = {name: column.value(measures) for name, column in BY_NAME.items()}
    assert {name: value for name, value in found.items() if value is not None} == wanted


def test_text_fits_into_a_cell():
    column = BY_NAME["response_source"]
    said = {"Models": {"csd": {"ResponseFunction": {"Source": " two\nlines\tand tabs "}}}}
    assert column.value(said) == "two lines and tabs"


def test_numbers_for_people():
    assert BY_NAME["prob_csd_count"].shown(31900.0) == "31,900"
    assert BY_NAME["brain_volume"].shown(1360.4) == "1,360 ml"
    assert BY_NAME["prob_csd_kept"].shown(0.6543) == "65.4 %"
    assert BY_NAME["fd_mean"].shown(0.23456) == "0.235 mm"
    assert BY_NAME["md_median"].shown(0.00075123) == "0.000751 mm²/s"
    assert BY_NAME["prob_csd_count"].full_title == "Streamlines (probabilistic, CSD)"
