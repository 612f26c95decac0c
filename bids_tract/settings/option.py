"""One option: a dataclass field that carries its help, unit and bounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, field
from typing import Any

from bids_tract.errors import UsageError
from bids_tract.settings.values import Threshold


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
        given = " ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
        raise UsageError(f"--{option_name(setting)} {given}: {error}.") from None
