from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from bids_tract import plan as plan_module
from bids_tract.dataset.types import Anatomical, Skipped, TissueFiles
from bids_tract.names import ENTITY_ORDER, OUTPUT_ENTITIES, sidecar_path
from bids_tract.plan import Job, is_done
from bids_tract.settings import Settings, all_options
from tests.any_settings import LABELS
from tests.plans import (
    OUT,
    TISSUE,
    asked,
    change,
    make_dataset,
    make_scan,
    plan_all,
    plan_one,
    records,
    without,
)

# All models and methods, so that a change can be seen to reach each stage or to leave it alone.
EVERYTHING: dict[str, Any] = {"model": ("csa", "csd"), "tracking": ("det", "prob", "pft")}
FITS = {"tensor", "csa", "csd"}
TRACKS = {
    f"track-{method}-{model}" for method in ("det", "prob", "pft") for model in ("csa", "csd")
}
PFT = {"track-pft-csa", "track-pft-csd"}
ALL = {"prepare", "anatomy", "masks"} | FITS | TRACKS
OF_CSD = {name for name in TRACKS if name.endswith("csd")}
NOTHING: set[str] = set()

# Option -> another value, and the stages whose results depend on it.
MATTERS: dict[str, tuple[Any, set[str]]] = {
    "participant_label": (["01"], NOTHING),
    "session_label": (["1"], NOTHING),
    "bids_filter_file": ("filter.json", NOTHING),
    "derivatives": (["/data/anat"], NOTHING),
    "bids_database_dir": ("db", NOTHING),
    "skip_bids_validation": (True, NOTHING),
    "bvec_convention": ("fsl", NOTHING),  # the scan says which was decided on
    "bvec_axes": ("j,i,k", ALL),
    "gradient_check": ("fix", ALL),
    "b0_threshold": (100, ALL),
    "preprocessed": (True, ALL),
    "denoise": ("mppca", ALL),
    "unring": ("off", ALL),
    "motion": ("rigid", ALL),
    "merge_runs": (True, NOTHING),  # the scan says which were merged
    "shell": (1000, {"csa", "csd"} | TRACKS),
    "model": (("csd", "csa"), NOTHING),
    "sh_order": (4, {"csa", "csd"} | TRACKS),
    "response": ("1.7e-3,3e-4,3e-4,500", {"csd"} | OF_CSD),
    "seeding": ("random", TRACKS),
    "seeds": (8, TRACKS),
    "select": (1000, TRACKS),
    "seed_mask": ("gfa", {"masks"} | TRACKS),
    "seed_threshold": (0.20000001, {"masks"} | TRACKS),
    "random_seed": (43, TRACKS),
    "tracking": (("pft", "prob", "det"), NOTHING),
    "step_mm": (0.6, TRACKS),
    "max_angle_deg": (31, TRACKS),
    "min_length_mm": (21, TRACKS),
    "max_length_mm": (301, TRACKS),
    "pmf_threshold": (0.11, TRACKS),
    "stopping": ("act", {"masks"} | TRACKS),
    "stop_mask": ("wm", {"masks"} | TRACKS),
    "stop_threshold": ("25%", {"masks"} | TRACKS),
    "pft_back_mm": (3, PFT),
    "pft_front_mm": (2, PFT),
    "particles": (16, PFT),
    "format": (["trx", "tck"], TRACKS),
    "nprocs": (3, NOTHING),
    "omp_nthreads": (3, NOTHING),
    "mem_gb": ("3G", NOTHING),
    "use_plugin": ("plugin.yml", NOTHING),
    "work_dir": ("/elsewhere", NOTHING),
    "clean_workdir": (True, NOTHING),
    "stop_on_first_crash": (True, NOTHING),
    "reports_only": (True, NOTHING),
    "skip_reports": (True, NOTHING),
    "write_graph": (True, NOTHING),
    "resource_monitor": (True, NOTHING),
    "dry_run": (True, NOTHING),
    "debug": (True, NOTHING),
    "notrack": (True, NOTHING),
}


def digests(job: Job) -> dict[str, str]:
    return {stage.name: stage.digest for stage in job.stages.values()}


