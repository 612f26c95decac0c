"""Numbers to colours."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_tract.core.types import Bool, Float32

Colour = tuple[float, float, float]

# Told apart with any kind of colour vision (Okabe and Ito, jfly.uni-koeln.de/color).
ORANGE: Colour = (0.902, 0.624, 0.0)
SKY_BLUE: Colour = (0.337, 0.706, 0.914)
YELLOW: Colour = (0.941, 0.894, 0.259)
VERMILLION: Colour = (0.835, 0.369, 0.0)
# The ends of the scale in OKLab (bottosson.github.io/posts/oklab): lightness rises evenly, and
# blue turns to yellow, which nearly everybody tells apart. The way bends towards green, which
# adds a difference for those who see it.
_DARK = (0.22, 0.02, -0.13)
_BRIGHT = (0.96, -0.02, 0.15)
_BEND = 0.1


def grey(values: Float32, window: tuple[float, float]) -> Float32:
    """(..., 3) float32 array: black at the lower end of the window, white at the upper.

    What is not finite is black.
    """
    low, high = window
    shown = np.clip((np.nan_to_num(values) - low) / max(high - low, 1e-12), 0, 1)
    return np.repeat(shown[..., None], 3, axis=-1).astype(np.float32)


def window_of(values: Float32, mask: Bool) -> tuple[float, float]:
    """From 0 to what 99 of 100 voxels of a mask stay below: beyond are vessels and artefacts."""
    inside = values[mask]
    inside = inside[np.isfinite(inside)]
    top = float(np.percentile(inside, 99)) if len(inside) else 1.0
    return 0.0, top if top > 0 else 1.0


def scale(values: NDArray[Any]) -> Float32:
    """Colours (..., 3) for values (...) between 0 and 1, from dark blue to bright yellow."""
    share = np.clip(np.asarray(values, np.float64), 0, 1)[..., None]
    lab = np.asarray(_DARK) + share * (np.asarray(_BRIGHT) - np.asarray(_DARK))
    lab[..., 1] -= _BEND * 4 * (share * (1 - share))[..., 0]
    cones = lab @ np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728],
         [1, -0.0894841775, -1.2914855480]]
    ).T  # fmt: skip
    linear = cones**3 @ np.array(
        [[4.0767416621, -3.3077115913, 0.2309699292],
         [-1.2684380046, 2.6097574011, -0.3413193965],
         [-0.0041960863, -0.7034186147, 1.7076147010]]
    ).T  # fmt: skip
    linear = np.clip(linear, 0, 1)
    bright = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear <= 0.0031308, 12.92 * linear, bright).astype(np.float32)


def blend(picture: Float32, colour: Colour | NDArray[Any], cover: NDArray[Any]) -> None:
    """Lay a colour (3,) or colours (H, W, 3) over a picture (H, W, 3) in place.

    `cover` (H, W) is 1 where the picture is hidden.
    """
    picture += np.asarray(cover, np.float32)[..., None] * (
        np.asarray(colour, np.float32) - picture
    )
