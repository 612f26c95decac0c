from __future__ import annotations

import json
import re
import shutil
import tracemalloc

import numpy as np
import pytest

from bids_tract.errors import NothingSelectedError, OutputError
from bids_tract.files.tables import read_table
from bids_tract.report.group import write_group
from tests.report.studies import make_study, typical, write_scan, write_status


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    bids, out = make_study(tmp_path_factory.mktemp("study"), 30, missing=2)
    status = {"sub-03_dir-PA_dwi.nii.gz": {"Status": "failed", "Error": "no <bval> & no bvec"}}
    write_status(out, "20261122T010000-bbbbbb", status)
    return bids, out, write_group(out, bids, n_threads=2)


def findings(page):
    """The sentences of what stands out, by scan."""
    (block,) = re.findall(r'<ol class="findings">(.*?)</ol>', page, re.DOTALL)
    found = re.findall(r'<li class="finding[^"]*"><h4><a href="([^"]+)">.*?</li></ul>', block)
    texts = re.split(r'<li class="finding', block)[1:]
    return dict(zip(found, texts, strict=True))


def test_the_files(study):
    _, out, result = study
    assert [path.name for path in result.paths] == [
        "group_tractography.tsv", "group_tractography.json", "group.html",
    ]  # fmt: skip
    assert all(path.parent == out and path.is_file() for path in result.paths)
    assert result.errors == []
    rows = [*read_table(result.paths[0])]
    assert len(rows) == 29
    assert {row["status"] for row in rows} == {"complete", "failed"}
    assert rows[0]["group"] in ("patient", "control")
    assert json.loads(result.paths[1].read_text())["age"]["Units"] == "year"


def test_planted_faults_are_found_and_nobody_else_is_bad(study):
    page = study[2].paths[2].read_text()
    found = findings(page)
    said = re.search(
        r"Streamlines \(probabilistic, CSD\): 3,323; the median is (3\d,\d{3}) ",
        found["sub-07.html"],
    )
    counts = [int(row["prob_csd_count"]) for row in read_table(study[2].paths[0])
              if row["prob_csd_count"] != "n/a"]  # fmt: skip
    assert said[1] == f"{np.median(counts):,.0f}"
    assert "The gradient table does not fit the image" in found["sub-11.html"]
    assert "a part of the brain is missing" in found["sub-23.html"]
    assert "Brain mask: 715 ml; the median is" in found["sub-23.html"]
    grave = [sub for sub, text in found.items() if text.startswith(" grave")]
    # What is bad comes first, and of that what differs most.
    assert grave == [*found][:2] == ["sub-23.html", "sub-11.html"]
    assert [*found][2] == "sub-07.html"
    assert len(found) < 8
    rows = {row["participant_id"]: row for row in read_table(study[2].paths[0])}
    assert rows["sub-11"]["bad_checks"] == "orientation"
    assert rows["sub-23"]["bad_checks"] == "mask"
    assert "brain_volume" in rows["sub-23"]["outlying"]
    assert "prob_csd_count" in rows["sub-07"]["outlying"]


def test_failed_and_missing_are_named(study):
    page, sentences = study[2].paths[2].read_text(), study[2].sentences
    assert "sub-03_dir-PA: no &lt;bval&gt; &amp; no bvec" in page
    assert "sub-29, sub-30" in page
    assert "28 complete" in page
    assert "1 failed" in page
    assert "2 missing" in page
    assert "sub-03_dir-PA failed: no <bval> & no bvec" in sentences
    assert any(
        one.startswith("missing, not processed yet") and "sub-29" in one for one in sentences
    )


