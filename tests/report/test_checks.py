import copy
import re

import numpy as np
import pytest

from bids_tract.core.types import Streamlines
from bids_tract.report.checks import checks
from bids_tract.report.measures import measure_scan
from bids_tract.report.verdicts import duration, tally
from tests.report.outputs import (
    SCAN,
    brain,
    change,
    coordinates,
    lines,
    make_outputs,
    path_of,
    replace_map,
    tract_sidecar,
    write_tract,
)

TRACT = "track-prob_desc-csd"


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    root = tmp_path_factory.mktemp("sound")
    return measure_scan(make_outputs(root, kept=3000, attempts=5000), SCAN)


def changed(measures, *keys, **values):
    """A copy with values changed at a place."""
    copied = copy.deepcopy(measures)
    place = copied
    for key in keys:
        place = place[key]
    place.update(values)
    return copied


def judged(measures, key, others=()):
    (check,) = [one for one in checks(measures, others) if one.key == key]
    return check


def test_a_sound_scan_is_called_sound(sound):
    found = {check.key: check.verdict for check in checks(sound)}
    assert found.pop("motion") == found.pop("snr") == "unknown"
    assert set(found.values()) == {"good"}
    assert [*found] == [
        "gradients", "orientation", "mask", "tissue", "response", "lmax",
        f"kept_{TRACT}", f"length_{TRACT}", f"visited_{TRACT}", "effort",
    ]  # fmt: skip


def test_each_check_says_something(sound):
    for check in checks(sound):
        assert check.name
        assert check.number
        assert check.sentence[-1] in ".)"


# --- Planted faults, from files to verdicts ----------------------------------------------------


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_mask_that_lost_half_the_brain_is_flagged(tmp_path, axis):
    make_outputs(tmp_path)
    replace_map(tmp_path, "brain_mask", brain() & (coordinates()[..., axis] < 0))
    check = judged(measure_scan(tmp_path, SCAN), "mask")
    assert check.verdict == "bad"
    assert "a part of the brain is missing" in check.sentence


def test_half_a_brain_without_background_is_doubted(tmp_path):
    make_outputs(tmp_path)
    half = brain() & (coordinates()[..., 0] < 0)
    replace_map(tmp_path, "brain_mask", half)
    replace_map(tmp_path, "dwiref", 1000.0 * half)
    check = judged(measure_scan(tmp_path, SCAN), "mask")
    assert check.verdict == "doubt"
    assert "no brain's shape" in check.sentence


def test_a_flipped_gradient_table_is_flagged(tmp_path):
    make_outputs(tmp_path)
    said = {"Verdict": "wrong", "Reason": "x flipped scores 0.5", "Best": "i-,j,k"}
    change(tmp_path, "brain_mask", GradientCheck=said)
    check = judged(measure_scan(tmp_path, SCAN), "orientation")
    assert check.verdict == "bad"
    assert "i-,j,k" in check.number
    for fixed in ({"Applied": True}, {"Used": "i-,j,k"}):
        change(tmp_path, "brain_mask", GradientCheck={**said, **fixed})
        assert judged(measure_scan(tmp_path, SCAN), "orientation").verdict == "doubt"


def test_a_tenth_of_the_streamlines_is_flagged(tmp_path):
    make_outputs(tmp_path)
    write_tract(tmp_path, lines(30))
    change(tmp_path, "tractogram", **tract_sidecar(30, 500))
    assert judged(measure_scan(tmp_path, SCAN), f"kept_{TRACT}").verdict == "doubt"


def test_a_file_that_lost_streamlines_is_flagged(tmp_path):
    make_outputs(tmp_path)
    write_tract(tmp_path, lines(30))
    check = judged(measure_scan(tmp_path, SCAN), f"kept_{TRACT}")
    assert check.verdict == "bad"
    assert "holds 30" in check.sentence


def test_a_tractogram_replaced_beside_its_sidecar_is_flagged(tmp_path):
    make_outputs(tmp_path, kept=3000, attempts=5000)
    assert judged(measure_scan(tmp_path, SCAN), f"kept_{TRACT}").verdict == "good"
    every = lines(3000)
    tenth = [every[number] for number in range(0, 3000, 10)]
    write_tract(tmp_path, Streamlines.from_list(tenth, np.arange(300)))
    check = judged(measure_scan(tmp_path, SCAN), f"kept_{TRACT}")
    assert check.verdict == "bad"
    assert "The file holds 300 streamlines" in check.sentence


