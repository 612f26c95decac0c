from __future__ import annotations

import shutil
import string
import subprocess
import sys
from pathlib import Path, PurePosixPath

import pytest
from bids_validator import BIDSValidator
from hypothesis import given
from hypothesis import strategies as st

from bids_tract import names
from tests.datasets import make_dataset, write_dwi, write_image, write_json

SOURCE = {"sub": "01", "ses": "1", "dir": "AP", "space": "ACPC", "desc": "preproc"}
labels = st.text(string.ascii_letters + string.digits + "+", min_size=1, max_size=8)
free_entities = [
    key for key in names.ENTITY_ORDER if key not in {"sub", "desc", *names.OUTPUT_ENTITIES}
]
scans = st.builds(
    lambda sub, rest: {"sub": sub} | rest,
    labels,
    st.dictionaries(st.sampled_from([*free_entities, "unknown"]), labels, max_size=6),
)
outputs = st.sampled_from(sorted(names.KINDS)).flatmap(
    lambda kind: st.tuples(
        st.just(kind), st.fixed_dictionaries(dict.fromkeys(names.KINDS[kind].given, labels))
    )
)


def every_output(source: dict[str, str]) -> list[PurePosixPath]:
    paths = []
    for kind in names.KINDS.values():
        labels_given = dict.fromkeys(kind.given, "csd")
        for extension in kind.extensions:
            path = names.output_path(kind.key, source, extension, **labels_given)
            paths += [path, names.sidecar_path(path)]
    return sorted(set(paths))


@pytest.mark.parametrize(
    ("kind", "extension", "own", "expected"),
    [
        ("preproc_dwi", ".bvec", {}, "desc-preproc_dwi.bvec"),
        ("confounds", None, {}, "desc-confounds_timeseries.tsv"),
        ("dwiref", None, {}, "dwiref.nii.gz"),
        ("t1w_xfm", None, {}, "from-T1w_to-dwi_mode-image_xfm.txt"),
        ("brain_mask", None, {}, "desc-brain_mask.nii.gz"),
        ("seed_mask", None, {}, "desc-seed_mask.nii.gz"),
        ("stop_mask", None, {}, "desc-stop_mask.nii.gz"),
        ("wm_probseg", None, {}, "label-WM_probseg.nii.gz"),
        ("gm_probseg", None, {}, "label-GM_probseg.nii.gz"),
        ("csf_probseg", None, {}, "label-CSF_probseg.nii.gz"),
        ("tensor_fa", None, {}, "model-tensor_param-fa_dwimap.nii.gz"),
        ("tensor_md", None, {}, "model-tensor_param-md_dwimap.nii.gz"),
        ("tensor_colfa", None, {}, "model-tensor_param-colfa_dwimap.nii.gz"),
        ("csa_odf", None, {}, "model-csa_param-odf_dwimap.nii.gz"),
        ("csa_gfa", None, {}, "model-csa_param-gfa_dwimap.nii.gz"),
        ("csa_peaks", None, {}, "model-csa_param-peaks_dwimap.nii.gz"),
        ("csd_fod", None, {}, "model-csd_param-wm_dwimap.nii.gz"),
        ("csd_peaks", None, {}, "model-csd_param-peaks_dwimap.nii.gz"),
        (
            "tractogram",
            None,
            {"track": "prob", "desc": "csd"},
            "track-prob_desc-csd_tractogram.trx",
        ),
        (
            "density",
            None,
            {"model": "csd", "desc": "prob"},
            "model-csd_param-density_desc-prob_dwimap.nii.gz",
        ),
        (
            "matrix",
            None,
            {"track": "prob", "desc": "csd", "atlas": "DK", "meas": "count"},
            "track-prob_atlas-DK_meas-count_desc-csd_relmat.dense.tsv",
        ),
    ],
)
def test_each_kind_has_its_name(kind, extension, own, expected):
    path = names.output_path(kind, SOURCE, extension, **own)
    folder = "anat" if kind == "t1w_xfm" else "dwi"
    assert str(path) == f"sub-01/ses-1/{folder}/sub-01_ses-1_dir-AP_space-ACPC_{expected}"