def changed(one: Job, other: Job) -> set[str]:
    before, after = digests(one), digests(other)
    assert before.keys() == after.keys()
    return {name for name, digest in before.items() if after[name] != digest}


# --- Stages -------------------------------------------------------------------------------------


def test_the_usual_stages_in_the_order_of_the_work():
    job = plan_one(asked(), make_scan())
    assert list(job.stages) == ["prepare", "tensor", "csd", "masks", "track-prob-csd"]


def test_all_stages():
    job = plan_one(asked(**EVERYTHING))
    assert set(job.stages) == ALL
    assert list(job.stages)[:6] == ["prepare", "anatomy", "tensor", "csa", "csd", "masks"]


@pytest.mark.parametrize("name", ["seed_mask", "stop_mask"])
def test_gfa_brings_in_the_model_that_it_comes_from(name):
    job = plan_one(asked(**{name: "gfa"}), make_scan())
    assert "csa" in job.stages
    assert "track-prob-csa" not in job.stages
    assert job.map_path("gfa") == job.output("csa", "csa_gfa")


def test_a_map_that_nobody_uses_brings_in_nothing():
    job = plan_one(asked(stop_mask="gfa", stopping="cmc"))
    assert "csa" not in job.stages
    assert set(job.stages["masks"].outputs) == {"seed_mask"}


def test_maps_and_files():
    job = plan_one(asked(seed_mask="wm"))
    assert job.map_path("fa") == job.output("tensor", "tensor_fa")
    assert job.map_path("wm") == job.output("anatomy", "wm_probseg")
    assert job.map_path("rois/mine.nii.gz") == Path("rois/mine.nii.gz")


# --- Digests ------------------------------------------------------------------------------------


def test_every_option_is_said_to_matter_or_not():
    assert set(MATTERS) == {setting.name for _, setting in all_options()}


@pytest.mark.parametrize("name", MATTERS)
def test_digests_change_exactly_with_what_matters(name):
    value, stages = MATTERS[name]
    settings = asked(**{**EVERYTHING, name: value})
    assert settings != asked(**EVERYTHING)
    assert changed(plan_one(asked(**EVERYTHING)), plan_one(settings)) == stages


@pytest.mark.parametrize(
    ("path", "stages"),
    [
        (make_scan().dwi, ALL),
        (make_scan().bval, ALL),
        (make_scan().bvec, ALL),
        (make_scan().brain_mask, ALL),
        *((path, {"anatomy"} | PFT) for path in TISSUE.files),
        (Path("/data/raw/unrelated.nii.gz"), NOTHING),
    ],
    ids=lambda value: value.name if isinstance(value, Path) else "",  # a set has no order
)
def test_digests_follow_the_contents_of_the_files(path, stages):
    settings = asked(**EVERYTHING)
    assert changed(plan_one(settings), plan_one(settings, contents={path: "new"})) == stages


def test_digests_follow_the_contents_of_masks_that_the_user_gives():
    settings = asked(**EVERYTHING, seed_mask="roi.nii.gz", stop_mask="stop.nii.gz")
    for name in ("roi.nii.gz", "stop.nii.gz"):
        other = plan_one(settings, contents={Path(name): "new"})
        assert changed(plan_one(settings), other) == {"masks"} | TRACKS


def test_a_mask_of_the_same_content_under_another_name_changes_nothing():
    contents = {Path("a.nii.gz"): "same", Path("b.nii.gz"): "same"}
    one, other = (plan_one(asked(seed_mask=str(p)), contents=contents) for p in contents)
    assert changed(one, other) == NOTHING


def test_seeds_on_white_matter_follow_the_tissue_maps():
    settings = asked(**EVERYTHING, seed_mask="wm")
    other = plan_one(settings, contents={TISSUE.files[0]: "new"})
    assert changed(plan_one(settings), other) == {"anatomy", "masks"} | TRACKS


