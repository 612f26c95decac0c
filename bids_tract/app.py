"""The story on one page: index, plan, run, report, group, exit code.

The only place that catches exceptions, and that configures logging.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from bids_tract import __version__, log, machine, signals
from bids_tract.errors import (
    BidsTractError,
    DataError,
    InternalError,
    MissingInputError,
    UsageError,
)

if TYPE_CHECKING:
    from bids_tract.cli import Command
    from bids_tract.dataset import Dataset
    from bids_tract.plan import Plan

# In a work folder: that this program made it, so that --clean-workdir may empty it.
WORK_MARK = ".bids_tract"
VALIDATION_SECONDS = 300
CAUSE_CODES = {"missing": MissingInputError.exit_code, "broken": DataError.exit_code}

LOGGER = logging.getLogger(__name__)


def run(command: Command) -> int:
    """Do what the command line asked for; returns the exit code."""
    started = time.monotonic()
    level = max(logging.DEBUG, logging.INFO - 10 * command.verbosity)
    debug = command.settings.run.debug
    log.configure(level, None, debug=debug)
    try:
        with signals.orderly_end():
            code = _Run(command, level).run()
    except BidsTractError as error:
        LOGGER.error("%s", error, exc_info=debug)
        return error.exit_code
    except KeyboardInterrupt:
        LOGGER.error("interrupted; what is complete will be reused by the next run")
        return 130
    except MemoryError:
        LOGGER.error("out of memory; give --mem and fewer --nprocs")
        return 1
    except Exception as error:
        LOGGER.error(
            "internal error: %s: %s (please report it with what --debug prints)",
            type(error).__name__, error, exc_info=debug,
        )  # fmt: skip
        return InternalError.exit_code
    LOGGER.info("done in %.0f s, exit code %d", time.monotonic() - started, code)
    return code


class _Run:
    """One run of the program."""

    def __init__(self, command: Command, level: int) -> None:
        self.command, self.settings, self.level = command, command.settings, level
        self.bids_dir = Path(command.bids_dir).absolute()
        self.output_dir = Path(command.output_dir).absolute()
        self.work_dir = machine.work_folder(self.settings.run.work_dir)
        run_id = time.strftime("%Y%m%dT%H%M%S-") + uuid.uuid4().hex[:6]
        self.log_dir = self.output_dir / "logs" / run_id

    def run(self) -> int:
        """All levels that were asked for; the exit code."""
        self._check_folders()
        for note in machine.prepare_environment(self.work_dir):
            LOGGER.info("%s", note)
        codes = [0]
        if "participant" in self.command.levels:
            codes.append(self._participants())
        if "group" in self.command.levels and not self.settings.run.dry_run:
            codes.append(self._group())
        return max(codes)

    def _check_folders(self) -> None:
        # Links followed: a dataset must not be written into by another way.
        dataset, output, work = (
            folder.resolve() for folder in (self.bids_dir, self.output_dir, self.work_dir)
        )
        if output == dataset:
            raise UsageError(
                f"the output folder is the dataset itself ({self.bids_dir}); choose another, for "
                f"instance {self.bids_dir / 'derivatives' / 'bids_tract'}."
            )
        if work.is_relative_to(dataset):
            raise UsageError(
                f"the work folder {self.work_dir} lies inside the dataset; give another with "
                "--work-dir."
            )
        for folder, name in ((dataset, "dataset"), (output, "output folder")):
            if folder.is_relative_to(work):  # which --clean-workdir empties
                raise UsageError(
                    f"the {name} {folder} lies inside the work folder {self.work_dir}; give "
                    "another with --work-dir."
                )

    def _participants(self) -> int:
        # The science is imported here: after the environment is set, before it is needed.
        from bids_tract.dataset import index_dataset
        from bids_tract.plan import build_plan
        from bids_tract.workflow.saved import Fingerprints, recorded_digest, refuse_foreign

        inputs = self.settings.input
        dataset = index_dataset(
            self.bids_dir, inputs, self.settings.gradients,
            merge_runs=self.settings.prepare.merge_runs,
        )  # fmt: skip
        LOGGER.info("bids_tract %s: %s", __version__, dataset.name)
        for note in dataset.notes:
            LOGGER.warning("%s", note)
        for skipped in dataset.skipped:
            level = logging.INFO if skipped.cause == "unsuitable" else logging.ERROR
            LOGGER.log(level, "skipped %s: %s", skipped.path, skipped.reason)
        if not (inputs.skip_bids_validation or dataset.is_derivative):
            validate(self.bids_dir)
        plan, missing = build_plan(
            dataset, self.settings, self.output_dir,
            fingerprint=Fingerprints(), recorded=recorded_digest,
        )  # fmt: skip
        if self.settings.run.dry_run:
            sys.stdout.write(plan.describe() + "\n")
            for error in missing.values():
                LOGGER.error("%s", error)
            return _exit_code([e.exit_code for e in missing.values()], len(plan.jobs))
        if self.settings.run.reports_only:
            refuse_foreign(self.output_dir)
            return int(self._report(dataset, {}, None))
        return self._compute(plan, missing)

    def _report(self, dataset: Dataset, failures: dict[str, str], log_dir: Path | None) -> bool:
        """Write the participants' reports; whether something in them went wrong."""
        from bids_tract.reports import write_reports

        errors = write_reports(
            dataset, self.output_dir,
            failures=failures, log_dir=log_dir, n_processes=self._nprocs,
        )  # fmt: skip
        return bool(errors)

    @property
    def _nprocs(self) -> int:
        return self.settings.resources.nprocs or machine.available_cpus()

    def _group(self) -> int:
        """Write the group level; its exit code."""
        from bids_tract.dataset import open_dataset
        from bids_tract.report.group import write_group
        from bids_tract.workflow.saved import refuse_foreign

        open_dataset(self.bids_dir)
        refuse_foreign(self.output_dir)
        inputs = self.settings.input
        result = write_group(
            self.output_dir, self.bids_dir, inputs.participant_label or None,
            sessions=inputs.session_label, n_threads=self._nprocs,
        )  # fmt: skip
        for sentence in result.sentences:
            LOGGER.info("group: %s", sentence)
        for error in result.errors:
            LOGGER.error("group: %s", error)
        LOGGER.info("group: written %s", ", ".join(str(path) for path in result.paths))
        return int(bool(result.errors))

    def _compute(self, plan: Plan, missing: dict[str, MissingInputError]) -> int:
        from bids_tract.plan import is_done
        from bids_tract.workflow.graph import job_scratch, node_name, workflow_name
        from bids_tract.workflow.saved import read_failure, recorded_digest

        self._open_output(plan)
        for job in plan.jobs:
            shutil.rmtree(job_scratch(job, self.work_dir), ignore_errors=True)
            LOGGER.info("%s: %s", job.label, job.sentence())
            LOGGER.debug("%s: made from %s", job.label, ", ".join(map(str, job.scan.files)))
            for note in job.scan.notes:
                LOGGER.info("%s: %s", job.label, note)
        # Stays where the run is killed and cannot say more.
        self._write_status({job.label: {"Status": "running"} for job in plan.jobs})
        failure = self._run_workflow(plan)
        status: dict[str, dict[str, object]] = {}
        for skipped in plan.dataset.skipped:
            if skipped.cause != "unsuitable":  # it should have been worked on
                status[skipped.path.name] = {
                    "Status": "failed",
                    "Error": skipped.reason,
                    "ExitCode": CAUSE_CODES[skipped.cause],
                }
        for label, error in missing.items():
            LOGGER.error("%s", error)
            status[label] = {"Status": "failed", "Error": str(error), "ExitCode": error.exit_code}
        for job in plan.jobs:
            scratch = job_scratch(job, self.work_dir)
            if is_done(job, recorded_digest):
                status[job.label] = {"Status": "complete"}
                shutil.rmtree(scratch, ignore_errors=True)
                shutil.rmtree(
                    self.work_dir / workflow_name() / node_name(job.label), ignore_errors=True
                )
                continue
            told = read_failure(scratch)
            if told is None:
                told = {"Error": failure or "not finished", "ExitCode": 1}
                LOGGER.error("%s: %s", job.label, told["Error"])
            status[job.label] = {"Status": "failed", **told}
        self._write_status(status)
        broken = not self.settings.run.skip_reports and self._report(
            plan.dataset,
            {label: str(s["Error"]) for label, s in status.items() if s["Status"] == "failed"},
            self.log_dir,
        )
        codes = [int(str(s["ExitCode"])) for s in status.values() if s["Status"] == "failed"]
        LOGGER.info(
            "%d of %d scans complete; log and settings in %s",
            len(status) - len(codes), len(status), self.log_dir,
        )  # fmt: skip
        return _exit_code(codes, len(status) - len(codes)) or int(broken)

    def _open_output(self, plan: Plan) -> None:
        """Make the folders, and write what describes this run."""
        from bids_tract.files.atomic import check_writable
        from bids_tract.workflow.saved import refuse_foreign, write_description, write_run_files

        refuse_foreign(self.output_dir)
        for folder in (self.output_dir, self.work_dir, self.log_dir):
            check_writable(folder)
        self._open_work_dir()
        log.configure(self.level, self.log_dir / "run.log", debug=self.settings.run.debug)
        write_description(self.output_dir, plan.dataset)
        write_run_files(self.log_dir, self.settings, plan, _command(sys.argv))

    def _open_work_dir(self) -> None:
        """Empty the work folder where that was asked for; mark it as ours where it is."""
        # Its content only: the folder may be a mount, and a home made for this run is in use.
        found = [path for path in sorted(self.work_dir.iterdir()) if path.name != machine.HOME]
        ours = not found or any(path.name == WORK_MARK for path in found)
        if self.settings.run.clean_workdir:
            if not ours:
                raise UsageError(
                    f"--clean-workdir: {self.work_dir} holds files that this program did not make "
                    f"({', '.join(path.name for path in found[:3])}); empty it yourself or give "
                    "another folder."
                )
            for path in found:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
        if ours:
            (self.work_dir / WORK_MARK).touch()

    def _run_workflow(self, plan: Plan) -> str | None:
        """Run what the plan leaves to do; what went wrong with the run as a whole, if anything."""
        from bids_tract.tools.compiled import ensure_compiled
        from bids_tract.workflow.execute import configure_nipype, execute, read_plugin
        from bids_tract.workflow.graph import build_workflow, draw

        asked = self.settings.resources
        n_jobs = sum(not job.reuse for job in plan.jobs)
        nprocs = self._nprocs
        mem_gb = asked.mem_gb or 0.9 * machine.available_memory_gb()
        threads = asked.omp_nthreads or max(1, nprocs // max(n_jobs, 1))
        largest = max((job.mem_gb for job in plan.jobs), default=0.0)
        if largest > mem_gb:
            LOGGER.warning(
                "a scan may take about %.1f GB and only %.1f GB may be used: the run may be "
                "stopped for want of memory", largest, mem_gb,
            )  # fmt: skip
        configure_nipype(self.settings.run, self.log_dir)
        workflow = build_workflow(plan, self.work_dir, threads)
        if workflow is None:
            return None
        if self.settings.run.write_graph:
            LOGGER.info("the workflow is drawn in %s", draw(workflow, self.log_dir))
        plugin = read_plugin(asked.use_plugin) if asked.use_plugin else None
        ensure_compiled()
        LOGGER.info(
            "scans to do: %d; CPUs: %d; threads of one process: %d; memory: %.1f GB",
            n_jobs, nprocs, threads, mem_gb,
        )  # fmt: skip
        try:
            execute(
                workflow, plugin=plugin, parallel=nprocs > 1 and n_jobs > 1, nprocs=nprocs,
                mem_gb=mem_gb,
                worker=(
                    str(Path.cwd()), self.level, self.log_dir / "run.log", self.settings.run.debug
                ),
            )  # fmt: skip
        except BidsTractError as error:
            return str(error)
        except Exception as error:
            # nipype's own summary of failed stages; each has left its sentence.
            LOGGER.debug("nipype: %s", error)
            if self.settings.run.stop_on_first_crash:
                return "not finished: all was stopped at the first failure (--stop-on-first-crash)"
            return f"not finished after an error elsewhere ({type(error).__name__})"
        return None

    def _write_status(self, status: dict[str, dict[str, object]]) -> None:
        from bids_tract.files.sidecars import write_json

        write_json(self.log_dir / "status.json", status)


def _command(argv: list[str]) -> list[str]:
    """The command line as it can be given again."""
    program, *rest = argv
    if Path(program).name == "__main__.py":
        return ["python", "-m", "bids_tract", *rest]
    return [*argv]


def _exit_code(failed: list[int], n_complete: int) -> int:
    """0 when nothing failed; the failures' own code when all failed alike; 1 otherwise."""
    if not failed:
        return 0
    return failed[0] if n_complete == 0 and len(set(failed)) == 1 else 1


def validate(bids_dir: Path) -> None:
    """Run the BIDS validator where it is installed; its errors are said, not fatal."""
    # Or beside this program's Python, where the environment is not activated.
    places = os.pathsep.join([os.environ.get("PATH", ""), str(Path(sys.executable).parent)])
    program = shutil.which("bids-validator-deno", path=places)
    if program is None:
        LOGGER.info("no BIDS validator is installed; the dataset is taken as it is")
        return
    command = [program, str(bids_dir), "--format", "json", "--ignoreWarnings"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=VALIDATION_SECONDS, check=False
        )
        issues = json.loads(done.stdout)["issues"]["issues"]
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError) as error:
        LOGGER.warning("the BIDS validator gave no answer (%s)", type(error).__name__)
        return
    errors = [issue for issue in issues if issue.get("severity") == "error"]
    for issue in errors[:5]:
        LOGGER.warning("BIDS validator: %s %s", issue.get("code"), issue.get("location", ""))
    if errors:
        LOGGER.warning(
            "BIDS validator: %d errors in all; going on, since what is needed is checked again",
            len(errors),
        )  # fmt: skip
