"""MetaImage: matrices, byte orders, packings and data files, against headers written by hand."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from diffusionblend.errors import InputError
from diffusionblend.io.volumes import read_volume
from volume_files import ORIGIN, SPACING, blocks

HU = blocks()
VOXELS = HU.astype("<i2").tobytes()
FIELDS = {
    "ObjectType": "Image",
    "NDims": "3",
    "BinaryData": "True",
    "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False",
    "TransformMatrix": "1 0 0 0 1 0 0 0 1",
    "Offset": "-30 -36 100",
    "AnatomicalOrientation": "RAI",
    "ElementSpacing": "1.5 1.5 2",
    "DimSize": "12 16 6",
    "ElementType": "MET_SHORT",
}


FOUR = {
    "NDims": "4",
    "DimSize": "12 16 6 1",
    "ElementSpacing": "1.5 1.5 2 1",
    "Offset": "-30 -36 100 0",
    "TransformMatrix": "1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1",
}


def header(data_file="LOCAL", **changes):
    fields = {**FIELDS, **changes, "ElementDataFile": data_file}
    return "".join(f"{n} = {v}\n" for n, v in fields.items() if v is not None).encode()


def read(tmp_path, data, name="a.mha"):
    notes = []
    (tmp_path / name).write_bytes(data)
    return read_volume(tmp_path / name, on_note=notes.append), " ".join(notes)


def assert_plain(volume):
    np.testing.assert_array_equal(volume.values, HU)
    np.testing.assert_allclose(volume.grid.spacing_mm, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.grid.origin_mm, ORIGIN, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "voxels"),
    [
        ({}, VOXELS),
        ({"BinaryDataByteOrderMSB": "True"}, HU.astype(">i2").tobytes()),
        ({"BinaryDataByteOrderMSB": None, "ElementByteOrderMSB": "1"}, HU.astype(">i2").tobytes()),
        ({"CompressedData": "True"}, zlib.compress(VOXELS)),
        ({"BinaryData": "False"}, " ".join(map(str, HU.astype(int).ravel())).encode()),
        ({"ElementType": "MET_FLOAT"}, HU.astype("<f4").tobytes()),
        ({"ElementSpacing": None, "ElementSize": "1.5 1.5 2"}, VOXELS),
        (FOUR, VOXELS),
    ],
    ids=["plain", "big", "big by another name", "packed", "text", "float", "size", "4D of one"],
)  # fmt: skip
def test_every_form_is_read_without_a_word(tmp_path, changes, voxels):
    volume, notes = read(tmp_path, header(**changes) + voxels)
    assert_plain(volume)
    assert notes == ""


def test_a_header_of_its_own_finds_its_data(tmp_path):
    (tmp_path / "a.raw").write_bytes(VOXELS)
    (tmp_path / "b.raw").write_bytes(b"other bytes" + VOXELS)
    third = len(VOXELS) // 3
    for k in range(3):
        (tmp_path / f"s{k}.raw").write_bytes(VOXELS[k * third : (k + 1) * third])
    for data_file, changes in (
        ("a.raw", {}),
        ("b.raw", {"HeaderSize": "11"}),
        ("b.raw", {"HeaderSize": "-1"}),
        ("LIST\ns0.raw\ns1.raw\ns2.raw", {}),
        ("s%d.raw 0 2 1", {}),
    ):
        assert_plain(read(tmp_path, header(data_file, **changes), "a.mhd")[0])


def test_data_that_is_missing_short_or_elsewhere_is_named(tmp_path):
    (tmp_path / "short.raw").write_bytes(VOXELS[:100])
    for data_file, words in (
        ("scan.raw", r"scan\.raw, and there is no"),
        ("../a.raw", "in another folder"),
        ("short.raw", r"short\.raw is truncated|truncated: its 100 bytes"),
    ):
        with pytest.raises(InputError, match=words):
            read(tmp_path, header(data_file), "a.mhd")


@pytest.mark.parametrize("code", ["LPS", "RAS", "LAI", "PIR", "SLA"])
def test_the_matrix_agrees_with_simpleitk(tmp_path, code):
    image = sitk.GetImageFromArray(HU.astype(np.float32))
    image.SetSpacing(SPACING[::-1])
    image.SetOrigin(ORIGIN)
    sitk.WriteImage(sitk.DICOMOrient(image, code), str(tmp_path / "a.mha"))
    notes = []
    assert_plain(read_volume(tmp_path / "a.mha", on_note=notes.append))
    assert notes == []


def test_a_negative_spacing_runs_backwards(tmp_path):
    volume, _ = read(tmp_path, header(ElementSpacing="1.5 1.5 -2") + VOXELS)
    np.testing.assert_array_equal(volume.values, HU[::-1])
    np.testing.assert_allclose(volume.grid.origin_mm, (-30, -36, 100 - 2 * 5))


def test_what_the_header_leaves_open_or_contradicts_is_reported(tmp_path):
    for changes, words in (
        ({"TransformMatrix": None, "AnatomicalOrientation": "???"}, "orientation"),
        ({"ElementSpacing": None}, "how large"),
        ({"Offset": None}, "no Offset"),
        ({"Modality": "MET_MOD_MR"}, "MET_MOD_MR"),
        ({"AnatomicalOrientation": "RPS"}, "contradicts"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0 2"}, "other lengths"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 0.3 1"}, "sheared"),
    ):
        assert words in read(tmp_path, header(**changes) + VOXELS)[1]


def test_units_and_scales_of_the_header_are_applied_and_reported(tmp_path):
    volume, notes = read(tmp_path, header(DistanceUnits="um") + VOXELS)
    assert volume.grid.spacing_mm == pytest.approx((0.002, 0.0015, 0.0015)) and "made mm" in notes
    scaled = {"ElementToIntensityFunctionSlope": "0.5", "ElementToIntensityFunctionOffset": "-500"}
    volume, notes = read(tmp_path, header(**scaled) + VOXELS)
    np.testing.assert_array_equal(volume.values, HU * 0.5 - 500)
    assert "scales its values" in notes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"NDims": "100"}, "100 dimensions"),
        ({"NDims": "-1"}, "-1 dimensions"),
        ({"NDims": "2147483648"}, "dimensions"),
        ({"NDims": "many"}, "ndims"),
        ({"DimSize": "12 16"}, "dimsize"),
        ({"DimSize": "12 16 0"}, "at least one"),
        ({"DimSize": "12 16 600"}, "truncated"),
        ({"TransformMatrix": "1 0 0 0 1 0 0 1e308 1"}, "unit vectors"),
        ({"ElementType": "MET_OTHER"}, "MET_OTHER"),
        ({"ElementNumberOfChannels": "3"}, "3 components"),
        ({"ElementSpacing": "1.5 1.5 nan"}, "elementspacing"),
        ({"ElementSpacing": "1500 1500 2000"}, "mixed up"),
    ],
)
def test_a_header_that_cannot_be_believed_is_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, header(**changes) + VOXELS)


def refused(tmp_path, data, name, *words):
    with pytest.raises(InputError) as caught:
        read(tmp_path, data, name)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("fields", "n_before"), [({}, 512), ({"HeaderSize": "128"}, 512)])
def test_a_data_file_that_is_too_long_is_told(tmp_path, fields, n_before):
    """As where a header of its own lies before the voxels."""
    (tmp_path / "a.raw").write_bytes(bytes(n_before) + VOXELS)
    _, notes = read(tmp_path, header("a.raw", **fields), "a.mhd")
    first = int(fields.get("HeaderSize", 0))
    assert f"a.raw holds {n_before - first} bytes more" in notes
    assert f"from byte {first} on" in notes and "shifted" in notes
    right = header("a.raw", HeaderSize=str(n_before))
    volume, notes = read(tmp_path, right, "b.mhd")
    np.testing.assert_array_equal(volume.values, HU)
    assert notes == ""


@pytest.mark.parametrize("skip", [-1, 512])
def test_voxels_behind_something_else_in_the_file_itself(tmp_path, skip):
    """HeaderSize counts from the file's beginning, and -1 means its last bytes, as in MetaIO."""
    start = header(HeaderSize=str(skip))
    volume, notes = read(tmp_path, start + b"x" * (512 - len(start)) + VOXELS)
    assert_plain(volume)
    assert not notes
    with pytest.raises(InputError, match=r"begin at byte 20 .HeaderSize., within the header"):
        read(tmp_path, header(HeaderSize="20") + VOXELS)