@pytest.mark.parametrize(
    ("fields", "stages"),
    [
        ({"convention": "voxel"}, ALL),
        ({"convention_reason": "somebody said so"}, NOTHING),
        ({"brain_mask": None}, ALL),
        ({"b_table": Path("/data/raw/table.b")}, ALL),
        ({"tissue": TissueFiles("5tt", (Path("/data/anat/5tt.nii"),), "anat")}, {"anatomy"} | PFT),
        ({"tissue": TissueFiles("probseg", TISSUE.files, "renamed")}, NOTHING),
        ({"notes": ("a note",)}, NOTHING),
    ],
)
def test_digests_follow_the_scan(fields, stages):
    settings, scan = asked(**EVERYTHING), make_scan(TISSUE)
    assert changed(plan_one(settings, scan), plan_one(settings, change(scan, **fields))) == stages


def test_exchanging_two_tissue_maps_is_a_change():
    wm, gm, csf = TISSUE.files
    exchanged = change(make_scan(), tissue=TissueFiles("probseg", (gm, wm, csf), "anat"))
    settings = asked(**EVERYTHING)
    assert changed(plan_one(settings), plan_one(settings, exchanged)) == {"anatomy"} | PFT


def test_another_version_of_the_program_makes_everything_anew(monkeypatch):
    before = plan_one(asked(**EVERYTHING))
    monkeypatch.setattr(plan_module, "__version__", "999")
    assert changed(before, plan_one(asked(**EVERYTHING))) == ALL


def test_the_stages_of_a_job_have_digests_of_their_own():
    found = digests(plan_one(asked(**EVERYTHING)))
    assert len(set(found.values())) == len(found)


def test_the_order_of_formats_does_not_matter():
    one, other = (plan_one(asked(format=order)) for order in (["trx", "tck"], ["tck", "trx"]))
    assert changed(one, other) == NOTHING


# --- Reuse --------------------------------------------------------------------------------------


def test_what_is_there_unchanged_is_reused():
    settings = asked(**EVERYTHING)
    job = plan_one(settings, recorded=records(plan_one(settings)))
    assert job.reuse
    assert {stage.reason for stage in job.stages.values()} == {"unchanged: reused"}


def test_nothing_there_means_all_is_computed():
    job = plan_one(asked(**EVERYTHING))
    assert not job.reuse
    assert {stage.reason for stage in job.stages.values()} == {"to be computed"}


@pytest.mark.parametrize("stage", sorted(ALL))
def test_a_missing_stage_alone_is_computed(stage):
    settings = asked(**EVERYTHING, format=["trx", "trk"])
    done = plan_one(settings)
    job = plan_one(settings, recorded=without(done, stage))
    assert not job.reuse
    assert [s.name for s in job.stages.values() if not s.reuse] == [stage]


def test_incomplete_outputs_are_computed_again():
    settings = asked(format=["trx", "trk"])
    found = records(plan_one(settings))
    del found[plan_one(settings).output("track-prob-csd", "trk")]
    stage = plan_one(settings, recorded=found).stages["track-prob-csd"]
    assert not stage.reuse
    assert stage.reason == "incomplete: to be computed again"


def test_outputs_of_other_settings_are_computed_again():
    found = records(plan_one(asked()))
    stages = plan_one(asked(step_mm=1), recorded=found).stages
    assert stages["csd"].reuse
    assert not stages["track-prob-csd"].reuse
    assert stages["track-prob-csd"].reason.startswith("inputs, settings or version changed")


def test_when_a_job_is_done():
    job = plan_one(asked())
    found = records(job)
    assert is_done(job, found.get)
    for path in list(found):
        assert not is_done(job, {**found, path: "other"}.get)
        assert not is_done(job, {k: v for k, v in found.items() if k != path}.get)


# --- Outputs ------------------------------------------------------------------------------------

free = [key for key in ENTITY_ORDER if key not in {"sub", "desc", *OUTPUT_ENTITIES}]
named = st.builds(
    lambda sub, rest: {"sub": sub, **rest},
    LABELS,
    st.dictionaries(st.sampled_from(free), LABELS, max_size=4),
)