def test_every_kind_is_named_above():
    named = test_each_kind_has_its_name.pytestmark[0].args[1]
    assert {case[0] for case in named} == set(names.KINDS)


def test_a_dataset_without_sessions_has_no_session_folder():
    path = names.output_path("tensor_fa", {"sub": "01"})
    assert str(path) == "sub-01/dwi/sub-01_model-tensor_param-fa_dwimap.nii.gz"


def test_the_kind_comes_between_the_scans_later_entities():
    path = names.output_path("tensor_fa", {"sub": "01", "res": "2", "chunk": "1"})
    assert path.name == "sub-01_model-tensor_param-fa_chunk-1_res-2_dwimap.nii.gz"


@given(scans, outputs)
def test_every_output_is_read_back_as_it_was_named(source, output):
    kind, own = output
    path = names.output_path(kind, source, **own)
    parsed = names.parse_name(path.name)
    assert parsed is not None
    assert parsed.entities == source | dict(names.KINDS[kind].entities) | own
    assert (parsed.suffix, parsed.extension) == (
        names.KINDS[kind].suffix,
        names.KINDS[kind].extensions[0],
    )
    assert names.format_name(parsed.entities, parsed.suffix, parsed.extension) == path.name
    assert "__" not in path.name
    assert path.name.count("-") == len(parsed.entities)


@given(st.tuples(scans, outputs), st.tuples(scans, outputs))
def test_two_outputs_never_share_a_name(one, other):
    paths = [names.output_path(kind, source, **own) for source, (kind, own) in (one, other)]
    assert (paths[0] == paths[1]) == (one == other)


@given(scans)
def test_a_label_holds_the_entities_of_its_scan(scan):
    assert names.label_entities(names.run_label(scan | {"desc": "x"})) == scan


@given(scans, scans)
def test_two_scans_never_share_a_label(one, other):
    assert (names.run_label(one) == names.run_label(other)) == (one == other)


@pytest.mark.parametrize(
    "source", [{"sub": "01"}, {"sub": "01", "ses": "1", "acq": "A", "dir": "AP", "run": "1"}]
)
def test_no_output_could_be_taken_for_raw_data(source):
    is_raw = BIDSValidator().is_bids
    assert is_raw(f"/sub-01/dwi/{names.format_name({'sub': '01'}, 'dwi', '.nii.gz')}")
    assert [path for path in every_output(source) if is_raw(f"/{path}")] == []


def test_a_scan_with_an_entity_of_ours_is_refused():
    with pytest.raises(ValueError, match="label"):
        names.output_path("wm_probseg", {"sub": "01", "label": "GM"})


@pytest.mark.parametrize(
    ("kind", "extension", "own"),
    [
        ("tractogram", None, {}),
        ("tractogram", ".nii.gz", {"track": "prob", "desc": "csd"}),
        ("tensor_fa", None, {"desc": "mine"}),
        ("tractogram", None, {"track": "prob", "desc": "my_seed"}),
    ],
)
def test_what_does_not_belong_to_the_kind_is_refused(kind, extension, own):
    with pytest.raises(ValueError, match=r"."):
        names.output_path(kind, {"sub": "01"}, extension, **own)


@pytest.mark.parametrize(
    ("name", "entities", "suffix", "extension"),
    [
        ("sub-01_dwi.nii.gz", {"sub": "01"}, "dwi", ".nii.gz"),
        ("sub-01_dir-AP_run-01_dwi.bval", {"sub": "01", "dir": "AP", "run": "01"}, "dwi", ".bval"),
        ("sub-a+b_dwi.b_table.txt", {"sub": "a+b"}, "dwi", ".b_table.txt"),
        ("sub-01_T1w", {"sub": "01"}, "T1w", ""),
    ],
)
def test_names_are_taken_apart(name, entities, suffix, extension):
    assert names.parse_name(name) == names.ParsedName(entities, suffix, extension)


