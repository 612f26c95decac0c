from __future__ import annotations

import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from bids_tract import machine
from bids_tract.errors import OutputError
from bids_tract.machine import (
    available_cpus,
    available_memory_gb,
    portable_target,
    prepare_environment,
    work_folder,
)

ROOT = Path(__file__).parents[1]
BATCH = (
    "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS", "PBS_NCPUS", "LSB_DJOB_NUMPROC",
    "SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU",
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_batch_system(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in BATCH:
        monkeypatch.delenv(name, raising=False)


def in_a_process(code: str) -> str:
    program = "import os, resource\nfrom bids_tract.machine import *\n" + code
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# --- Limits of this process ---------------------------------------------------------------------


def test_no_more_than_the_machine_has():
    assert 1 <= available_cpus() <= (os.cpu_count() or 1)
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    assert 0 < available_memory_gb() <= physical


def test_cpus_obey_affinity():
    code = "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\nprint(available_cpus())"
    assert in_a_process(code) == "1"


def test_memory_obeys_the_limit_of_the_address_space():
    code = (
        "resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, resource.RLIM_INFINITY))\n"
        "print(available_memory_gb() <= 2.0)"
    )
    assert in_a_process(code) == "True"


# --- Batch systems ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BATCH[:5])
def test_cpus_obey_the_batch_system(monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert available_cpus() == 1


@pytest.mark.parametrize("grant", ["100000", "0", "", "1(x2)", "-1"])
def test_what_the_batch_system_says_is_never_more_than_there_is(monkeypatch, grant):
    before = available_cpus()
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", grant)
    assert available_cpus() == before


def test_memory_obeys_slurm(monkeypatch):
    everything = available_memory_gb()
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "512")
    assert available_memory_gb() == pytest.approx(0.536870912)
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # all that the node has
    assert available_memory_gb() == everything
    monkeypatch.delenv("SLURM_MEM_PER_NODE")
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "256")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "2")
    assert available_memory_gb() == pytest.approx(0.536870912)


# --- Control groups -----------------------------------------------------------------------------