@given(st.lists(named, min_size=2, max_size=4, unique_by=lambda one: frozenset(one.items())))
@budget(max_examples=50, deadline=None)
def test_no_two_stages_of_any_scans_write_to_one_place(entities):
    settings = asked(**EVERYTHING, format=["trx", "trk", "tck"])
    plan, missing = plan_all(settings, *(make_scan(TISSUE, **one) for one in entities))
    assert not missing
    places = [
        {place for path in stage.outputs.values() for place in (path, sidecar_path(path))}
        for job in plan.jobs
        for stage in job.stages.values()
    ]
    assert all(not (one & other) for one, other in combinations(places, 2))
    assert all(place.is_relative_to(OUT) for stage in places for place in stage)


def test_maps_of_a_stage_have_sidecars_of_their_own():
    for stage in plan_one(asked(**EVERYTHING)).stages.values():
        # The gradient table shares that of its series.
        paths = [path for path in stage.outputs.values() if path.suffix not in (".bval", ".bvec")]
        assert len({sidecar_path(path) for path in paths}) == len(paths), stage.name


def test_where_a_tractogram_goes():
    job = plan_one(asked(format=["tck"]), make_scan(sub="01", ses="1", dir="AP"))
    name = "sub-01_ses-1_dir-AP_track-prob_desc-csd_tractogram.tck"
    assert job.output("track-prob-csd", "tck") == OUT / "sub-01/ses-1/dwi" / name
    assert job.label == "sub-01_ses-1_dir-AP"


# --- What cannot be done ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({"tracking": ["prob", "pft"]}, "--tracking pft"),
        ({"stopping": "act"}, "--stopping act"),
        ({"seeding": "interface"}, "--seeding interface"),
        ({"stop_mask": "wm"}, "the map 'wm'"),
    ],
)
def test_missing_tissue_maps_are_said_with_what_to_provide(said, wanted):
    scan = change(make_scan(), notes=("sub-01 has maps in MNI space only.",))
    plan, missing = plan_all(asked(**said), scan)
    assert plan.jobs == ()
    message = str(missing["sub-01"])
    assert message.startswith("sub-01: neither tissue maps nor a T1-weighted image were found")
    assert f"{wanted} needs one of them" in message
    assert "anat/*_T1w.nii.gz" in message
    assert "label-WM, label-GM and label-CSF probseg" in message
    assert "seg-5tt_probseg" in message
    assert "--derivatives" in message
    assert message.endswith("sub-01 has maps in MNI space only.")
    assert missing["sub-01"].exit_code == 66


def test_a_scan_that_cannot_be_done_does_not_stop_the_others():
    plan, missing = plan_all(
        asked(tracking="pft"), make_scan(sub="01"), make_scan(TISSUE, sub="02")
    )
    assert [job.label for job in plan.jobs] == ["sub-02"]
    assert list(missing) == ["sub-01"]


# --- The plan as text ---------------------------------------------------------------------------


def test_the_dry_run_says_what_is_done_and_where():
    settings = Settings()
    found = records(plan_one(settings, make_scan()), "prepare", "tensor")
    plan, _ = plan_all(settings, make_scan(), recorded=found)
    lines = plan.describe().splitlines()
    assert lines[0].startswith("sub-01  /data/raw/sub-01_dwi.nii.gz  (about 0.5 GB)")
    assert lines[1:8] == [
        "  prepare        unchanged: reused",
        "    sub-01/dwi/sub-01_desc-preproc_dwi.nii.gz",
        "    sub-01/dwi/sub-01_desc-preproc_dwi.bval",
        "    sub-01/dwi/sub-01_desc-preproc_dwi.bvec",
        "    sub-01/dwi/sub-01_desc-confounds_timeseries.tsv",
        "    sub-01/dwi/sub-01_dwiref.nii.gz",
        "    sub-01/dwi/sub-01_desc-brain_mask.nii.gz",
    ]
    assert lines[-2:] == [
        "  track-prob-csd to be computed",
        "    sub-01/dwi/sub-01_track-prob_desc-csd_tractogram.trx",
    ]


