from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dipy.tracking.utils import density_map

from bids_tract.errors import OutputError
from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map, write_map
from bids_tract.files.sidecars import read_json, write_json
from bids_tract.names import output_path, sidecar_path
from bids_tract.report.group import write_group
from bids_tract.report.group_maps import common_space, write_group_maps
from bids_tract.report.measures import measure_scan
from tests.report.outputs import GRID as HEAD
from tests.report.outputs import lines, make_outputs, path_of

GRID = Grid((4, 5, 6), np.diag([-2.0, 2, 2, 1]))
MNI = "MNI152NLin2009cAsym"
PROB, DET = "track-prob_desc-csd", "track-det_desc-csd"


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def scans(n, space=MNI):
    return [{"sub": f"{number:02d}", "space": space} for number in range(n)]


def written(folder, entities, values, grid=GRID):
    path = folder / output_path("tensor_fa", entities)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_map(path, values, grid)
    return path


def counted(folder, entities, counts, streamlines, track="prob", grid=GRID):
    path = folder / output_path("density", entities, model="csd", desc=track)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_map(path, counts, grid, dtype=np.int32)
    write_json(sidecar_path(path), {"Streamlines": streamlines})
    return path


def random_counts(n):
    rng = np.random.default_rng(2)
    return [rng.poisson(0.5 + number, GRID.shape).astype(np.int32) for number in range(n)]


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (scans(2), MNI),
        (scans(2, "T1w"), None),
        ([*scans(2), {"sub": "09"}], None),
        ([*scans(1), *scans(1, "MNI152Lin")], None),
        ([{"sub": "01"}], None),
        ([], None),
    ],
)
def test_the_common_space(found, wanted):
    assert common_space(found) == wanted


def test_without_a_common_space_nothing_is_made_and_it_is_said(tmp_path, pool):
    for entities, counts in zip(scans(2, "T1w"), random_counts(2), strict=True):
        counted(tmp_path, entities, counts, 50)
    assert write_group_maps(tmp_path, [{"sub": "01"}, *scans(2, "T1w")], [PROB], pool, []) == (
        [],
        "There are no maps of the study: scans lie in spaces of their own (T1w, the scanner's), "
        "not in that of one template.",
    )
    assert not [*tmp_path.glob("group*")]
    assert write_group_maps(tmp_path, scans(2), [PROB], pool, []) == (
        [],
        f"Maps of the study in {MNI}: none of FA, for no scan has one that can be read; none of "
        f"streamline density ({PROB}), for no scan has one that can be read.",
    )


# --- FA ------------------------------------------------------------------------------------------


def test_the_mean_fa_where_all_lie_in_one_template(tmp_path, pool):
    maps = np.random.default_rng(1).random((7, *GRID.shape)).astype(np.float32)
    for entities, values in zip(scans(7), maps, strict=True):
        written(tmp_path, entities, values)
    errors: list[str] = []
    paths, sentence = write_group_maps(tmp_path, scans(8), [], pool, errors)  # one has no FA
    assert errors == []
    assert [path.name for path in paths] == [
        f"group_space-{MNI}_model-tensor_param-fa_dwimap.nii.gz",
        f"group_space-{MNI}_model-tensor_param-fa_dwimap.json",
    ]
    assert sentence == f"Maps of the study in {MNI}: mean FA of 7 of 8 scans."
    said = read_json(paths[1])
    assert said["Scans"] == 7
    assert said["LeftOut"] == {f"sub-07_space-{MNI}": "it has no such map"}
    np.testing.assert_allclose(read_map(paths[0]), maps.mean(0, np.float64), rtol=1e-6)
    np.testing.assert_array_equal(read_grid(paths[0]).affine, GRID.affine)


def test_one_scan_is_said_as_one(tmp_path, pool):
    (entities,) = scans(1)
    written(tmp_path, entities, np.ones(GRID.shape))
    _, sentence = write_group_maps(tmp_path, [entities], [], pool, [])
    assert sentence == f"Maps of the study in {MNI}: mean FA of 1 scan."


