from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from bids_tract.files.grids import Grid
from bids_tract.files.images import read_grid, read_map, write_map
from bids_tract.files.sidecars import read_json
from bids_tract.names import output_path
from bids_tract.report.group_maps import common_space, write_mean_fa

GRID = Grid((4, 5, 6), np.diag([-2.0, 2, 2, 1]))
MNI = "MNI152NLin2009cAsym"


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


def test_the_mean_where_all_lie_in_one_template(tmp_path, pool):
    maps = np.random.default_rng(1).random((7, *GRID.shape)).astype(np.float32)
    for entities, values in zip(scans(7), maps, strict=True):
        written(tmp_path, entities, values)
    errors: list[str] = []
    paths, sentence = write_mean_fa(tmp_path, scans(8), pool, errors)  # one has no FA
    assert errors == []
    assert [path.name for path in paths] == [
        f"group_space-{MNI}_model-tensor_param-fa_dwimap.nii.gz",
        f"group_space-{MNI}_model-tensor_param-fa_dwimap.json",
    ]
    assert "mean FA of 7 scans" in sentence
    assert read_json(paths[1])["Scans"] == 7
    np.testing.assert_allclose(read_map(paths[0]), maps.mean(0, np.float64), rtol=1e-6)
    np.testing.assert_array_equal(read_grid(paths[0]).affine, GRID.affine)


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
    assert write_mean_fa(tmp_path, [{"sub": "01"}, *scans(1, "T1w")], pool, []) == (
        [],
        "There is no mean FA of the study: scans lie in spaces of their own (T1w, the scanner's), "
        "not in that of one template.",
    )
    paths, sentence = write_mean_fa(tmp_path, scans(2), pool, [])
    assert paths == []
    assert "no map of FA" in sentence


def test_maps_that_do_not_fit_are_said_and_left_out(tmp_path, pool):
    first, second, third, fourth = scans(4)
    written(tmp_path, first, np.ones(GRID.shape))
    written(tmp_path, second, np.zeros((3, 3, 3)), Grid((3, 3, 3), np.eye(4)))
    written(tmp_path, third, np.full(GRID.shape, 2.0))
    written(tmp_path, fourth, np.ones(GRID.shape)).write_bytes(b"no image")
    errors: list[str] = []
    paths, _ = write_mean_fa(tmp_path, scans(4), pool, errors)
    assert len(errors) == 2
    assert "sub-01" in errors[0]
    assert "sub-03" in errors[1]
    np.testing.assert_array_equal(read_map(paths[0]), np.full(GRID.shape, 1.5))
