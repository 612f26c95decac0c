"""Every option, once: its name, default, unit, range and help.

The command line, the TOML configuration file and the settings file of a run are all made from
the classes in ``sections``. Settings say what the user asked for; the plan resolves them into
the numbers that the program works with.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from bids_tract.errors import MissingInputError, UsageError
from bids_tract.settings.option import option_name, parse_value
from bids_tract.settings.sections import (
    SCALAR_MAPS,
    BvecConvention,
    DenoiseName,
    FormatName,
    GradientCheck,
    GradientSettings,
    InputSettings,
    ModelName,
    ModelSettings,
    MotionName,
    OutputSettings,
    PftSettings,
    PrepareSettings,
    ResourceSettings,
    RunSettings,
    SeedingName,
    SeedingSettings,
    StoppingName,
    StoppingSettings,
    TrackingName,
    TrackingSettings,
)
from bids_tract.settings.values import Response, Threshold

__all__ = [
    "PRESETS",
    "SCALAR_MAPS",
    "SECTIONS",
    "BvecConvention",
    "DenoiseName",
    "FormatName",
    "GradientCheck",
    "GradientSettings",
    "InputSettings",
    "ModelName",
    "ModelSettings",
    "MotionName",
    "OutputSettings",
    "PftSettings",
    "PrepareSettings",
    "ResourceSettings",
    "Response",
    "RunSettings",
    "SeedingName",
    "SeedingSettings",
    "Settings",
    "StoppingName",
    "StoppingSettings",
    "Threshold",
    "TrackingName",
    "TrackingSettings",
    "Values",
    "all_options",
    "build",
    "option_name",
    "parse_value",
    "read_toml",
    "to_table",
]

SECTIONS: dict[str, type] = {
    "input": InputSettings,
    "prepare": PrepareSettings,
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
    prepare: PrepareSettings = PrepareSettings()
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
                below = edge if edge**3 < seeding.seeds else edge - 1
                raise UsageError(
                    f"--seeds {seeding.seeds} with --seeding grid: a grid in a voxel holds a cube "
                    f"of seeds, {below**3} or {(below + 1) ** 3}; any number goes with "
                    "--seeding random."
                )
        if "pft" in self.tracking.tracking and stopping.stopping in ("threshold", "mask"):
            raise UsageError(
                f"--tracking pft with --stopping {stopping.stopping}: particle filtering needs "
                "tissue maps; use --stopping cmc or act."
            )


Values: TypeAlias = dict[str, dict[str, Any]]
"""Section -> field -> parsed value, for what was said only."""

# What DIPY's introductory tracking example uses: CSA of order 6 and its peaks, GFA above 0.25,
# eight seeds a voxel, steps of 0.5 mm, then CSD with a cone of 30 degrees; DIPY's length limits.
PRESETS: dict[str, Values] = {
    "dipy-basic": {
        "model": {"model": ("csa", "csd"), "sh_order": 6},
        "seeding": {
            "seeding": "grid", "seeds": 8, "seed_mask": "gfa", "seed_threshold": Threshold(0.25),
        },
        "tracking": {
            "tracking": ("eudx", "prob"), "step_mm": 0.5, "max_angle_deg": 30.0,
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

    def plain(setting: Field[Any], value: Any) -> Any:
        if isinstance(value, (Threshold, Response)):
            return str(value)
        if setting.name == "mem_gb":
            return f"{value!r}G"  # a bare number would be megabytes
        return list(value) if isinstance(value, tuple) else value

    tables: dict[str, dict[str, Any]] = {}
    for section, setting in all_options():
        value = getattr(getattr(settings, section), setting.name)
        # TOML has no null: what is not set is left out, which reads back as not set.
        if setting.metadata["toml"] and value is not None and value != ():
            tables.setdefault(section, {})[option_name(setting)] = plain(setting, value)
    return tables