def test_maps_that_do_not_fit_are_said_and_left_out(tmp_path, pool):
    first, second, third, fourth = scans(4)
    written(tmp_path, first, np.ones(GRID.shape))
    written(tmp_path, second, np.zeros((3, 3, 3)), Grid((3, 3, 3), np.eye(4)))
    written(tmp_path, third, np.full(GRID.shape, 2.0))
    written(tmp_path, fourth, np.ones(GRID.shape)).write_bytes(b"no image")
    errors: list[str] = []
    paths, _ = write_group_maps(tmp_path, scans(4), [], pool, errors)
    assert len(errors) == 2
    assert "sub-01" in errors[0] and "another grid" in errors[0]
    assert "sub-03" in errors[1]
    assert [*read_json(paths[1])["LeftOut"]] == [f"sub-01_space-{MNI}", f"sub-03_space-{MNI}"]
    np.testing.assert_array_equal(read_map(paths[0]), np.full(GRID.shape, 1.5))


def test_where_the_first_cannot_be_read_the_grid_is_that_of_the_next(tmp_path, pool):
    first, second, third = scans(3)
    written(tmp_path, first, np.ones(GRID.shape)).write_bytes(b"no image")
    written(tmp_path, second, np.full(GRID.shape, np.nan))  # not in the mean of the others
    written(tmp_path, third, np.full(GRID.shape, 0.5))
    errors: list[str] = []
    paths, sentence = write_group_maps(tmp_path, scans(3), [], pool, errors)
    assert [error[:6] for error in errors] == ["sub-00", "sub-01"]
    assert "no numbers" in errors[1]
    assert sentence.endswith("mean FA of 1 of 3 scans.")
    np.testing.assert_array_equal(read_map(paths[0]), np.full(GRID.shape, 0.5))


def test_no_former_sidecar_stays_where_a_map_cannot_be_written(tmp_path, pool):
    written(tmp_path, scans(1)[0], np.ones(GRID.shape))
    paths, _ = write_group_maps(tmp_path, scans(1), [], pool, [])
    paths[0].unlink()
    (paths[0] / "in the way").mkdir(parents=True)
    with pytest.raises(OutputError):
        write_group_maps(tmp_path, scans(1), [], pool, [])
    assert not paths[1].exists()


# --- Density -------------------------------------------------------------------------------------


def test_no_scan_weighs_more_for_its_many_streamlines(tmp_path, pool):
    one, other = (np.zeros(GRID.shape, np.int32) for _ in range(2))
    one[1, 1, 1], one[2, 2, 2] = 5, 10
    other[1, 1, 1] = 250
    first, second = scans(2)
    counted(tmp_path, first, one, 10)
    counted(tmp_path, second, other, 1000)
    paths, sentence = write_group_maps(tmp_path, scans(2), [PROB], pool, [])
    stem = f"group_space-{MNI}_track-prob_param-density"
    assert [path.name for path in paths] == [
        f"{stem}_stat-mean_desc-csd_dwimap.nii.gz",
        f"{stem}_stat-mean_desc-csd_dwimap.json",
        f"{stem}_stat-share_desc-csd_dwimap.nii.gz",
        f"{stem}_stat-share_desc-csd_dwimap.json",
    ]
    mean, share = read_map(paths[0]), read_map(paths[2])
    assert mean[1, 1, 1] == pytest.approx((0.5 + 0.25) / 2)
    assert mean[2, 2, 2] == pytest.approx(0.5)
    assert (share[1, 1, 1], share[2, 2, 2], share[0, 0, 0]) == (1, 0.5, 0)
    assert np.count_nonzero(mean) == np.count_nonzero(share) == 2
    assert f"streamlines ({PROB}) of 2 scans." in sentence


def test_each_tractogram_has_maps_of_the_scans_that_have_it(tmp_path, pool):
    for number, (entities, counts) in enumerate(zip(scans(6), random_counts(6), strict=True)):
        counted(tmp_path, entities, counts, 100)
        if number < 2:
            counted(tmp_path, entities, counts, 100, "det")
    paths, sentence = write_group_maps(tmp_path, scans(6), [PROB, DET], pool, errors := [])
    assert errors == []
    assert len(paths) == 8
    assert f"({DET}) of 2 of 6 scans; " in sentence
    assert f"({PROB}) of 6 scans." in sentence
    said = {path.name: read_json(path) for path in paths if path.suffix == ".json"}
    for name, one in said.items():
        assert one["Scans"] == (2 if "track-det" in name else 6)
        assert len(one["LeftOut"]) == 6 - one["Scans"]
        assert MNI in one["Description"]


