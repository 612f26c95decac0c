"""Every option, once: its name, default, unit, range and help.

The command line, the TOML configuration file and the settings file of a run are all made from
the classes below. Settings say what the user asked for; ``core.tracking.params.resolve`` turns
them into the numbers that the program works with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from bids_tract.errors import MissingInputError, UsageError

ModelName: TypeAlias = Literal["csa", "csd"]
TrackingName: TypeAlias = Literal["det", "prob", "pft"]
SeedingName: TypeAlias = Literal["grid", "random", "total", "interface"]
StoppingName: TypeAlias = Literal["threshold", "mask", "cmc", "act"]
FormatName: TypeAlias = Literal["trx", "trk", "tck"]
BvecConvention: TypeAlias = Literal["auto", "fsl", "voxel", "world"]
SCALAR_MAPS = ("fa", "gfa", "wm")


@dataclass(frozen=True)
class Threshold:
    """A bound on a map: a value, or a share of its highest non-zero voxels.

    Attributes
    ----------
    value : float
        The bound itself, or the share in percent.
    percent : bool
        Whether `value` is a share.

    """

    value: float
    percent: bool = False

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.percent else f"{self.value:g}"


@dataclass(frozen=True)
class Response:
    """The single-fibre response: three eigenvalues (mm²/s) and the b0 signal."""

    evals: tuple[float, float, float]
    s0: float

    def __str__(self) -> str:
        return ",".join(f"{v:g}" for v in (*self.evals, self.s0))


# --- How text and TOML values become settings -------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text")
    return value


def _path(value: Any) -> str:
    return _text(str(value))


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("expected a whole number")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("expected a whole number") from None


def _number(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError("expected a number") from None
    if isinstance(value, bool) or number != number or abs(number) == float("inf"):
        raise ValueError("expected a finite number")
    return number


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _label(value: Any) -> str:
    label = _text(str(value))
    for prefix in ("sub-", "ses-"):
        label = label.removeprefix(prefix)
    if not label.replace("+", "").isalnum():
        raise ValueError("a label holds letters and digits only")
    return label


def _threshold(value: Any) -> Threshold:
    if isinstance(value, Threshold):
        return value
    text = str(value).strip()
    percent = text.endswith("%")
    number = _number(text.removesuffix("%"))
    if percent and not 0 < number <= 100:
        raise ValueError("a percentage lies above 0 and up to 100")
    return Threshold(number, percent)


def _response(value: Any) -> Response | None:
    if isinstance(value, Response):
        return value
    if value == "auto":
        return None
    parts = value if isinstance(value, (list, tuple)) else str(value).replace(",", " ").split()
    if len(parts) != 4:
        raise ValueError("expected 'auto', or three eigenvalues and S0 ('1.7e-3,3e-4,3e-4,500')")
    l1, l2, l3, s0 = (_number(part) for part in parts)
    if not (l1 >= l2 >= 0 and l1 >= l3 >= 0 and l1 > 0 and s0 > 0):
        raise ValueError("expected eigenvalues >= 0 in mm²/s, the largest first, and S0 > 0")
    if l1 > 0.1:
        raise ValueError("eigenvalues are in mm²/s (about 0.0017 along a fibre); those are larger")
    return Response((l1, l2, l3), s0)


def _memory(value: Any) -> float:
    """Gigabytes from '16G', '16000M' or a bare number of megabytes (fMRIPrep's rule)."""
    text = str(value).strip().upper().removesuffix("B").removesuffix("I")
    scale = {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}.get(text[-1:])
    return _number(text[:-1]) * scale if scale else _number(text) * 1e-3


# --- One option ------------------------------------------------------------------------------


def option(
    default: Any,
    parse: Callable[[Any], Any],
    help: str,
    *,
    name: str | None = None,
    aliases: tuple[str, ...] = (),
    choices: tuple[str, ...] = (),
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    many: bool = False,
    toml: bool = True,
    metavar: str | None = None,
) -> Any:
    """Declare one option as a dataclass field.

    Parameters
    ----------
    default
        What holds when nobody says anything.
    parse : callable
        Turns a text or a TOML value into the setting; raises ValueError with what it expected.
    help : str
        One sentence for ``--help``.
    name : str, optional
        The long option without dashes; the field's name with dashes when absent.
    aliases : tuple of str
        Further spellings, with their dashes.
    choices, unit, low, high, above
        What values there are: words, the unit shown in the help, bounds (`above` is exclusive).
    many : bool
        Whether several values may be given.
    toml : bool
        Whether the option may stand in a configuration file.
    metavar : str, optional
        What the help shows for the value.

    """
    return field(
        default=default,
        metadata={
            "parse": parse, "help": help, "name": name, "aliases": aliases, "choices": choices,
            "unit": unit, "low": low, "high": high, "above": above, "many": many, "toml": toml,
            "metavar": metavar,
        },
    )  # fmt: skip


def option_name(setting: Field[Any]) -> str:
    """The option's name on the command line (without dashes) and in TOML."""
    return setting.metadata["name"] or setting.name.replace("_", "-")


def _check_range(value: Any, meta: Mapping[str, Any]) -> None:
    number = value.value if isinstance(value, Threshold) else value
    unit = f" {meta['unit']}" if meta["unit"] else ""
    if meta["choices"] and value not in meta["choices"]:
        raise ValueError(f"choose from {', '.join(meta['choices'])}")
    if meta["low"] is not None and number < meta["low"]:
        raise ValueError(f"must be at least {meta['low']:g}{unit}")
    if meta["above"] is not None and number <= meta["above"]:
        raise ValueError(f"must be above {meta['above']:g}{unit}")
    if meta["high"] is not None and number > meta["high"]:
        raise ValueError(f"must be at most {meta['high']:g}{unit}")


def parse_value(setting: Field[Any], value: Any) -> Any:
    """Turn a text (command line) or a TOML value into the value of a setting.

    Raises
    ------
    UsageError
        Naming the option, what was given and what was expected.

    """
    meta = setting.metadata
    try:
        if meta["many"]:
            listed = value if isinstance(value, (list, tuple)) else [value]
            parsed = tuple(dict.fromkeys(meta["parse"](item) for item in listed))
            if not parsed:
                raise ValueError("expected at least one value")
            for item in parsed:
                _check_range(item, meta)
            return parsed
        parsed_one = meta["parse"](value)
        if parsed_one is not None:
            _check_range(parsed_one, meta)
        return parsed_one
    except ValueError as error:
        raise UsageError(f"--{option_name(setting)} {value!s}: {error}.") from None


# --- The options -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class InputSettings:
    """Which data are used."""

    participant_label: tuple[str, ...] = option(
        (), _label, "participants to process, with or without 'sub-' (default: all)",
        aliases=("--participant_label",), many=True, metavar="LABEL",
    )
    session_label: tuple[str, ...] = option(
        (), _label, "sessions to process, with or without 'ses-' (default: all)",
        aliases=("--session_label", "--session-id"), many=True, metavar="LABEL",
    )
    bids_filter_file: str | None = option(
        None, _path, "JSON file with PyBIDS filters, as fMRIPrep takes it: {\"dwi\": {...}}",
        metavar="FILE",
    )
    derivatives: tuple[str, ...] = option(
        (), _path, "further datasets with preprocessed images, masks or tissue maps",
        aliases=("-d", "--datasets"), many=True, metavar="[NAME=]FOLDER",
    )
    bids_database_dir: str | None = option(
        None, _path, "PyBIDS database to use (made there when absent); it is not refreshed",
        metavar="FOLDER",
    )
    skip_bids_validation: bool = option(
        False, _flag, "do not check the dataset with the BIDS validator, where one is installed",
        aliases=("--skip_bids_validation", "--skip-bids-validator"),
    )


@dataclass(frozen=True, kw_only=True)
class GradientSettings:
    """How the gradient table is read."""

    bvec_convention: BvecConvention = option(
        "auto", _text, "frame of the bvec files: FSL's (BIDS), the voxel axes (QSIPrep) or world "
        "RAS; auto decides by the producer and says so",
        choices=("auto", "fsl", "voxel", "world"),
    )
    b0_threshold: float = option(
        50.0, _number, "volumes with b up to this count as b0",
        unit="s/mm²", low=0, high=500, aliases=("--b0_threshold",),
    )
    shell: float | None = option(
        None, _number, "shell for the single-shell models (default: the one that carries the "
        "highest order, then the highest b)", unit="s/mm²", above=0,
    )


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """How fibre orientations are estimated."""

    model: tuple[ModelName, ...] = option(
        ("csd",), _text, "constant solid angle (csa), constrained spherical deconvolution (csd)",
        choices=("csa", "csd"), many=True,
    )
    sh_order: int | None = option(
        None, _integer, "highest spherical harmonic order (default: 6 for csa, 8 for csd; "
        "lowered, with a word, where the directions cannot carry it)",
        low=2, high=12,
    )
    response: Response | None = option(
        None, _response, "'auto', or three eigenvalues (mm²/s) and S0 of a single fibre: "
        "1.7e-3,3e-4,3e-4,500", metavar="{auto,L1,L2,L3,S0}",
    )

    def __post_init__(self) -> None:
        if self.sh_order is not None and self.sh_order % 2:
            raise UsageError(f"--sh-order {self.sh_order}: must be even.")


@dataclass(frozen=True, kw_only=True)
class SeedingSettings:
    """Where streamlines start."""

    seeding: SeedingName = option(
        "grid", _text, "N seeds on a grid in each voxel of the mask, N at random in each, N in all, "
        "or N at random in each voxel where white meets grey matter",
        choices=("grid", "random", "total", "interface"),
    )
    seeds: int | None = option(
        None, _integer, "per voxel (default 1; for grid a cube: 1, 8, 27 ...), or in all for "
        "'total' (default 100000; with --select, as many as it takes)",
        low=1, metavar="N",
    )
    select: int | None = option(
        None, _integer, "stop at N kept streamlines", low=1, metavar="N",
    )
    seed_mask: str = option(
        "fa", _path, "a NIfTI file, or a map: fa, gfa, wm", metavar="{fa,gfa,wm,FILE}",
    )
    seed_threshold: Threshold = option(
        Threshold(0.2), _threshold, "bound on the seed map: a value, or '25%%' for the top quarter "
        "of its non-zero voxels; a binary mask needs none", low=0, metavar="VALUE",
    )
    random_seed: int = option(
        42, _integer, "start of the random numbers; the same number gives the same streamlines",
        aliases=("--random_seed",), low=0, high=2**31 - 1,
    )


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """How streamlines advance, and which are kept."""

    tracking: tuple[TrackingName, ...] = option(
        ("prob",), _text, "deterministic, probabilistic, particle filtering",
        choices=("det", "prob", "pft"), many=True,
    )
    step_mm: float = option(
        0.5, _number, "step", name="step", unit="mm", above=0, high=10, metavar="MM",
        aliases=("--step-size",),
    )
    max_angle_deg: float = option(
        30.0, _number, "largest turn at one step", name="max-angle", unit="degrees",
        above=0, high=90, metavar="DEGREES",
    )
    min_length_mm: float = option(
        20.0, _number, "shorter streamlines are rejected", name="min-length", unit="mm", low=0,
        metavar="MM",
    )
    max_length_mm: float = option(
        300.0, _number, "longer streamlines are rejected", name="max-length", unit="mm", above=0,
        metavar="MM",
    )
    pmf_threshold: float = option(
        0.1, _number, "directions whose ODF value is below this share of the maximum are not "
        "followed", low=0, high=0.99,
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
        None, _text, "threshold on a map, binary mask, continuous map criterion, anatomically "
        "constrained (default: cmc for pft; otherwise mask where the stop mask is binary, else "
        "threshold)", choices=("threshold", "mask", "cmc", "act"),
    )
    stop_mask: str = option(
        "fa", _path, "a NIfTI file, or a map: fa, gfa, wm", metavar="{fa,gfa,wm,FILE}",
    )
    stop_threshold: Threshold = option(
        Threshold(0.2), _threshold, "bound on the stop map: a value, or '25%%' for the top quarter "
        "of its non-zero voxels; a binary mask needs none", low=0, metavar="VALUE",
    )


@dataclass(frozen=True, kw_only=True)
class PftSettings:
    """Particle filtering."""

    pft_back_mm: float = option(
        2.0, _number, "distance to go back before particles start", name="pft-back",
        unit="mm", above=0, high=50, metavar="MM",
    )
    pft_front_mm: float = option(
        1.0, _number, "distance that particles look ahead", name="pft-front",
        unit="mm", above=0, high=50, metavar="MM",
    )
    particles: int = option(15, _integer, "number of particles", low=1, high=1000, metavar="N")


@dataclass(frozen=True, kw_only=True)
class OutputSettings:
    """What is written."""

    format: tuple[FormatName, ...] = option(
        ("trx",), _text, "tractogram file formats", choices=("trx", "trk", "tck"), many=True,
    )


@dataclass(frozen=True, kw_only=True)
class ResourceSettings:
    """What the machine may give; never changes results."""

    nprocs: int | None = option(
        None, _integer, "CPUs that may be used at once (default: all this process may use)",
        aliases=("--nthreads", "--n-cpus", "--n_cpus"), low=1, metavar="N",
    )
    omp_nthreads: int | None = option(
        None, _integer, "threads of one process (default: CPUs shared among the running jobs)",
        low=1, metavar="N",
    )
    mem_gb: float | None = option(
        None, _memory, "memory that may be used: 16G, or a number of megabytes (default: 90%% of "
        "what this process may use)", name="mem", aliases=("--mem-mb", "--mem_mb"), above=0,
        metavar="SIZE",
    )
    use_plugin: str | None = option(
        None, _path, "nipype plugin settings in a YAML file: {plugin: ..., plugin_args: {...}}",
        aliases=("--nipype-plugin-file",), metavar="FILE",
    )


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """How the run behaves."""

    work_dir: str | None = option(
        None, _path, "folder for intermediate files (default: ./work)", aliases=("-w",),
        metavar="FOLDER",
    )
    clean_workdir: bool = option(False, _flag, "empty the work directory before the run")
    stop_on_first_crash: bool = option(False, _flag, "stop everything at the first failure")
    reports_only: bool = option(
        False, _flag, "compute nothing; make the reports of what is there"
    )
    write_graph: bool = option(False, _flag, "draw the workflow (SVG where graphviz is there)")
    resource_monitor: bool = option(False, _flag, "record time and memory of each node")
    dry_run: bool = option(False, _flag, "print the plan and stop", toml=False)
    debug: bool = option(False, _flag, "show tracebacks and the workflow engine's own messages")
    notrack: bool = option(
        False, _flag, "accepted for compatibility: this program never reports its use to anybody"
    )


SECTIONS: dict[str, type] = {
    "input": InputSettings,
    "gradients": GradientSettings,
    "model": ModelSettings,
    "seeding": SeedingSettings,
    "tracking": TrackingSettings,
    "stopping": StoppingSettings,
    "pft": PftSettings,
    "output": OutputSettings,
    "resources": ResourceSettings,
    "run": RunSettings,
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that was asked for."""

    input: InputSettings = InputSettings()
    gradients: GradientSettings = GradientSettings()
    model: ModelSettings = ModelSettings()
    seeding: SeedingSettings = SeedingSettings()
    tracking: TrackingSettings = TrackingSettings()
    stopping: StoppingSettings = StoppingSettings()
    pft: PftSettings = PftSettings()
    output: OutputSettings = OutputSettings()
    resources: ResourceSettings = ResourceSettings()
    run: RunSettings = RunSettings()

    def __post_init__(self) -> None:
        seeding, stopping = self.seeding, self.stopping
        if seeding.seeding == "grid" and seeding.seeds is not None:
            edge = round(seeding.seeds ** (1 / 3))
            if edge**3 != seeding.seeds:
                raise UsageError(
                    f"--seeds {seeding.seeds} with --seeding grid: a grid in a voxel holds a cube "
                    f"of seeds, {max(edge, 1) ** 3} or {(edge + 1) ** 3}; any number goes with "
                    "--seeding random."
                )
        if "pft" in self.tracking.tracking and stopping.stopping in ("threshold", "mask"):
            raise UsageError(
                f"--tracking pft with --stopping {stopping.stopping}: particle filtering needs "
                "tissue maps; use --stopping cmc or act."
            )


Values: TypeAlias = dict[str, dict[str, Any]]
"""Section -> field -> parsed value, for what was said only."""

# What DIPY's introductory tracking example uses: CSA of order 6, GFA above 0.25, eight seeds a
# voxel, steps of 0.5 mm, then CSD with a cone of 30 degrees; DIPY's own length limits.
PRESETS: dict[str, Values] = {
    "dipy-basic": {
        "model": {"model": ("csa", "csd"), "sh_order": 6},
        "seeding": {
            "seeding": "grid", "seeds": 8, "seed_mask": "gfa", "seed_threshold": Threshold(0.25),
        },
        "tracking": {
            "tracking": ("det", "prob"), "step_mm": 0.5, "max_angle_deg": 30.0,
            "min_length_mm": 2.0, "max_length_mm": 500.0, "pmf_threshold": 0.1,
        },
        "stopping": {
            "stopping": "threshold", "stop_mask": "gfa", "stop_threshold": Threshold(0.25),
        },
    }
}  # fmt: skip


def all_options() -> Iterator[tuple[str, Field[Any]]]:
    """Each option with its section, in the order of the help."""
    for section, cls in SECTIONS.items():
        for setting in fields(cls):
            yield section, setting


def build(*layers: Values) -> Settings:
    """Make settings from layers of values; later layers win.

    Raises
    ------
    UsageError
        When values contradict each other.

    """
    parts = {}
    for section, cls in SECTIONS.items():
        merged: dict[str, Any] = {}
        for layer in layers:
            merged.update(layer.get(section, {}))
        parts[section] = cls(**merged)
    return Settings(**parts)


def read_toml(path: str | Path) -> Values:
    """Read a configuration file: ``[section]`` tables with the command line's option names.

    Raises
    ------
    UsageError
        For unknown sections or keys, values out of range and TOML that cannot be parsed.
    MissingInputError
        When there is no such file.

    """
    try:
        data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise MissingInputError(f"{path}: cannot be read ({error.strerror}).") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a TOML file: {error}.") from None
    values: Values = {}
    for section, table in data.items():
        if section not in SECTIONS or not isinstance(table, dict):
            raise UsageError(
                f"{path}: unknown section [{section}]; there are "
                + ", ".join(f"[{name}]" for name in SECTIONS)
                + "."
            )
        known = {option_name(f): f for f in fields(SECTIONS[section]) if f.metadata["toml"]}
        for key, value in table.items():
            setting = known.get(key)
            if setting is None:
                raise UsageError(
                    f"{path}: unknown key '{key}' in [{section}]; there are {', '.join(known)}."
                )
            try:
                values.setdefault(section, {})[setting.name] = parse_value(setting, value)
            except UsageError as error:
                raise UsageError(f"{path}: [{section}] {str(error).removeprefix('--')}") from None
    return values


def to_table(settings: Settings) -> dict[str, dict[str, Any]]:
    """Settings as plain tables, ready for a TOML file that ``read_toml`` reads back."""

    def plain(value: Any) -> Any:
        if isinstance(value, (Threshold, Response)):
            return str(value)
        return list(value) if isinstance(value, tuple) else value

    tables: dict[str, dict[str, Any]] = {}
    for section, setting in all_options():
        value = getattr(getattr(settings, section), setting.name)
        # TOML has no null: what is not set is left out, which reads back as not set.
        if setting.metadata["toml"] and value is not None and value != ():
            tables.setdefault(section, {})[option_name(setting)] = plain(value)
    return tables


def default_of(setting: Field[Any]) -> Any:
    """The default of an option."""
    return None if setting.default is MISSING else setting.default


def with_resources(settings: Settings, *, nprocs: int, omp_nthreads: int, mem_gb: float) -> Settings:
    """The same settings with the machine's limits filled in."""
    return replace(
        settings,
        resources=replace(
            settings.resources, nprocs=nprocs, omp_nthreads=omp_nthreads, mem_gb=mem_gb
        ),
    )
