"""What all nipype interfaces here share: thin stages that read, call the core once, and write."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    SimpleInterface,
    TraitedSpec,
    traits,
)
from numpy.typing import DTypeLike, NDArray

from bids_tract.derivatives import common_sidecar
from bids_tract.errors import BidsTractError, InternalError
from bids_tract.files.atomic import remove
from bids_tract.files.grids import Grid
from bids_tract.files.images import write_map
from bids_tract.files.sidecars import bids_uri, write_json
from bids_tract.names import KINDS, sidecar_path
from bids_tract.plan import Job
from bids_tract.workflow.effort import Effort

LOGGER = logging.getLogger(__name__)
FAILURE_FILE = "failure.json"


class StageInputs(BaseInterfaceInputSpec):
    """What every stage takes."""

    job = traits.Instance(Job, mandatory=True, desc="the job that the stage belongs to")
    n_threads = traits.Int(1, usedefault=True, desc="threads of this process")
    scratch = traits.Str(mandatory=True, desc="the job's folder for intermediate files")
    prepare = traits.Str(desc="wait for this stage")
    anatomy = traits.Str(desc="wait for this stage")
    tensor = traits.Str(desc="wait for this stage")
    csa = traits.Str(desc="wait for this stage")
    csd = traits.Str(desc="wait for this stage")
    masks = traits.Str(desc="wait for this stage")


class StageOutputs(TraitedSpec):
    """What every stage gives."""

    done = traits.Str(desc="the stage's name, once its files are there")


class StageInterface(SimpleInterface):
    """A stage of a job: ``stage()`` reads, computes by one call to the core, and writes.

    A failure that has a sentence for the user is also put in the job's scratch folder, from where
    the program takes it: nipype keeps only the text of the traceback.
    """

    input_spec = StageInputs
    output_spec = StageOutputs
    stage_name = ""
    interrupted = False

    def stage(self, job: Job, scratch: Path) -> None:
        """Do the work."""
        raise NotImplementedError

    def _run_interface(self, runtime: Any) -> Any:
        job, scratch = self.inputs.job, Path(self.inputs.scratch)
        scratch.mkdir(parents=True, exist_ok=True)
        effort = Effort()
        try:
            self.stage(job, scratch)
        except Exception as error:
            self._record(job, scratch, error)
            raise
        except KeyboardInterrupt:
            self.interrupted = True
            raise
        LOGGER.debug("%s: %s took %.1f s", job.label, self.stage_name, effort.seconds)
        stage = job.stages[self.stage_name]
        if not stage.reuse:  # a reused one said it when it was made
            effort.record([*stage.outputs.values()])
        self._results["done"] = self.stage_name
        return runtime

    def _record(self, job: Job, scratch: Path, error: Exception) -> None:
        if isinstance(error, BidsTractError):
            message, code = str(error), error.exit_code
        elif isinstance(error, MemoryError):
            message, code = "out of memory; give --mem and fewer --nprocs", 1
        else:
            message = f"unexpected {type(error).__name__}: {error}; the crash file has the rest"
            code = InternalError.exit_code
        LOGGER.error("%s: %s failed: %s", job.label, self.stage_name, message)
        failure = {"Stage": self.stage_name, "Error": message, "ExitCode": code}
        write_json(scratch / FAILURE_FILE, failure)


class _Listener(logging.Handler):
    """Keeps the texts of warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(record.getMessage())


@contextmanager
def warnings_of_files() -> Iterator[list[str]]:
    """What the readers warn of while the body runs: it belongs in the sidecars as well."""
    listener, readers = _Listener(), logging.getLogger("bids_tract.files")
    readers.addHandler(listener)
    try:
        yield listener.heard
    finally:
        readers.removeHandler(listener)


def uri(job: Job, path: Path) -> str:
    """The BIDS URI of a file, or its path where no dataset of this run holds it."""
    for name, root in job.roots.items():
        if path.is_relative_to(root):
            return bids_uri(path, root, name)
    return str(path)


def save_map(
    job: Job,
    stage: str,
    kind: str,
    data: NDArray[Any],
    grid: Grid,
    *,
    sources: Sequence[Path],
    notes: Sequence[str] = (),
    more: Mapping[str, Any] | None = None,
    dtype: DTypeLike = np.float32,
) -> None:
    """Write one map of a stage, then its sidecar, which is the mark that the map is complete."""
    path = job.output(stage, kind)
    # A former sidecar must not vouch for the new file, should the run end between the two.
    remove(sidecar_path(path))
    write_map(path, data, grid, dtype=dtype)
    sidecar = common_sidecar(
        digest=job.stages[stage].digest,
        sources=[uri(job, source) for source in sources],
        description=KINDS[kind].description,
        notes=notes,
    )
    if KINDS[kind].suffix == "dwimap":
        sidecar["SkullStripped"] = True
    if "space" in job.scan.entities:
        sidecar["SpatialReference"] = uri(job, job.scan.dwi)
    write_json(sidecar_path(path), {**sidecar, **(more or {})})
