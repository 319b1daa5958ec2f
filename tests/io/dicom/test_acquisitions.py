"""One series UID need not be one acquisition: phases, kernels, units, spacings."""

from __future__ import annotations

import numpy as np
import pytest
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from dicom_series import hu_pattern, write_series
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series
from diffusionblend.io.volumes import read_volume

HU = hu_pattern(12)


def series(folder, which=lambda i: i % 2, heights_mm=None, **values):
    """Twelve slices whose tags have one of two values each, by `which`."""

    def change(i, dataset):
        for tag, pair in values.items():
            if pair[which(i)] is not None:
                setattr(dataset, tag, pair[which(i)])

    write_series(folder, HU, heights_mm=heights_mm, change=change)
    return folder


def refused(folder, *words, **options):
    with pytest.raises(InputError) as caught:
        read_dicom_series(folder, **options)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("tag", "values", "words"),
    [
        ("AcquisitionNumber", (1, 2), "2 acquisitions"),
        ("TemporalPositionIdentifier", (1, 2), "2 temporal positions"),
        ("NominalPercentageOfCardiacPhase", (40, 75), "2 cardiac phases"),
        ("ConvolutionKernel", ("SOFT", "BONE"), "2 kernels"),
        ("KVP", (80, 140), "2 tube voltages"),
        ("ContrastBolusAgent", ("", "agent"), "2 contrast agents"),
        ("ImageType", (["ORIGINAL", "PRIMARY", "AXIAL"], ["DERIVED", "PRIMARY", "AXIAL"]), "types"),
        ("SliceThickness", (1, 5), "2 slice thicknesses"),
        ("SeriesNumber", (3, 4), "2 series numbers"),
        ("PatientPosition", ("HFS", "FFS"), "2 positions of the patient"),
        ("SeriesDescription", ("ARTERIAL", "VENOUS"), "2 descriptions"),
        ("ProtocolName", ("a", "b"), "2 protocols"),
        ("AcquisitionTime", ("101500", "101545.25"), "2 times of acquisition"),
        ("AcquisitionDateTime", ("20240101101500", "20240101101545"), "2 times of acquisition"),
        ("RescaleType", ("HU", "MGML"), "units of the values"),
    ],
)
def test_what_interleaves_is_no_volume_and_can_be_chosen(tmp_path, tag, values, words):
    series(tmp_path, **{tag: values})
    message = refused(tmp_path, words, f"{tag}=", "6 slice(s), 4 mm apart", f"--only {tag}=")
    text = "/".join(values[1]) if isinstance(values[1], list) else values[1]
    assert f"{tag}={text}" in message
    if tag == "RescaleType":
        return
    volume, _ = read_dicom_series(tmp_path, only=[f"{tag}={text}"])
    np.testing.assert_array_equal(volume.values, HU[1::2])
    assert volume.grid.spacing_mm[0] == 4


@pytest.mark.parametrize("tag", ["XRayTubeCurrent", "ExposureTime", "ScanOptions"])
def test_what_goes_back_and_forth_from_slice_to_slice_is_no_volume(tmp_path, tag):
    series(tmp_path / "a", **{tag: ("100", "300")})
    refused(tmp_path / "a", f"{tag}=", "6 slice(s), 4 mm apart", f"--only {tag}=")
    which = lambda i: i // 3 % 2  # noqa: E731 - as regulated along the patient
    _, report = read_dicom_series(series(tmp_path / "b", which, **{tag: ("100", "300")}))
    assert report.n_slices == 12


