from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bids_tract.dataset.types import Anatomical, Scan
from bids_tract.resolved import (
    Corrections,
    corrections,
    maps_used,
    needs_registration,
    needs_tissue,
    tissue_rule,
    track_params,
)
from tests.plans import TISSUE, asked, change, make_scan

# --- The series ---------------------------------------------------------------------------------


def raw_scan(**fields: Any) -> Scan:
    return change(make_scan(), shape=(80, 80, 40, 33), **fields)


def test_a_raw_series_is_corrected():
    assert corrections(raw_scan(), asked()).steps == ("mppca", "unring-2", "eddy")


def test_a_preprocessed_series_is_left_alone():
    assert corrections(raw_scan(preprocessed=True), asked()) == Corrections()
    assert corrections(raw_scan(), asked(preprocessed=True)) == Corrections()


@pytest.mark.parametrize(
    ("said", "steps"),
    [
        ({"denoise": "none"}, ("unring-2", "eddy")),
        ({"denoise": "patch2self"}, ("patch2self", "unring-2", "eddy")),
        ({"unring": "off"}, ("mppca", "eddy")),
        ({"motion": "rigid"}, ("mppca", "unring-2", "rigid")),
        ({"motion": "none"}, ("mppca", "unring-2")),
        ({"denoise": "none", "unring": "off", "motion": "none"}, ()),
    ],
)
def test_each_step_can_be_chosen(said, steps):
    todo = corrections(raw_scan(), asked(**said))
    assert todo.steps == steps
    assert todo.reasons == ()  # nobody has to be told what he asked for


def test_what_makes_no_sense_is_left_out_with_the_reason():
    scan = change(make_scan(), shape=(80, 80, 3, 7), metadata={"PartialFourier": 0.75})
    todo = corrections(scan, asked())
    assert todo.steps == ()
    few, ringing, thin = todo.reasons
    assert few.startswith("Not denoised: 7 volumes are too few")
    assert "0.75 of k-space" in ringing
    assert "3" in thin
    assert corrections(scan, asked(unring="on", denoise="mppca")).steps == ("mppca", "unring-2")


def test_slices_need_not_lie_along_k():
    scan = raw_scan(metadata={"SliceEncodingDirection": "i-"})
    assert corrections(scan, asked()).unring == 0


def test_merged_runs_are_denoised_one_by_one():
    runs = tuple(change(make_scan(sub="01", run=run), shape=(80, 80, 40, 7)) for run in "12")
    merged = change(make_scan(), shape=(80, 80, 40, 14), runs=runs)
    assert corrections(merged, asked()).denoise is None


# --- Tracking, and what it needs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "method", "rule"),
    [
        ({}, "det", None),
        ({}, "pft", "cmc"),
        ({"stopping": "act"}, "pft", "act"),
        ({"stopping": "act"}, "det", "act"),
        ({"stopping": "cmc"}, "prob", "cmc"),
        ({"stopping": "mask"}, "prob", None),
        ({"stopping": "threshold"}, "prob", None),
    ],
)
def test_what_streamlines_stop_by(said, method, rule):
    assert tissue_rule(asked(**said), method) == rule


@pytest.mark.parametrize(
    ("said", "maps", "tissue"),
    [
        ({}, {"fa"}, False),
        ({"seed_mask": "a.nii", "stop_mask": "gfa"}, {"a.nii", "gfa"}, False),
        ({"seed_mask": "wm"}, {"wm", "fa"}, True),
        ({"tracking": "pft"}, {"fa"}, True),
        ({"tracking": "pft", "stop_mask": "gfa"}, {"fa"}, True),
        ({"seeding": "interface", "seed_mask": "gfa"}, {"fa"}, True),
    ],
)
def test_what_is_needed(said, maps, tissue):
    settings = asked(**said)
    assert maps_used(settings) == maps
    assert needs_tissue(settings) is tissue


def test_tracking_parameters_are_what_was_asked_for():
    params = track_params(asked(step_mm=0.3, pft_back_mm=4, select=9, random_seed=5), "pft")
    assert (params.method, params.step_mm, params.pft_back_mm) == ("pft", 0.3, 4)
    assert (params.select, params.random_seed) == (9, 5)


T1W = Anatomical(Path("/data/raw/T1w.nii.gz"), None, "raw", in_scan_space=False)


@pytest.mark.parametrize(
    ("scan", "registered"),
    [
        (change(make_scan(), t1w=T1W), True),
        (change(make_scan(), t1w=change(T1W, in_scan_space=True)), False),
        (make_scan(TISSUE), False),
        (change(make_scan(TISSUE), t1w=T1W), False),  # maps in the space of the series win
        (make_scan(change(TISSUE, reference=T1W)), True),
    ],
)
def test_what_has_to_be_registered(scan, registered):
    assert needs_registration(scan) is registered
