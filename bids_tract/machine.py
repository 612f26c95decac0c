"""What this process may use of the machine, and an environment that works everywhere.

Needs only the standard library: ``prepare_environment`` runs before numpy is imported.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import tempfile
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from bids_tract.errors import OutputError

HOME = "home"  # in the work folder, where the user's own cannot be written
# Names the folder of kernels that an image brings along, compiled for `portable_target`.
KERNELS = "BIDS_TRACT_KERNELS"
_NO_LIMIT = 1 << 60  # cgroup v1 writes about 2**63 for "no limit"
# Tracking writes its streamlines there before they are put in place.
_LITTLE_SPACE = 1 << 30
# Worker processes are reached by a socket in the temporary folder: a name such as
# "/pymp-abcdefgh/listener-abcdefgh" is added, and a socket's path may have 107 characters.
_LONGEST_TMPDIR = 107 - 36
# x86-64-v3: Intel from 2013 (Haswell), AMD from 2015 on. Some of it, by the kernel's names.
_X86_64_V3 = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "abm"})


def _cgroup_folders(controller: str) -> Iterator[tuple[int, Path]]:
    """(version, folder) of this process's cgroup and all above it, for one controller."""
    try:
        groups = Path("/proc/self/cgroup").read_text().splitlines()
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return
    tops: dict[int, tuple[str, Path]] = {}
    for line in mounts:
        left, _, right = line.partition(" - ")
        fields, (kind, _, options) = left.split(), right.split()[:3]
        if kind == "cgroup2":
            tops[2] = (fields[3], Path(fields[4]))
        elif kind == "cgroup" and controller in options.split(","):
            tops[1] = (fields[3], Path(fields[4]))
    for line in groups:
        _, names, path = line.split(":", 2)
        version = 1 if names else 2
        if version not in tops or (version == 1 and controller not in names.split(",")):
            continue
        root, top = tops[version]
        # With the host's name space the mount's root may be the container's own group.
        below = path[len(root) :] if root != "/" and path.startswith(root) else path
        here = top / below.lstrip("/")
        if ".." in here.parts or not here.is_dir():
            here = top
        yield version, here
        for parent in here.parents:
            if parent == top.parent:
                break
            yield version, parent


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def available_memory_gb() -> float:
    """Memory that this process may use, in GB: the machine's, the cgroups', rlimit's, SLURM's."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for version, folder in _cgroup_folders("memory"):
        for name in ("memory.limit_in_bytes",) if version == 1 else ("memory.max", "memory.high"):
            words = _words(folder / name)
            if words and words[0].isdigit() and 0 < int(words[0]) < _NO_LIMIT:
                limits.append(int(words[0]))
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        limits.append(soft)
    # SLURM sets one of the two, in MiB; 0 stands for all memory of the node.
    per_node, per_cpu = _granted("SLURM_MEM_PER_NODE"), _granted("SLURM_MEM_PER_CPU")
    granted = per_node or per_cpu * _granted("SLURM_CPUS_ON_NODE")
    if granted:
        limits.append(granted << 20)
    return min(limits) / 1e9


def _granted(variable: str) -> int:
    """A number that the batch system gives in the environment; 0 when it gives none."""
    value = os.environ.get(variable, "")
    return int(value) if value.isdigit() else 0


def available_cpus() -> int:
    """CPUs that this process may use: affinity, cgroup quotas, the batch system's grant."""
    counts = [len(os.sched_getaffinity(0))]
    for version, folder in _cgroup_folders("cpu"):
        if version == 1:
            words = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        else:
            words = _words(folder / "cpu.max")
        if len(words) == 2 and words[0] not in ("max", "-1"):
            counts.append(max(1, -(-int(words[0]) // int(words[1]))))
    # SLURM sets the first only where CPUs for each task were asked for.
    for name in (
        "SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", "NSLOTS", "PBS_NCPUS", "LSB_DJOB_NUMPROC",
    ):  # fmt: skip
        if granted := _granted(name):
            counts.append(granted)
            break
    return min(counts)


def portable_target() -> str | None:
    """The kind of CPU that an image's kernels are compiled for, by LLVM's name.

    None where this CPU is older than that, or its features are not known.
    """
    if platform.machine() != "x86_64":
        return "generic"
    lines = _lines(Path("/proc/cpuinfo"))
    flags = next((set(line.split()) for line in lines if line.startswith("flags")), set())
    return "x86-64-v3" if flags >= _X86_64_V3 else None


def work_folder(asked: str | None) -> Path:
    """The folder for intermediate files, absolute; it is not made here.

    Parameters
    ----------
    asked : str or None
        What the user wants; without it ``work`` in the current folder, or one of this user's in
        the temporary folder where nothing can be written there (read-only images).

    Raises
    ------
    OutputError
        When the one in the temporary folder is somebody else's.

    """
    if asked is not None:
        return Path(asked).absolute()
    usual = Path.cwd() / "work"
    if os.access(usual if usual.exists() else usual.parent, os.W_OK | os.X_OK):
        return usual
    own = Path(tempfile.gettempdir(), f"bids_tract-{os.getuid()}")
    # Compiled code lies there, and others may write in the temporary folder.
    if os.path.lexists(own) and own.lstat().st_uid != os.getuid():
        raise OutputError(f"{own} belongs to somebody else; give a work folder with --work-dir.")
    return own


def prepare_environment(
    scratch: Path, environ: MutableMapping[str, str] = os.environ
) -> list[str]:
    """Make the environment safe for unknown users, read-only homes and reproducible sums.

    Call this before numpy is imported; child processes inherit it.

    Parameters
    ----------
    scratch : Path
        A folder of this run that can be written; a home is made there when there is none.
    environ : mapping
        The environment to change.

    Returns
    -------
    list of str
        What was changed and is worth logging.

    Raises
    ------
    OutputError
        When neither the home nor `scratch` can be written.

    """
    notes = []
    environ.setdefault("NO_ET", "1")  # nipype asks a server for its newest version otherwise
    environ.setdefault("NIPYPE_NO_ET", "1")
    environ.setdefault("MPLBACKEND", "Agg")
    # Sums in BLAS depend on the number of threads: with one, results never do. Our parallel work
    # is by processes and by the trackers' own threads.
    for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
        environ[name] = "1"
    environ.setdefault("USER", f"uid{os.getuid()}")  # getpass fails with no passwd entry
    environ.setdefault("LOGNAME", environ["USER"])
    home = Path(environ.get("HOME") or "/")
    if home == Path("/") or not os.access(home, os.W_OK | os.X_OK):
        made = scratch / HOME
        try:
            made.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise OutputError(
                f"neither the home folder {home} nor {scratch} can be written "
                f"({error.strerror}); give a work folder that can be with --work-dir."
            ) from error
        notes.append(f"the home folder {home} cannot be written; using {made}")
        environ["HOME"] = str(made)
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ["HOME"], ".cache"))
    given = environ.get("NUMBA_CACHE_DIR")
    places = [*([Path(given)] if given else []), cache / "bids_tract" / "kernels"]
    usable = next((place for place in places if _can_write(place)), scratch / "kernels")
    if given and usable != Path(given):
        notes.append(f"NUMBA_CACHE_DIR={given} cannot be written; using {usable}")
    environ["NUMBA_CACHE_DIR"] = str(usable)
    if environ.get(KERNELS) and "NUMBA_CPU_NAME" not in environ and (cpu := portable_target()):
        target(cpu, environ)
    return notes + _temporary_folder(environ) + _space(scratch)


def target(cpu: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Have kernels compiled for a kind of CPU, by LLVM's name; before numba is imported."""
    environ["NUMBA_CPU_NAME"] = cpu
    environ["NUMBA_CPU_FEATURES"] = ""  # those of the name, not those of this CPU


def _temporary_folder(environ: MutableMapping[str, str]) -> list[str]:
    """Give up a temporary folder whose path is too long for sockets; what was done."""
    given = environ.get("TMPDIR", "")
    if len(given) <= _LONGEST_TMPDIR:
        return []
    environ["TMPDIR"] = "/tmp"
    tempfile.tempdir = None  # to be found anew
    return [f"TMPDIR={given} is too long for sockets; using /tmp"]


def _space(folder: Path) -> list[str]:
    """A warning where intermediate files will hardly fit."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free >= _LITTLE_SPACE:
        return []
    return [f"only {free >> 20} MB are free in {folder}; --work-dir takes another folder"]


def _can_write(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made when it is absent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
