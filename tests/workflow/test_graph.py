from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networkx
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from nipype.pipeline import engine

from bids_tract import __version__
from bids_tract.plan import Job, Plan
from bids_tract.workflow.graph import (
    build_workflow,
    draw,
    job_scratch,
    job_workflow,
    node_name,
    stages_to_run,
)
from tests.any_settings import LABELS
from tests.plans import OUT, TISSUE, asked, make_dataset, make_scan, plan_all, plan_one, records

WAYS: list[dict[str, Any]] = [
    {"tracking": "det"},
    {"tracking": "prob", "model": "csa"},
    {"tracking": "pft"},
    {"tracking": ["det", "prob", "pft"], "model": ["csa", "csd"], "format": ["trx", "tck"]},
    {"seed_mask": "gfa", "stopping": "act"},
    {"seeding": "interface", "stop_mask": "wm"},
]
FITS = {"tensor", "csa", "csd"}


def done_before(job: Job) -> Iterator[tuple[str, ...]]:
    """Stages that an earlier run may have left: none, each first few, all but one."""
    names = tuple(job.stages)
    yield from (names[:n] for n in range(len(names)))
    yield from (tuple(n for n in names if n != missing) for missing in names)


CASES = [(way, done) for way in WAYS for done in done_before(plan_one(asked(**way)))]


def planned(way: dict[str, Any], done: tuple[str, ...]) -> Job:
    settings = asked(**way)
    found = records(plan_one(settings), *done) if done else {}
    return plan_one(settings, recorded=found)


def edges(workflow: engine.Workflow) -> set[tuple[str, str]]:
    return {(one.name, other.name) for one, other in workflow._graph.edges()}


def nodes(workflow: engine.Workflow) -> set[str]:
    return {node.name for node in workflow._graph.nodes()}


# --- Stages -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("way", "done"), CASES, ids=str)
def test_what_the_workflow_holds(way, done):
    job = planned(way, done)
    stages = stages_to_run(job)
    to_compute = {stage.name for stage in job.stages.values() if not stage.reuse}
    assert to_compute == set(job.stages) - set(done)
    extra = set(stages) - to_compute
    # The prepared series is no output, and every fit reads it.
    assert extra == ({"prepare"} if to_compute & FITS and "prepare" in done else set())
    assert stages == [name for name in job.stages if name in stages]


@pytest.mark.parametrize(("way", "done"), CASES, ids=str)
def test_every_stage_waits_for_those_whose_files_it_reads(way, done):
    job = planned(way, done)
    workflow = job_workflow(job, Path("/scratch"), 2)
    here = {node_name(name) for name in stages_to_run(job)}
    assert nodes(workflow) == here
    expected = set()
    for name in here:
        if name.startswith("track_"):
            before = {"anatomy", "masks", name.split("_")[2]}
        else:
            before = {
                "prepare": set(),
                "anatomy": {"prepare"},
                "tensor": {"prepare"},
                "csa": {"prepare"},
                "csd": {"prepare", "tensor"},
                "masks": {"prepare", "anatomy", "tensor", "csa"},
            }[name]
        expected |= {(earlier, name) for earlier in before & here}
    assert edges(workflow) == expected


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_workflow_expands_as_nipype_will_run_it(way, tmp_path):
    plan, _ = plan_all(asked(**way), make_scan(TISSUE, sub="01"), make_scan(TISSUE, sub="02"))
    workflow = build_workflow(plan, tmp_path, 2)
    assert workflow is not None
    workflow._generate_flatgraph()
    graph = engine.utils.generate_expanded_graph(workflow._graph)
    assert networkx.is_directed_acyclic_graph(graph)
    expected = {f"sub_{sub}.{node_name(s)}" for sub in ("01", "02") for s in plan.jobs[0].stages}
    top = workflow.name
    assert {node.fullname.removeprefix(f"{top}.") for node in graph} == expected
    for one, other in graph.edges():
        assert one.fullname.split(".")[1] == other.fullname.split(".")[1], "across scans"


