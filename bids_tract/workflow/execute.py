"""Running a workflow: in this process or in several, and never hanging.

nipype 1.11's MultiProc waits for ever when a worker is killed (out of memory, a crash in compiled
code); the plugin here ends the run with the names of the stages that were running.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from traceback import format_exception
from typing import Any

import yaml
from nipype import config as nipype_config
from nipype.pipeline import engine, plugins
from nipype.pipeline.plugins.multiproc import MultiProcPlugin, run_node

from bids_tract import log, signals
from bids_tract.errors import BidsTractError, MissingInputError, UsageError
from bids_tract.settings import RunSettings
from bids_tract.workflow import progress

LOGGER = logging.getLogger(__name__)


class WorkerDiedError(BidsTractError):
    """A worker process was killed."""


def _start_worker(
    monitored: bool, folder: str, level: int, file: Path | None, debug: bool
) -> None:
    """Give a new worker process the program's folder, logging and resource monitor."""
    os.chdir(folder)
    log.configure(level, file, debug=debug)
    progress.in_worker()
    if monitored:
        nipype_config.enable_resource_monitor()


def _run_stage(node: Any, updatehash: bool, task: int) -> dict[str, Any]:
    """Run a stage in a worker process, which SIGTERM ends with nothing left half-written."""
    with signals.orderly_end_of_worker():
        result: dict[str, Any] = run_node(node, updatehash, task)
        return result


class SafeMultiProc(MultiProcPlugin):
    """MultiProc whose run ends when a worker is killed."""

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        self._broken: BrokenProcessPool | None = None
        self._running: dict[int, str] = {}
        super().__init__(plugin_args=plugin_args)
        nipypes_own: ProcessPoolExecutor = self.pool
        nipypes_own.shutdown(wait=False)  # its workers would not log
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["bids_tract.workflow.graph"])
        self.pool: ProcessPoolExecutor = ProcessPoolExecutor(
            max_workers=self.processors,
            mp_context=context,
            initializer=_start_worker,
            initargs=(nipype_config.resource_monitor, *plugin_args["worker"]),
        )

    def _submit_job(self, node: Any, updatehash: bool = False) -> int:
        self._taskid += 1
        task = self._taskid
        try:
            future = self.pool.submit(_run_stage, node, updatehash, task)
        except BrokenProcessPool as error:
            self._broken = error
            raise self._died(error) from error
        self._task_obj[task] = future
        self._running[task] = node.fullname
        future.add_done_callback(lambda done: self._finish(task, done))
        return task

    def _finish(self, task: int, future: Future[dict[str, Any]]) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, BrokenProcessPool):
            self._broken = error
            return
        del self._running[task]
        if error is None:
            self._taskresult[task] = future.result()
            return
        self._taskresult[task] = {
            "result": None, "taskid": task,
            "traceback": format_exception(type(error), error, error.__traceback__),
        }  # fmt: skip

    def _get_result(self, taskid: int) -> Any:
        if self._broken is not None:
            raise self._died(self._broken)
        return super()._get_result(taskid)

    def _clean_queue(self, jobid: int, graph: Any, result: Any = None) -> Any:
        if self._broken is not None:
            raise self._died(self._broken)
        return super()._clean_queue(jobid, graph, result=result)

    def _died(self, cause: BaseException) -> WorkerDiedError:
        names = ", ".join(sorted(self._running.values())) or "no stage known"
        error = WorkerDiedError(
            "a worker process was killed, most likely for want of memory; running were: "
            f"{names}. Give more memory, or fewer --nprocs; what is complete will be reused."
        )
        error.__cause__ = cause
        return error

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> Any:
        """Run the graph; see nipype."""
        try:
            return super().run(graph, config, updatehash=updatehash)
        finally:
            self.pool.shutdown(wait=False, cancel_futures=True)


def read_plugin(path: str) -> tuple[str, dict[str, Any]]:
    """Read ``--use-plugin``: the plugin's name and its arguments.

    Raises
    ------
    MissingInputError, UsageError
        When the file is absent or is no plugin description.

    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read ({error.strerror}).") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a YAML file: {error}.") from None
    if not isinstance(data, dict) or not isinstance(data.get("plugin"), str):
        raise UsageError(f"{path}: expected 'plugin: NAME' and, at will, 'plugin_args: {{...}}'.")
    args = data.get("plugin_args") or {}
    if not isinstance(args, dict):
        raise UsageError(f"{path}: plugin_args must be a table of names and values.")
    if not hasattr(plugins, f"{data['plugin']}Plugin"):
        known = sorted(name.removesuffix("Plugin") for name in dir(plugins) if "Plugin" in name)
        raise UsageError(
            f"{path}: nipype has no plugin '{data['plugin']}'; there are {', '.join(known)}."
        )
    return data["plugin"], args


def configure_nipype(run: RunSettings, crash_dir: Path) -> None:
    """Set what nipype leaves to the user: crash files, and no talk to any server."""
    nipype_config.update_config(
        {
            "logging": {"log_to_file": "false"},
            "monitoring": {
                "enabled": str(run.resource_monitor).lower(),
                "summary_file": str(crash_dir / "resource_monitor.json"),
            },
            "execution": {
                "check_version": "false",  # nipype's telemetry
                "crashdump_dir": str(crash_dir),
                "crashfile_format": "txt",
                "stop_on_first_crash": str(run.stop_on_first_crash).lower(),
                "poll_sleep_duration": "0.2",
            },
        }
    )
    if run.resource_monitor:
        nipype_config.enable_resource_monitor()
        if not nipype_config.resource_monitor:
            LOGGER.warning("--resource-monitor: nothing is recorded; it needs psutil, version 5.0")


def execute(
    workflow: engine.Workflow,
    *,
    plugin: tuple[str, dict[str, Any]] | None,
    parallel: bool,
    nprocs: int,
    mem_gb: float,
    worker: tuple[str, int, Path | None, bool],
) -> None:
    """Run a workflow to its end.

    Parameters
    ----------
    workflow : Workflow
        What to run.
    plugin : (name, arguments) or None
        The plugin that the user asked for.
    parallel : bool
        Whether several processes work when no plugin was asked for.
    nprocs, mem_gb
        Limits for the processes together.
    worker
        Folder, log level, log file and debug switch for worker processes.

    Raises
    ------
    WorkerDiedError
        When a worker process was killed.
    Exception
        Whatever nipype raises at the end when stages have failed.

    """
    if plugin is not None and plugin[0] != "MultiProc":
        workflow.run(plugin=plugin[0], plugin_args=plugin[1])
        return
    if plugin is None and not parallel:
        workflow.run(plugin="Linear")
        return
    args = {"n_procs": nprocs, "memory_gb": mem_gb, "raise_insufficient": False}
    args |= plugin[1] if plugin is not None else {}
    workflow.run(plugin=SafeMultiProc({**args, "worker": worker}))
