"""Stored pixels: photometric interpretation, bits, sign, padding, byte order and packing."""

from __future__ import annotations

import warnings

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless

from dicom_series import INTERCEPT_HU, SERIES_UID, hu_pattern, write_series
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series

HU = hu_pattern()


def unsigned(dataset, change=lambda stored: stored, bits=16):
    """Make a slice's numbers unsigned."""
    stored = np.frombuffer(dataset.PixelData, "<i2").astype(int)
    dataset.PixelRepresentation = 0
    dataset.BitsStored, dataset.HighBit = bits, bits - 1
    dataset.PixelData = change(stored).astype("<u2").tobytes()


def refused(folder, *words):
    with pytest.raises(InputError) as caught:
        read_dicom_series(folder)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("is_unsigned", [False, True])
@pytest.mark.parametrize("bits", [16, 12])
def test_monochrome1_is_for_display_only(tmp_path, is_unsigned, bits):
    def change(i, dataset):
        dataset.PhotometricInterpretation = "MONOCHROME1"
        if is_unsigned:
            unsigned(dataset, bits=bits)
        else:
            dataset.RescaleIntercept, dataset.BitsStored = 0, bits
            dataset.HighBit = bits - 1
            dataset.PixelData = HU[i].astype("<i2").tobytes()

    write_series(tmp_path, HU, change=change)
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU)
    assert report.warnings == ()


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("bits", [16, 12])
def test_padding_that_lost_its_sign_becomes_air(tmp_path, vr, declared, bits):
    """-2000 as 16 unsigned bits is 63536, with or without a word in the header."""

    def change(i, dataset):
        def padded(stored):
            stored[:7] = 63536
            return stored

        unsigned(dataset, padded, bits)
        if declared:
            dataset.add_new("PixelPaddingValue", vr, 63536 if vr == "US" else -2000)

    write_series(tmp_path, HU, change=change)
    volume, report = read_dicom_series(tmp_path)
    assert (volume.values.reshape(6, -1)[:, :7] == -1024).all()
    np.testing.assert_array_equal(volume.values.reshape(6, -1)[:, 7:], HU.reshape(6, -1)[:, 7:])
    assert report.padding_voxels == 6 * 7
    assert bool(report.warnings) == (not declared)


@pytest.mark.parametrize(("first", "last"), [(-2000, -1500), (-1500, -2000)])
def test_a_padding_range_is_filled_whichever_end_comes_first(tmp_path, first, last):
    hu = HU.copy()
    hu[:, 0, :3] = np.array([-2000, -1700, -1500]) + INTERCEPT_HU

    def change(i, dataset):
        dataset.add_new("PixelPaddingValue", "SS", first)
        dataset.add_new("PixelPaddingRangeLimit", "SS", last)

    write_series(tmp_path, hu, change=change)
    volume, report = read_dicom_series(tmp_path)
    assert (volume.values[:, 0, :3] == -1024).all() and report.padding_voxels == 18


def test_an_unsigned_padding_range_is_filled(tmp_path):
    def change(i, dataset):
        def padded(stored):
            stored[:3] = [63536, 63700, 64000]
            return stored

        unsigned(dataset, padded)
        dataset.add_new("PixelPaddingValue", "US", 63536)
        dataset.add_new("PixelPaddingRangeLimit", "US", 64000)

    write_series(tmp_path, HU, change=change)
    _, report = read_dicom_series(tmp_path)
    assert report.padding_voxels == 18 and report.warnings == ()


def test_signed_numbers_called_unsigned_are_refused_with_both_readings(tmp_path):
    def change(i, dataset):
        dataset.RescaleIntercept = 0
        dataset.PixelData = HU[i].astype("<i2").tobytes()
        dataset.PixelRepresentation = 0

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "contradicts itself", "65524 HU by its header", "-12 HU as a signed number")


def test_more_bits_than_are_said_to_be_stored_are_refused(tmp_path):
    def change(i, dataset):
        unsigned(dataset, lambda stored: stored + 3000, bits=12)

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "contradicts itself", "BitsStored 12")


def test_signed_numbers_of_12_bits_are_read_with_and_without_the_sign_above(tmp_path):
    for i, mask in enumerate((0xFFFF, 0x0FFF)):

        def change(k, dataset, mask=mask):
            dataset.RescaleIntercept, dataset.BitsStored, dataset.HighBit = 0, 12, 11
            dataset.PixelData = (HU[k].astype(int) & mask).astype("<u2").tobytes()

        write_series(tmp_path / str(i), HU, change=change)
        np.testing.assert_array_equal(read_dicom_series(tmp_path / str(i))[0].values, HU)


def test_numbers_above_the_lowest_bits_are_shifted(tmp_path):
    def change(i, dataset):
        unsigned(dataset, lambda stored: stored << 4, bits=12)
        dataset.HighBit = 15

    write_series(tmp_path, HU, change=change)
    np.testing.assert_array_equal(read_dicom_series(tmp_path)[0].values, HU)


@pytest.mark.parametrize("above", [0xF000, 0x4000])
def test_bits_above_that_all_pixels_have_are_left_out(tmp_path, above):
    write_series(
        tmp_path, HU, change=lambda i, d: unsigned(d, lambda stored: stored | above, bits=12)
    )
    np.testing.assert_array_equal(read_dicom_series(tmp_path)[0].values, HU)


