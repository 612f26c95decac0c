"""Tracking against analytic phantoms, and DIPY's traps."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bids_tract.core.tracking import walk
from bids_tract.core.tracking.field import box_of
from bids_tract.core.tracking.outcome import EndReason, Fate
from bids_tract.core.tracking.seeds import make_seeds
from bids_tract.core.tracking.stopping import MapStop, MaskStop, TissueStop
from bids_tract.core.types import SHField, Tissue
from bids_tract.errors import DataError
from tests.core.tracking.fields import run, seeds_at, sh_field, walker
from tests.phantoms import bend, crossing, exact_copies, same_region, scan, straight, uniform


@pytest.fixture(scope="module")
def bent():
    return scan(bend(), shape=(24, 24, 8))


@pytest.fixture(scope="module")
def plain():
    return scan(uniform(), shape=(16, 10, 10))


def grid_seeds(scene, seeds=1, select=None, mask=None):
    mask = np.ones(scene.shape, bool) if mask is None else mask
    return make_seeds(mask, layout="grid", seeds=seeds, select=select, run_seed=42)


def hausdorff(one, other):
    """Largest distance from a point of either polyline to the other's points."""
    apart = np.linalg.norm(one[:, None] - other[None], axis=2)
    return max(apart.min(axis=0).max(), apart.min(axis=1).max())


def test_steps_have_the_length_asked_for_in_anisotropic_voxels():
    scene = scan(uniform(np.array([1.0, 0.0, 1.0]) / np.sqrt(2)), shape=(20, 20, 8),
                 spacing_mm=(2.0, 2.0, 3.0))  # fmt: skip
    lines, _, _ = run(walker(scene, step_mm=0.7), grid_seeds(scene))
    steps = [np.linalg.norm(np.diff(lines[i], axis=0), axis=1) for i in range(len(lines))]
    assert np.allclose(np.concatenate(steps), 0.7, atol=1e-3)


def test_streamlines_follow_the_bend(bent):
    # In the middle of the bundle, where no voxel mixes tissues.
    points = np.random.default_rng(1).uniform(-3, 3, (60, 3))
    lines = walker(bent, min_length_mm=30.0).walk(seeds_at(points, bent), 0).streamlines
    assert len(lines) == 60
    # The distance to the centre of the circle stays what it was at the seed.
    centre = np.array([-30.0, -30.0]) / np.sqrt(2)
    near = [np.linalg.norm(lines[i], axis=1) < 20 for i in range(60)]
    drift = [np.ptp(np.linalg.norm(lines[i][near[i], :2] - centre, axis=1)) for i in range(60)]
    assert np.median(drift) < 1.0 and max(drift) < 2.5


@pytest.mark.parametrize("phantom", [straight(np.array([0.8, 0.5, 0.3])), bend(), crossing(60.0)])
def test_copies_on_other_grids_give_the_same_streamlines_in_mm(phantom):
    """LAS, RAS, LPS, reordered axes, and the whole scene stored obliquely."""
    copies = exact_copies(scan(phantom, shape=(24, 24, 8)))
    assert {"RAS", "LAS", "LPS", "ASR", "oblique"} <= {c.name for c in copies}
    points = np.array([[0.0, 0.0, 0.0], [1.0, -1.0, 2.0], [2.5, 1.5, -3.0], [-4.0, 3.0, 1.0]])
    found = []
    for copy in copies:
        back = np.linalg.inv(copy.to_reference)
        here = points @ back[:3, :3].T + back[:3, 3]
        block = walker(copy).walk(seeds_at(here, copy), 0)
        assert len(block.streamlines) == len(points)
        found.append([copy.in_reference(block.streamlines[i].astype(float)) for i in range(4)])
    for lines in found[1:]:
        assert max(map(hausdorff, lines, found[0])) < 0.05


def test_anisotropic_grids_give_the_same_streamlines_in_mm():
    direction = np.array([0.8, 0.5, 0.3]) / np.linalg.norm([0.8, 0.5, 0.3])
    points = np.array([[0.0, 0.0, 0.0], [3.0, -2.0, 1.0]])
    courses = []
    for scene in same_region(uniform(direction)):
        lines = walker(scene).walk(seeds_at(points, scene), 0).streamlines
        # Away from the rim, whose place depends on the voxels.
        courses.append([line[np.linalg.norm(line, axis=1) < 9] for line in (lines[0], lines[1])])
    for course in courses[1:]:
        assert max(map(hausdorff, course, courses[0])) < 0.05