def test_nothing_of_the_data_is_markup(study, tmp_path):
    page = study[2].paths[2].read_text()
    assert "A &lt;made&gt; study" in page
    assert "<made>" not in page
    bids, out = make_study(tmp_path, 6)
    evil = "</script><img src=x onerror=alert(1)>"
    (bids / "participants.tsv").write_text(f"participant_id\t{evil}\nsub-01\t{evil}\nsub-02\tb\n")
    write_status(out, "20261123T010000-a", {"sub-01": {"Status": "failed", "Error": evil}})
    measures = typical_of_evil(evil)
    write_scan(out, {"sub": "03"}, measures)
    page = write_group(out, bids).paths[2].read_text()
    assert "<img src" not in page
    assert page.count("</script>") == page.count("<script")


def typical_of_evil(evil):
    measures = typical(np.random.default_rng(1))
    measures["GradientCheck"] = {"Verdict": "wrong", "Reason": evil, "Best": evil}
    measures["SoftwareVersions"] = evil
    return measures


def test_threads_change_nothing(study, tmp_path):
    bids, out, _ = study

    def files(n_threads):
        result = write_group(out, bids, n_threads=n_threads)
        return [
            re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d", "", path.read_text()) for path in result.paths
        ]

    assert files(1) == files(3)


def test_only_those_who_are_asked_for(tmp_path):
    bids, out = make_study(tmp_path, 8)
    result = write_group(out, bids, ["01", "sub-02", "09", "sub-01"])
    assert [row["participant_id"] for row in read_table(result.paths[0])] == ["sub-01", "sub-02"]
    assert any("has no folder in the dataset: sub-09" in one for one in result.sentences)


@pytest.mark.parametrize(
    ("asked", "sessions", "said"),
    [
        (["99", "sub-98"], (), "no result of sub-99, sub-98; run"),
        (["01"], ["7"], "no result of sub-01 in ses-7; run"),
        (None, ["7"], "no result of any scan in ses-7; run"),
    ],
)
def test_nobody_of_those_who_are_asked_for(tmp_path, asked, sessions, said):
    bids, out = make_study(tmp_path, 2)
    with pytest.raises(NothingSelectedError, match=said):
        write_group(out, bids, asked, sessions=sessions)
    assert not (out / "group.html").exists()


def test_only_the_sessions_that_are_asked_for(tmp_path):
    bids, out = make_study(tmp_path, 2)
    write_scan(out, {"sub": "02", "ses": "7"}, typical(np.random.default_rng(1)))
    (bids / "sub-02/ses-7/dwi").mkdir(parents=True)
    result = write_group(out, bids, sessions=["7"])
    (row,) = read_table(result.paths[0])
    assert (row["participant_id"], row["session_id"]) == ("sub-02", "ses-7")
    assert "missing, has no diffusion data in ses-7 of the dataset: sub-01" in result.sentences


def test_results_that_were_deleted_are_not_complete(tmp_path):
    bids, out = make_study(tmp_path, 3)
    shutil.rmtree(out / "sub-03")
    result = write_group(out, bids)
    (error,) = result.errors
    assert error.startswith("sub-03 is said to be complete, but has no results")
    page = result.paths[2].read_text()
    assert "2 complete" in page
    assert "1 missing</" in page
    assert "1 missing, said to be complete, but without results" in page
    assert "missing, said to be complete, but without results: sub-03" in result.sentences
    assert [row["status"] for row in read_table(result.paths[0])][2] == "missing"


def test_scans_that_are_under_way_are_said_and_are_no_errors(tmp_path):
    bids, out = make_study(tmp_path, 4)
    shutil.rmtree(out / "sub-03")
    (out / "sub-04/dwi/sub-04_measures.json").unlink()
    running = {f"sub-{number:02d}": {"Status": "running"} for number in (2, 3, 4)}
    write_status(out, "20261122T010000-bbbbbb", running)
    result = write_group(out, bids)
    assert result.errors == []
    assert "missing, still running, or stopped before it ended: sub-03, sub-04" in result.sentences
    page = result.paths[2].read_text()
    assert "1 complete" in page
    assert "2 missing</" in page
    assert "1 still running, or stopped before it ended" in page  # with numbers of an earlier run


