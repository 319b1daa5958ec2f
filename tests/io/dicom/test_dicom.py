from __future__ import annotations

import shutil

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ImplicitVRLittleEndian, RLELossless

from dicom_series import INTERCEPT_HU, SERIES_UID, hu_pattern, write_series
from diffusionblend.data.volume import downsample_in_plane
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series
from diffusionblend.io.volumes import read_volume


def test_values_and_geometry_are_those_written(tmp_path):
    hu = hu_pattern()
    write_series(tmp_path, hu, heights_mm=[30.0 + 2.5 * i for i in range(6)])
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu)
    assert volume.grid.spacing_mm == (2.5, 0.5, 0.75)
    assert volume.grid.origin_mm == (-10.0, -20.0, 30.0)
    assert volume.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert (report.n_slices, report.kernel, report.kvp) == (6, "B30f", 120.0)
    assert report.hu_range == (hu.min(), hu.max())
    assert report.warnings == () and report.padding_voxels == 0 and report.skipped_files == 0


def test_slices_are_sorted_by_place_not_by_name_or_number(tmp_path):
    hu = hu_pattern()
    order = [3, 0, 5, 1, 4, 2]
    write_series(tmp_path, hu[order], heights_mm=[2.0 * i for i in order])
    volume, _ = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu)


def test_a_feet_first_series_is_turned_to_lps(tmp_path):
    """Rows run to the right and columns to the front, so both in-plane axes must be flipped."""
    hu = hu_pattern()

    def turn(i, dataset):
        dataset.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]

    write_series(tmp_path, hu, change=turn)
    volume, _ = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu[:, ::-1, ::-1])
    assert volume.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert volume.grid.origin_mm == pytest.approx((-10 - 9 * 0.75, -20 - 7 * 0.5, 0))


def test_a_sagittal_series_is_turned_to_lps(tmp_path):
    hu = hu_pattern()

    def turn(i, dataset):  # columns to the back, rows to the feet, slices to the right
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [-2.0 * i, 0, 0]

    write_series(tmp_path, hu, change=turn)
    volume, _ = read_dicom_series(tmp_path)
    assert volume.grid.shape == (8, 10, 6)
    assert volume.grid.spacing_mm == (0.5, 0.75, 2.0)
    expected = np.transpose(hu, (1, 2, 0))[::-1, :, ::-1]  # (row, column, slice) to (z, y, x)
    np.testing.assert_array_equal(volume.values, expected)


@pytest.mark.parametrize("stored_as_unsigned", [False, True])
def test_padding_becomes_minus_1024(tmp_path, stored_as_unsigned):
    hu = hu_pattern()
    hu[:, 0, :3] = -2000 + INTERCEPT_HU  # the padding value itself
    hu[2, 4, 4] = -1500  # below any CT number, though not the padding value

    def pad(i, dataset):
        if stored_as_unsigned:
            dataset.add_new("PixelPaddingValue", "US", 65536 - 2000)
        else:
            dataset.add_new("PixelPaddingValue", "SS", -2000)

    write_series(tmp_path, hu, change=pad)
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, np.maximum(hu, -1024))
    assert report.padding_voxels == 6 * 3 + 1


def test_a_padding_value_just_below_air_is_filled_where_it_stands_only(tmp_path):
    hu = np.maximum(hu_pattern(), -990)
    hu[:, 0, 0] = -1000

    def pad(i, dataset):
        dataset.add_new("PixelPaddingValue", "SS", -1000 - INTERCEPT_HU)

    write_series(tmp_path, hu, change=pad)
    volume, report = read_dicom_series(tmp_path)
    assert (volume.values[:, 0, 0] == -1024).all() and report.padding_voxels == 6
    assert (volume.values == -1024).sum() == 6


def test_a_padding_value_in_tissue_is_not_believed(tmp_path):
    def pad(i, dataset):
        dataset.add_new("PixelPaddingValue", "SS", -INTERCEPT_HU)  # 0 HU

    write_series(tmp_path, change=pad)
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu_pattern())
    assert len(report.warnings) == 1 and "0 HU" in report.warnings[0]


def test_compressed_and_implicit_series_are_read(tmp_path):
    def encode(i, dataset):
        if i % 2:
            dataset.compress(RLELossless)
        else:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian

    write_series(tmp_path, change=encode)
    volume, _ = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu_pattern())


def test_numbers_longer_than_allowed_are_read_silently(tmp_path, capfd):
    """Many exports break the limit of 16 characters."""

    def lengthen(i, dataset):
        position = b"-10.00000000000000\\-20.00000000000000\\%d.0000000000000000 " % (2 * i)
        dataset["ImagePositionPatient"] = RawDataElement(
            Tag("ImagePositionPatient"), "DS", len(position), position, 0, False, True
        )

    write_series(tmp_path, change=lengthen)
    capfd.readouterr()
    volume, _ = read_dicom_series(tmp_path)
    assert volume.grid.origin_mm == (-10.0, -20.0, 0.0)
    assert capfd.readouterr() == ("", "")