def test_densities_that_do_not_fit_or_count_nothing_are_left_out(tmp_path, pool):
    good, odd, empty, unsaid, _ = scans(5)
    ones = np.ones(GRID.shape, np.int32)
    counted(tmp_path, good, ones, 2)
    counted(tmp_path, odd, np.ones((3, 3, 3), np.int32), 2, grid=Grid((3, 3, 3), np.eye(4)))
    counted(tmp_path, empty, 0 * ones, 0)
    sidecar_path(counted(tmp_path, unsaid, ones, 2)).unlink()
    errors: list[str] = []
    paths, sentence = write_group_maps(tmp_path, scans(5), [PROB], pool, errors)
    assert [error[:6] for error in errors] == ["sub-01", "sub-02", "sub-03"]
    assert "another grid" in errors[0]
    assert "counts no streamline" in errors[1]
    assert "does not exist" in errors[2]
    assert "of 1 of 5 scans." in sentence
    np.testing.assert_array_equal(read_map(paths[0]), np.full(GRID.shape, 0.5))
    left_out = {label[:6] for label in read_json(paths[1])["LeftOut"]}
    assert left_out == {"sub-01", "sub-02", "sub-03", "sub-04"}


def test_threads_change_nothing(tmp_path):
    for entities, counts in zip(scans(11), random_counts(11), strict=True):
        counted(tmp_path, entities, counts, int(counts.sum()) + 7)
    contents = []
    for threads in (1, 5):
        with ThreadPoolExecutor(threads) as pool:
            paths, _ = write_group_maps(tmp_path, scans(11), [PROB], pool, [])
        contents.append([path.read_bytes() for path in paths])
    assert contents[0] == contents[1]


def test_tractograms_of_other_programs_have_maps_too(tmp_path, pool):
    (scan,) = scans(1)
    folder = tmp_path / "sub-00" / "dwi"
    folder.mkdir(parents=True)
    path = folder / f"sub-00_space-{MNI}_model-mine_param-density_dwimap.nii.gz"
    write_map(path, np.ones(GRID.shape, np.int32), GRID, dtype=np.int32)
    write_json(sidecar_path(path), {"Streamlines": 4})
    paths, _ = write_group_maps(tmp_path, [scan], ["track-_desc-mine"], pool, [])
    assert paths[0].name == f"group_space-{MNI}_param-density_stat-mean_desc-mine_dwimap.nii.gz"
    assert read_map(paths[0])[0, 0, 0] == 0.25


def test_the_group_level_writes_the_maps_of_measured_scans_without_their_tractograms(tmp_path):
    out, bids = tmp_path / "out", tmp_path / "bids"
    bids.mkdir()
    for number, kept in (("01", 300), ("02", 100)):
        scan = {"sub": number, "space": MNI}
        make_outputs(out, scan, kept=kept)
        assert measure_scan(out, scan)["Errors"] == []
        path_of(out, "tractogram", scan).unlink()
    result = write_group(out, bids)
    assert result.errors == []
    stem = f"group_space-{MNI}_track-prob_param-density"
    mean, share = (
        read_map(out / f"{stem}_stat-{stat}_desc-csd_dwimap.nii.gz") for stat in ("mean", "share")
    )
    counts = [density_map(list(lines(kept)), HEAD.affine, HEAD.shape) for kept in (300, 100)]
    np.testing.assert_allclose(mean, (counts[0] / 300 + counts[1] / 100) / 2, atol=1e-7)
    np.testing.assert_array_equal(share, ((counts[0] > 0) * 0.5 + (counts[1] > 0) * 0.5))
    told = f"mean streamline density and share of scans with streamlines ({PROB}) of 2 scans."
    assert any(f"mean FA of 2 scans; {told}" in sentence for sentence in result.sentences)
    assert f"({PROB}) of 2 scans." in (out / "group.html").read_text()


def test_maps_of_a_former_study_do_not_stay(tmp_path):
    out, bids = tmp_path / "out", tmp_path / "bids"
    bids.mkdir()
    scan = {"sub": "01", "space": MNI}
    make_outputs(out, scan)
    measure_scan(out, scan)
    former = {path for path in write_group(out, bids).paths if "dwimap" in path.name}
    assert len(former) == 6
    (out / "group_mine.nii.gz").write_text("of somebody else")
    make_outputs(out, {"sub": "02"})
    measure_scan(out, {"sub": "02"})
    write_group(out, bids)
    assert not [path for path in former if path.exists()]
    assert (out / "group_mine.nii.gz").exists()