@pytest.mark.parametrize("folder", ["C:\\scans\\", "d:/scans/", "\\\\server\\scans\\"])
def test_a_path_of_a_computer_with_windows(tmp_path, folder):
    (tmp_path / "a.raw").write_bytes(VOXELS)
    volume, _ = read(tmp_path, header(f"{folder}a.raw"), "a.mhd")
    np.testing.assert_array_equal(volume.values, HU)
    refused(tmp_path, header(f"{folder}b.raw"), "b.mhd", "there is no", "b.raw")


def test_a_data_file_in_other_letters_is_named(tmp_path):
    (tmp_path / "A.RAW").write_bytes(VOXELS)
    refused(tmp_path, header("a.raw"), "a.mhd", "but A.RAW", "rename A.RAW to a.raw")


def test_two_orders_of_bytes_contradict_one_another(tmp_path):
    both = header(ElementByteOrderMSB="True") + VOXELS
    refused(tmp_path, both, "a.mha", "contradicts itself")
    alone = header(BinaryDataByteOrderMSB=None, ElementByteOrderMSB="True")
    volume, _ = read(tmp_path, alone + HU.astype(">i2").tobytes())
    np.testing.assert_array_equal(volume.values, HU)


@pytest.mark.parametrize("pattern", ["a%01000000000d.raw", "a%.999999999f.raw", "a%+400d.raw"])
def test_names_of_files_without_end(tmp_path, pattern):
    refused(tmp_path, header(f"{pattern} 1 6 1"), "a.mhd", "hundreds of digits")


def test_a_pattern_of_a_billion_files(tmp_path):
    words = "lead nowhere", "Expected: a pattern such as slice%03d.raw"
    refused(tmp_path, header("a%d.raw 1 1000000000 1"), "a.mhd", *words)
