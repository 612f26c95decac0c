"""Our trackers against DIPY's, which know nothing of ours: same field, seeds and directions."""

from __future__ import annotations

import numpy as np
import pytest
from dipy.direction import ProbabilisticDirectionGetter
from dipy.reconst.shm import sh_to_sf_matrix
from dipy.tracking.local_tracking import ParticleFilteringTracking
from dipy.tracking.stopping_criterion import (
    BinaryStoppingCriterion,
    CmcStoppingCriterion,
    ThresholdStoppingCriterion,
)
from dipy.tracking.tracker import deterministic_tracking, eudx_tracking, probabilistic_tracking
from scipy.stats import ks_2samp

from bids_tract.core.models.csd import fit_csd
from bids_tract.core.models.peaks import find_peaks
from bids_tract.core.sphere import storage_sphere
from bids_tract.core.tracking import kernels
from bids_tract.core.tracking.outcome import Fate
from bids_tract.core.tracking.stopping import MapStop, MaskStop, TissueStop
from bids_tract.core.tracking.walk import Walker
from bids_tract.core.types import Tissue
from tests.core.tracking.fields import params
from tests.phantoms import crossing, scan

EVALS = np.array([1.7e-3, 0.3e-3, 0.3e-3])


class Field:
    """A noisy crossing, deconvolved; the ODF on DIPY's sphere; seeds inside."""

    def __init__(self):
        self.scene = scan(crossing(70.0, radius_mm=9.0), shape=(24, 24, 10), snr=25.0, seed=3)
        self.affine = self.scene.affine
        self.mask = scan(crossing(70.0, radius_mm=9.0), shape=(24, 24, 10)).data[..., 0] > 0.6
        data = np.maximum(self.scene.data, 1e-3)
        self.field, _ = fit_csd(data, self.scene.gradients, self.mask, 8, EVALS, 1.0)
        self.sphere = storage_sphere(np.eye(3))
        basis = sh_to_sf_matrix(
            self.sphere, sh_order_max=8, basis_type="descoteaux07", legacy=True, return_inv=False
        )
        self.sf = np.maximum(self.field.coeffs.astype(np.float64) @ basis, 0.0)
        rng = np.random.default_rng(5)
        inner = np.argwhere(self.mask)
        chosen = inner[rng.integers(0, len(inner), 3000)]
        self.seeds = chosen + rng.uniform(-0.4, 0.4, chosen.shape)
        self.world = self.seeds @ self.affine[:3, :3].T + self.affine[:3, 3]

    def first_directions(self):
        """The highest direction of the interpolated ODF at each seed."""
        from scipy.ndimage import map_coordinates

        odf = np.stack(
            [map_coordinates(self.sf[..., i], self.seeds.T, order=1, mode="nearest")
             for i in range(self.sf.shape[-1])], axis=1,
        )  # fmt: skip
        return self.sphere.vertices[np.argmax(odf, axis=1)]

    def ours(self, rule, **changes):
        walker = Walker(self.field, rule, params(**changes), self.affine, 1)
        return walker.walk(self.seeds, 0)


@pytest.fixture(scope="module")
def field():
    return Field()


def by_seed(found, world):
    """DIPY's streamlines by the number of their seed."""
    lines = {}
    for line, seed in found:
        number = int(np.argmin(np.sum((world - seed) ** 2, axis=1)))
        lines[number] = np.asarray(line)
    return lines


def test_deterministic_streamlines_are_dipys(field):
    common = {"step_size": 0.5, "max_angle": 30, "pmf_threshold": 0.1, "sphere": field.sphere}
    found = deterministic_tracking(
        field.world, BinaryStoppingCriterion(field.mask), field.affine,
        seed_directions=field.first_directions(), sf=field.sf, min_len=0, max_len=300,
        nbr_threads=1, random_seed=1, save_seeds=True, **common,
    )  # fmt: skip
    theirs = by_seed(found, field.world)
    block = field.ours(MaskStop(field.mask), method="det", max_length_mm=300.0)
    lines = block.streamlines
    same = 0
    for i, number in enumerate(lines.seed_index):
        ours, other = lines[i].astype(float), theirs[int(number)]
        other = other if np.allclose(ours[0], other[0], atol=0.02) else other[::-1]
        same += ours.shape == other.shape and np.abs(ours - other).max() < 0.01
    assert len(lines) > 2500
    assert same / len(lines) >= 0.99


def density(points):
    cells = np.floor((np.asarray(points) + 30) / 3).astype(int)
    counts = np.zeros((20, 20, 20))
    np.add.at(counts, tuple(np.clip(cells, 0, 19).T), 1)
    return counts / counts.sum()


def assert_alike(ours, theirs, again):
    """Density and lengths differ from DIPY's by no more than two runs of ours with other seeds."""
    noise = np.abs(density(ours.points) - density(again.points)).sum()
    apart = np.abs(density(ours.points) - density(np.concatenate(theirs))).sum()
    assert apart < 1.5 * noise
    lengths = np.array([np.linalg.norm(np.diff(t, axis=0), axis=1).sum() for t in theirs])
    # Rounded to half a step: sums of float32 and of float64 differ in their last digits.
    half = 0.25
    assert ks_2samp(np.rint(lengths / half), np.rint(ours.lengths_mm / half)).pvalue > 1e-3


