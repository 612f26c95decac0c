"""What the program must do, through its command line: on real data, and on phantoms."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import map_coordinates
from scipy.spatial import cKDTree

from bids_tract.core.types import Float64, Streamlines
from bids_tract.errors import OutputError
from bids_tract.files.sidecars import write_json
from tests.datasets import OTHER, make_dataset
from tests.e2e.program import VALIDATOR, Outcome, arguments, one_of, read, run, run_and_signal
from tests.phantoms import (
    Scene,
    bend,
    exact_copies,
    same_region,
    scan,
    straight,
    uniform,
    write_bids,
    write_nifti,
)
from tests.shared_data import SHARED, needs_shared

pytestmark = pytest.mark.e2e
TOOLS = SHARED.parent / "tools"
FIBERCUP, SIFT = SHARED / "fibercup", SHARED / "siftphantom"
needs_validator = pytest.mark.skipif(
    VALIDATOR is None, reason="bids-validator-deno is not installed"
)
needs_mrtrix = pytest.mark.skipif(
    shutil.which("tckconvert") is None, reason="MRtrix3 is not installed"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what several tests look at."""
    return tmp_path_factory.mktemp("acceptance")


def ends_of(lines: Streamlines) -> Float64:
    """Both ends of each streamline: (2 T, 3) in mm."""
    first, last = lines.offsets[:-1], lines.offsets[1:] - 1
    return np.concatenate([lines.points[first], lines.points[last]]).astype(np.float64)


def in_voxels(points: Float64, image: nib.Nifti1Image) -> Float64:
    return nib.affines.apply_affine(np.linalg.inv(image.affine), points)


# --- Human data ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def human(folder: Path) -> Outcome:
    return run(
        SHARED / "xa30", folder / "xa30", "--tracking", "det", "prob", "--format", "trx", "trk",
        "--seeding", "total", "--select", 300, validate=True,
    )  # fmt: skip


@needs_shared
def test_human_data_go_through_with_the_order_that_twenty_directions_carry(human):
    assert human.code == 0
    assert human.errors == []
    labels = ("sub-xa30_dir-AP", "sub-xa30_dir-PA")
    assert human.status == {label: {"Status": "complete"} for label in labels}
    for label in labels:
        assert any(f"{label}: csd: The 20 unique" in line for line in human.warnings)
        field = human.sidecar(f"{label}_model-csd_param-wm_dwimap")
        assert field["OrientationEncoding"]["SphericalHarmonicsDegree"] == 4
        assert any("lowered from 8" in note for note in field["Notes"])
        for track in ("det", "prob"):
            name = f"{label}_track-{track}_desc-csd_tractogram"
            assert human.sidecar(name)["Count"] == 300
            assert len(human.streamlines(name)) == 300
            assert len(nib.streamlines.load(human.file(f"{name}.trk")).streamlines) == 300