def test_the_dry_run_says_what_is_left_out():
    dataset = make_dataset()
    skipped = Skipped(Path("/data/raw/sub-01_T1w.nii"), "no series")
    plan = plan_module.Plan(OUT, change(dataset, skipped=(skipped,)))
    assert plan.describe() == "skipped  /data/raw/sub-01_T1w.nii: no series"
    assert plan.as_dict()["Skipped"] == [
        {"Path": "/data/raw/sub-01_T1w.nii", "Reason": "no series"}
    ]


def test_the_plan_as_json():
    plan, _ = plan_all(asked(**EVERYTHING))
    (job,) = json.loads(json.dumps(plan.as_dict()))["Jobs"]
    assert job["Label"] == "sub-01"
    assert {stage["Name"]: stage["Digest"] for stage in job["Stages"]} == digests(plan.jobs[0])
    assert not any(stage["Reuse"] for stage in job["Stages"])


def test_larger_scans_are_said_to_need_more_memory():
    small, large = (
        plan_one(asked(), change(make_scan(), shape=shape)).mem_gb
        for shape in ((100, 100, 60, 65), (200, 200, 120, 65))
    )
    assert 0.5 < small < 4 < large


def test_where_files_come_from():
    job = plan_one(asked())
    assert job.roots == {"": OUT, "source": Path("/data/raw"), "anat": Path("/data/anat")}


def test_what_is_done_and_why_in_one_line():
    assert plan_one(asked(), make_scan()).sentence() == (
        "prepare, tensor, csd, masks, track-prob-csd (to be computed)"
    )
    done = records(plan_one(asked(), make_scan()))
    assert plan_one(asked(), make_scan(), recorded=done).sentence() == (
        "unchanged, all outputs are reused"
    )
    assert plan_one(asked(step_mm=1), make_scan(), recorded=done).sentence() == (
        "prepare, tensor, csd, masks (unchanged: reused); track-prob-csd (inputs, settings or "
        "version changed: to be computed again)"
    )


# --- Raw series ---------------------------------------------------------------------------------


def test_a_preprocessed_series_is_not_saved_again():
    job = plan_one(asked(preprocessed=True), change(make_scan(), shape=(80, 80, 40, 33)))
    assert set(job.stages["prepare"].outputs) == {"dwiref", "brain_mask"}
    assert job.series == (job.scan.dwi,)


@pytest.mark.parametrize("denoise", ["none", "mppca"])
@pytest.mark.parametrize("motion", ["none", "rigid"])
def test_what_is_corrected_is_saved(denoise, motion):
    scan = change(make_scan(), shape=(80, 80, 40, 33))
    stage = plan_one(asked(denoise=denoise, unring="off", motion=motion), scan).stages["prepare"]
    assert ("preproc_dwi" in stage.outputs) == ({denoise, motion} != {"none"})
    assert ("confounds" in stage.outputs) == (motion != "none")


def test_merged_runs_are_all_read():
    runs = tuple(change(make_scan(sub="01", run=run), shape=(80, 80, 40, 7)) for run in "12")
    merged = change(make_scan(), shape=(80, 80, 40, 14), runs=runs)
    contents = {runs[1].bvec: "another"}
    one, other = (plan_one(asked(), merged, contents=held) for held in ({}, contents))
    assert changed(one, other) == set(one.stages)


# --- Tissue from a T1w image --------------------------------------------------------------------

T1W = Anatomical(Path("/data/raw/T1w.nii.gz"), None, "raw", in_scan_space=False)


@pytest.mark.parametrize("in_scan_space", [True, False])
def test_the_transform_of_a_registered_image_is_saved(in_scan_space):
    scan = change(make_scan(), t1w=change(T1W, in_scan_space=in_scan_space))
    job = plan_one(asked(tracking="pft"), scan)
    assert ("t1w_xfm" in job.stages["anatomy"].outputs) is not in_scan_space


def test_tissue_follows_the_t1w_image_it_is_made_from():
    scan = change(make_scan(), t1w=change(T1W, brain_mask=Path("/data/raw/brain.nii.gz")))
    one = plan_one(asked(tracking="pft"), scan)
    for path in scan.t1w.files:
        other = plan_one(asked(tracking="pft"), scan, contents={path: "another"})
        assert changed(one, other) == {"anatomy", "track-pft-csd"}
