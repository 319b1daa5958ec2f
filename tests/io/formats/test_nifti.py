"""NIfTI: where forms, units and scales put voxels, checked against matrices written by hand."""

from __future__ import annotations

import bz2
import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from diffusionblend.errors import InputError
from diffusionblend.io.volumes import read_volume
from volume_files import (
    ORIGIN,
    SPACING,
    blocks,
    lps_matrix,
    nifti_2_bytes,
    nifti_bytes,
    ras,
    tilted,
    write,
)

HU = blocks().astype(np.int16)
PLAIN = ras(lps_matrix())


def read(path):
    """The volume and the notes on it."""
    notes = []
    return read_volume(path, on_note=notes.append), " ".join(notes)


def read_bytes(tmp_path, data, name="a.nii"):
    return read(write(tmp_path / name, data))


def refused(tmp_path, data, *words):
    with pytest.raises(InputError) as caught:
        read_bytes(tmp_path, data)
    for word in words:
        assert word in str(caught.value)


def at(volume, place_lps):
    """HU at a place in the patient, by the nearest voxel."""
    direction = np.array(volume.grid.direction).reshape(3, 3)
    index = direction.T @ (np.array(place_lps) - volume.grid.origin_mm)
    x, y, z = np.round(index / volume.grid.spacing_mm[::-1]).astype(int)
    return volume.values[z, y, x]


def assert_plain(volume):
    np.testing.assert_array_equal(volume.values, HU)
    np.testing.assert_allclose(volume.grid.spacing_mm, SPACING, rtol=1e-6)
    np.testing.assert_allclose(volume.grid.origin_mm, ORIGIN, atol=1e-4)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
@pytest.mark.parametrize("forms", [("sform",), ("qform",), ("sform", "qform")])
def test_either_form_places_the_volume_without_a_word(tmp_path, name, forms):
    data = nifti_bytes(HU, **dict.fromkeys(forms, PLAIN))
    volume, notes = read_bytes(tmp_path, data, name)
    assert_plain(volume)
    assert notes == ""


@pytest.mark.parametrize("degrees", [20, -12])
@pytest.mark.parametrize("with_qform", [True, False])
def test_a_sheared_sform_is_resampled_to_where_the_voxels_are(tmp_path, degrees, with_qform):
    """As dcm2niix writes it for a tilted gantry: a sheared sform and, with it, a rigid qform."""
    sheared, rigid = tilted(degrees)
    data = nifti_bytes(HU, sform=ras(sheared), qform=ras(rigid) if with_qform else None)
    volume, notes = read_bytes(tmp_path, data)
    assert "sheared" in notes and ("contradicts itself" in notes) == with_qform
    for index, hu in (((4, 5, 1), 700), ((4, 5, 2), 700), ((7, 10, 4), -800), ((8, 4, 5), 40)):
        assert at(volume, (sheared @ [*index, 1])[:3]) == pytest.approx(hu, abs=1e-3)
    axes = np.array(volume.grid.direction).reshape(3, 3)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-12)
    assert volume.values.min() == -1000 and volume.values.max() == 700


def test_an_in_plane_shear_is_resampled_as_simpleitk_would(tmp_path):
    """Rows and columns that are not perpendicular, against SimpleITK's own affine resampling."""
    smooth = np.fromfunction(lambda z, y, x: 10 * z + 20 * y - 30 * x - 500, HU.shape)
    sheared = lps_matrix()
    sheared[0, 1] = 0.3
    data = nifti_bytes(smooth.astype(np.float32), sform=ras(sheared))
    volume, _ = read_bytes(tmp_path, data)
    inside = volume.values != -1000
    index = np.argwhere(inside)[:, ::-1] * volume.grid.spacing_mm[::-1] + volume.grid.origin_mm
    i, j, k = np.linalg.inv(sheared)[:3] @ np.column_stack([index, np.ones(len(index))]).T
    core = (i > 0.01) & (i < 10.9) & (j > 0.01) & (j < 14.9)
    expected = 10 * k + 20 * j - 30 * i - 500
    np.testing.assert_allclose(volume.values[inside][core], expected[core], atol=0.02)
    assert core.sum() > 500


def test_spacing_is_that_of_the_only_form(tmp_path):
    data = nifti_bytes(HU, sform=PLAIN, pixdim=(1, 1, 1, 1, 0, 0, 0, 0))
    volume, notes = read_bytes(tmp_path, data)
    assert_plain(volume)
    assert "pixdim" in notes


def test_forms_apart_are_reported(tmp_path):
    moved = PLAIN.copy()
    moved[:3, 3] += (10, 20, 30)
    volume, notes = read_bytes(tmp_path, nifti_bytes(HU, sform=PLAIN, qform=moved, codes=(2, 1)))
    assert_plain(volume)
    assert "37.4 mm apart" in notes


