"""The sphere on which orientation functions are sampled."""

from __future__ import annotations

from functools import lru_cache

from dipy.core.sphere import HemiSphere
from dipy.data import default_sphere


@lru_cache(maxsize=1)
def tracking_sphere() -> HemiSphere:
    """362 directions over a hemisphere (724 with their opposites), about 5 degrees apart."""
    return default_sphere
