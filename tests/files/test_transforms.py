"""ITK's text format: what others read in it, and what is refused."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bids_tract.errors import DataError, MissingInputError, OutputError
from bids_tract.files.transforms import read_itk_affine, write_itk_affine

ANGLES = st.floats(-180, 180)
SHIFTS = st.floats(-300, 300)
ANTS = """#Insight Transform File V1.0
#Transform 0
Transform: {kind}
Parameters: {parameters}
FixedParameters: {centre}
"""


def rigid(angles, shift):
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    matrix[:3, 3] = shift
    return matrix


MATRIX = rigid((10, -20, 35), (3, -14, 7.25))


def ants_file(path, kind="AffineTransform_double_3_3", parameters="1 0 0 0 1 0 0 0 1 0 0 0",
              centre="0 0 0"):  # fmt: skip
    path.write_text(ANTS.format(kind=kind, parameters=parameters, centre=centre))
    return path


@settings(max_examples=50, deadline=None)
@given(
    angles=st.tuples(ANGLES, ANGLES, ANGLES),
    shift=st.tuples(SHIFTS, SHIFTS, SHIFTS),
    scale=st.tuples(*[st.floats(0.5, 2)] * 3),
)
def test_what_is_written_is_read_back_exactly(tmp_path_factory, angles, shift, scale):
    matrix = rigid(angles, shift) @ np.diag([*scale, 1.0])
    path = tmp_path_factory.mktemp("xfm") / "from-T1w_to-dwi_mode-image_xfm.txt"
    write_itk_affine(path, matrix)
    np.testing.assert_array_equal(read_itk_affine(path), matrix)


def test_the_file_is_in_the_frame_of_itk(tmp_path):
    """A point 1 mm to the left and 2 mm to the back goes where the matrix takes it."""
    path = tmp_path / "a.txt"
    write_itk_affine(path, MATRIX)
    lines = path.read_text().splitlines()
    assert lines[:3] == [
        "#Insight Transform File V1.0",
        "#Transform 0",
        "Transform: MatrixOffsetTransformBase_double_3_3",
    ]
    assert lines[4] == "FixedParameters: 0 0 0"
    numbers = np.array(lines[3].removeprefix("Parameters: ").split(), float)
    in_lps = numbers[:9].reshape(3, 3) @ (1, 2, 3) + numbers[9:]
    in_ras = MATRIX @ (-1, -2, 3, 1)
    np.testing.assert_allclose(in_lps * (-1, -1, 1), in_ras[:3], rtol=1e-12)


def test_no_minus_before_zero(tmp_path):
    write_itk_affine(tmp_path / "a.txt", np.eye(4))
    assert "-" not in (tmp_path / "a.txt").read_text()


@pytest.mark.skipif(shutil.which("transformconvert") is None, reason="MRtrix3 is not installed")
def test_mrtrix_reads_the_same_matrix(tmp_path):
    write_itk_affine(tmp_path / "a.txt", MATRIX)
    command = ["transformconvert", "a.txt", "itk_import", "b.txt", "-quiet"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=60)
    # Seven digits are what MRtrix3 writes of a shift of 14 mm.
    np.testing.assert_allclose(np.loadtxt(tmp_path / "b.txt"), MATRIX, atol=1e-5)


def test_a_centre_of_rotation_as_ants_writes_it(tmp_path):
    """The centre is a fixed point up to the shift: turning half about z through (10, 20, 5)."""
    path = ants_file(tmp_path / "a.txt", parameters="-1 0 0 0 -1 0 0 0 1 1 0 0", centre="10 20 5")
    matrix = read_itk_affine(path)
    np.testing.assert_allclose(matrix @ (-10, -20, 5, 1), (-11, -20, 5, 1))
    np.testing.assert_allclose(matrix @ (-11, -20, 5, 1), (-10, -20, 5, 1))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"kind": "Euler3DTransform_double_3_3"}, "holds Euler3DTransform_double_3_3; expected"),
        ({"parameters": "1 0 0 0 1 0"}, "expected 12 finite numbers"),
        ({"parameters": "1 0 0 0 1 0 0 0 1 0 0 nan"}, "expected 12 finite numbers"),
        ({"parameters": "1 0 0 0 1 0 0 0 1 0 0 x"}, "other than numbers"),
        ({"parameters": "0 0 0 0 1 0 0 0 1 0 0 0"}, "cannot be inverted"),
        ({"centre": "0 0"}, "FixedParameters holds '0 0'; expected 3"),
    ],
)
def test_what_is_no_affine_transform(tmp_path, content, sentence):
    path = ants_file(tmp_path / "bad.txt", **content)
    with pytest.raises(DataError, match=f"bad.txt.*{sentence}"):
        read_itk_affine(path)


def test_several_transforms(tmp_path):
    path = ants_file(tmp_path / "two.txt")
    path.write_text(path.read_text() + "#Transform 1\nTransform: AffineTransform_double_3_3\n")
    with pytest.raises(DataError, match=r"two.txt holds Affine\w+ and Affine\w+; expected one"):
        read_itk_affine(path)


@pytest.mark.parametrize("content", [b"1 0 0 0\n0 1 0 0\n", b"\x00\xff\x80AffineTransform", b"\n"])
def test_what_is_not_itks_text(tmp_path, content):
    path = tmp_path / "a.mat"
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_itk_affine(path)


def test_a_file_that_is_not_here(tmp_path):
    with pytest.raises(MissingInputError, match=r"gone\.txt does not exist"):
        read_itk_affine(tmp_path / "gone.txt")


def test_a_former_file_stays_when_writing_fails(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        write_itk_affine(tmp_path / "file" / "a.txt", MATRIX)


@pytest.mark.parametrize("matrix", [np.eye(3), np.full((4, 4), np.nan), np.ones((4, 4))])
def test_what_is_no_affine_matrix_is_not_written(tmp_path, matrix):
    with pytest.raises(ValueError, match=r"4 x 4|last row"):
        write_itk_affine(tmp_path / "a.txt", matrix)
    assert not list(tmp_path.iterdir())
