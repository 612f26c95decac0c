"""A node of nipype that does one small thing; workers import it from here."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits
from nipype.pipeline import engine

LOGGER = logging.getLogger("bids_tract.tests.nodes")


class _Inputs(BaseInterfaceInputSpec):
    does = traits.Enum("write", "fail", "die", "wait", mandatory=True)
    folder = traits.Str(mandatory=True)
    name = traits.Str(mandatory=True)
    after = traits.Str()


class _Outputs(TraitedSpec):
    done = traits.Str()


class Does(SimpleInterface):
    """Writes a file, raises, is killed as the kernel kills for memory, or waits for a minute."""

    input_spec = _Inputs
    output_spec = _Outputs

    def _run_interface(self, runtime: Any) -> Any:
        does, name = self.inputs.does, self.inputs.name
        if does == "fail":
            raise ValueError(f"{name} cannot go on")
        if does == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "wait":
            time.sleep(60)
        LOGGER.info("%s is done", name)
        (Path(self.inputs.folder) / name).write_text(f"{os.getpid()}")
        self._results["done"] = name
        return runtime


def workflow_of(folder: Path, **does: str) -> engine.Workflow:
    """A workflow of nodes that do not wait for each other: ``workflow_of(folder, one="die")``."""
    workflow = engine.Workflow(name="tiny", base_dir=str(folder / "work"))
    for name, what in does.items():
        interface = Does(does=what, folder=str(folder), name=name)
        workflow.add_nodes([engine.Node(interface, name=name)])
    return workflow