def test_a_tractogram_cut_off_after_measuring_is_flagged(tmp_path):
    make_outputs(tmp_path, kept=3000, attempts=5000)
    measure_scan(tmp_path, SCAN)
    path = path_of(tmp_path, "tractogram")
    assert path.stat().st_size > 200_000
    path.write_bytes(path.read_bytes()[:200_000])
    found = measure_scan(tmp_path, SCAN)
    check = judged(found, f"kept_{TRACT}")
    assert check.verdict == "bad"
    assert "could not be read" in check.sentence
    assert path.name in judged(found, "files").sentence


def test_few_streamlines_are_doubted_whatever_share_of_the_seeds_they_are(sound):
    few = changed(sound, "Mask", Volume=1353.0)
    few["Tractograms"][TRACT] |= {"Count": 1759, "Streamlines": 1759, "Attempts": 1800}
    check = judged(few, f"kept_{TRACT}")
    assert check.verdict == "doubt"
    assert check.sentence == (
        "Few for a brain of 1,353 ml (1.3 per ml): maps and matrices of so few are coarse."
    )
    del few["Mask"]
    assert judged(few, f"kept_{TRACT}").verdict == "good"


# --- Each bound --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "place", "value", "verdict"),
    [
        ("gradients", ("Gradients",), {"B0Volumes": 0}, "bad"),
        ("gradients", ("Gradients", "Shells", 0), {"Directions": 12}, "bad"),
        ("gradients", ("Gradients", "Shells", 0), {"Directions": 20}, "doubt"),
        ("orientation", ("GradientCheck",), {"Verdict": "unsure"}, "doubt"),
        ("orientation", ("GradientCheck",), {"Verdict": "off"}, "unknown"),
        ("motion", (), {"Motion": {"MeanFramewiseDisplacement": 0.2}}, "good"),
        ("motion", (), {"Motion": {"MeanFramewiseDisplacement": 0.8}}, "doubt"),
        ("motion", (), {"Motion": {"MeanFramewiseDisplacement": 2.5}}, "bad"),
        ("motion", (), {"Motion": {"MeanFramewiseDisplacement": 2.5,
                                   "MeanRestrictedDisplacement": 0.2}}, "good"),
        ("motion", (), {"Motion": {"MeanFramewiseDisplacement": 2.5,
                                   "MeanRestrictedDisplacement": 0.8}}, "doubt"),
        ("snr", (), {"Denoising": {"SNR": 20}}, "good"),
        ("snr", (), {"Denoising": {"SNR": 10}}, "doubt"),
        ("snr", (), {"Denoising": {"SNR": 3}}, "bad"),
        ("snr", (), {"Denoising": {"SNR": None}}, "unknown"),
        ("mask", ("Mask",), {"LeftOut": 0.2}, "doubt"),
        ("mask", ("Mask",), {"LeftOut": 0.4}, "bad"),
        ("mask", ("Mask",), {"Volume": 60}, "doubt"),
        ("mask", ("Mask",), {"Volume": 3000}, "doubt"),
        ("mask", ("Mask",), {"Extent": [60, 150, 110]}, "doubt"),
        ("tissue", ("Tissue",), {"WM": 100}, "doubt"),
        ("tissue", ("Tissue",), {"GM": 0}, "bad"),
        ("tissue", ("Tissue",), {"WM": 300, "GM": 960}, "good"),
        ("tissue", ("Tissue",), {"WM": 300, "GM": 1050}, "doubt"),
        ("tissue", ("Tissue",), {"WM": 800, "GM": 200}, "doubt"),
        ("registration", ("Tissue",), {"Registration": {"Quality": 1, "Bound": 0.5}}, "good"),
        ("registration", ("Tissue",), {"Registration": {"Quality": 0.4, "Bound": 0.5}}, "bad"),
        ("response", ("Models", "csd", "ResponseFunction"), {"Voxels": 10}, "doubt"),
        ("response", ("Models", "csd", "ResponseFunction"),
         {"Coefficients": [2e-3, 1.3e-3, 1.3e-3, 1]}, "doubt"),
        ("response", ("Models", "csd", "ResponseFunction"), {"Voxels": 0}, "good"),  # was given
        ("lmax", ("Models", "csd"), {"Order": 4}, "doubt"),
        ("lmax", ("Models", "csd"), {"Order": 2}, "bad"),
        ("lmax", ("Models",), {"csa": {"Order": 2}}, "bad"),  # the least of all models
        (f"kept_{TRACT}", ("Tractograms", TRACT), {"Attempts": 29000}, "doubt"),
        (f"kept_{TRACT}", ("Tractograms", TRACT), {"Attempts": 290000}, "bad"),
        (f"kept_{TRACT}", ("Tractograms", TRACT), {"Select": 4000}, "doubt"),
        (f"kept_{TRACT}", ("Tractograms", TRACT), {"Select": 3000}, "good"),
        (f"kept_{TRACT}", ("Tractograms", TRACT), {"Streamlines": 3001}, "bad"),
        (f"kept_{TRACT}", ("Tractograms", TRACT), {"Count": 0, "Streamlines": 0}, "bad"),
        (f"length_{TRACT}", ("Tractograms", TRACT), {"MinimumLength": 50}, "doubt"),
        (f"length_{TRACT}", ("Tractograms", TRACT, "Rejected"), {"TOO_LONG": 500}, "doubt"),
        (f"visited_{TRACT}", ("Tractograms", TRACT, "Visited"), {"Share": 0.2}, "doubt"),
        (f"visited_{TRACT}", ("Tractograms", TRACT, "Visited"), {"Share": 0.015}, "bad"),
        ("files", (), {"Errors": ["it is broken"]}, "bad"),
    ],
)  # fmt: skip
def test_bounds(sound, key, place, value, verdict):
    assert judged(changed(sound, *place, **value), key).verdict == verdict