class Kernel:
    """The files in which the kernel tells of control groups, below a folder of our own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def write(self, path: str, text: str) -> None:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def version_2(self, group: str, mounted: str = "/") -> None:
        self.write("/proc/self/cgroup", f"0::{group}\n")
        mount = f"30 23 0:26 {mounted} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n"
        self.write("/proc/self/mountinfo", mount)

    def version_1(self, group: str) -> None:
        self.write("/proc/self/cgroup", f"5:cpu,cpuacct:{group}\n4:memory:{group}\n0::/\n")
        self.write(
            "/proc/self/mountinfo",
            "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
            "32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        )


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    root = tmp_path / "root"
    monkeypatch.setattr(machine, "Path", lambda path: Path(f"{root}{path}"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(64)))
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096}.get(name, 1 << 26))
    return Kernel(root)


def test_no_control_groups(kernel):
    assert available_cpus() == 64
    assert available_memory_gb() == pytest.approx(2**38 / 1e9)


@pytest.mark.parametrize(
    ("quota", "cpus"),
    [("max 100000", 64), ("100000 100000", 1), ("150000 100000", 2), ("5000 100000", 1)],
)
def test_cpu_quotas_of_version_2(kernel, quota, cpus):
    kernel.version_2("/job")
    kernel.write("/sys/fs/cgroup/job/cpu.max", quota + "\n")
    assert available_cpus() == cpus


@pytest.mark.parametrize(("quota", "cpus"), [("-1", 64), ("250000", 3)])
def test_cpu_quotas_of_version_1(kernel, quota, cpus):
    kernel.version_1("/job")
    kernel.write("/sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", quota + "\n")
    kernel.write("/sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n")
    assert available_cpus() == cpus


@pytest.mark.parametrize("name", ["memory.max", "memory.high"])
def test_memory_limits_of_version_2(kernel, name):
    kernel.version_2("/slice/job")
    kernel.write("/sys/fs/cgroup/slice/job/memory.max", "max\n")
    kernel.write(f"/sys/fs/cgroup/slice/{name}", "4000000000\n")  # of a group above counts too
    assert available_memory_gb() == 4


def test_memory_limits_of_version_1(kernel):
    kernel.version_1("/slurm/job/step/task_0")
    kernel.write(
        "/sys/fs/cgroup/memory/slurm/job/step/task_0/memory.limit_in_bytes",
        "9223372036854771712\n",
    )
    kernel.write("/sys/fs/cgroup/memory/slurm/job/memory.limit_in_bytes", "3000000000\n")
    assert available_memory_gb() == 3


def test_a_container_sees_its_own_group_at_the_mount(kernel):
    kernel.version_2("/machine/box", mounted="/machine/box")
    kernel.write("/sys/fs/cgroup/memory.max", "2000000000\n")
    assert available_memory_gb() == 2


# --- The kind of CPU ----------------------------------------------------------------------------

HASWELL = "fpu sse4_2 avx avx2 bmi1 bmi2 f16c fma movbe abm"


@pytest.mark.parametrize(
    ("flags", "target"),
    [(HASWELL, "x86-64-v3"), (HASWELL + " avx512f", "x86-64-v3"), ("fpu sse4_2 avx", None)],
)
def test_kernels_of_an_image_are_for_cpus_that_have_what_they_use(
    kernel, monkeypatch, flags, target
):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    kernel.write("/proc/cpuinfo", f"processor\t: 0\nflags\t\t: {flags}\nbugs\t: spectre\n")
    assert portable_target() == target


def test_a_cpu_that_says_nothing_is_compiled_for(kernel, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert portable_target() is None


def test_other_architectures_take_the_least(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert portable_target() == "generic"


@pytest.mark.parametrize("target", ["x86-64-v3", None])
def test_in_an_image_kernels_are_those_of_its_target(tmp_path, monkeypatch, target):
    monkeypatch.setattr(machine, "portable_target", lambda: target)
    for outside in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path), machine.KERNELS: ""}):
        prepare_environment(tmp_path, outside)
        assert "NUMBA_CPU_NAME" not in outside
    image = {"HOME": str(tmp_path), machine.KERNELS: "/opt/kernels"}
    prepare_environment(tmp_path, image)
    assert image.get("NUMBA_CPU_NAME") == target
    assert image.get("NUMBA_CPU_FEATURES") == (None if target is None else "")
    asked = {"HOME": str(tmp_path), machine.KERNELS: "/opt/kernels", "NUMBA_CPU_NAME": "znver4"}
    prepare_environment(tmp_path, asked)
    assert asked["NUMBA_CPU_NAME"] == "znver4"


# --- The work folder ----------------------------------------------------------------------------


def test_the_work_folder_is_the_one_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert work_folder("there") == tmp_path / "there"
    assert work_folder(None) == tmp_path / "work"
    assert [*tmp_path.iterdir()] == []


def test_where_nothing_can_be_written_it_is_a_temporary_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write in any folder
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    own = tmp_path / f"bids_tract-{os.getuid()}"
    assert work_folder(None) == own
    own.symlink_to("/nonexistent")  # ours
    assert work_folder(None) == own
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)
    own.rename(tmp_path / f"bids_tract-{os.getuid()}")  # now somebody else's
    with pytest.raises(OutputError, match=r"somebody else.*--work-dir"):
        work_folder(None)


def test_little_space_is_said(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage(64 << 20, 0, 64 << 20))
    (note,) = prepare_environment(tmp_path / "not" / "yet", {"HOME": str(tmp_path)})
    assert note.startswith(f"only 64 MB are free in {tmp_path / 'not' / 'yet'}")


def test_a_temporary_folder_too_deep_for_sockets_is_given_up(tmp_path):
    deep = f"/{'d' * 80}"
    environ = {"HOME": str(tmp_path), "TMPDIR": deep}
    (note,) = prepare_environment(tmp_path, environ)
    assert deep in note
    assert environ["TMPDIR"] == "/tmp"
    short = {"HOME": str(tmp_path), "TMPDIR": "/scratch/job"}
    assert prepare_environment(tmp_path, short) == []
    assert short["TMPDIR"] == "/scratch/job"


# --- Environment --------------------------------------------------------------------------------


def test_a_sound_environment_keeps_its_home(tmp_path):
    environ = {"HOME": str(tmp_path), "USER": "me"}
    assert prepare_environment(tmp_path / "scratch", environ) == []
    assert environ["HOME"] == str(tmp_path)
    assert environ["USER"] == "me"
    assert not (tmp_path / "scratch").exists()


@pytest.mark.parametrize("home", ["/nonexistent", "/", "", None])
def test_a_home_that_cannot_be_written_is_replaced(tmp_path, home):
    environ = {} if home is None else {"HOME": home}
    (note,) = prepare_environment(tmp_path, environ)
    assert environ["HOME"] == str(tmp_path / "home")
    assert Path(environ["HOME"]).is_dir()
    assert environ["HOME"] in note
    assert environ["USER"]
    assert environ["LOGNAME"]


def test_no_home_and_no_scratch_is_said(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"neither the home folder /nonexistent .*--work-dir"):
        prepare_environment(tmp_path / "file", {"HOME": "/nonexistent"})


def test_sums_do_not_depend_on_the_number_of_threads(tmp_path):
    environ = {"HOME": str(tmp_path), "OMP_NUM_THREADS": "8"}
    prepare_environment(tmp_path, environ)
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    assert [environ[name] for name in names] == ["1", "1", "1"]


def test_nobody_is_told_and_no_display_is_needed(tmp_path):
    environ = {"HOME": str(tmp_path)}
    prepare_environment(tmp_path, environ)
    assert {"NO_ET", "NIPYPE_NO_ET"} <= environ.keys()
    assert environ["MPLBACKEND"] == "Agg"


def test_this_runs_before_numpy():
    assert in_a_process("import sys\nprint('numpy' in sys.modules)") == "False"
