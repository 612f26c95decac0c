"""The workflow: which stage waits for which. Everything else was decided in the plan."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from nipype.pipeline import engine

from bids_tract import __version__
from bids_tract.plan import Job, Plan
from bids_tract.resolved import needs_registration
from bids_tract.workflow.anatomy import Anatomy
from bids_tract.workflow.interface import StageInterface
from bids_tract.workflow.models import Csa, Csd, Tensor
from bids_tract.workflow.prepare import Prepare
from bids_tract.workflow.tracking import Masks, Track

INTERFACES: dict[str, type[StageInterface]] = {
    "prepare": Prepare,
    "anatomy": Anatomy,
    "tensor": Tensor,
    "csa": Csa,
    "csd": Csd,
    "masks": Masks,
}
# Stage -> what it waits for; those that are not part of a job are passed over.
AFTER: dict[str, tuple[str, ...]] = {
    "prepare": (),
    "anatomy": ("prepare",),
    "tensor": ("prepare",),
    "csa": ("prepare",),
    "csd": ("prepare", "tensor"),
    "masks": ("prepare", "tensor", "csa", "anatomy"),
}
FITS = ("tensor", "csa", "csd")
THREADED = ("prepare", "anatomy", "csa", "csd")


class StageNode(engine.Node):
    """A node that can be interrupted: nipype takes Ctrl-C for one more stage that failed."""

    def run(self, updatehash: bool = False) -> Any:
        """Run the stage; see nipype."""
        try:
            return super().run(updatehash=updatehash)
        except Exception as error:
            if self.interface.interrupted:
                raise KeyboardInterrupt from error
            raise


def stages_to_run(job: Job) -> list[str]:
    """The stages of a job that the workflow holds, in order.

    What the models read is no output: it is laid out again when a model has to be fitted, or a
    T1w image registered.
    """
    stages = job.stages.values()
    readers = {*FITS, "anatomy"} if needs_registration(job.scan) else set(FITS)
    again = any(not stage.reuse for stage in stages if stage.name in readers)
    return [s.name for s in stages if not s.reuse or (s.name == "prepare" and again)]


def node_name(label: str) -> str:
    """A scan's label as nipype allows it; different labels have different names."""
    return label.replace("-", "_").replace("+", "__")


def job_scratch(job: Job, work_dir: Path) -> Path:
    """The folder for a job's intermediate files."""
    return work_dir / "scratch" / job.label


def job_workflow(job: Job, scratch: Path, n_threads: int) -> engine.Workflow:
    """The workflow of one scan."""
    workflow = engine.Workflow(name=node_name(job.label))
    nodes: dict[str, engine.Node] = {}
    for name in stages_to_run(job):
        if name.startswith("track-"):
            _, method, model = name.split("-")
            interface = Track(method=method, model=model)
            after: tuple[str, ...] = ("masks", "anatomy", model)
        else:
            interface, after = INTERFACES[name](), AFTER[name]
        interface.inputs.job = job
        interface.inputs.scratch = str(scratch)
        threads = n_threads if name.startswith("track-") or name in THREADED else 1
        interface.inputs.n_threads = threads
        # What is reused was decided by content; nipype's own cache knows nothing of our outputs.
        node = StageNode(
            interface, name=node_name(name), mem_gb=job.mem_gb, n_procs=threads, overwrite=True
        )
        workflow.add_nodes([node])
        for earlier in after:
            if earlier in nodes:
                workflow.connect(nodes[earlier], "done", node, earlier)
        nodes[name] = node
    return workflow


def workflow_name() -> str:
    """The name of the whole workflow, and of nipype's folder in the work folder."""
    return "bids_tract_" + __version__.replace(".", "_").replace("+", "_")


def build_workflow(plan: Plan, work_dir: Path, n_threads: int) -> engine.Workflow | None:
    """The workflow of a run, or None when there is nothing to compute.

    Parameters
    ----------
    plan : Plan
        What is to be done.
    work_dir : Path
        Where nipype and the stages keep intermediate files; the version is part of the name, so
        that an upgrade never meets files of an older program.
    n_threads : int
        Threads of one tracking process.

    """
    workflow = engine.Workflow(name=workflow_name(), base_dir=str(work_dir))
    jobs = [job for job in plan.jobs if not job.reuse]
    if not jobs:
        return None
    for job in jobs:
        workflow.add_nodes([job_workflow(job, job_scratch(job, work_dir), n_threads)])
    return workflow


def draw(workflow: engine.Workflow, folder: Path) -> Path:
    """Draw a workflow into a folder: SVG where graphviz is installed, its DOT source otherwise."""
    dot = folder / "graph.dot"
    drawn = shutil.which("dot") is not None
    workflow.write_graph(str(dot), graph2use="hierarchical", format="svg" if drawn else "dot")
    return dot.with_suffix(".svg") if drawn else dot
