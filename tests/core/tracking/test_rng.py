import numpy as np
import pytest

from bids_tract.core.tracking.rng import Stream, bits, uniform


def test_a_million_seeds_have_a_million_streams():
    numbers = np.arange(1_000_000)
    assert len(np.unique(bits(42, Stream.TRACKER, numbers, 0))) == len(numbers)


def test_numbers_are_uniform_and_uncorrelated():
    u = uniform(7, Stream.SEED_POSITION, np.arange(200_000), 0)
    v = uniform(7, Stream.SEED_POSITION, np.arange(200_000), 1)
    # Five standard errors of the mean, the variance and the correlation.
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / len(u))
    assert abs(u.var() - 1 / 12) < 5 * np.sqrt(1 / 180 / len(u))
    assert abs(np.corrcoef(u, v)[0, 1]) < 5 / np.sqrt(len(u))
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 5 / np.sqrt(len(u))
    assert u.min() >= 0 and u.max() < 1


@pytest.mark.parametrize("other", [(8, Stream.TRACKER, 0), (7, Stream.SEED_JITTER, 0),
                                   (7, Stream.TRACKER, 1)])  # fmt: skip
def test_seed_use_and_draw_matter(other):
    numbers = np.arange(1000)
    seed, stream, draw = other
    assert not np.any(bits(7, Stream.TRACKER, numbers, 0) == bits(seed, stream, numbers, draw))


def test_a_number_depends_on_its_index_only():
    whole = uniform(3, Stream.TRACKER, np.arange(100), 5)
    assert np.array_equal(whole[40:60], uniform(3, Stream.TRACKER, np.arange(40, 60), 5))
