from __future__ import annotations

import pytest

from bids_tract.dataset.labels import tissue_labels
from bids_tract.dataset.sources import open_dataset
from bids_tract.errors import DataError, MissingInputError
from tests.datasets import (
    FMRIPREP,
    OTHER,
    QSIPREP,
    SMRIPREP,
    break_link,
    make_dataset,
    write_anat,
)

BIDS = {"wm": (2,), "gm": (1,), "csf": (3,)}
OF_QSIPREP = {"wm": (3, 4), "gm": (2,), "csf": (1,)}


def made_by(*names):
    return {**OTHER, "GeneratedBy": [{"Name": name} for name in names]}


def labels_in(root, description=OTHER, table=None, name="sub-01/anat/sub-01_dseg.tsv"):
    """The labels of an image, with a lookup table or without."""
    image = write_anat(make_dataset(root, description), "sub-01_dseg")
    if table is not None:
        (root / name).write_text(table, encoding="utf-8")
    return tissue_labels(image, open_dataset(root))


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        (QSIPREP, OF_QSIPREP),
        (SMRIPREP, BIDS),
        (FMRIPREP, BIDS),
        (made_by("qsirecon", "qsiprep"), OF_QSIPREP),
        (made_by("fMRIPrep", "sMRIPrep"), BIDS),
        ({"Name": "n", "PipelineDescription": {"Name": "qsiprep"}}, OF_QSIPREP),
    ],
)
def test_labels_of_known_programs(tmp_path, description, expected):
    assert labels_in(tmp_path, description) == (expected, None)


@pytest.mark.parametrize("description", [OTHER, made_by("sMRIPrep", "QSIPrep")])
def test_labels_are_never_assumed(tmp_path, description):
    with pytest.raises(DataError, match=r"nothing says which .* put a table sub-01_dseg\.tsv"):
        labels_in(tmp_path, description)


@pytest.mark.parametrize("description", [OTHER, QSIPREP, FMRIPREP])
@pytest.mark.parametrize(
    "name", ["sub-01/anat/sub-01_dseg.tsv", "sub-01/sub-01_dseg.tsv", "dseg.tsv"]
)
def test_a_table_comes_before_the_program(tmp_path, description, name):
    table = "index\tname\n0\tBackground\n5\tWhite matter\n6\tGrey Matter\n7\tCSF\n"
    labels, path = labels_in(tmp_path, description, table, name)
    assert labels == {"wm": (5,), "gm": (6,), "csf": (7,)}
    assert path == tmp_path / name


def test_the_table_of_another_segmentation_does_not_apply(tmp_path):
    table = "index\tname\n5\tWM\n6\tGM\n7\tCSF\n"
    assert labels_in(tmp_path, QSIPREP, table, "desc-aseg_dseg.tsv") == (OF_QSIPREP, None)


@pytest.mark.parametrize(
    "table",
    [
        "index\tname\n1\tgray_matter\n2\tWhite-Matter\n3\tcerebrospinal fluid\n",
        "index\tabbreviation\tname\n1\tGM\tone\n2\tWM\ttwo\n3\tCSF\tthree\n",
        "index\tname\tmapping\n1\tWM\t1\n2\tGM\t2\n3\tx\t3\n",
        "\ufeffname\tindex\r\nGM\t1\r\nWM\t2\r\n\r\nCSF\t3\r\n",
        "index\tname\tmapping\n1\tGM\tn/a\n2\tWM\t\n3\tCSF\n4\tbone\t4\n0\tGM\t1\n",
    ],
)
def test_the_columns_of_a_table(tmp_path, table):
    assert labels_in(tmp_path, OTHER, table)[0] == BIDS


def test_several_labels_of_one_tissue(tmp_path):
    table = (
        "index\tname\tmapping\n10\tcortex\t8\n11\tthalamus\t9\n20\tcerebral WM\t2\n"
        "21\tlesion\t7\n22\tpons\t10\n30\tventricles\t3\n40\tskull\t4\n50\tvermis\t11\n"
    )
    expected = {"wm": (20, 21, 22), "gm": (10, 11), "csf": (30,)}
    assert labels_in(tmp_path, OTHER, table)[0] == expected


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("index\tname\n1\tGM\n2\tWM\n", "names no label for CSF"),
        ("index\tname\n", "names no label for white matter and grey matter and CSF"),
        ("index\tname\n1.5\tGM\n", "whole number"),
        ("label\tname\n1\tGM\n", "whole number"),
        ("index name\n1 GM\n", "whole number"),
        (" \n", "names no label"),
    ],
)
def test_faulty_tables(tmp_path, table, reason):
    with pytest.raises(DataError, match=rf"sub-01_dseg\.tsv .*{reason}"):
        labels_in(tmp_path, QSIPREP, table)


def test_a_table_that_is_no_text(tmp_path):
    labels_in(tmp_path, QSIPREP)
    (tmp_path / "dseg.tsv").write_bytes(b"index\tname\n1\t\xe9\n")
    with pytest.raises(DataError, match="UTF-8"):
        labels_in(tmp_path, QSIPREP)


def test_a_table_that_was_not_fetched(tmp_path):
    labels_in(tmp_path, QSIPREP)
    path = break_link(tmp_path / "dseg.tsv")
    with pytest.raises(MissingInputError, match=f"datalad get {path}"):
        labels_in(tmp_path, QSIPREP)
