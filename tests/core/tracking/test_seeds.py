import numpy as np
import pytest

from bids_tract.core.tracking.seeds import ATTEMPTS_PER_STREAMLINE, make_seeds
from bids_tract.errors import DataError


@pytest.fixture
def mask():
    mask = np.zeros((6, 5, 4), bool)
    mask[1:4, 2:4, 1:3] = True
    return mask


def all_seeds(mask, **options):
    options = {"seeds": None, "select": None, "run_seed": 1, **options}
    seeds = make_seeds(mask, **options)
    return seeds.block(0, seeds.count)


def test_one_seed_a_voxel_lies_in_its_centre(mask):
    assert np.array_equal(all_seeds(mask, layout="grid"), np.argwhere(mask))


def test_a_grid_of_eight_is_dipys(mask):
    from dipy.tracking.utils import seeds_from_mask

    ours = all_seeds(mask, layout="grid", seeds=8)
    theirs = seeds_from_mask(mask, np.eye(4), density=2)
    assert {tuple(s) for s in ours} == {tuple(s) for s in theirs}


@pytest.mark.parametrize("layout", ["random", "total"])
def test_random_seeds_stay_in_the_mask(mask, layout):
    seeds = all_seeds(mask, layout=layout, seeds=500)
    assert mask[tuple(np.rint(seeds).astype(int).T)].all()
    assert len(np.unique(seeds, axis=0)) == len(seeds)


def test_random_gives_each_voxel_its_number(mask):
    seeds = all_seeds(mask, layout="random", seeds=7)
    _, counts = np.unique(np.rint(seeds).astype(int), axis=0, return_counts=True)
    assert len(counts) == mask.sum() and np.all(counts == 7)


def test_total_is_exact_and_even(mask):
    seeds = all_seeds(mask, layout="total", seeds=12_000)
    assert len(seeds) == 12_000
    _, counts = np.unique(np.rint(seeds).astype(int), axis=0, return_counts=True)
    expected = 12_000 / mask.sum()
    assert np.all(np.abs(counts - expected) < 5 * np.sqrt(expected))


@pytest.mark.parametrize("layout", ["grid", "random", "total"])
def test_blocks_do_not_matter(mask, layout):
    seeds = make_seeds(mask, layout=layout, seeds=27, select=None, run_seed=5)
    whole = seeds.block(0, seeds.count)
    parts = [seeds.block(i, i + 17) for i in range(0, seeds.count, 17)]
    assert np.array_equal(whole, np.concatenate(parts))


def test_select_serves_voxels_in_random_order(mask):
    big = np.ones((20, 20, 20), bool)
    first = make_seeds(big, layout="grid", seeds=1, select=10, run_seed=5).block(0, 800)
    # The first tenth of the seeds covers the whole width, not the first two slices.
    assert set(first[:, 0]) == set(range(20))


def test_total_with_select_goes_on_for_long(mask):
    seeds = make_seeds(mask, layout="total", seeds=None, select=10, run_seed=5)
    assert seeds.count == 10 * ATTEMPTS_PER_STREAMLINE


def test_an_empty_mask_is_an_error(mask):
    with pytest.raises(DataError, match="seed mask is empty"):
        all_seeds(np.zeros_like(mask), layout="grid")