def test_an_overlay_in_the_bits_above_is_left_out(tmp_path):
    def change(i, dataset):
        unsigned(dataset, lambda stored: stored | 0x8000, bits=12)
        dataset.add_new(0x60000102, "US", 15)

    write_series(tmp_path, HU, change=change)
    np.testing.assert_array_equal(read_dicom_series(tmp_path)[0].values, HU)


@pytest.mark.parametrize(
    ("syntax", "words"),
    [(ExplicitVRBigEndian, "big"), (DeflatedExplicitVRLittleEndian, "deflated"), (None, "RLE")],
)
def test_every_order_and_packing_gives_the_same_hu(tmp_path, syntax, words):
    def change(i, dataset):
        dataset.PhotometricInterpretation = "MONOCHROME1"
        if syntax is None:
            dataset.compress(RLELossless)
        else:
            dataset.file_meta.TransferSyntaxUID = syntax
        if syntax is ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").astype(">i2").tobytes()
            dataset["PixelData"].VR = "OW"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        write_series(tmp_path, HU, change=change)
    np.testing.assert_array_equal(read_dicom_series(tmp_path)[0].values, HU)


def write_packed(folder, compressor, **tags):
    """A series that SimpleITK packs, with tags changed afterwards."""
    folder.mkdir()
    hu = hu_pattern(4, 32, 32)
    for i, values in enumerate(hu):
        image = sitk.GetImageFromArray(values.astype(np.int16)[None])
        writer = sitk.ImageFileWriter()
        writer.SetFileName(str(folder / f"{i}.dcm"))
        writer.SetUseCompression(True)
        writer.SetCompressor(compressor)
        writer.Execute(image)
        dataset = pydicom.dcmread(folder / f"{i}.dcm")
        dataset.Modality, dataset.SeriesInstanceUID = "CT", SERIES_UID
        dataset.ImagePositionPatient = [0.0, 0.0, 2.0 * i]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelSpacing = [0.5, 0.75]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
        for name, value in tags.items():
            setattr(dataset, name, value)
        dataset.save_as(folder / f"{i}.dcm")
    return hu


@pytest.mark.parametrize("compressor", ["JPEG2000", "JPEG"])
def test_jpeg_is_unpacked_and_its_polarity_left_alone(tmp_path, compressor):
    hu = write_packed(tmp_path / "a", compressor, PhotometricInterpretation="MONOCHROME1")
    syntax = pydicom.dcmread(tmp_path / "a" / "0.dcm").file_meta.TransferSyntaxUID
    assert syntax.is_compressed and syntax != RLELossless
    np.testing.assert_array_equal(read_dicom_series(tmp_path / "a")[0].values, hu)


def test_a_truncated_jpeg_is_refused(tmp_path):
    write_packed(tmp_path / "a", "JPEG2000")
    whole = (tmp_path / "a" / "2.dcm").read_bytes()
    (tmp_path / "a" / "2.dcm").write_bytes(whole[:-300])
    refused(tmp_path / "a", "2.dcm")


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.1.2.4.201", "High-Throughput JPEG 2000"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
    ],
)
def test_a_packing_that_cannot_be_unpacked_is_named(tmp_path, uid, name):
    def change(i, dataset):
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = uid

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, ".dcm", name, "gdcmconv")


def test_bits_that_cannot_be_are_refused(tmp_path):
    def change(i, dataset):
        dataset.BitsStored, dataset.HighBit = 12, 3

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "contradicts itself", "12 stored")


def test_pixel_data_of_another_size_than_the_rows_say_are_refused(tmp_path):
    def change(i, dataset):
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 2]
        dataset.add_new((0x7FE1, 0x0010), "LO", "x" * 60)
        dataset.add_new((0x7FE1, 0x1010), "OB", bytes(500))

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "contradicts itself", "PixelData")


@pytest.mark.parametrize("unit", ["MGML", "Z_EFF", "ED", "PCT", "OD", "EDW"])
def test_what_is_no_hu_by_its_rescale_type_is_refused(tmp_path, unit):
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, "RescaleType", unit))
    refused(tmp_path, f"RescaleType {unit}", "HU")


@pytest.mark.parametrize(
    ("unit", "told"), [("HU", False), ("hu ", False), ("US", True), ("HU_MOD", True)]
)
def test_rescale_types_that_are_hu_are_read(tmp_path, unit, told):
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, "RescaleType", unit))
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU)
    assert bool(report.warnings) == told


def test_a_table_of_values_is_refused(tmp_path):
    def change(i, dataset):
        dataset.ModalityLUTSequence = [pydicom.Dataset()]

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "Modality LUT")


def test_loss_by_compression_and_gaps_between_slices_are_reported(tmp_path):
    def change(i, dataset):
        dataset.LossyImageCompression, dataset.SliceThickness = "01", "1"

    write_series(tmp_path, HU, heights_mm=[10.0 * i for i in range(6)], change=change)
    notes = " ".join(read_dicom_series(tmp_path)[1].warnings)
    assert "with loss" in notes and "1 mm thick and 10 mm apart" in notes
