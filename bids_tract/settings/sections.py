"""The options, one class for each section."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from bids_tract.errors import UsageError
from bids_tract.settings.option import option
from bids_tract.settings.values import (
    Response,
    Threshold,
    as_axes,
    as_flag,
    as_integer,
    as_label,
    as_memory,
    as_number,
    as_path,
    as_response,
    as_text,
    as_threshold,
)

ModelName: TypeAlias = Literal["csa", "csd"]
TrackingName: TypeAlias = Literal["det", "prob", "pft", "eudx"]
SeedingName: TypeAlias = Literal["grid", "random", "total", "interface"]
StoppingName: TypeAlias = Literal["threshold", "mask", "cmc", "act"]
FormatName: TypeAlias = Literal["trx", "trk", "tck"]
BvecConvention: TypeAlias = Literal["auto", "fsl", "voxel", "world"]
GradientCheck: TypeAlias = Literal["warn", "error", "fix", "off"]
DenoiseName: TypeAlias = Literal["auto", "mppca", "patch2self", "none"]
UnringName: TypeAlias = Literal["auto", "on", "off"]
MotionName: TypeAlias = Literal["eddy", "rigid", "none"]
SCALAR_MAPS = ("fa", "gfa", "wm")


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """Which data are used."""

    participant_label: tuple[str, ...] = option(
        (),
        as_label,
        "participants to process, with or without 'sub-' (default: all)",
        aliases=("--participant_label",),
        many=True,
        metavar="LABEL",
    )
    session_label: tuple[str, ...] = option(
        (),
        as_label,
        "sessions to process, with or without 'ses-' (default: all)",
        aliases=("--session_label", "--session-id"),
        many=True,
        metavar="LABEL",
    )
    bids_filter_file: str | None = option(
        None,
        as_path,
        'JSON file with PyBIDS filters, as fMRIPrep takes it: {"dwi": {...}, "t1w": {...}}',
        metavar="FILE",
    )
    derivatives: tuple[str, ...] = option(
        (),
        as_path,
        "further datasets with preprocessed images, masks or tissue maps",
        aliases=("-d", "--datasets"),
        many=True,
        metavar="[NAME=]FOLDER",
    )
    bids_database_dir: str | None = option(
        None,
        as_path,
        "PyBIDS database to use (made there when absent); it is not refreshed",
        metavar="FOLDER",
    )
    skip_bids_validation: bool = option(
        False,
        as_flag,
        "do not check the dataset with the BIDS validator, where one is installed",
        aliases=("--skip_bids_validation", "--skip-bids-validator"),
    )


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How raw series are corrected; preprocessed ones (desc-preproc) are left alone."""

    preprocessed: bool = option(
        False,
        as_flag,
        "the series are preprocessed already, whatever their names say: correct nothing",
    )
    denoise: DenoiseName = option(
        "auto",
        as_text,
        "Marchenko-Pastur PCA (mppca), patch2self, none; auto is mppca where there are enough "
        "volumes",
        choices=("auto", "mppca", "patch2self", "none"),
    )
    unring: UnringName = option(
        "auto",
        as_text,
        "remove Gibbs ringing; auto does not where the sidecar says partial Fourier, which the "
        "method is not made for",
        choices=("auto", "on", "off"),
    )
    motion: MotionName = option(
        "eddy",
        as_text,
        "register the volumes for head motion and eddy currents (eddy), for motion only (rigid), "
        "or not at all",
        choices=("eddy", "rigid", "none"),
    )
    merge_runs: bool = option(
        False,
        as_flag,
        "make one scan of raw runs that share grid and phase encoding",
    )