def test_covariates_that_lost_their_name_are_said(tmp_path):
    bids, out = make_study(tmp_path, 1)
    table = bids / "participants.tsv"
    table.write_text("participant_id\tstatus\tsnr\nsub-01\twell\t3\n")
    assert write_group(out, bids).errors == []
    table.write_text("participant_id\tstatus\tparticipants_status\nsub-01\twell\tin\n")
    result = write_group(out, bids)
    (error,) = result.errors
    assert "status is called participants_participants_status there" in error
    (row,) = read_table(result.paths[0])
    assert row["participants_participants_status"] == "well"
    assert row["participants_status"] == "in"


def test_folders_that_are_called_like_pages_are_nobody(tmp_path):
    bids, out = make_study(tmp_path, 2)
    (out / "sub-03.html").mkdir()
    (out / "sub-02.html").unlink()
    (out / "sub-02.html").mkdir()
    result = write_group(out, bids)
    assert not any("sub-03" in sentence for sentence in result.sentences)
    assert "sub-02.html" not in result.paths[2].read_text()


def test_few_scans_are_judged_by_themselves_only(tmp_path):
    bids, out = make_study(tmp_path, 3)
    page = write_group(out, bids).paths[2].read_text()
    assert "Fewer than 5 scans are not compared" in page


def test_scans_that_were_not_measured_are_errors_and_stop_nothing(tmp_path):
    bids, out = make_study(tmp_path, 7)
    (out / "sub-02/dwi/sub-02_measures.json").unlink()
    (out / "sub-04/dwi/sub-04_measures.json").write_text("[]")
    result = write_group(out, bids)
    assert len(result.errors) == 2
    assert "sub-02 was not measured" in result.errors[0]
    page = result.paths[2].read_text()
    assert "sub-02 was not measured" in page
    assert "sub-02 was not measured" in findings(page)["sub-02.html"]
    rows = {row["participant_id"]: row for row in read_table(result.paths[0])}
    assert rows["sub-02"]["brain_volume"] == "n/a"
    assert rows["sub-03"]["brain_volume"] != "n/a"


def test_all_failed(tmp_path):
    (tmp_path / "bids").mkdir()
    status = {"sub-01": {"Status": "failed", "Error": "no b0"}}
    write_status(tmp_path / "out", "20261121T010000-a", status)
    result = write_group(tmp_path / "out", tmp_path / "bids")
    assert "sub-01: no b0" in result.paths[2].read_text()
    assert [row["status"] for row in read_table(result.paths[0])] == ["failed"]


def test_nothing_to_report(tmp_path):
    with pytest.raises(NothingSelectedError, match="run the participant level first"):
        write_group(tmp_path / "out", tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(NothingSelectedError, match="run the participant level first"):
        write_group(tmp_path / "out", tmp_path)


def test_a_folder_in_the_way(tmp_path):
    bids, out = make_study(tmp_path, 1)
    (out / "group.html").mkdir()
    with pytest.raises(OutputError):
        write_group(out, bids)


def test_a_large_study_stays_small(tmp_path):
    bids, out = make_study(tmp_path, 700)
    page = write_group(out, bids, n_threads=2).paths[2]
    # 10,000 scans measured: 3.2 MB; each scan beyond the dots adds the 240 bytes of its row.
    assert page.stat().st_size < 1_700_000
    assert page.read_text().count("data-i=") < 12_000


def test_memory_grows_little_with_the_scans(tmp_path):
    """Measured: 1.9 kB a scan from 2,000 to 10,000 scans, of what the machine lends."""

    def peak(n_scans):
        bids, out = make_study(tmp_path / str(n_scans), n_scans)
        tracemalloc.start()
        write_group(out, bids)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(5)  # what is made once and kept
    # From 300 scans on, the page has all the dots it will ever have.
    assert peak(700) - peak(300) < 400 * 2500