def test_probabilistic_streamlines_are_as_dipys_in_the_mean(field):
    values = field.mask.astype(np.float32)
    found = probabilistic_tracking(
        field.world, ThresholdStoppingCriterion(values.astype(float), 0.5), field.affine,
        seed_directions=field.first_directions(), sf=field.sf, sphere=field.sphere, min_len=5,
        max_len=300, step_size=0.5, max_angle=30, pmf_threshold=0.1, nbr_threads=1,
        random_seed=1_000_003,
    )  # fmt: skip
    theirs = [np.asarray(line) for line in found]
    options = {"method": "prob", "min_length_mm": 5.0, "max_length_mm": 300.0}
    ours = field.ours(MapStop(values, 0.5), random_seed=1, **options).streamlines
    again = field.ours(MapStop(values, 0.5), random_seed=2, **options).streamlines
    assert abs(len(ours) - len(theirs)) < 4 * np.sqrt(len(field.seeds) * 0.1)
    assert_alike(ours, theirs, again)


def tissue_of(field):
    """Grey matter at the four ends of the cross, CSF along its sides."""
    shape = field.mask.shape
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    mm = grid @ field.affine[:3, :3].T + field.affine[:3, 3]
    end = (np.linalg.norm(mm[..., :2], axis=-1) > 17).astype(np.float32)
    gm = end * field.mask
    csf = np.zeros(shape, np.float32)
    csf[:, :, [0, -1]] = 1  # above and below
    return Tissue((1 - gm) * (1 - csf), gm * (1 - csf), csf)


def test_particle_filtering_is_as_dipys_in_the_mean(field):
    tissue = tissue_of(field)
    # From white matter: what starts in grey matter ends at once.
    few = np.flatnonzero(np.linalg.norm(field.world[:, :2], axis=1) < 14)[:1200]
    criterion = CmcStoppingCriterion(
        tissue.gm.astype(float), tissue.csf.astype(float), step_size=0.5, average_voxel_size=2.0
    )
    getter = ProbabilisticDirectionGetter.from_pmf(
        field.sf, max_angle=30, sphere=field.sphere, pmf_threshold=0.1
    )
    found = ParticleFilteringTracking(
        getter, criterion, field.world[few], field.affine, 0.5, max_cross=1, maxlen=600, minlen=1,
        pft_back_tracking_dist=2, pft_front_tracking_dist=1, particle_count=15, return_all=False,
        random_seed=1, initial_directions=field.first_directions()[few][:, None, :],
    )  # fmt: skip
    theirs = [np.asarray(line) for line in found]
    results = []
    for seed in (1, 2):
        walker = Walker(
            field.field, TissueStop(tissue, "cmc"),
            params(method="pft", random_seed=seed, max_length_mm=300.0), field.affine,
        )  # fmt: skip
        results.append(walker.walk(field.seeds[few], 0).streamlines)
    share = len(theirs) / 1200
    spread = np.sqrt(2 * share * (1 - share) / 1200)
    assert abs(len(results[0]) / 1200 - share) < 4 * spread + 0.02
    assert_alike(results[0], theirs, results[1])


def test_peak_following_is_as_dipys(field):
    peaks = find_peaks(
        field.field, field.mask, relative_threshold=0.5, min_separation_deg=25, refine=False
    )
    vectors = peaks.reshape(*field.mask.shape, 5, 3)
    amplitude = np.linalg.norm(vectors, axis=-1)
    unit = np.divide(vectors, amplitude[..., None], out=np.zeros_like(vectors),
                     where=amplitude[..., None] > 0)  # fmt: skip
    index = np.argmax(np.abs(unit @ field.sphere.vertices.T), axis=-1).astype(np.int32)
    index[amplitude == 0] = -1

    class Peaks:
        peak_indices = index
        peak_values = amplitude.astype(float)
        odf_vertices = field.sphere.vertices

    found = eudx_tracking(
        field.world, BinaryStoppingCriterion(field.mask), field.affine, pam=Peaks(), max_cross=1,
        step_size=0.5, max_angle=30, pmf_threshold=1e-6, min_len=0, max_len=300, nbr_threads=1,
        random_seed=1, save_seeds=True,
    )  # fmt: skip
    theirs = by_seed(found, field.world)
    walker = Walker(
        field.field, MaskStop(field.mask), params(method="eudx"), field.affine, peaks=peaks
    )
    lines = walker.walk(field.seeds, 0).streamlines
    same = 0
    for i, number in enumerate(lines.seed_index):
        ours, other = lines[i].astype(float), theirs.get(int(number))
        if other is None or len(other) < 2:
            continue
        other = other if np.allclose(ours[0], other[0], atol=0.5) else other[::-1]
        n = min(len(ours), len(other))
        same += abs(len(ours) - len(other)) <= 2 and np.abs(ours[:n] - other[:n]).max() < 0.6
    assert len(lines) > 2000
    assert same / len(lines) > 0.9


def test_a_million_seeds_have_a_million_random_streams():
    keys = {int(kernels.stream_key(123456789, np.int64(n))) for n in range(1_000_000)}
    assert len(keys) == 1_000_000


def test_bytes_serve_a_draw_as_well_as_floats(field, monkeypatch):
    """Amplitudes stored in 8 bits give the same density as those in float32."""
    from bids_tract.core.tracking import walk

    values = MaskStop(field.mask)
    stored = field.ours(values, method="prob").streamlines
    original = walk.make_table

    def exact(*args, **kwargs):
        return original(*args, **{**kwargs, "dtype": np.float32})

    monkeypatch.setattr(walk, "make_table", exact)
    full = field.ours(values, method="prob").streamlines
    again = field.ours(values, method="prob", random_seed=7).streamlines
    noise = np.abs(density(full.points) - density(again.points)).sum()
    assert np.abs(density(full.points) - density(stored.points)).sum() < 1.2 * noise


def test_fates_add_up(field):
    block = field.ours(MaskStop(field.mask), method="prob", min_length_mm=20.0)
    assert len(block.fates) == len(field.seeds)
    assert np.sum(block.fates == Fate.KEPT) == len(block.streamlines)
