"""Files that scanners and other programs wrote."""

import numpy as np

from bids_tract.files.gradients import read_bvals, read_bvecs
from bids_tract.files.images import read_dwi, read_grid, read_map
from bids_tract.files.resample import resample_array
from bids_tract.files.tractograms import read_streamlines
from tests.shared_data import SHARED, needs_shared


@needs_shared
def test_every_series_has_its_gradients(tmp_path):
    series = sorted(SHARED.rglob("*_dwi.nii.gz"))
    assert len(series) >= 5
    for path in series:
        data, _ = read_dwi(path, tmp_path / "dwi.npy")
        table = path.parent / path.name.removesuffix(".nii.gz")
        bvals = read_bvals(table.with_suffix(".bval"), data.shape[3])
        bvecs = read_bvecs(table.with_suffix(".bvec"), data.shape[3])
        norms = np.linalg.norm(bvecs[bvals > 50], axis=1)
        np.testing.assert_allclose(norms, 1, atol=0.01)


@needs_shared
def test_tissue_fractions_of_half_the_voxel_size_still_sum_to_one():
    phantom = SHARED / "siftphantom" / "truth"
    grid = read_grid(phantom / "mask.nii.gz")
    fine = read_map(phantom / "5tt.nii.gz", ndim=4)
    affine = read_grid(phantom / "5tt.nii.gz").affine
    tissue = [resample_array(part, affine, grid) for part in np.moveaxis(fine, 3, 0)]
    np.testing.assert_allclose(np.sum(tissue) * 8, fine.sum(), rtol=1e-4)
    assert np.sum(tissue, axis=0).max() <= 1 + 1e-4


@needs_shared
def test_streamlines_of_mrtrix_lie_in_their_phantom():
    truth = SHARED / "siftphantom" / "truth"
    streamlines = read_streamlines(truth / "tracks.tck")
    grid = read_grid(truth / "mask.nii.gz")
    to_voxels = np.linalg.inv(grid.affine)
    voxels = streamlines.points @ to_voxels[:3, :3].T + to_voxels[:3, 3]
    assert len(streamlines) == 5000
    assert (voxels > -0.5).all()
    assert (voxels < np.array(grid.shape) - 0.5).all()