def test_the_shape_of_what_is_no_brain_is_not_spoken_of(sound):
    check = judged(changed(sound, "Mask", Volume=60, Extent=[60, 150, 110]), "mask")
    assert "small for a brain" in check.sentence
    assert "shape" not in check.sentence


def test_why_seeds_gave_nothing_is_told_by_how_often(sound):
    rejected = {"TOO_LONG": 7, "SEED_STOPPED": 1200, "TOO_SHORT": 80, "INVALID_END": 0}
    measures = changed(sound, "Tractograms", TRACT, Rejected=rejected)
    said = judged(measures, f"kept_{TRACT}").sentence
    assert re.findall(r"[\d,]+", said) == ["1,200", "80", "7"]


def test_motion_is_judged_by_what_eddy_currents_do_not_make(sound):
    motion = {
        "MeanFramewiseDisplacement": 2.5, "MaxFramewiseDisplacement": 4.0,
        "MeanRestrictedDisplacement": 0.2, "MaxRestrictedDisplacement": 0.6,
    }  # fmt: skip
    check = judged({**sound, "Motion": motion}, "motion")
    assert check.number == "0.20 mm a volume, at most 0.60 mm"
    assert "phase-encoding axis" in check.sentence
    assert "2.50 mm a volume with them" in check.sentence
    del motion["MeanRestrictedDisplacement"]
    check = judged({**sound, "Motion": motion}, "motion")
    assert check.number == "2.50 mm a volume, at most 4.00 mm"
    assert "phase-encoding" not in check.sentence


def test_scans_of_one_person_have_brains_of_one_size(sound):
    smaller = changed(sound, "Mask", Volume=sound["Mask"]["Volume"] * 0.5)
    assert judged(sound, "mask", [sound]).verdict == "good"
    assert judged(smaller, "mask", [sound, sound]).verdict == "bad"
    assert judged(sound, "mask", [smaller, sound]).verdict == "good"


def test_no_tractogram_is_said(sound):
    lacking = {key: value for key, value in sound.items() if key != "Tractograms"}
    assert judged(lacking, "kept").verdict == "bad"


@pytest.mark.parametrize("key", ["Gradients", "GradientCheck", "Mask", "Models", "Tissue"])
@pytest.mark.parametrize("broken", ["word", [1], {"B0Volumes": "x", "Shells": 3, "csd": 1}, 7])
def test_whatever_a_sidecar_holds_the_others_are_judged(sound, key, broken):
    found = checks({**sound, key: broken})
    assert judged({**sound, key: broken}, "effort").verdict == "good"
    assert len({check.key for check in found}) == len(found)


def test_nothing_known_is_no_alarm():
    found = checks({"Scan": "sub-01"})
    assert {check.verdict for check in found} == {"unknown", "bad"}
    assert [check.key for check in found if check.verdict == "bad"] == ["kept"]


def test_tally_counts_the_worst_first(sound):
    found = checks(changed(sound, "Mask", Volume=60))
    assert [*tally(found)] == [("doubt", 1), ("unknown", 2), ("good", 9)]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4.71, "4.7 s"), (59.96, "60.0 s"), (200, "3 min 20 s"), (3900, "1 h 05 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_empty_masks_of_a_person_are_judged_too():
    empty = {"Mask": {"Volume": 0.0}}
    found = judged(empty, "mask", [empty, empty])
    assert (found.verdict, found.number) == ("bad", "0 ml")
    assert "The mask is empty." in found.sentence
    sound = {"Mask": {"Volume": 1400.0}}
    assert "Masks of this person's scans differ" in judged(sound, "mask", [empty, empty]).sentence
