from __future__ import annotations

import math

import pytest

from bids_tract.core.preprocess.processes import in_order


@pytest.mark.parametrize("n_workers", [1, 2])
def test_all_items_come_back_in_order(n_workers):
    numbers = range(20)
    found = list(in_order(math.factorial, numbers, n_workers))
    assert found == [(number, math.factorial(number)) for number in numbers]


def test_few_items_are_taken_ahead():
    taken: list[int] = []
    results = in_order(math.sqrt, (taken.append(n) or n for n in range(50)), 2)
    next(results)
    assert len(taken) == 5
    results.close()


@pytest.mark.parametrize("n_workers", [1, 2])
def test_a_failure_is_passed_on(n_workers):
    with pytest.raises(ValueError, match=r"math domain|nonnegative"):
        list(in_order(math.sqrt, [1.0, -1.0, 2.0], n_workers))