@pytest.mark.parametrize(
    "name",
    [
        "dwi.nii.gz", "acq-A_dwi.bval", "sub-01_my_dwi.nii.gz", "sub-_dwi.nii.gz",
        "sub-01__dwi.nii.gz", "sub-01_sub-02_dwi.nii.gz", "sub-0 1_dwi.nii.gz", "Sub-01_dwi.nii",
        "sub-01_.nii.gz", "._sub-01_dwi.nii.gz", "sub-01_dir-A-P_dwi.nii.gz", "sub-01_dwi.nii\n",
        "", "group_dwi.tsv", "acq-A_sub-01_dwi.nii",
    ],
)  # fmt: skip
def test_other_names_are_not_bids(name):
    assert names.parse_name(name) is None


def test_a_name_for_all_participants_is_taken_apart_too():
    assert names.split_name("acq-A_dwi.json") == names.ParsedName({"acq": "A"}, "dwi", ".json")


def test_the_run_label_leaves_out_desc_only():
    assert names.run_label(SOURCE) == "sub-01_ses-1_dir-AP_space-ACPC"


def test_a_sidecar_stands_beside_its_file(tmp_path):
    assert names.sidecar_path(tmp_path / "v1.2" / "sub-01_dwi.nii.gz") == (
        tmp_path / "v1.2" / "sub-01_dwi.json"
    )


@given(scans, labels, labels, st.sampled_from([".trx", ".trk", ".tck"]))
def test_a_density_stands_beside_its_tractogram(source, method, model, extension):
    tractogram = names.output_path("tractogram", source, extension, track=method, desc=model)
    density = names.output_path("density", source, model=model, desc=method)
    assert names.density_path(tractogram) == density


def test_tractograms_of_other_names_have_a_density_too():
    place = PurePosixPath("out/sub-01_desc-mine_tractogram.tck")
    density = PurePosixPath("out/sub-01_model-mine_param-density_dwimap.nii.gz")
    assert names.density_path(place) == density
    with pytest.raises(ValueError, match="not a BIDS name"):
        names.density_path(PurePosixPath("tracts.tck"))


def test_the_validator_accepts_an_output_folder_with_our_bidsignore(tmp_path):
    validator = shutil.which("bids-validator-deno", path=str(Path(sys.executable).parent))
    if validator is None:
        pytest.skip("bids-validator-deno is not installed")
    root = make_dataset(
        tmp_path / "out",
        {
            "Name": "outputs",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "bids_tract"}],
        },
    )
    sidecar = {"SkullStripped": False, "Type": "ROI"}
    for path in every_output({"sub": "01", "ses": "1", "dir": "AP"}):
        if path.name.endswith("_dwi.nii.gz"):
            write_dwi(root, path.name.removesuffix(".nii.gz"))
        elif path.name.endswith(".nii.gz"):
            write_image(root / path)
        elif path.suffix == ".json":
            write_json(root / path, sidecar)
        elif path.suffix in names.KINDS["tractogram"].extensions:
            (root / path).write_text("streamlines\n")
        elif path.name.endswith(".dense.tsv"):
            (root / path).write_text("a\tb\n0\t1\n1\t0\n")
    (root / "README.md").write_text("outputs\n" * 20)
    (root / "sub-01_ses-1.html").write_text("report")
    (root / "group_tractography.tsv").write_text("a\n1\n")
    (root / "group.html").write_text("report")
    for folder in (root / "sub-01" / "figures", root / "logs" / "20260101"):
        folder.mkdir(parents=True)
        (folder / "anything.svg").write_text("picture")

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [validator, str(root), "--ignoreWarnings"], capture_output=True, text=True
        )

    assert run().returncode == 16, "the released schema knows our names: shorten .bidsignore"
    (root / ".bidsignore").write_text("\n".join(names.bidsignore()) + "\n")
    result = run()
    assert result.returncode == 0, result.stdout