@pytest.mark.parametrize(
    ("tag", "of_slice"),
    [
        ("InstanceNumber", lambda i: i // 2 + 6 * (i % 2)),
        ("AcquisitionTime", lambda i: f"10{10 + 5 * (i % 2)}{i:02d}"),
    ],
)
def test_two_passes_over_the_same_places_are_reported(tmp_path, tag, of_slice):
    def change(i, dataset):
        setattr(dataset, tag, of_slice(i))

    write_series(tmp_path, HU, change=change)
    _, report = read_dicom_series(tmp_path)
    (note,) = report.warnings
    assert "pass the same places 2 times" in note
    only = note.partition("--only ")[2].partition(" ")[0]
    volume, _ = read_dicom_series(tmp_path, only=[only])
    np.testing.assert_array_equal(volume.values, HU[::2])


def test_times_that_go_on_along_a_volume_are_one(tmp_path):
    series(tmp_path, which=lambda i: i // 6, AcquisitionTime=("101500", "101507"))
    volume, _ = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU)


def test_all_that_differs_is_named(tmp_path):
    series(tmp_path, AcquisitionNumber=(1, 2), ContrastBolusAgent=("", "agent"))
    refused(tmp_path, "They differ in ContrastBolusAgent too")


def test_kernels_whose_series_uid_was_emptied_are_separated(tmp_path):
    series(tmp_path, ConvolutionKernel=("SOFT", "BONE"), SeriesInstanceUID=("", ""))
    refused(tmp_path, "ConvolutionKernel=SOFT", "ConvolutionKernel=BONE")


@pytest.mark.parametrize("tag", ["TemporalPositionIdentifier", "AcquisitionTime", "TriggerTime"])
def test_phases_at_the_same_places_are_separated(tmp_path, tag):
    places = [2.0 * (i // 2) for i in range(12)]
    series(tmp_path, heights_mm=places, **{tag: ("100000", "200000")})
    refused(tmp_path, f"--only {tag}=100000")
    volume, _ = read_dicom_series(tmp_path, only=[f"{tag}=200000"])
    np.testing.assert_array_equal(volume.values, HU[1::2])


@pytest.mark.parametrize("kernel", ["SOFT", "BONE"])
def test_halves_of_two_kernels_are_no_volume(tmp_path, kernel):
    series(tmp_path, lambda i: int(i >= 6), ConvolutionKernel=("SOFT", "BONE"))
    refused(tmp_path, "2 kernels", "6 slice(s), 2 mm apart")


@pytest.mark.parametrize("tag", ["AcquisitionNumber", "SliceThickness"])
def test_a_second_acquisition_that_goes_on_is_read_and_reported(tmp_path, tag):
    series(tmp_path, lambda i: int(i >= 6), **{tag: (2, 3)})
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU)
    assert any("2, 3" in note for note in report.warnings)


def test_an_acquisition_for_every_slice_is_one_volume(tmp_path):
    """As axial scans of old number them."""
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, "AcquisitionNumber", i + 1))
    np.testing.assert_array_equal(read_dicom_series(tmp_path)[0].values, HU)


def test_ways_of_writing_one_number_are_one_value(tmp_path):
    series(tmp_path, KVP=("120", "120.0"))
    assert read_dicom_series(tmp_path)[1].warnings == ()


def test_frames_of_reference_that_an_anonymiser_made_up_are_no_hindrance(tmp_path):
    write_series(
        tmp_path, HU, change=lambda i, d: setattr(d, "FrameOfReferenceUID", f"1.2.{i + 1}")
    )
    assert read_dicom_series(tmp_path)[1].warnings == ()
    series(tmp_path / "two", FrameOfReferenceUID=("1.2.1", "1.2.2"))
    refused(tmp_path / "two", "2 frames of reference")


def test_conditions_that_nothing_meets_are_refused(tmp_path):
    series(tmp_path, AcquisitionNumber=(1, 2))
    refused(tmp_path, "No image", "one of 1, 2", only=["AcquisitionNumber=3"])
    refused(tmp_path, "TAG=VALUE", only=["Secret=3"])
    refused(tmp_path, "TAG=VALUE", only=["AcquisitionNumber"])


def heights(*steps):
    return list(np.concatenate([[0], np.cumsum(steps)]))


def test_a_spacing_that_changes_is_reported_as_such(tmp_path):
    write_series(tmp_path, HU, heights_mm=heights(*[2.5] * 5, *[5] * 6))
    refused(
        tmp_path, "changes at 5.dcm", "2.5 mm", "then 5 mm", "4.dcm and 5.dcm", "5.dcm and 6.dcm"
    )
    (tmp_path / "b").mkdir()
    write_series(tmp_path / "b", HU, heights_mm=heights(*[5] * 4, *[2.5] * 7))
    refused(tmp_path / "b", "changes at 4.dcm", "5 mm", "then 2.5 mm")


@pytest.mark.parametrize(("gap", "words"), [(4, "A slice is missing"), (8, "3 slices are missing")])
def test_a_single_gap_is_a_missing_slice(tmp_path, gap, words):
    write_series(tmp_path, HU, heights_mm=heights(*[2] * 5, gap, *[2] * 5))
    refused(tmp_path, words, "5.dcm and 6.dcm")


def test_slices_from_the_head_down_are_turned(tmp_path):
    write_series(tmp_path, HU, heights_mm=[-2.0 * i for i in range(12)])
    volume, _ = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU[::-1])
    assert volume.grid.origin_mm[2] == -22


def test_an_intercept_alone_is_enough(tmp_path):
    write_series(tmp_path, HU, change=lambda i, d: delattr(d, "RescaleSlope"))
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU)
    assert report.warnings == ()