@pytest.mark.parametrize(("code", "grown"), [(4, False), (2, True)])
def test_a_form_of_a_template_gives_way_to_the_scanners(tmp_path, code, grown):
    """A sform to MNI space stretches the head to that of the template."""
    template = PLAIN.copy()
    template[:3] *= 1.2
    data = nifti_bytes(HU, sform=template, qform=PLAIN, codes=(code, 1))
    volume, notes = read_bytes(tmp_path, data)
    np.testing.assert_allclose(volume.grid.spacing_mm, np.array(SPACING) * (1.2 if grown else 1))
    assert "contradicts itself" in notes


def test_forms_that_differ_by_rounding_are_not_reported(tmp_path):
    close = PLAIN.copy()
    close[:3, 3] += 1e-3
    _, notes = read_bytes(tmp_path, nifti_bytes(HU, sform=PLAIN, qform=close))
    assert notes == ""


def test_no_forms_are_reported(tmp_path):
    data = nifti_bytes(HU, pixdim=(1, 1.5, 1.5, 2, 0, 0, 0, 0))
    volume, notes = read_bytes(tmp_path, data)
    assert volume.grid.spacing_mm == SPACING
    assert "left and right" in notes


@pytest.mark.parametrize(
    ("slope", "inter", "expected", "word"),
    [
        (0, -1024, HU, "left out"),
        (0, 0, HU, ""),
        (np.nan, np.nan, HU, ""),
        (np.inf, 5, HU, "left out"),
        (0.5, -500, HU * 0.5 - 500, ""),
        (-1, 0, -1.0 * HU, "inverted"),
    ],
)
def test_the_scale_is_applied_only_where_there_is_one(tmp_path, slope, inter, expected, word):
    data = nifti_bytes(HU, sform=PLAIN, slope=slope, inter=inter)
    volume, notes = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(volume.values, expected)
    assert (word in notes) if word else notes == ""


def test_a_slope_without_an_intercept_is_refused(tmp_path):
    refused(tmp_path, nifti_bytes(HU, sform=PLAIN, slope=1, inter=np.nan), "scl_inter")


@pytest.mark.parametrize(
    ("units", "scale", "word"),
    [(1, 1e-3, "metres"), (3, 1e3, "micrometres"), (0, 1, ""), (10, 1, "")],
)
def test_units_of_length_are_made_mm(tmp_path, units, scale, word):
    """10 is mm with seconds: the bits above the lowest three are the unit of time."""
    form = np.diag([scale, scale, scale, 1]) @ PLAIN
    volume, notes = read_bytes(tmp_path, nifti_bytes(HU, sform=form, qform=form, units=units))
    assert_plain(volume)
    assert (word in notes) if word else notes == ""


def test_voxels_of_metres_are_refused_as_another_unit(tmp_path):
    refused(tmp_path, nifti_bytes(HU, sform=PLAIN * 100, units=1), "mixed up")


@pytest.mark.parametrize("code", ["RAS", "LAS", "LPS", "RPI", "PIR", "SLA"])
def test_a_flipped_qform_puts_every_voxel_where_simpleitk_does(tmp_path, code):
    """Half of these need a qfac of -1."""
    image = sitk.GetImageFromArray(HU.astype(np.float32))
    image.SetSpacing(SPACING[::-1])
    turned = sitk.DICOMOrient(image, code)
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(turned.GetDirection()).reshape(3, 3) * turned.GetSpacing()
    matrix[:3, 3] = turned.GetOrigin()
    stored = sitk.GetArrayFromImage(turned).astype(np.int16)
    volume, notes = read_bytes(tmp_path, nifti_bytes(stored, qform=ras(matrix)))
    np.testing.assert_array_equal(volume.values, HU)
    np.testing.assert_allclose(volume.grid.origin_mm, 0, atol=1e-4)
    assert notes == ""


def test_a_form_that_places_nothing_gives_way_to_the_other(tmp_path):
    volume, notes = read_bytes(tmp_path, nifti_bytes(HU, sform=PLAIN * 0, qform=PLAIN))
    assert_plain(volume)
    assert "sform" in notes and "not used" in notes
    volume, notes = read_bytes(
        tmp_path, nifti_bytes(HU, sform=PLAIN, qform=PLAIN, quaternion=(2, 0, 0))
    )
    assert_plain(volume)
    assert "qform" in notes
    refused(tmp_path, nifti_bytes(HU, sform=PLAIN * np.nan), "place nothing")


def test_a_negative_pixdim_is_reported(tmp_path):
    data = nifti_bytes(HU, qform=PLAIN, pixdim=(-1, 1.5, -1.5, 2, 0, 0, 0, 0))
    with pytest.raises(AssertionError):
        assert_plain(read_bytes(tmp_path, data)[0])  # qfac of -1: the third axis is flipped
    assert "negative pixdim" in read_bytes(tmp_path, data)[1]


