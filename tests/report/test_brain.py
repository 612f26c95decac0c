import numpy as np
import pytest

from bids_tract.report.brain import beside, extent_mm, left_out
from tests.report.outputs import GRID, HALF_AXES_MM, brain, coordinates


def head(rim_mm=0.0):
    """A b0 whose brain lies in a bright rim of fluid, and noise around."""
    rng = np.random.default_rng(0)
    values = rng.normal(20, 10, GRID.shape)
    axes = np.array(HALF_AXES_MM) + rim_mm
    values[((coordinates() / axes) ** 2).sum(-1) <= 1] = 2000
    values[brain()] = 1000
    return values.astype(np.float32)


def test_a_whole_brain_leaves_nothing_out():
    assert left_out(head(), brain()) == 0


def test_a_thin_rim_of_fluid_is_no_missing_brain():
    assert left_out(head(rim_mm=4), brain()) < 0.05


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_half_a_brain_leaves_out_as_much_as_it_holds(axis):
    half = brain() & (coordinates()[..., axis] < 0)
    # One step of erosion and dilation takes a little of the other half.
    assert left_out(head(), half) == pytest.approx(1, abs=0.08)


def test_what_lies_beside_half_a_brain_is_the_other_half():
    half = brain() & (coordinates()[..., 0] < 0)
    lost = brain() & ~half
    found = beside(head(), half)
    assert not (found & half).any()
    assert (found & lost).sum() > 0.95 * lost.sum()


def test_a_lost_tenth_is_a_tenth():
    front = np.quantile(coordinates()[brain()][:, 1], 0.9)
    mask = brain() & (coordinates()[..., 1] < front)
    lost = (brain().sum() - mask.sum()) / mask.sum()
    assert left_out(head(), mask) == pytest.approx(lost, rel=0.25)


def test_what_is_bright_far_from_the_mask_does_not_count():
    values = head()
    values[:3, :3, :3] = 5000
    assert left_out(values, brain()) == 0


def test_an_image_of_three_slices_loses_nothing_to_the_erosion():
    half = brain() & (coordinates()[..., 0] < 0)
    middle = np.s_[:, :, 18:21]
    assert left_out(head()[middle], half[middle]) == pytest.approx(1, abs=0.1)


def test_no_background_no_judgement():
    assert left_out(np.where(brain(), 1000, 0).astype(np.float32), brain()) == 0


def test_extents_are_those_of_the_world():
    turned = np.array([[0, -4, 0, 0], [0, 0, 4, 0], [4, 0, 0, 0], [0, 0, 0, 1]], float)
    assert extent_mm(brain(), GRID.affine) == pytest.approx((120, 152, 112), abs=8)
    assert extent_mm(brain(), turned) == pytest.approx((152, 112, 120), abs=8)