def test_a_slope_alone_is_reported(tmp_path):
    def change(i, dataset):
        del dataset.RescaleIntercept
        dataset.PixelData = HU[i].astype("<i2").tobytes()

    write_series(tmp_path, HU, change=change)
    volume, report = read_dicom_series(tmp_path)
    np.testing.assert_array_equal(volume.values, HU)
    assert "No slice has RescaleIntercept" in report.warnings[0]


def test_slices_of_two_patients_are_refused_without_their_names(tmp_path):
    """As an anonymiser leaves them that empties all UIDs but not the IDs."""
    series(tmp_path, PatientID=("ANNA-1", "BERT-2"), SeriesInstanceUID=("", ""))
    message = refused(tmp_path, "2 patients", "6 slice(s), 4 mm apart")
    assert "ANNA" not in message and "BERT" not in message
    read_dicom_series(tmp_path, only=["PatientID=BERT-2"])


def test_a_map_of_materials_without_a_unit_is_reported(tmp_path):
    kind = ["DERIVED", "SECONDARY", "AXIAL", "ELECTRON_DENSITY"]
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, "ImageType", kind))
    assert "ELECTRON_DENSITY" in read_dicom_series(tmp_path)[1].warnings[0]


@pytest.mark.parametrize("word", ["MIP", "MINIP"])
def test_slabs_of_extremes_are_reported(tmp_path, word):
    kind = ["DERIVED", "SECONDARY", word]
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, "ImageType", kind))
    assert "extremes of slabs" in read_dicom_series(tmp_path)[1].warnings[0]


@pytest.mark.parametrize(("diameter", "is_told"), [(7.5, False), (15.0, True)])
def test_slices_that_are_no_longer_as_wide_as_their_field(tmp_path, diameter, is_told):
    """10 columns of 0.75 mm, as of a picture that was halved without a new PixelSpacing."""
    write_series(tmp_path, HU, change=lambda i, d: setattr(d, "ReconstructionDiameter", diameter))
    warnings = " ".join(read_dicom_series(tmp_path)[1].warnings)
    assert ("7.5 mm wide by their PixelSpacing" in warnings) == is_told


def test_a_palette_is_colour(tmp_path):
    def change(i, dataset):
        dataset.PhotometricInterpretation = "PALETTE COLOR"

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "colour image", "PALETTE COLOR")


def test_a_value_that_is_no_number_is_named(tmp_path):
    """A decimal comma, as some exports write."""

    def change(i, dataset):
        raw = RawDataElement(Tag("PixelSpacing"), "DS", 8, b"0,5\\0,75", 0, False, True)
        dataset["PixelSpacing"] = raw

    write_series(tmp_path, HU, change=change)
    refused(tmp_path, "0.dcm", "PixelSpacing")


def test_pictures_without_geometry_are_named_as_such(tmp_path):
    for i in range(4):
        (tmp_path / f"slice{i:02}.tif").write_bytes(b"II*\0")
    refused(tmp_path, "4 pictures", "slice00.tif", "geometry.json", "spacing")


def test_stored_numbers_whose_padding_was_filled_are_refused(tmp_path):
    """Without an intercept the padding becomes -1024, and the rest stays 1024 too high."""
    raw = np.full((6, 16, 16), 24.0)
    raw[:, 4:12, 3:13] = 1064
    raw[:, 0, :2] = -2000

    def change(i, dataset):
        del dataset.RescaleSlope, dataset.RescaleIntercept
        dataset.PixelData = raw[i].astype("<i2").tobytes()

    write_series(tmp_path, raw, change=change)
    with pytest.raises(InputError, match="1064"):
        read_volume(tmp_path)


@pytest.mark.parametrize(
    ("n_shared", "said"),
    [
        (1, ("Two slices lie at one place", "7.dcm and 8.dcm")),
        (2, ("2 acquisitions", "8 slice(s), 2 mm apart", "--only AcquisitionNumber=1")),
    ],
)
def test_acquisitions_that_share_places_can_be_chosen(tmp_path, n_shared, said):
    """As of two regions of a body that were scanned with an overlap, one slice or several."""
    heights = [2.0 * i for i in range(8)] + [2.0 * (8 - n_shared + i) for i in range(4)]
    series(tmp_path, which=lambda i: int(i >= 8), heights_mm=heights, AcquisitionNumber=(1, 2))
    refused(tmp_path, *said)
    assert read_dicom_series(tmp_path, only=["AcquisitionNumber=1"])


@pytest.mark.parametrize("height_mm", [1e7, -1e308])
def test_a_slice_far_away(tmp_path, height_mm):
    series(tmp_path, heights_mm=[2.0 * i for i in range(11)] + [height_mm])
    message = refused(tmp_path, "11.dcm", "mm away by its ImagePositionPatient")
    assert len(message) < 400