def test_other_files_are_skipped_and_counted(tmp_path):
    write_series(tmp_path)
    (tmp_path / "notes.txt").write_text("not DICOM")
    (tmp_path / "DICOMDIR").write_bytes(b"\0" * 200)
    (tmp_path / ".hidden.dcm").write_bytes(b"x")
    _, report = read_dicom_series(tmp_path)
    assert report.skipped_files == 3


def test_the_report_holds_no_patient_data(tmp_path):
    write_series(tmp_path)
    _, report = read_dicom_series(tmp_path)
    assert "secret" not in repr(report.as_dict()).lower()


def test_a_tilt_stated_only_by_the_header_is_a_warning(tmp_path):
    def tilt(i, dataset):
        dataset.GantryDetectorTilt = 12

    write_series(tmp_path, change=tilt)
    _, report = read_dicom_series(tmp_path)
    assert "12 degrees" in report.warnings[0]


# ---- refused


def refused(folder, *words, **options):
    """Read the folder and check that the message holds the words."""
    with pytest.raises(InputError) as caught:
        read_dicom_series(folder, **options)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


def test_no_folder_and_empty_folder(tmp_path):
    refused(tmp_path / "none", "no folder")
    refused(tmp_path, "no DICOM images", "no files")
    (tmp_path / "CT").mkdir()
    (tmp_path / "readme").write_text("hello")
    refused(tmp_path, "1 other file", "another folder")
    write_series(tmp_path / "PATIENT" / "CT 1")
    refused(tmp_path, "PATIENT/CT 1, which holds DICOM files")


@pytest.mark.parametrize("missing", [1, 3])
def test_missing_slice(tmp_path, missing):
    paths = write_series(tmp_path)
    paths[missing].unlink()
    message = refused(tmp_path, "missing", f"{missing - 1}.dcm and {missing + 1}.dcm", "4 mm")
    assert "others 2 mm" in message


def test_duplicated_slice(tmp_path):
    write_series(tmp_path, heights_mm=[0, 2, 4, 4.1, 6, 8])
    refused(tmp_path, "2.dcm and 3.dcm", "one place", "0.100 mm", "others 2 mm")


def test_every_slice_twice(tmp_path):
    write_series(tmp_path, heights_mm=[0, 2, 4, 0, 2, 4])
    refused(tmp_path, "one place", "others 2 mm")


def test_irregular_spacing(tmp_path):
    write_series(tmp_path, heights_mm=[0, 2, 4, 6.7, 8, 10.6])
    refused(tmp_path, "irregular", "from 1.3 to 2.7 mm")


def test_positions_rounded_to_a_tenth_are_regular(tmp_path):
    exact = [0.625 * i for i in range(6)]
    write_series(tmp_path, heights_mm=[round(z, 1) for z in exact])
    volume, _ = read_dicom_series(tmp_path)
    assert volume.grid.spacing_mm[0] == pytest.approx(0.625, abs=0.03)


def test_one_tilted_slice(tmp_path):
    def tilt(i, dataset):
        if i == 4:
            c, s = np.cos(np.radians(3)), np.sin(np.radians(3))
            dataset.ImageOrientationPatient = [1, 0, 0, 0, float(round(c, 8)), float(round(s, 8))]

    write_series(tmp_path, change=tilt)
    refused(tmp_path, "4.dcm", "tilted by 3.0 degrees")


def test_oblique_slices_along_their_normal_are_read(tmp_path):
    angle = np.radians(10)
    normal = np.array([0, -np.sin(angle), np.cos(angle)])

    def tilt(i, dataset):
        axes = [1, 0, 0, 0, np.cos(angle), np.sin(angle)]
        dataset.ImageOrientationPatient = [float(round(a, 9)) for a in axes]
        dataset.ImagePositionPatient = [float(round(p, 9)) for p in 2.0 * i * normal]

    write_series(tmp_path, change=tilt)
    volume, _ = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, hu_pattern())
    direction = np.array(volume.grid.direction).reshape(3, 3)
    np.testing.assert_allclose(direction[:, 2], normal, atol=1e-6)
    assert volume.grid.spacing_mm[0] == pytest.approx(2.0, abs=1e-6)


def test_two_series_mixed_and_picked(tmp_path):
    other = SERIES_UID + ".9"

    def rename(i, dataset):
        if i >= 3:
            dataset.SeriesInstanceUID = other

    write_series(tmp_path, change=rename)
    refused(tmp_path, f"{SERIES_UID}: 3 image(s)", f"{other}: 3 image(s)", "--series")
    refused(tmp_path, "no series 1.2", other, series_uid="1.2")
    volume, report = read_dicom_series(tmp_path, series_uid=other)
    np.testing.assert_array_equal(volume.values, hu_pattern()[3:])
    assert report.skipped_files == 3