@dataclass(frozen=True, kw_only=True)
class GradientSettings:
    """How the gradient table is read."""

    bvec_convention: BvecConvention = option(
        "auto",
        as_text,
        "frame of the bvec files: FSL's (BIDS), the voxel axes (QSIPrep) or world "
        "RAS; auto decides by the producer and says so",
        choices=("auto", "fsl", "voxel", "world"),
    )
    bvec_axes: str = option(
        "i,j,k",
        as_axes,
        "which component of the directions goes along which image axis, '-' turning it: j,i-,k; "
        "what the gradient check proposes for a wrong table",
        metavar="AXES",
    )
    gradient_check: GradientCheck = option(
        "warn",
        as_text,
        "compare the directions with the course of the fibres under all 24 flips and swaps of "
        "the axes, and when another table fits better: warn, end with an error, fix it, or do "
        "not look",
        choices=("warn", "error", "fix", "off"),
    )
    b0_threshold: float = option(
        50.0,
        as_number,
        "volumes with b up to this count as b0",
        unit="s/mm²",
        low=0,
        high=500,
        aliases=("--b0_threshold",),
    )
    shell: float | None = option(
        None,
        as_number,
        "shell for the single-shell models (default: the one that carries the "
        "highest order, then the highest b)",
        unit="s/mm²",
        above=0,
    )


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How fibre orientations are estimated."""

    model: tuple[ModelName, ...] = option(
        ("csd",),
        as_text,
        "constant solid angle (csa), constrained spherical deconvolution (csd)",
        choices=("csa", "csd"),
        many=True,
    )
    sh_order: int | None = option(
        None,
        as_integer,
        "highest spherical harmonic order (default: 6 for csa, 8 for csd; "
        "lowered, with a word, where the directions cannot carry it)",
        low=2,
        high=12,
    )
    response: Response | None = option(
        None,
        as_response,
        "'auto', or three eigenvalues (mm²/s) and S0 of a single fibre: 1.7e-3,3e-4,3e-4,500",
        metavar="{auto,L1,L2,L3,S0}",
    )

    def __post_init__(self) -> None:
        if self.sh_order is not None and self.sh_order % 2:
            raise UsageError(f"--sh-order {self.sh_order}: must be even.")


@dataclass(frozen=True, kw_only=True)
class SeedingSettings:
    """Where streamlines start."""

    seeding: SeedingName = option(
        "grid",
        as_text,
        "N seeds on a grid in each voxel of the mask, N at random in each, N in all, "
        "or N at random in each voxel where white meets grey matter",
        choices=("grid", "random", "total", "interface"),
    )
    seeds: int | None = option(
        None,
        as_integer,
        "per voxel (default 1; for grid a cube: 1, 8, 27 ...), or in all for "
        "'total' (default 100000; with --select, as many as it takes)",
        low=1,
        metavar="N",
    )
    select: int | None = option(
        None,
        as_integer,
        "stop at N kept streamlines",
        low=1,
        metavar="N",
    )
    seed_mask: str = option(
        "fa",
        as_path,
        "a NIfTI file, or a map: fa, gfa, wm",
        metavar="{fa,gfa,wm,FILE}",
    )
    seed_threshold: Threshold = option(
        Threshold(0.2),
        as_threshold,
        "bound on the seed map: a value, or '25%%' for the top quarter "
        "of its non-zero voxels; a binary mask needs none",
        low=0,
        metavar="VALUE",
    )
    random_seed: int = option(
        42,
        as_integer,
        "start of the random numbers; the same number gives the same streamlines",
        aliases=("--random_seed",),
        low=0,
        high=2**31 - 1,
    )


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """How streamlines advance, and which are kept."""

    tracking: tuple[TrackingName, ...] = option(
        ("prob",),
        as_text,
        "deterministic, probabilistic, particle filtering, peak-following",
        choices=("det", "prob", "pft", "eudx"),
        many=True,
    )
    step_mm: float = option(
        0.5,
        as_number,
        "step",
        name="step",
        unit="mm",
        above=0,
        high=10,
        metavar="MM",
        aliases=("--step-size",),
    )
    max_angle_deg: float = option(
        30.0,
        as_number,
        "largest turn at one step",
        name="max-angle",
        unit="degrees",
        above=0,
        high=90,
        metavar="DEGREES",
    )
    min_length_mm: float = option(
        20.0,
        as_number,
        "shorter streamlines are rejected",
        name="min-length",
        unit="mm",
        low=0,
        metavar="MM",
    )
    max_length_mm: float = option(
        300.0,
        as_number,
        "longer streamlines are rejected",
        name="max-length",
        unit="mm",
        above=0,
        metavar="MM",
    )
    pmf_threshold: float = option(
        0.1,
        as_number,
        "directions whose ODF value is below this share of the maximum are not followed",
        low=0,
        high=0.99,
    )

    def __post_init__(self) -> None:
        if self.min_length_mm > self.max_length_mm:
            raise UsageError(
                f"--min-length {self.min_length_mm:g} is above --max-length "
                f"{self.max_length_mm:g}: no streamline could be kept."
            )


@dataclass(frozen=True, kw_only=True)
class StoppingSettings:
    """Where streamlines end."""

    stopping: StoppingName | None = option(
        None,
        as_text,
        "threshold on a map, binary mask, continuous map criterion, anatomically "
        "constrained (default: cmc for pft; otherwise mask where the stop mask is binary, else "
        "threshold)",
        choices=("threshold", "mask", "cmc", "act"),
    )
    stop_mask: str = option(
        "fa",
        as_path,
        "a NIfTI file, or a map: fa, gfa, wm",
        metavar="{fa,gfa,wm,FILE}",
    )
    stop_threshold: Threshold = option(
        Threshold(0.2),
        as_threshold,
        "bound on the stop map: a value, or '25%%' for the top quarter "
        "of its non-zero voxels; a binary mask needs none",
        low=0,
        metavar="VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class PftSettings:
    """Particle filtering."""

    pft_back_mm: float = option(
        2.0,
        as_number,
        "distance to go back before particles start",
        name="pft-back",
        unit="mm",
        above=0,
        high=50,
        metavar="MM",
    )
    pft_front_mm: float = option(
        1.0,
        as_number,
        "distance that particles look ahead",
        name="pft-front",
        unit="mm",
        above=0,
        high=50,
        metavar="MM",
    )
    particles: int = option(15, as_integer, "number of particles", low=1, high=1000, metavar="N")


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """What is written."""

    format: tuple[FormatName, ...] = option(
        ("trx",),
        as_text,
        "tractogram file formats",
        choices=("trx", "trk", "tck"),
        many=True,
    )


@dataclass(frozen=True, kw_only=True)
class ResourceSettings:
    """What the machine may give; never changes results."""

    nprocs: int | None = option(
        None,
        as_integer,
        "CPUs that may be used at once (default: all this process may use)",
        aliases=("--nthreads", "--n-cpus", "--n_cpus"),
        low=1,
        metavar="N",
    )
    omp_nthreads: int | None = option(
        None,
        as_integer,
        "threads of one process (default: CPUs shared among the running jobs)",
        low=1,
        metavar="N",
    )
    mem_gb: float | None = option(
        None,
        as_memory,
        "memory that may be used: 16G, or a number of megabytes (default: 90%% of "
        "what this process may use)",
        name="mem",
        aliases=("--mem-mb", "--mem_mb"),
        above=0,
        metavar="SIZE",
    )
    use_plugin: str | None = option(
        None,
        as_path,
        "nipype plugin settings in a YAML file: {plugin: ..., plugin_args: {...}}",
        aliases=("--nipype-plugin-file",),
        metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How the run behaves."""

    work_dir: str | None = option(
        None,
        as_path,
        "folder for intermediate files (default: ./work)",
        aliases=("-w",),
        metavar="FOLDER",
    )
    clean_workdir: bool = option(False, as_flag, "empty the work directory before the run")
    stop_on_first_crash: bool = option(False, as_flag, "stop everything at the first failure")
    reports_only: bool = option(
        False, as_flag, "compute nothing; make the reports of what is there"
    )
    skip_reports: bool = option(
        False, as_flag, "make no reports of participants; --reports-only makes them later"
    )
    write_graph: bool = option(False, as_flag, "draw the workflow (SVG where graphviz is there)")
    resource_monitor: bool = option(False, as_flag, "record time and memory of each node")
    dry_run: bool = option(False, as_flag, "print the plan and stop", toml=False)
    debug: bool = option(False, as_flag, "show tracebacks and the workflow engine's own messages")
    notrack: bool = option(
        False, as_flag, "accepted for compatibility: this program never reports its use to anybody"
    )