def test_probabilistic_density_does_not_depend_on_the_orientation(bent):
    """Equal density maps within sampling error: the two halves of one run differ as much."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-4, 4, (1500, 3))

    def density(scene, seeds, first):
        block = walker(scene, method="prob").walk(seeds_at(seeds, scene), first)
        voxels = np.floor((block.streamlines.points + 30) / 4).astype(int)
        counts = np.zeros((15, 15, 15))
        np.add.at(counts, tuple(np.clip(voxels, 0, 14).T), 1)
        return counts / counts.sum()

    copies = {c.name: c for c in exact_copies(bent)}
    here = density(copies["RAS"], points, 0)
    there = density(copies["LAS"], points, 0)
    again = density(copies["RAS"], points + rng.uniform(-1e-3, 1e-3, points.shape), 5000)
    assert np.abs(here - again).sum() > 0
    assert np.abs(here - there).sum() < 1.5 * np.abs(here - again).sum()


@pytest.mark.parametrize("method", ["det", "prob", "pft"])
def test_the_same_bytes_for_threads_blocks_and_reruns(bent, monkeypatch, method):
    mask = np.zeros(bent.shape, bool)
    mask[8:16, 8:16, 2:6] = True
    rule = None
    if method == "pft":
        rule = TissueStop(ends_in_grey(bent), "cmc")
    results = []
    for threads, block in ((1, 5000), (2, 5000), (5, 5000), (2, 60), (1, 5000)):
        monkeypatch.setattr(walk, "BLOCK", block)
        seeds = grid_seeds(bent, mask=mask)
        lines, counts, _ = run(walker(bent, rule, threads=threads, method=method), seeds)
        results.append((lines.points.tobytes(), lines.seed_index.tobytes(), counts))
    assert len(results[0][0]) > 10_000
    assert all(result == results[0] for result in results[1:])


def ends_in_grey(scene):
    """Tissue maps: grey in the two outermost voxels of x and y, white elsewhere."""
    gm = np.zeros(scene.shape, np.float32)
    gm[:3] = gm[-3:] = 1
    gm[:, :3] = gm[:, -3:] = 1
    csf = np.zeros_like(gm)
    csf[0, 0, 0] = 1
    return Tissue((1 - gm) * (1 - csf), gm * (1 - csf), csf)


def test_run_seeds_give_other_streamlines(bent):
    seeds = grid_seeds(bent, mask=np.pad(np.ones((6, 6, 2), bool), ((9, 9), (9, 9), (3, 3))))
    one, _, _ = run(walker(bent, method="prob", random_seed=1), seeds)
    other, _, _ = run(walker(bent, method="prob", random_seed=2), seeds)
    assert one.points.tobytes() != other.points.tobytes()


def test_grid_seeds_have_random_numbers_of_their_own():
    """DIPY by itself gives 512 such seeds 36 to 69 different courses."""
    scene = scan(uniform(), shape=(20, 10, 10))
    # Ends are not to cut streamlines short: compare the turns of the first steps.
    seeds = grid_seeds(scene, mask=np.pad(np.ones((4, 4, 4), bool), ((8, 8), (3, 3), (3, 3))),
                       seeds=8)  # fmt: skip
    lines, _, _ = run(walker(scene, method="prob", max_angle_deg=60.0), seeds)
    assert len(lines) > 500
    courses = set()
    for i in range(len(lines)):
        turns = np.diff(lines[i].astype(float), axis=0)
        courses.add(np.round(turns[:6], 3).tobytes() + np.round(turns[-6:], 3).tobytes())
    assert len(courses) == len(lines)


def test_too_long_is_counted_not_lost(plain):
    counts = run(walker(plain, max_length_mm=20.0), grid_seeds(plain))[1]
    assert counts.fates[Fate.TOO_LONG] == counts.attempts == 16 * 10 * 10
    kept = run(walker(plain, max_length_mm=40.0), grid_seeds(plain))[1]
    assert kept.fates[Fate.KEPT] == kept.attempts


def test_lengths_are_what_was_asked_for(bent):
    lines, counts, _ = run(
        walker(bent, method="prob", min_length_mm=20.0, max_length_mm=45.0),
        grid_seeds(bent, mask=np.any(bent.data > 0.5, axis=3)),
    )
    assert counts.fates[Fate.TOO_SHORT] and counts.fates[Fate.TOO_LONG]
    assert lines.lengths_mm.min() >= 19.99 and lines.lengths_mm.max() <= 45.01


@pytest.mark.parametrize("wanted", [1, 17, 400])
@pytest.mark.parametrize("block", [100, 5000])
def test_select_stops_at_exactly_so_many(plain, monkeypatch, wanted, block):
    monkeypatch.setattr(walk, "BLOCK", block)
    lines, counts, _ = run(walker(plain, select=wanted), grid_seeds(plain, select=wanted))
    assert len(lines) == counts.kept == wanted
    assert counts.attempts == counts.kept + sum(counts.fates[f] for f in Fate if f)


def test_ends_have_reasons(plain):
    _, counts, _ = run(walker(plain), grid_seeds(plain))
    assert counts.ends == {EndReason.LEFT_IMAGE: 2 * counts.kept} | {
        r: 0 for r in EndReason if r is not EndReason.LEFT_IMAGE
    }
    mask = np.zeros(plain.shape, bool)
    mask[4:12] = True
    lines, counts, _ = run(walker(plain, MaskStop(mask)), grid_seeds(plain, mask=mask))
    assert counts.ends[EndReason.LEFT_MASK] == 2 * counts.kept
    ends = seeds_at(lines.points[lines.offsets[:-1]], plain)
    assert mask[tuple(np.rint(ends).astype(int).T)].all()


def test_seeds_outside_the_stop_mask_are_counted(plain):
    mask = np.zeros(plain.shape, bool)
    mask[4:12] = True
    _, counts, _ = run(walker(plain, MaskStop(mask)), grid_seeds(plain))
    assert counts.fates[Fate.SEED_STOPPED] == (~mask).sum()


def test_threshold_stops_where_the_interpolated_map_falls_below(plain):
    ramp = np.broadcast_to(np.arange(16.0)[:, None, None], plain.shape).astype(np.float32)
    lines, _, _ = run(walker(plain, MapStop(ramp, 5.25)), grid_seeds(plain))
    lowest = seeds_at(lines.points, plain)[:, 0].min()
    assert 5.25 < lowest < 5.25 + 0.5 / 2 + 0.01  # a step is a quarter of a voxel


@pytest.mark.parametrize("rule", ["cmc", "act"])
@pytest.mark.parametrize("method", ["prob", "pft"])
def test_tissue_stops_end_in_grey_matter(bent, rule, method):
    tissue = ends_in_grey(bent)
    lines, counts, _ = run(
        walker(bent, TissueStop(tissue, rule), method=method),
        grid_seeds(bent, mask=np.any(bent.data > 0.5, axis=3)),
    )
    assert counts.kept > 50
    tips = np.concatenate([lines.points[lines.offsets[:-1]], lines.points[lines.offsets[1:] - 1]])
    from scipy.ndimage import map_coordinates

    grey = map_coordinates(tissue.gm, seeds_at(tips, bent).T, order=1, mode="nearest")
    steps_out = np.abs(seeds_at(tips, bent) / (np.array(bent.shape) - 1) - 0.5).max(axis=1)
    assert np.all((grey > 0) | (steps_out > 0.5 - 0.5 / 8))


def test_points_lie_inside_the_image(plain):
    lines, _, _ = run(walker(plain, method="prob"), grid_seeds(plain))
    voxels = seeds_at(lines.points, plain)
    assert np.all(voxels >= -0.5 - 1e-5) and np.all(voxels <= np.array(plain.shape) - 0.5 + 1e-5)
    assert lines.points.dtype == np.float32


def test_a_field_with_nan_is_refused(plain):
    field = sh_field(plain)
    field.coeffs[3, 3, 3, 0] = np.nan
    with pytest.raises(DataError, match="NaN"):
        box_of(field)


def test_an_empty_field_is_refused(plain):
    empty = SHField(np.zeros((*plain.shape, 28), np.float32))
    with pytest.raises(DataError, match="zero everywhere"):
        box_of(empty)


def test_cropping_changes_nothing():
    """A bundle in a corner of a large image, and the same bundle filling a small one."""
    scene = scan(straight(radius_mm=4.0), shape=(12, 10, 10))
    pads = ((6, 9), (5, 5), (4, 7))
    affine = scene.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ [6, 5, 4]
    padded = dataclasses.replace(scene, data=np.pad(scene.data, (*pads, (0, 0))), affine=affine)
    points = np.array([[0.0, 0.0, 0.0], [3.0, 1.0, -1.0]])
    mask = np.any(scene.data > 0.05, axis=3)
    small = walker(scene, MaskStop(mask)).walk(seeds_at(points, scene), 0)
    wide = walker(padded, MaskStop(np.pad(mask, pads))).walk(seeds_at(points, padded), 0)
    for i in range(2):
        assert hausdorff(small.streamlines[i], wide.streamlines[i]) < 0.51  # one step at the rim