def colour(i, dataset):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = b"\x7f" * (dataset.Rows * dataset.Columns * 3)


def localiser(i, dataset):
    if i == 2:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def magnetic(i, dataset):
    dataset.Modality = "MR"


def unplaced(i, dataset):
    if i == 1:
        del dataset.ImagePositionPatient


def unoriented(i, dataset):
    del dataset.ImageOrientationPatient


def skew(i, dataset):
    dataset.ImageOrientationPatient = [1, 0, 0, 1, 0, 0]


def multi_frame(i, dataset):
    dataset.NumberOfFrames = 2
    dataset.PixelData = dataset.PixelData * 2


def other_pixels(i, dataset):
    if i == 3:
        dataset.PixelSpacing = [0.6, 0.75]


def sizeless(i, dataset):
    del dataset.Columns


def of_two_sizes(i, dataset):
    dataset.Columns = [dataset.Columns, 3]


def flat_pixels(i, dataset):
    dataset.PixelSpacing = [0, 0]


def endless_pixels(i, dataset):
    dataset.PixelSpacing = ["1e300", "1e300"]


def unnumbered(i, dataset):
    dataset.PixelSpacing = 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (colour, ("colour", "3 samples")),
        (sizeless, ("8 Rows and 0 Columns",)),
        (of_two_sizes, ("has the Columns", "3.0.", "a whole number")),
        (localiser, ("2.dcm", "localiser")),
        (magnetic, ("modality MR",)),
        (unplaced, ("1.dcm", "ImagePositionPatient")),
        (unoriented, ("ImageOrientationPatient",)),
        (skew, ("perpendicular",)),
        (multi_frame, ("2 frames",)),
        (other_pixels, ("differ in size", "3.dcm")),
        (unnumbered, ("PixelSpacing",)),
        (flat_pixels, ("no valid PixelSpacing",)),
        (endless_pixels, ("no valid PixelSpacing",)),
    ],
)
def test_images_that_are_not_placed_grey_ct_slices(tmp_path, change, words):
    write_series(tmp_path, change=change)
    refused(tmp_path, *words)


def test_fewer_than_three_slices(tmp_path):
    write_series(tmp_path, hu_pattern(2))
    refused(tmp_path, "2 slice(s)", "at least 3")


@pytest.mark.parametrize("keep", [0, 100, 300, 500, -150, -1])
def test_truncated_file(tmp_path, keep):
    paths = write_series(tmp_path)
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[:keep])
    refused(tmp_path, "2.dcm", "truncated")


def test_truncated_compressed_file(tmp_path):
    paths = write_series(tmp_path, change=lambda i, dataset: dataset.compress(RLELossless))
    whole = paths[2].read_bytes()
    paths[2].write_bytes(whole[: len(whole) - 60])
    refused(tmp_path, "truncated")


# ---- real series


def test_a_real_series_agrees_with_its_nifti(shared_data):
    """The NIfTI holds the 2 x 2 means in whole HU, clipped, so rounding alone may differ."""
    volume, report = read_dicom_series(shared_data / "dicom" / "Lung_Dx-A0001-B")
    expected = read_volume(shared_data / "volumes" / "train" / "Lung_Dx-A0001-B.nii.gz")
    clipped = volume.with_values(np.clip(volume.values, -1024, 3071))
    reduced = downsample_in_plane(clipped, 2)
    assert np.abs(reduced.values - expected.values).max() <= 0.5
    np.testing.assert_allclose(reduced.grid.spacing_mm, expected.grid.spacing_mm, rtol=1e-6)
    assert reduced.grid.direction == expected.grid.direction
    assert (report.n_slices, report.manufacturer) == (64, "Philips")


def test_a_real_series_with_a_duplicate_is_refused(shared_data):
    folder = shared_data / "dicom" / "RIDER-Pilot-0109-duplicate-slice"
    refused(folder, "1-01.dcm and 2-01.dcm", "0.005 mm", "others 5 mm")


def test_a_real_series_is_read_once_its_duplicate_is_gone(shared_data, tmp_path):
    source = shared_data / "dicom" / "RIDER-Pilot-0109-duplicate-slice"
    for path in source.glob("*.dcm"):
        if path.name != "2-01.dcm":
            shutil.copy(path, tmp_path)
    volume, report = read_dicom_series(tmp_path)
    assert volume.grid.spacing_mm[0] == pytest.approx(5, abs=1e-3)
    assert report.padding_voxels > 0 and volume.values.min() == -1024
