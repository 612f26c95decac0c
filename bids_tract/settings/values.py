"""How text and TOML values become settings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def _exact(number: float) -> str:
    """The shortest text that reads back as the same number."""
    return repr(number).removesuffix(".0")


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
        return _exact(self.value) + "%" * self.percent


@dataclass(frozen=True)
class Response:
    """The single-fibre response: three eigenvalues (mm²/s) and the b0 signal."""

    evals: tuple[float, float, float]
    s0: float

    def __str__(self) -> str:
        return ",".join(_exact(v) for v in (*self.evals, self.s0))


def as_text(value: Any) -> str:
    """A text that is not empty."""
    if not isinstance(value, str) or not value:
        raise ValueError("expected a text")
    return value


def as_path(value: Any) -> str:
    """A path, as text."""
    return as_text(str(value) if isinstance(value, Path) else value)


def as_integer(value: Any) -> int:
    """A whole number."""
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError("expected a whole number")
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError("expected a whole number") from None


def as_number(value: Any) -> float:
    """A finite number."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("expected a number") from None
    if isinstance(value, bool) or number != number or abs(number) == float("inf"):
        raise ValueError("expected a finite number")
    return number


def as_flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def as_label(value: Any) -> str:
    """A BIDS label, with or without 'sub-' or 'ses-'."""
    label = as_text(value)
    for prefix in ("sub-", "ses-"):
        label = label.removeprefix(prefix)
    if not re.fullmatch(r"[A-Za-z0-9+]+", label):
        raise ValueError("a label holds letters and digits only")
    return label


def as_axes(value: Any) -> str:
    """A signed order of the image axes, 'j,i-,k'."""
    text = as_text(value).replace(" ", "")
    if sorted(word.removesuffix("-") for word in text.split(",")) != ["i", "j", "k"]:
        raise ValueError("expected i, j and k in some order, each with '-' where it is turned")
    return text


def as_threshold(value: Any) -> Threshold:
    """A value, or a share such as '25%'."""
    if isinstance(value, Threshold):
        return value
    text = str(value).strip()
    percent = text.endswith("%")
    number = as_number(text.removesuffix("%"))
    if percent and not 0 < number <= 100:
        raise ValueError("a percentage lies above 0 and up to 100")
    return Threshold(number, percent)


def as_response(value: Any) -> Response | None:
    """A response, or None for 'auto'."""
    if isinstance(value, Response):
        return value
    if value == "auto":
        return None
    parts = value if isinstance(value, (list, tuple)) else str(value).replace(",", " ").split()
    if len(parts) != 4:
        raise ValueError("expected 'auto', or three eigenvalues and S0 ('1.7e-3,3e-4,3e-4,500')")
    l1, l2, l3, s0 = (as_number(part) for part in parts)
    if not (l1 >= l2 >= 0 and l1 >= l3 >= 0 and l1 > 0 and s0 > 0):
        raise ValueError("expected eigenvalues >= 0 in mm²/s, the largest first, and S0 > 0")
    if l1 > 0.1:
        raise ValueError("eigenvalues are in mm²/s (about 0.0017 along a fibre); those are larger")
    return Response((l1, l2, l3), s0)


def as_memory(value: Any) -> float:
    """Gigabytes from '16G', '16000M' or a bare number of megabytes (fMRIPrep's rule)."""
    number, unit = str(value).strip().upper(), "M"
    if with_unit := re.fullmatch(r"(.*?)\s*([KMGT])(I?B)?", number):
        number, unit = with_unit[1], with_unit[2]
    return as_number(number) * {"K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3}[unit]