def complaints(dataset: Path, *options: str) -> list[str]:
    """The errors that the BIDS validator finds."""
    done = subprocess.run(
        [str(VALIDATOR), str(dataset), "--format", "json", "--ignoreWarnings", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads(done.stdout)["issues"]["issues"]
    return [f"{one['code']} {one.get('subCode', '')} {one['location']}" for one in found]


@needs_shared
@needs_validator
def test_the_output_is_a_valid_bids_dataset(human):
    assert complaints(human.output) == []


@needs_shared
@needs_validator
def test_maps_and_tractograms_follow_the_open_proposals(human, tmp_path):
    schema, output = tmp_path / "schema.json", tmp_path / "output"
    subprocess.run([sys.executable, TOOLS / "bep_schema.py", schema], check=True)
    shutil.copytree(human.output, output)
    lines = (output / ".bidsignore").read_text().splitlines()
    kept = [line for line in lines if "dwimap" not in line and "tractogram" not in line]
    assert len(kept) == len(lines) - 2
    (output / ".bidsignore").write_text("\n".join(kept) + "\n")
    assert complaints(output, "-s", schema.as_uri()) == []
    # The schema is what makes the difference: the released one knows neither.
    assert complaints(output) != []


# --- Known truth --------------------------------------------------------------------------------


def score(tractogram: Path, labels: Path) -> dict[str, Any]:
    """What the scoring tool says: it shares no code with the program."""
    spec = importlib.util.spec_from_file_location("score", TOOLS / "score_endpoints.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    truth = read(labels.with_name(labels.name.replace(".nii.gz", ".json")))
    found: dict[str, Any] = tool.score(tool.load(str(tractogram)), nib.load(labels), truth)
    return found


def fibercup(folder: Path, *options: object) -> Outcome:
    folder.mkdir(exist_ok=True)
    filters = folder / "filters.json"
    filters.write_text(json.dumps({"dwi": {"acquisition": "b1500avg"}}))
    mask = FIBERCUP / "truth" / "wm_mask.nii.gz"
    return run(
        FIBERCUP, folder / "out", "--bids-filter-file", filters, "--model", "csa", "csd",
        "--tracking", "det", "--max-angle", 30, "--min-length", 20,
        "--seed-mask", mask, "--stop-mask", mask, *options,
    )  # fmt: skip


@needs_shared
def test_fibercup_bundles_are_found(folder):
    done = fibercup(folder / "fibercup")
    assert done.code == 0
    assert [*done.status] == ["sub-fibercup_acq-b1500avg"]  # what the filter left
    for model in ("csa", "csd"):
        tractogram = done.file(f"*track-det_desc-{model}_tractogram.trx")
        found = score(tractogram, FIBERCUP / "truth" / "endpoints.nii.gz")
        assert len(found["pairs"]) == 7
        assert found["valid_share"] >= 0.78


@needs_shared
def test_fibercup_with_the_bvecs_taken_for_voxel_axes_connects_nothing(folder):
    done = fibercup(folder / "voxel", "--bvec-convention", "voxel")
    assert done.code == 0
    for model in ("csa", "csd"):
        tractogram = done.file(f"*track-det_desc-{model}_tractogram.trx")
        found = score(tractogram, FIBERCUP / "truth" / "endpoints.nii.gz")
        assert found["VC"] <= 0.01 * found["streamlines"]


def sift(output: Path, *options: object) -> Outcome:
    return run(
        SIFT, output, "--tracking", "pft", "--derivatives", SIFT / "derivatives" / "5tt",
        "--min-length", 5, "--seeds", 8, *options,
    )  # fmt: skip


@needs_shared
@pytest.mark.parametrize("rule", ["cmc", "act"])
def test_pft_ends_in_grey_matter_and_finds_both_bundles(tmp_path, rule):
    done = sift(tmp_path / "out", "--stopping", rule)
    assert done.code == 0
    found = score(done.file("*.trx"), SIFT / "truth" / "parc.nii.gz")
    assert found["valid_share"] >= 0.98
    assert len(found["pairs"]) == 2
    assert done.sidecar("*tractogram")["StreamlineTermination"]["Criterion"] == rule
    grey = nib.load(done.file("*label-GM_probseg.nii.gz"))
    ends = in_voxels(ends_of(done.streamlines()), grey)
    in_grey = map_coordinates(grey.get_fdata(), ends.T, order=1, mode="nearest") > 0
    to_border = np.minimum(ends + 0.5, np.array(grey.shape) - 0.5 - ends)
    at_border = (to_border * grey.header.get_zooms() <= 0.5).any(axis=1)  # mm: one step
    assert len(ends) > 1000
    assert np.all(in_grey | at_border)
    assert np.mean(in_grey) > 0.5  # the border is not what explains them all


# --- The way an image is stored -----------------------------------------------------------------


def write_mask(dataset: Path, values: np.ndarray, affine: Float64) -> Path:
    """A derivative dataset with a brain mask for sub-01."""
    make_dataset(dataset, OTHER)
    path = dataset / "sub-01" / "dwi" / "sub-01_desc-brain_mask.nii.gz"
    path.parent.mkdir(parents=True)
    write_nifti(path, values.astype(np.uint8), affine)
    return dataset


def tracked(scene: Scene, folder: Path, *options: object) -> Outcome:
    """Track a scene; the folder is the scene's own."""
    write_bids(folder / "raw", scene)
    done = run(folder / "raw", folder / "out", "--min-length", 10, *options)
    assert done.code == 0
    return done


def by_seed(done: Outcome, scene: Scene) -> dict[tuple[float, ...], Float64]:
    """Streamlines in the reference's mm, by the voxel centre that they were seeded in."""
    mask = nib.load(done.file("*seed_mask.nii.gz"))
    voxels = np.argwhere(np.asarray(mask.dataobj) > 0)
    seeds = scene.in_reference(nib.affines.apply_affine(mask.affine, voxels))
    lines = done.streamlines()
    return {
        tuple(np.round(seeds[number]) + 0.0): scene.in_reference(lines[i].astype(np.float64))
        for i, number in enumerate(lines.seed_index)
    }


def hausdorff(one: Float64, other: Float64) -> float:
    """How far a point of either streamline lies from the other, at most."""
    return max(cKDTree(one).query(other)[0].max(), cKDTree(other).query(one)[0].max())


STORED = ("RAS", "LAS", "LPS", "oblique", "oblique-flipped")


@pytest.mark.parametrize("model", ["csa", "csd"])
def test_deterministic_streamlines_do_not_depend_on_the_storage(tmp_path, model):
    scenes = [scene for scene in exact_copies(scan(bend())) if scene.name in STORED]
    assert [scene.name for scene in scenes] == [*STORED]
    found = {
        scene.name: by_seed(
            tracked(scene, tmp_path / scene.name, "--tracking", "det", "--model", model), scene
        )
        for scene in scenes
    }
    reference = found.pop("RAS")
    assert len(reference) > 1000
    for lines in found.values():
        assert lines.keys() == reference.keys()
        assert max(hausdorff(lines[seed], reference[seed]) for seed in lines) < 0.05


def test_probabilistic_density_does_not_depend_on_the_storage(tmp_path):
    copies = exact_copies(scan(bend(), shape=(14, 14, 8)))
    scenes = [scene for scene in copies if scene.name in ("RAS", "LPS", "oblique-flipped")]
    cells = [np.arange(-14, 15, 4)] * 2 + [np.arange(-8, 9, 4)]

    def density(scene: Scene, seed: int) -> Float64:
        done = tracked(
            scene, tmp_path / f"{scene.name}-{seed}", "--seeds", 8, "--random-seed", seed
        )
        points = scene.in_reference(done.streamlines().points.astype(np.float64))
        counts = np.histogramdd(points, cells)[0]
        return counts / counts.sum()

    def distance(one: Float64, other: Float64) -> float:
        return float(np.abs(one - other).sum())

    reference = density(scenes[0], 1)
    by_chance = distance(reference, density(scenes[0], 2))
    assert by_chance > 0
    for scene in scenes[1:]:
        assert distance(reference, density(scene, 1)) < 1.3 * by_chance


def test_anisotropic_voxels_change_neither_direction_nor_step(tmp_path):
    direction = np.array([0.8, 0.5, 0.3]) / np.linalg.norm([0.8, 0.5, 0.3])
    courses = []
    for scene in same_region(uniform(direction)):
        folder = tmp_path / scene.name
        # No brain stands out where all is one.
        mask = write_mask(folder / "masks", np.ones(scene.shape), scene.affine)
        done = tracked(scene, folder, "--tracking", "det", "--derivatives", mask)
        lines = done.streamlines()
        assert len(lines) > 500
        for i in range(len(lines)):
            line = lines[i].astype(np.float64)
            course = line[-1] - line[0]
            courses.append(course / np.linalg.norm(course) * np.sign(course[0]))
            steps = np.linalg.norm(np.diff(line, axis=0), axis=1)
            np.testing.assert_allclose(steps, 0.5, atol=1e-3)
    # Over the 40 mm of the region, directions may part by 0.05 mm.
    assert np.linalg.norm(np.array(courses) - courses[0], axis=1).max() * 40 < 0.05
    assert abs(courses[0] @ direction) > np.cos(np.deg2rad(4.0))  # the sphere's directions


# --- The same again -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def two_scans(folder: Path) -> Path:
    """Two participants whose scans differ."""
    raw = folder / "two"
    write_bids(raw, scan(bend(), shape=(12, 12, 6)), subject="01")
    write_bids(raw, scan(straight(), shape=(12, 12, 6)), subject="02")
    return raw


@pytest.mark.parametrize("method", ["det", "prob"])
def test_one_seed_gives_the_same_bytes(two_scans, tmp_path, method):
    options = ("--tracking", method, "--seeding", "random", "--min-length", 5)
    first = run(two_scans, tmp_path / "first", *options)
    again = run(two_scans, tmp_path / "again", *options)
    parallel = run(two_scans, tmp_path / "parallel", *options, nprocs=2)
    other = run(two_scans, tmp_path / "other", *options, "--random-seed", 7)
    assert [done.code for done in (first, again, parallel, other)] == [0, 0, 0, 0]
    for label in ("sub-01", "sub-02"):
        name = f"{label}*tractogram.trx"
        bytes_of_first = first.file(name).read_bytes()
        assert again.file(name).read_bytes() == bytes_of_first
        assert parallel.file(name).read_bytes() == bytes_of_first
        ends = [ends_of(done.streamlines(f"{label}*tractogram")) for done in (first, other)]
        # Not a single streamline in common.
        assert cKDTree(ends[0]).query(ends[1])[0].min() > 0


# --- Names that many scans share ----------------------------------------------------------------


def test_gradients_at_the_root_hold_for_all_sessions(tmp_path):
    raw, scene = tmp_path / "raw", scan(bend(), shape=(12, 12, 6))
    for session in ("test", "retest"):
        image = write_bids(raw, scene, session=session)
        for extension in (".bval", ".bvec", ".json"):
            image.with_name(image.name.replace(".nii.gz", extension)).replace(
                raw / f"dwi{extension}"
            )
    assert len([*raw.rglob("*.bv*")]) == 2
    done = run(raw, tmp_path / "out", "--tracking", "det", "--min-length", 5)
    assert done.code == 0
    assert [*done.status] == ["sub-01_ses-retest", "sub-01_ses-test"]
    lines = [done.streamlines(f"ses-{session}_*tractogram") for session in ("test", "retest")]
    assert len(lines[0]) > 100
    np.testing.assert_array_equal(lines[0].points, lines[1].points)


# --- Formats ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def formats(folder: Path) -> Outcome:
    """An oblique, anisotropic scan: half voxels and axes that are mixed up would show."""
    scene = scan(bend(), shape=(12, 12, 5), spacing_mm=(2.0, 2.0, 3.0))
    turned = next(copy for copy in exact_copies(scene) if copy.name == "oblique-flipped")
    raw = folder / "formats"
    write_bids(raw, turned)
    return run(
        raw, folder / "formats-out", "--format", "trk", "tck", "trx", "--min-length", 15,
        "--max-length", 22, "--seeding", "total", "--seeds", 400,
    )  # fmt: skip


def with_nibabel(path: Path) -> list[Float64]:
    return [np.asarray(line, np.float64) for line in nib.streamlines.load(path).streamlines]


def with_trx_python(path: Path) -> list[Float64]:
    trx = pytest.importorskip("trx.trx_file_memmap").load(str(path))
    lines = [np.array(line, np.float64) for line in trx.streamlines]
    trx.close()
    return lines


def with_mrtrix(path: Path, folder: Path) -> list[Float64]:
    subprocess.run(["tckconvert", "-quiet", path, folder / "line-[].txt"], check=True)
    return [np.loadtxt(text, ndmin=2) for text in sorted(folder.glob("line-*.txt"))]


def test_counts_add_up(formats):
    said = formats.sidecar("*tractogram")
    counts = said["Counts"]
    assert formats.code == 0
    assert counts["Attempts"] == 400 == said["StreamlineReconstructionDensity"]["Seeds"]
    assert counts["Kept"] + sum(counts["Rejected"].values()) == counts["Attempts"]
    assert counts["Rejected"]["TOO_SHORT"] > 0
    assert sum(counts["Ends"].values()) == 2 * counts["Kept"]
    assert said["Count"] == counts["Kept"] == len(formats.streamlines()) > 20
    lengths = formats.streamlines().lengths_mm
    assert 15 - 0.01 < lengths.min() <= lengths.max() < 22 + 0.01
    assert f"{said['Count']:,} streamlines kept" in formats.log


def test_all_readers_find_the_same_points_in_all_formats(formats):
    lines = formats.streamlines()
    own = [lines[i] for i in range(len(lines))]
    read_by = {
        "trx-python": with_trx_python(formats.file("*.trx")),
        "nibabel trk": with_nibabel(formats.file("*.trk")),
        "nibabel tck": with_nibabel(formats.file("*.tck")),
    }
    for reader, found in read_by.items():
        assert [len(line) for line in found] == [len(line) for line in own], reader
        assert max(abs(a - b).max() for a, b in zip(found, own, strict=True)) < 1e-4, reader
    zipped = zipfile.ZipFile(formats.file("*.trx"))
    assert zipped.testzip() is None


@needs_mrtrix
def test_mrtrix_reads_the_same_points(formats, tmp_path):
    lines, path = formats.streamlines(), formats.file("*.tck")
    said = subprocess.run(
        ["tckinfo", "-count", path], capture_output=True, text=True, check=True
    ).stdout
    assert f"actual count in file: {len(lines)}" in said
    found = with_mrtrix(path, tmp_path)
    assert len(found) == len(lines)
    for i, line in enumerate(found):
        np.testing.assert_allclose(line, lines[i], atol=1e-4)


def test_every_point_lies_in_the_volume(formats):
    mask = nib.load(formats.file("*brain_mask.nii.gz"))
    points = in_voxels(formats.streamlines().points, mask)
    assert np.all(points >= -0.5 - 1e-4)
    assert np.all(points <= np.array(mask.shape) - 0.5 + 1e-4)


# --- Running again ------------------------------------------------------------------------------

SMALL = ("--tracking", "det", "--min-length", 5)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    raw = tmp_path / "raw"
    write_bids(raw, scan(bend(), shape=(12, 12, 6)))
    return raw


def rewritten(before: Outcome, again: Callable[[], Outcome]) -> tuple[set[str], Outcome]:
    """The outputs that a run wrote, shortened to what tells them apart."""
    old = before.files()
    done = again()
    assert done.code == 0
    new = {name for name, state in done.files().items() if old.get(name) != state}
    return {Path(name).name.removeprefix("sub-01_").split(".")[0] for name in new}, done


def test_an_unchanged_job_is_left_alone(small, tmp_path):
    first = run(small, tmp_path / "out", *SMALL)
    # Neither is what changes no result: the number of processes, the work folder.
    changed, done = rewritten(
        first, lambda: run(small, tmp_path / "out", *SMALL, nprocs=2, work=tmp_path / "w")
    )
    assert changed == set()
    assert "sub-01: unchanged, all outputs are reused" in done.messages(20)
    assert done.status == {"sub-01": {"Status": "complete"}}


MASKS = {"desc-seed_mask", "desc-stop_mask"}
TRACTOGRAM = {"track-det_desc-csd_tractogram"}
CSD = {"model-csd_param-wm_dwimap", "model-csd_param-peaks_dwimap"}
CHANGES: list[tuple[tuple[object, ...], set[str], str]] = [
    (("--max-angle", 20), TRACTOGRAM, "track-det-csd (inputs, settings or version changed"),
    (("--format", "tck"), TRACTOGRAM, "track-det-csd (to be computed"),
    (("--seed-threshold", 0.3), MASKS | TRACTOGRAM, "masks, track-det-csd (inputs"),
    (("--sh-order", 6), CSD | TRACTOGRAM, "csd, track-det-csd (inputs"),
    (("--tracking", "det", "prob"), {"track-prob_desc-csd_tractogram"}, "track-prob-csd (to be"),
]


@pytest.mark.parametrize(("option", "expected", "sentence"), CHANGES)
def test_a_changed_option_recomputes_what_depends_on_it(
    small, tmp_path, option, expected, sentence
):
    first = run(small, tmp_path / "out", *SMALL)
    changed, done = rewritten(first, lambda: run(small, tmp_path / "out", *SMALL, *option))
    assert changed == expected
    (line,) = [line for line in done.messages(20) if "unchanged: reused" in line]
    assert sentence in line


def test_a_changed_input_recomputes_everything(small, tmp_path):
    first = run(small, tmp_path / "out", *SMALL)
    write_bids(small, scan(bend(), shape=(12, 12, 6), snr=50))
    changed, _ = rewritten(first, lambda: run(small, tmp_path / "out", *SMALL))
    assert changed == {
        Path(name).name.removeprefix("sub-01_").split(".")[0] for name in first.files()
    }


DAMAGE: list[tuple[str, str, set[str]]] = [
    ("remove", "*track-det*.trx", TRACTOGRAM),
    ("remove", "*desc-stop_mask.nii.gz", MASKS),
    ("cut", "*track-det*.json", TRACTOGRAM),
    ("cut", "*param-peaks_dwimap.json", CSD),
    ("empty", "*desc-seed_mask.json", MASKS),
]


@pytest.mark.parametrize(("what", "pattern", "expected"), DAMAGE)
def test_a_damaged_output_is_made_again(small, tmp_path, what, pattern, expected):
    first = run(small, tmp_path / "out", *SMALL)
    target = first.file(pattern)
    if what == "remove":
        target.unlink()
    else:
        target.write_text(target.read_text()[: 100 if what == "cut" else 0])
    changed, done = rewritten(first, lambda: run(small, tmp_path / "out", *SMALL))
    assert changed == expected
    (line,) = [line for line in done.messages(20) if "unchanged: reused" in line]
    assert "(incomplete: to be computed again)" in line or "track-det-csd (to be computed)" in line
    assert target.stat().st_size > 100


def test_no_tractogram_of_a_former_run_stays_beside_a_new_sidecar(small, tmp_path):
    run(small, tmp_path / "out", *SMALL, "--format", "trx", "trk")
    done = run(small, tmp_path / "out", *SMALL, "--format", "tck", "--max-angle", 20)
    assert done.code == 0
    assert [path.suffix for path in done.output.rglob("*tractogram.t*")] == [".tck"]


def test_a_sidecar_does_not_vouch_for_the_file_of_a_run_that_failed(small, tmp_path):
    formats = ("--format", "trx", "tck")
    first = run(small, tmp_path / "out", *SMALL, *formats)
    wanted, tck = first.file("*.trx").read_bytes(), first.file("*.tck")
    tck.unlink()
    tck.mkdir()  # in the way, so that the run fails between the files and the sidecar
    failed = run(small, tmp_path / "out", *SMALL, *formats, "--step", 1)
    assert failed.code != 0
    assert failed.file("*.trx").read_bytes() != wanted
    tck.rmdir()
    shutil.copy(failed.file("*.trx"), tck)  # anything, so that no file is absent
    again = run(small, tmp_path / "out", *SMALL, *formats)
    assert again.file("*.trx").read_bytes() == wanted


def test_nor_does_the_sidecar_of_a_map(small, tmp_path, monkeypatch):
    first = run(small, tmp_path / "out", *SMALL)
    wanted = first.file("*param-fa*.nii.gz").read_bytes()

    def fail_for_maps(path: Path, data: Any) -> None:
        if path.name.endswith("dwimap.json"):
            raise OutputError("no space left")
        write_json(path, data)

    # A disk that is full just then cannot be had otherwise.
    monkeypatch.setattr("bids_tract.workflow.interface.write_json", fail_for_maps)
    write_bids(small, scan(bend(), shape=(12, 12, 6), snr=20))
    failed = run(small, tmp_path / "out", *SMALL)
    assert failed.code == OutputError.exit_code
    assert failed.file("*param-fa*.nii.gz").read_bytes() != wanted
    monkeypatch.undo()
    write_bids(small, scan(bend(), shape=(12, 12, 6)))
    again = run(small, tmp_path / "out", *SMALL)
    assert again.code == 0
    assert again.file("*param-fa*.nii.gz").read_bytes() == wanted


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_killed_run_leaves_nothing_that_passes_for_finished(tmp_path, number):
    raw, output, work = tmp_path / "raw", tmp_path / "out", tmp_path / "work"
    write_bids(raw, scan(bend()))
    options = ("--seeds", 8, "--format", "trx", "tck")
    argv = arguments(raw, output, *options, work=work)

    def tracking() -> bool:
        return any(work.glob("scratch/sub-01/.*track-prob*"))  # what the tracker writes to

    code, stderr = run_and_signal(argv, number, tracking)
    if number == signal.SIGINT:  # Ctrl-C
        assert code == 130
        assert stderr.endswith("interrupted; what is complete will be reused by the next run\n")
        assert "Traceback" not in stderr
    elif number == signal.SIGTERM:  # docker stop, scancel
        assert code == 143
        told = "ended by SIGTERM; what is complete will be reused by the next run\n"
        assert stderr.endswith(told)
        assert "Traceback" not in stderr
    else:
        assert code == -signal.SIGKILL
        (status,) = output.glob("logs/*/status.json")
        assert read(status) == {"sub-01": {"Status": "running"}}
    assert [*output.rglob("*tractogram*")] == []
    done = run(raw, output, *options, work=work)
    assert done.code == 0
    (line,) = [line for line in done.messages(20) if "unchanged: reused" in line]
    assert "track-prob-csd (to be computed)" in line
    assert done.sidecar("*tractogram")["Count"] == len(done.streamlines())
    assert one_of(output, "*tractogram.tck").stat().st_size > 0
    assert [path for path in output.rglob(".*") if path.name != ".bidsignore"] == []
    assert [path.name for path in work.glob("scratch/*")] == []
