from __future__ import annotations

import numpy as np
import pytest

from bids_tract.core.types import Volumes

SERIES = np.random.default_rng(0).normal(size=(4, 5, 6, 7)).astype(np.float32)
MASK = SERIES[..., 0] > 0


@pytest.mark.parametrize("numbers", [[5, 0, 3], range(7)])
@pytest.mark.parametrize("voxels", [MASK, np.nonzero(MASK), 2, (1, 2, 3), slice(1, 3)])
def test_volumes_of_voxels_are_those_of_the_series(numbers, voxels):
    volumes = Volumes(SERIES, np.array(numbers))
    picked = volumes[voxels]
    np.testing.assert_array_equal(picked, SERIES[..., list(numbers)][voxels])
    assert picked.dtype == np.float32 and picked.flags.c_contiguous
