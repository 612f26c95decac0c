"""Input that cannot be used, or not as it is: one sentence and an exit code, never a wrong result.

Each case damages one small, sound scan, or the command line.
"""

from __future__ import annotations

import gzip
import json
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_tract.core.types import Tissue
from tests.datasets import OTHER, break_link, make_dataset, make_lfs_pointer, write_json
from tests.e2e.program import Outcome, run, run_with
from tests.phantoms import (
    Scene,
    bend,
    scan,
    write_bids,
    write_nifti,
    write_tissue,
)

pytestmark = pytest.mark.e2e
SHAPE = (12, 12, 6)
USAGE, NOT_BIDS, NOTHING, BROKEN, MISSING, NO_OUTPUT = 2, 16, 18, 65, 66, 73


@pytest.fixture(scope="module")
def scene() -> Scene:
    return scan(bend(), shape=SHAPE)


@dataclass
class Study:
    """A dataset of one sound scan, to be damaged; `options` complete the command line."""

    root: Path
    scene: Scene

    def __post_init__(self) -> None:
        self.raw, self.output = self.root / "raw", self.root / "out"
        self.image = write_bids(self.raw, self.scene)
        stem = self.image.with_name("sub-01_dwi")
        self.bval, self.bvec, self.json = map(stem.with_suffix, (".bval", ".bvec", ".json"))
        self.options: list[object] = ["--tracking", "det", "--min-length", 5]

    def run(self) -> Outcome:
        return run(self.raw, self.output, *self.options)

    # What is damaged ---------------------------------------------------------------------------

    @property
    def bvals(self) -> np.ndarray:
        return np.loadtxt(self.bval)

    @property
    def bvecs(self) -> np.ndarray:
        return np.loadtxt(self.bvec)

    def write_table(
        self, bvals: np.ndarray | None = None, bvecs: np.ndarray | None = None
    ) -> None:
        """Replace the b-values (N,), the directions (3, N), or both."""
        if bvals is not None:
            np.savetxt(self.bval, np.atleast_2d(bvals), fmt="%g")
        if bvecs is not None:
            np.savetxt(self.bvec, bvecs, fmt="%.9f")

    def write_data(self, data: np.ndarray) -> None:
        write_nifti(self.image, data, self.scene.affine)

    def keep(self, volumes: list[int] | slice) -> None:
        """Only some volumes of the series."""
        bvals, bvecs = self.bvals[volumes], self.bvecs[:, volumes]
        self.write_data(self.scene.data[..., volumes])
        self.write_table(bvals, bvecs)

    def edit_header(self, edit: Callable[[nib.Nifti1Header], None]) -> None:
        """Change the header on disk, without nibabel's repairs."""
        content = bytearray(gzip.decompress(self.image.read_bytes()))
        header = nib.Nifti1Header(bytes(content[:348]), check=False)
        edit(header)
        content[:348] = header.binaryblock
        self.image.write_bytes(gzip.compress(bytes(content)))

    def give_mask(self, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
        """A derivative dataset with a brain mask; returns the mask."""
        dataset = make_dataset(self.root / "masks", OTHER)
        path = dataset / "sub-01" / "dwi" / "sub-01_desc-brain_mask.nii.gz"
        path.parent.mkdir(parents=True)
        write_nifti(path, values.astype(np.uint8), self.scene.affine if affine is None else affine)
        self.options += ["--derivatives", dataset]
        return path

    def give_map(self, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
        """A map outside of any dataset."""
        path = self.root / "map.nii.gz"
        write_nifti(
            path, values.astype(np.float32), self.scene.affine if affine is None else affine
        )
        return path

    def give_tissue(self, factor: float = 1.0, affine: np.ndarray | None = None) -> None:
        """Tissue maps (bundle and rim), and PFT that needs them."""
        wm = (np.abs(self.scene.data[..., 0] - 1) < 0.5).astype(np.float32)
        wm[[0, -1]] = 0
        tissue = Tissue(wm, 1 - wm, np.full(SHAPE, 0.01, np.float32))
        folder = self.root / "tissue"
        write_tissue(folder, tissue, self.scene.affine if affine is None else affine)
        for path in folder.rglob("*probseg.nii.gz"):
            image = nib.load(path)
            write_nifti(path, (image.get_fdata() * factor).astype(np.float32), image.affine)
        self.options += ["--derivatives", folder, "--tracking", "pft"]


@pytest.fixture
def study(tmp_path: Path, scene: Scene) -> Study:
    return Study(tmp_path, scene)


def check_refused(done: Outcome, code: int, *words: str) -> str:
    """The run ended with this code and one sentence with these words; returns the sentence."""
    assert done.code == code, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.errors) <= 1
    said = done.errors[0] if done.errors else done.stderr.strip()
    assert "\n" not in said
    assert done.stderr.count(said) == 1
    for word in words:
        assert word in said
    check_nothing_looks_finished(done)
    return said


def check_nothing_looks_finished(done: Outcome) -> None:
    """No tractogram, nothing half-written, and no complete scan in the status."""
    if not done.output.is_dir():
        return
    left = [path for path in done.output.rglob("*") if path.is_file()]
    assert [path.name for path in left if "tractogram" in path.name] == []
    assert [path.name for path in left if path.name.startswith(".")] in ([], [".bidsignore"])
    if [*done.output.glob("logs/*")]:
        assert {scan["Status"] for scan in done.status.values()} == {"failed"}
        assert {scan["ExitCode"] for scan in done.status.values()} == {done.code}
        assert "ERROR" in done.log


# --- Gradient tables ----------------------------------------------------------------------------


def too_few_bvals(study: Study) -> None:
    study.write_table(bvals=study.bvals[:-1])


def too_few_bvecs(study: Study) -> None:
    study.write_table(bvecs=study.bvecs[:, :-1])


def three_volumes(study: Study) -> None:
    study.keep([0, 1, 2])


def direction_of_length(value: float) -> Callable[[Study], None]:
    def damage(study: Study) -> None:
        bvecs = study.bvecs
        bvecs[:, 5] *= value
        study.write_table(bvecs=bvecs)

    return damage


def bvals_times(factor: float) -> Callable[[Study], None]:
    def damage(study: Study) -> None:
        study.write_table(bvals=study.bvals * factor)

    return damage


def no_b0(study: Study) -> None:
    study.keep(slice(1, None))


def only_b0(study: Study) -> None:
    study.write_table(bvals=np.zeros_like(study.bvals))


def one_direction(study: Study) -> None:
    bvecs = study.bvecs
    bvecs[:, 1:] = bvecs[:, 1:2] * np.where(np.arange(64) % 2, 1, -1)
    study.write_table(bvecs=bvecs)


def six_directions(study: Study) -> None:
    study.keep([0, 1, 10, 20, 35, 50, 63])


def directions_in_a_plane(study: Study) -> None:
    angles = np.linspace(0, np.pi, 64, endpoint=False)
    plane = np.stack([np.cos(angles), np.sin(angles), 0 * angles])
    study.write_table(bvecs=np.column_stack([np.zeros(3), plane]))


def bval_text(edit: Callable[[str], str]) -> Callable[[Study], None]:
    def damage(study: Study) -> None:
        study.bval.write_text(edit(study.bval.read_text()))

    return damage


def grid_of_bvals(study: Study) -> None:
    study.write_table(bvals=np.concatenate([[0], np.linspace(200, 3000, 64)]))


def without(name: str) -> Callable[[Study], None]:
    def damage(study: Study) -> None:
        getattr(study, name).unlink()

    return damage


GRADIENTS = {
    "fewer b-values": (too_few_bvals, BROKEN, "dwi.bval has 64 values, the image 65 volumes"),
    "fewer directions": (too_few_bvecs, BROKEN, "dwi.bvec has 64 directions, the image 65"),
    "three volumes": (three_volumes, BROKEN, "dwi.nii.gz: the 2 unique directions|at least six"),
    "zero direction": (direction_of_length(0), BROKEN, "dwi.bvec: volume 5|without a direction"),
    "NaN direction": (direction_of_length(np.nan), BROKEN, "dwi.bvec: volume 5|correct the table"),
    "long direction": (direction_of_length(1.5), BROKEN, "dwi.bvec|volume 5|length 1.5|unit"),
    "no b0": (no_b0, BROKEN, "dwi.bvec: no volume has b up to 50|--b0-threshold"),
    "only b0": (only_b0, NOTHING, "dwi.nii.gz: without diffusion weighting|--b0-threshold"),
    "one direction": (one_direction, BROKEN, "dwi.nii.gz: the 1 unique directions|at least six"),
    "in a plane": (directions_in_a_plane, BROKEN, "dwi.nii.gz|do not determine a tensor"),
    "six directions": (six_directions, BROKEN, "dwi.nii.gz: 6 unique directions|at least 15"),
    "ms/µm²": (bvals_times(1e-3), NOTHING, "dwi.nii.gz|highest b-value is 2|ms/µm², multiply"),
    "negative": (bvals_times(-1), NOTHING, "dwi.nii.gz"),
    "one negative": (
        bval_text(lambda text: text.replace("2000", "-2000", 1)), BROKEN,
        "dwi.bvec: the b-value of volume 1|is negative",
    ),
    "NaN": (bval_text(lambda text: text.replace("2000", "nan", 1)), BROKEN, "dwi.bval|'nan'"),
    "a word": (bval_text(lambda text: text.replace("2000", "b2", 1)), BROKEN, "dwi.bval|'b2'"),
    "empty": (bval_text(lambda _: ""), BROKEN, "dwi.bval is empty"),
    "no numbers": (bval_text(lambda _: "\n"), BROKEN, "dwi.bval holds no numbers"),
    "a grid": (grid_of_bvals, BROKEN, "dwi.nii.gz: the b-values (200 to 3000|grid"),
    "no bval": (without("bval"), MISSING, "dwi.nii.gz has no b-values|put the file beside"),
    "no bvec": (without("bvec"), MISSING, "dwi.nii.gz has no directions|put the file beside"),
    "bvec not fetched": (
        lambda study: break_link(study.bvec), MISSING, "dwi.bvec is a link|datalad get",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GRADIENTS)
def test_gradient_tables(study, case):
    damage, code, words = GRADIENTS[case]
    damage(study)
    check_refused(study.run(), code, *words.split("|"))


# --- Images -------------------------------------------------------------------------------------


def cut_off(study: Study) -> None:
    content = study.image.read_bytes()
    study.image.write_bytes(content[: len(content) // 2])


def flipped_byte(study: Study) -> None:
    content = bytearray(study.image.read_bytes())
    content[-6] ^= 0xFF  # in gzip's sum, which is looked at last
    study.image.write_bytes(content)


def one_volume(study: Study) -> None:
    study.write_data(study.scene.data[..., 0])


def complex_values(study: Study) -> None:
    study.write_data(study.scene.data.astype(np.complex64))


def holes(study: Study) -> None:
    data = study.scene.data.copy()
    data[3:9, 3:9, :, 7] = np.nan
    study.write_data(data)


def constant(study: Study) -> None:
    study.write_data(np.ones_like(study.scene.data))


def constant_but_for_rounding(study: Study) -> None:
    noise = np.random.default_rng(0).uniform(-1e-6, 1e-6, study.scene.data.shape)
    study.write_data((1 + noise).astype(np.float32))


def isotropic(study: Study) -> None:
    """No fibre anywhere: diffusion is the same in all directions, brightness is not."""
    b0 = np.random.default_rng(0).uniform(0.5, 1.5, (*SHAPE, 1))
    decay = np.where(study.bvals > 0, 0.3, 1.0)
    study.write_data((b0 * decay).astype(np.float32))
    study.options += ["--seed-threshold", 0, "--stop-threshold", 0]


def header(**fields: object) -> Callable[[Study], None]:
    def edit(found: nib.Nifti1Header) -> None:
        for key, value in fields.items():
            found[key] = value

    return lambda study: study.edit_header(edit)


IMAGES = {
    "cut off": (cut_off, BROKEN, "dwi.nii.gz cannot be read|damaged, cut off"),
    "flipped byte": (flipped_byte, BROKEN, "dwi.nii.gz cannot be read|copy or convert it again"),
    "git-lfs pointer": (
        lambda study: make_lfs_pointer(study.image), BROKEN, "dwi.nii.gz|git lfs pull",
    ),
    "not fetched": (
        lambda study: break_link(study.image), MISSING, "dwi.nii.gz is a link|datalad get",
    ),
    "empty file": (lambda study: study.image.write_bytes(b""), BROKEN, "dwi.nii.gz is empty"),
    "3-D": (one_volume, NOTHING, "dwi.nii.gz: 3-D|a series is 4-D"),
    "complex": (complex_values, BROKEN, "dwi.nii.gz holds complex numbers|magnitude"),
    "no size": (header(pixdim=[1, 2, 0, 2, 1, 0, 0, 0]), BROKEN, "dwi.nii.gz has voxel sizes"),
    "singular": (
        header(srow_x=[0] * 4, srow_y=[0] * 4, srow_z=[0] * 4), BROKEN,
        "dwi.nii.gz: the affine is singular|write a valid one",
    ),
    "sheared": (header(srow_x=[2, 1, 0, 0]), BROKEN, "dwi.nii.gz: the image axes are sheared"),
    "no orientation": (
        header(sform_code=0, qform_code=0), BROKEN, "dwi.nii.gz has neither an sform nor a qform",
    ),
    "too many NaN": (holes, BROKEN, "dwi.nii.gz|hold NaN or infinite values|at most 1 %"),
    "constant": (constant, BROKEN, "dwi.nii.gz: the diffusion-weighted volumes are 1 everywhere"),
    "nearly constant": (constant_but_for_rounding, BROKEN, "dwi.nii.gz: the diffusion-weighted"),
    "isotropic": (isotropic, BROKEN, "dwi.nii.gz: no response|highest FA|--response"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_images(study, case):
    damage, code, words = IMAGES[case]
    damage(study)
    check_refused(study.run(), code, *words.split("|"))


# --- Masks and maps -----------------------------------------------------------------------------


def shifted(affine: np.ndarray, *mm: float) -> np.ndarray:
    moved = affine.copy()
    moved[:3, 3] += mm
    return moved


def test_brain_mask_of_another_shape(study):
    study.give_mask(np.ones((11, 12, 6)))
    check_refused(study.run(), BROKEN, "brain_mask.nii.gz lies on another grid", "resample it")


def test_brain_mask_of_another_place(study):
    study.give_mask(np.ones(SHAPE), shifted(study.scene.affine, 1, 0, 0))
    check_refused(study.run(), BROKEN, "brain_mask.nii.gz lies on another grid", "1 mm apart")


def test_empty_brain_mask(study):
    mask = study.give_mask(np.zeros(SHAPE))
    check_refused(study.run(), BROKEN, f"{mask}: the brain mask is empty")


@pytest.mark.parametrize("option", ["--seed-mask", "--stop-mask"])
def test_mask_on_another_grid(study, option):
    study.options += [option, study.give_map(np.ones(SHAPE), shifted(study.scene.affine, 0, 2, 0))]
    check_refused(study.run(), BROKEN, "map.nii.gz lies on another grid", "resample it")


@pytest.mark.parametrize("option", ["--seed-mask", "--stop-mask"])
def test_empty_mask(study, option):
    study.options += [option, study.give_map(np.zeros(SHAPE))]
    check_refused(study.run(), BROKEN, "map.nii.gz: the map is zero everywhere")


@pytest.mark.parametrize("option", ["--seed-mask", "--stop-mask"])
def test_mask_that_is_not_there(study, option):
    study.options += [option, study.root / "none.nii.gz"]
    check_refused(study.run(), MISSING, "none.nii.gz does not exist")


def test_seed_mask_outside_of_the_brain(study):
    plane = np.indices(SHAPE)[0]
    study.give_mask(plane < 6)
    study.options += ["--seed-mask", study.give_map(plane >= 9)]
    check_refused(study.run(), BROKEN, "map.nii.gz: no voxel of the brain mask", "--seed-mask")


@pytest.mark.parametrize("option", ["--seed-threshold", "--stop-threshold"])
def test_no_voxel_above_the_threshold(study, option):
    study.options += [option, 0.99]
    check_refused(study.run(), BROKEN, "param-fa_dwimap.nii.gz: no voxel lies above 0.99", "lower")


# --- Tissue maps --------------------------------------------------------------------------------


def test_no_tissue_maps(study):
    study.options += ["--tracking", "pft"]
    words = ("sub-01: neither tissue maps nor", "--derivatives", "--tracking prob")
    check_refused(study.run(), MISSING, *words)


def test_sound_tissue_maps_are_used(study):
    study.give_tissue()
    assert study.run().code == 0


def test_tissue_maps_in_percent(study):
    study.give_tissue(factor=100)
    check_refused(study.run(), BROKEN, "probseg.nii.gz", "runs from 0 to 100", "divide by 100")


def test_tissue_maps_without_tissue(study):
    study.give_tissue(factor=0)
    check_refused(study.run(), BROKEN, "probseg.nii.gz", "zero everywhere")


def test_tissue_maps_far_outside_of_the_brain(study):
    study.give_tissue(affine=shifted(study.scene.affine, 500, 0, 0))
    check_refused(study.run(), BROKEN, "WM_probseg.nii.gz is zero everywhere on", "another space")


def test_tissue_maps_half_beside_the_brain(study):
    study.give_tissue(affine=shifted(study.scene.affine, 0, 18, 0))
    check_refused(study.run(), BROKEN, "probseg.nii.gz", "cover 25 % of the brain mask", "space")


# --- Datasets, options and folders --------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--step", 0], "--step 0|above 0 mm"),
        (["--max-angle", 0], "--max-angle 0|above 0 degrees"),
        (["--min-length", 50, "--max-length", 20], "--min-length 50|no streamline could be kept"),
        (["--seeds", 0], "--seeds 0|at least 1"),
        (["--seeds", 9], "--seeds 9|8 or 27|--seeding random"),
        (["--sh-order", 7], "--sh-order 7|even"),
        (["--tracking", "fact"], "--tracking fact|det, prob, pft"),
        (["--tracking", "pft", "--stopping", "mask"], "pft|--stopping mask|cmc or act"),
    ],
)
def test_options_out_of_range(study, options, words):
    study.options += options
    check_refused(study.run(), USAGE, *words.split("|"))


def test_unknown_participant(study):
    study.options += ["--participant-label", "01", "07"]
    check_refused(study.run(), NOTHING, "no participant 07", "there are 01")


def test_unknown_session(study):
    study.options += ["--session-label", "1"]
    check_refused(study.run(), NOTHING, "no session 1", "sub-01")


def test_shell_that_is_not_there(study):
    study.options += ["--shell", 1000]
    check_refused(study.run(), BROKEN, "dwi.nii.gz: there is no shell", "b=2000 (64 directions)")


def test_no_dataset(study):
    (study.raw / "dataset_description.json").unlink()
    check_refused(study.run(), NOT_BIDS, f"{study.raw} is not a BIDS dataset", "BIDSVersion")


def test_no_folder(study):
    check_refused(run(study.root / "none", study.output), NOT_BIDS, "none is not a folder")


def test_broken_sidecar(study):
    study.json.write_text('{"EchoTime": ')
    check_refused(study.run(), BROKEN, "dwi.json is not valid JSON", "correct it")


def test_filters_that_leave_nothing(study):
    filters = write_json(study.root / "filters.json", {"dwi": {"acquisition": "b9"}})
    study.options += ["--bids-filter-file", filters]
    check_refused(study.run(), NOTHING, "dwi.nii.gz", f"filters of {filters}")


def test_output_that_is_a_file(study):
    study.output.write_text("in the way")
    check_refused(study.run(), NO_OUTPUT, f"{study.output} cannot be made", "file")
    assert study.output.read_text() == "in the way"


@pytest.mark.parametrize("name", ["logs", "sub-01"])
def test_file_in_the_way_of_a_folder(study, name):
    study.output.mkdir()
    (study.output / name).write_text("in the way")
    done = study.run()
    assert done.code == NO_OUTPUT
    (said,) = done.errors
    assert f"{study.output / name}" in said
    assert "file" in said


def test_work_folder_that_is_a_file(study):
    work = study.root / "work"
    work.write_text("in the way")
    done = run(study.raw, study.output, *study.options, work=work)
    check_refused(done, NO_OUTPUT, f"{work} cannot be made", "file")


def test_output_in_place_of_the_input(study):
    before = sorted(study.raw.rglob("*"))
    done = run(study.raw, study.raw, *study.options, work=study.root / "work")
    assert done.code == USAGE
    assert "the output folder is the dataset itself" in done.errors[0]
    assert "derivatives" in done.errors[0]
    assert sorted(study.raw.rglob("*")) == before


def test_output_that_leads_to_the_input_by_another_way(study):
    (study.root / "link").symlink_to(study.raw)
    done = run(study.raw, study.root / "link", *study.options, work=study.root / "work")
    assert done.code == USAGE
    assert "the output folder is the dataset itself" in done.errors[0]


def test_work_folder_inside_the_dataset(study):
    done = run(study.raw, study.output, *study.options, work=study.raw / "work")
    check_refused(done, USAGE, f"{study.raw / 'work'} lies inside the dataset", "--work-dir")
    assert not (study.raw / "work").exists()


def test_level_that_does_not_exist(study):
    done = run_with([str(study.raw), str(study.output), "session"], study.output)
    assert done.code == USAGE
    assert "invalid choice: 'session'" in done.stderr


# --- What is corrected and said -----------------------------------------------------------------


def check_corrected(done: Outcome, words: str, sidecar: str) -> None:
    """The run is complete; the words are shown, logged and noted in the sidecar."""
    assert done.code == 0, done.stderr
    assert len(done.streamlines()) > 100
    notes = " ".join(done.sidecar(sidecar)["Notes"])
    for text in (done.stderr, done.log, notes):
        assert re.search(words, text), text
    assert [one for one in done.warnings if re.search(words, one)] != []


def columns(study: Study) -> None:
    study.write_table(bvecs=study.bvecs.T)


def some_nan(study: Study) -> None:
    data = study.scene.data.copy()
    data[0, :5, 0, 3] = np.nan
    data[1, :2, 0, 3] = np.inf
    study.write_data(data)
    study.give_mask(np.ones(SHAPE))


def thirty_directions(study: Study) -> None:
    study.keep([0, *range(1, 61, 2)])


def two_shells(study: Study) -> None:
    bvals = study.bvals
    bvals[1:21] = 1000
    bvals[21:] += np.arange(44) % 3 - 1  # as scanners store them
    study.write_table(bvals=bvals)


def negative_signal(study: Study) -> None:
    data = study.scene.data.copy()
    data[2:5, 2:5, 2, 9] = -1
    study.write_data(data)


def low_shell(study: Study) -> None:
    bvals = study.bvals
    bvals[1] = 60
    study.write_table(bvals=bvals)


def other_qform(study: Study) -> None:
    study.edit_header(lambda found: found.__setitem__("qoffset_x", 60.0))


CORRECTED = {
    "a length of 1.05": (direction_of_length(1.05), "volume 5 .* made unit vectors", "brain_mask"),
    "directions in rows": (columns, "dwi.bvec has one direction a row", "brain_mask"),
    "NaN voxels": (some_nan, "7 voxels with NaN or infinite .* set to zero", "brain_mask"),
    "negative signal": (negative_signal, "9 voxels .* negative signal; it was", "brain_mask"),
    "a b-value of 60": (low_shell, "lowest b above the b0 threshold is 60", "brain_mask"),
    "another qform": (other_qform, "sform and qform .* mm apart; the sform is used", "brain_mask"),
    "30 directions": (thirty_directions, "30 unique .* lowered from 8", "param-wm_dwimap"),
    "two shells": (two_shells, r"use b=2000 .*; left out: b=1000 \(20", "param-wm_dwimap"),
}  # fmt: skip


@pytest.mark.parametrize("case", CORRECTED)
def test_what_can_be_corrected_is_and_is_said(study, case):
    damage, words, sidecar = CORRECTED[case]
    damage(study)
    check_corrected(study.run(), words, f"*{sidecar}")


def test_the_table_may_be_written_as_editors_write_it(study):
    plain = study.run()
    text = study.bval.read_text().replace(" ", ",")
    study.bval.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    study.output = study.root / "again"
    again = study.run()
    assert plain.code == again.code == 0
    np.testing.assert_array_equal(plain.streamlines().points, again.streamlines().points)


def test_maps_do_not_take_over_the_scaling_of_an_image_of_integers(study):
    data = study.scene.data.copy()
    data[0, 0, 0] = 30.0
    study.write_data(data)
    reference = study.run()
    scaled = nib.Nifti1Image(data, study.scene.affine)
    scaled.set_data_dtype(np.int16)  # nibabel finds the scale: steps of 0.001
    nib.save(scaled, study.image)
    assert nib.load(study.image).dataobj.slope < 1e-3
    study.output = study.root / "again"
    done = study.run()
    assert reference.code == done.code == 0
    maps = [nib.load(one.file("*param-fa*.nii.gz")) for one in (reference, done)]
    assert maps[1].get_data_dtype() == np.float32
    assert maps[1].dataobj.slope == 1
    assert np.abs(maps[0].get_fdata() - maps[1].get_fdata()).max() < 0.02


# --- Several scans ------------------------------------------------------------------------------


@pytest.mark.parametrize("nprocs", [1, 2])
def test_one_broken_scan_does_not_stop_the_others(tmp_path, scene, nprocs):
    raw = tmp_path / "raw"
    images = [write_bids(raw, scene, subject=label) for label in ("01", "02", "03", "04")]
    np.savetxt(images[1].with_name("sub-02_dwi.bval"), [[0, 1]], fmt="%g")  # seen at the start
    make_flat = np.ones_like(scene.data)  # seen when it is worked on
    write_nifti(images[2], make_flat, scene.affine)
    done = run(raw, tmp_path / "out", "--tracking", "det", "--min-length", 5, nprocs=nprocs)
    assert done.code == 1
    assert {label: one["Status"] for label, one in done.status.items()} == {
        "sub-02_dwi.nii.gz": "failed",
        "sub-03": "failed",
        "sub-01": "complete",
        "sub-04": "complete",
    }
    assert "sub-02_dwi.bval has 2 values" in done.status["sub-02_dwi.nii.gz"]["Error"]
    assert "1 everywhere" in done.status["sub-03"]["Error"]
    assert done.status["sub-03"]["ExitCode"] == BROKEN
    assert "2 of 4 scans complete" in done.stderr
    assert "sub-02_dwi.bval has 2 values" in done.stderr
    assert done.log.count(" ERROR ") == 2
    for label in ("sub-01", "sub-04"):
        assert len(done.streamlines(f"{label}*tractogram")) > 100
    assert [*done.output.glob("sub-0[23]/**/*tractogram*")] == []
    # What failed is tried again, what is complete is not.
    write_bids(raw, scene, subject="03")
    again = run(raw, tmp_path / "out", "--tracking", "det", "--min-length", 5)
    assert "sub-01: unchanged, all outputs are reused" in again.messages(logging.INFO)
    assert again.status["sub-03"] == {"Status": "complete"}


def test_a_scan_without_tissue_maps_does_not_stop_the_others(study):
    study.give_tissue()
    write_bids(study.raw, study.scene, subject="02")
    done = study.run()
    assert done.code == 1
    assert done.status["sub-01"] == {"Status": "complete"}
    assert done.status["sub-02"]["ExitCode"] == MISSING
    (said,) = done.errors
    assert said.startswith("sub-02: neither tissue maps nor a T1-weighted image")
    assert json.loads((done.log_dir / "status.json").read_text()) == done.status