@pytest.mark.parametrize("order", ["<", ">"])
def test_nifti_2_is_read(tmp_path, order):
    volume, notes = read_bytes(tmp_path, nifti_2_bytes(HU, PLAIN, order), "a.nii.gz")
    assert_plain(volume)
    assert notes == ""


def test_big_endian_is_read(tmp_path):
    assert_plain(read_bytes(tmp_path, nifti_bytes(HU, qform=PLAIN, order=">"))[0])


@pytest.mark.parametrize(("name", "packed"), [("a.nii.gz", False), ("a.nii", True)])
def test_what_is_packed_is_decided_by_the_content_not_by_the_name(tmp_path, name, packed):
    data = nifti_bytes(HU, sform=PLAIN)
    (tmp_path / name).write_bytes(gzip.compress(data) if packed else data)
    assert_plain(read(tmp_path / name)[0])


def test_a_voxel_offset_of_0_means_right_behind_the_header(tmp_path):
    assert_plain(read_bytes(tmp_path, nifti_bytes(HU, sform=PLAIN, vox_offset=0))[0])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"dim": (4, 12, 16, 3, 2, 1, 1, 1)}, ("4 dimensions", "time point")),
        ({"dim": (5, 12, 16, 2, 1, 3, 1, 1)}, ("5 dimensions",)),
        ({"dim": (2, 12, 16, 1, 1, 1, 1, 1)}, ("2 dimensions",)),
        ({"dim": (3, 12, -16, 6, 1, 1, 1, 1)}, ("dimensions",)),
        ({"bitpix": 8}, ("bitpix", "contradicts")),
        ({"vox_offset": 100}, ("vox_offset",)),
        ({"vox_offset": np.nan}, ("vox_offset",)),
        ({"vox_offset": 1e30}, ("vox_offset",)),
        ({"datatype": 128, "bitpix": 24}, ("colours",)),
        ({"datatype": 32, "bitpix": 64}, ("complex",)),
        ({"magic": b"ni1\0"}, (".hdr and .img",)),
        ({"magic": b"\0\0\0\0"}, ("not a NIfTI file", "Analyze")),
        ({"dim": (3, 12, 16, 7, 1, 1, 1, 1)}, ("truncated",)),
        ({"dim": (3, 30000, 30000, 30000, 1, 1, 1, 1)}, ("claims", "copy it again")),
        ({"srow": (0, 0, 0, 0) * 3}, ("place nothing",)),
    ],
)
def test_a_header_that_cannot_be_believed_is_refused(tmp_path, fields, words):
    refused(tmp_path, nifti_bytes(HU, sform=PLAIN, **fields), *words)


def test_trailing_axes_of_one_are_dropped(tmp_path):
    assert_plain(
        read_bytes(tmp_path, nifti_bytes(HU, sform=PLAIN, dim=(5, 12, 16, 6, 1, 1, 1, 1)))[0]
    )


def test_stored_numbers_padded_below_zero_are_refused(tmp_path):
    raw = HU + 1024
    raw[:2] = -2000
    refused(tmp_path, nifti_bytes(raw, sform=PLAIN), "1064", "intercept")


def test_padding_stored_without_its_sign_is_refused_by_name(tmp_path):
    """What a converter makes of unsigned slices whose padding is 63536, with intercept -1024."""
    values = HU.astype(np.float32)
    values[:, 0] = 63536 - 1024
    refused(tmp_path, nifti_bytes(values, sform=PLAIN), "62512", "63536")


def test_bytes_behind_the_voxels_are_told(tmp_path):
    data = nifti_bytes(HU, sform=PLAIN) + bytes(100)
    for name, whole in (("a.nii", data), ("b.nii.gz", data)):
        volume, notes = read_bytes(tmp_path, whole, name)
        assert_plain(volume)
        assert "holds 100 bytes more" in notes and "from byte 352 on" in notes


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_a_file_packed_twice_is_said_to_be(tmp_path, pack):
    twice = pack(nifti_bytes(HU, sform=PLAIN))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(twice))
    with pytest.raises(InputError, match="packed once more"):
        read(tmp_path / "a.nii.gz")


def test_voxels_of_an_odd_size_without_a_unit_are_told(tmp_path):
    small = np.diag([0.01, 0.01, 0.01, 1]) @ PLAIN
    _, notes = read_bytes(tmp_path, nifti_bytes(HU, sform=small, units=0))
    assert "names no unit of length, and its voxels measure 0.02 x 0.015 x 0.015" in notes
    assert read_bytes(tmp_path, nifti_bytes(HU, sform=small, units=2))[1] == ""