def test_nothing_to_do_is_no_workflow(tmp_path):
    settings = asked()
    plan, _ = plan_all(settings, recorded=records(plan_one(settings)))
    assert build_workflow(plan, tmp_path, 1) is None
    assert build_workflow(Plan(OUT, make_dataset()), tmp_path, 1) is None


def test_scans_that_are_done_are_left_out(tmp_path):
    settings, scans = asked(), [make_scan(sub="01"), make_scan(sub="02")]
    before, _ = plan_all(settings, *scans)
    plan, _ = plan_all(settings, *scans, recorded=records(before.jobs[0]))
    workflow = build_workflow(plan, tmp_path, 1)
    assert workflow is not None
    assert nodes(workflow) == {"sub_02"}


# --- Nodes --------------------------------------------------------------------------------------


def test_nodes_know_their_job_and_what_they_take():
    job = planned({"tracking": ["det", "pft"]}, ())
    workflow = job_workflow(job, Path("/scratch/sub-01"), 3)
    for node, threads in (
        ("prepare", 3),
        ("csd", 3),
        ("tensor", 1),
        ("track_det_csd", 3),
        ("track_pft_csd", 3),
    ):
        made = workflow.get_node(node)
        assert made.n_procs == threads
        assert made.mem_gb == pytest.approx(job.mem_gb)
        assert made.inputs.scratch == "/scratch/sub-01"
        assert made.inputs.job is job
    track = workflow.get_node("track_pft_csd").inputs
    assert (track.method, track.model, track.n_threads) == ("pft", "csd", 3)
    assert workflow.get_node("track_pft_csd").interface.stage_name == "track-pft-csd"


def test_each_node_has_the_interface_of_its_stage():
    job = planned(WAYS[3], ())
    workflow = job_workflow(job, Path("/scratch"), 1)
    for name in job.stages:
        assert workflow.get_node(node_name(name)).interface.stage_name == name


def test_nodes_can_be_sent_to_another_process():
    job = planned(WAYS[3], ())
    for node in job_workflow(job, Path("/scratch"), 1)._graph.nodes():
        assert pickle.loads(pickle.dumps(node)).inputs.job == job


def test_work_of_another_version_is_never_met(tmp_path):
    workflow = build_workflow(plan_all(asked())[0], tmp_path, 1)
    assert workflow is not None
    assert __version__.replace(".", "_") in workflow.name
    assert workflow.base_dir == str(tmp_path)


def test_scans_have_scratch_folders_of_their_own(tmp_path):
    plan, _ = plan_all(asked(), make_scan(sub="01", dir="AP"), make_scan(sub="01", dir="PA"))
    one, other = (job_scratch(job, tmp_path) for job in plan.jobs)
    assert one != other
    assert one.is_relative_to(tmp_path)


KEYS = st.sampled_from(["ses", "acq", "dir", "run"])
SCANS = st.builds(
    lambda sub, rest: {"sub": sub, **rest}, LABELS, st.dictionaries(KEYS, LABELS, max_size=2)
)


@given(st.lists(SCANS, min_size=2, max_size=2, unique_by=lambda one: frozenset(one.items())))
@budget(max_examples=100, deadline=None)
def test_different_scans_have_different_node_names(entities):
    one, other = (make_scan(**scan).label for scan in entities)
    assert node_name(one) != node_name(other)
    assert node_name(one).replace("_", "").isalnum()


def test_a_plus_is_not_mistaken_for_its_name():
    assert node_name("sub-a+b") != node_name("sub-aplusb")


# --- Drawing ------------------------------------------------------------------------------------


def test_the_drawing_names_every_stage(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "")  # no graphviz: its source is kept
    plan, _ = plan_all(asked(tracking=["det", "pft"]))
    workflow = build_workflow(plan, tmp_path, 1)
    assert workflow is not None
    path = draw(workflow, tmp_path)
    assert path == tmp_path / "graph.dot"
    text = path.read_text()
    assert all(node_name(stage) in text for stage in plan.jobs[0].stages)
