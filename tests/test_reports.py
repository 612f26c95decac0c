from __future__ import annotations

import json
import logging
import re

import pytest

from bids_tract.reports import write_reports
from tests.dataset.indexing import index
from tests.datasets import make_dataset as make_folder
from tests.datasets import write_dwi
from tests.plans import make_dataset, make_scan
from tests.report.outputs import make_outputs


@pytest.fixture
def out(tmp_path):
    """Folders of two participants, one of them with two sessions; nothing was made in them."""
    for place in ("sub-01", "sub-02/ses-1", "sub-02/ses-2"):
        (tmp_path / place).mkdir(parents=True)
    return tmp_path


SCANS = (
    make_scan(sub="01", dir="AP"),
    make_scan(sub="01", dir="PA"),
    make_scan(sub="02", ses="1"),
    make_scan(sub="02", ses="2"),
    make_scan(sub="03"),  # which has no folder
)
FAILURES = {f"sub-{one}": "no bval" for one in ("01_dir-AP", "01_dir-PA", "02_ses-1", "02_ses-2")}


def made(out, *, failures=FAILURES, log_dir=None, n_processes=1):
    return write_reports(
        make_dataset(*SCANS), out, failures=failures, log_dir=log_dir, n_processes=n_processes
    )


def pages(out):
    return sorted(path.name for path in out.glob("*.html"))


def put_run(out, name, label):
    folder = out / "logs" / name
    folder.mkdir(parents=True)
    (folder / "status.json").write_text(json.dumps({label: {"Status": "complete"}}))
    (folder / "settings.toml").write_text(f"# command of {name}\n")
    return folder


@pytest.mark.parametrize("n_processes", [1, 2])
def test_a_page_for_each_participant_and_session_with_a_folder(out, n_processes):
    assert made(out, n_processes=n_processes) == []
    assert pages(out) == ["sub-01.html", "sub-02_ses-1.html", "sub-02_ses-2.html"]
    for name, labels in (
        ("sub-01.html", ["sub-01_dir-AP", "sub-01_dir-PA"]),
        ("sub-02_ses-1.html", ["sub-02_ses-1"]),
        ("sub-02_ses-2.html", ["sub-02_ses-2"]),
    ):
        found = re.findall(r'<section class="card" id="(sub-[^"]+)"', (out / name).read_text())
        assert found == labels


@pytest.mark.parametrize("n_processes", [1, 2])
def test_what_cannot_be_shown_is_said_by_page_in_their_order(out, n_processes):
    (out / "sub-01.html").mkdir()
    (out / "sub-01.html" / "in the way").write_text("")
    errors = made(out, failures={}, n_processes=n_processes)
    assert errors[0].startswith("sub-01: the report could not be made (")
    assert errors[1:] == [
        "sub-02_ses-1: sub-02_ses-1: there are no outputs of this scan",
        "sub-02_ses-2: sub-02_ses-2: there are no outputs of this scan",
    ]
    assert pages(out) == ["sub-01.html", "sub-02_ses-1.html", "sub-02_ses-2.html"]


def test_a_page_tells_the_last_run_with_a_scan_of_it(out):
    put_run(out, "20260101T000000-a", "sub-01_dir-PA")
    put_run(out, "20260301T000000-b", "sub-01_dir-AP")
    put_run(out, "20260201T000000-c", "sub-01_dir-PA")
    put_run(out, "20260401T000000-d", "sub-02_ses-1")
    (put_run(out, "20260501T000000-e", "sub-01_dir-AP") / "status.json").write_text("{")
    assert made(out) == []
    told = {name: (out / name).read_text() for name in pages(out)}
    assert "<pre>command of 20260301T000000-b</pre>" in told["sub-01.html"]
    assert "<pre>command of 20260401T000000-d</pre>" in told["sub-02_ses-1.html"]
    assert "<pre>command of" not in told["sub-02_ses-2.html"]


def test_the_run_that_is_given_is_told_whatever_came_since(out):
    asked = put_run(out, "20260101T000000-a", "sub-01_dir-AP")
    put_run(out, "20260301T000000-b", "sub-01_dir-AP")
    assert made(out, log_dir=asked) == []
    assert "<pre>command of 20260101T000000-a</pre>" in (out / "sub-01.html").read_text()


def test_a_page_tells_the_failures_of_its_participant_only(out):
    made(out, failures=FAILURES | {"sub-01_run-4_dwi.nii.gz": "cut off"})
    page = (out / "sub-01.html").read_text()
    assert "sub-01_run-4_dwi.nii.gz was not finished: cut off" in page
    assert "sub-02_ses-1 was not finished" not in page


def test_made_anew_a_page_tells_the_failure_of_the_run(out):
    """Also that of a participant of whom nothing was made."""
    run = put_run(out, "20260101T000000-a", "sub-03")
    failed = {"sub-03": {"Status": "failed", "Error": "no bvec"}}
    (run / "status.json").write_text(json.dumps(failed))
    made(out)
    assert "no bvec" in (out / "sub-03.html").read_text()


@pytest.fixture
def dataset(tmp_path):
    """Three participants of one scan each."""
    root = make_folder(tmp_path / "raw")
    for sub in ("01", "02", "03"):
        write_dwi(root, f"sub-{sub}_dir-AP_dwi")
    return index(root)


def test_who_failed_at_once_gets_a_page_and_who_is_missing_a_warning(dataset, tmp_path, caplog):
    out = make_outputs(tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        errors = write_reports(
            dataset, out,
            failures={"sub-02_dir-AP": "no <bvec>"}, log_dir=None, n_processes=1,
        )  # fmt: skip
    assert errors == []
    assert sorted(path.name for path in out.glob("*.html")) == ["sub-01.html", "sub-02.html"]
    text = (out / "sub-02.html").read_text()
    assert "This scan was not finished: no &lt;bvec&gt;" in text
    assert not (out / "sub-02").exists()
    (said,) = [one.getMessage() for one in caplog.records]
    assert said.startswith("sub-03 has no results, so no report: ")


def test_sessions_are_told_apart(tmp_path, caplog):
    root = make_folder(tmp_path / "raw")
    for ses in ("1", "2", "3"):
        write_dwi(root, f"sub-01_ses-{ses}_dwi")
    out = make_outputs(tmp_path / "out", {"sub": "01", "ses": "1"})
    write_reports(
        index(root), out, failures={"sub-01_ses-3": "cut off"}, log_dir=None, n_processes=1
    )
    names = ["sub-01_ses-1.html", "sub-01_ses-3.html"]
    assert sorted(path.name for path in out.glob("*.html")) == names
    assert "sub-01_ses-2 has no results" in caplog.text
