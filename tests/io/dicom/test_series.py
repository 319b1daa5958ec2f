"""Which files make the series: copies, scouts, DICOMDIR, bare files, frames, several series."""

from __future__ import annotations

import shutil

import numpy as np
import pydicom
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    RLELossless,
    SecondaryCaptureImageStorage,
)

from dicom_series import SERIES_UID, hu_pattern, write_series
from diffusionblend.errors import InputError
from diffusionblend.io.dicom.read import read_dicom_series
from diffusionblend.io.volumes import read_volume

HU = hu_pattern()


def assert_read(folder, *words, values=HU, **options):
    """The series is read, and its notes hold the words; no notes without any."""
    volume, report = read_dicom_series(folder, **options)
    np.testing.assert_array_equal(volume.values, values)
    for word in words:
        assert word in " ".join(report.warnings)
    assert words or report.warnings == ()
    return report


def refused(folder, *words, **options):
    with pytest.raises(InputError) as caught:
        read_dicom_series(folder, **options)
    for word in words:
        assert word in str(caught.value)


# ---- copies


def test_one_file_twice_counts_once(tmp_path):
    paths = write_series(tmp_path)
    shutil.copy(paths[2], tmp_path / "2 (1).dcm")
    assert_read(tmp_path, "1 file(s)", "copies")


def test_a_whole_series_twice_counts_once(tmp_path):
    for path in write_series(tmp_path):
        shutil.copy(path, tmp_path / f"copy_{path.name}")
    assert_read(tmp_path, "6 file(s)")


@pytest.mark.parametrize("repacked", [False, True])
def test_a_copy_that_was_written_anew_counts_once(tmp_path, repacked):
    """As an anonymiser or a PACS leaves it: other bytes, the same pixels."""
    paths = write_series(tmp_path)
    copy = pydicom.dcmread(paths[3])
    copy.PatientName = "Another^Name"
    if repacked:
        copy.compress(RLELossless, generate_instance_uid=False)
    copy.save_as(tmp_path / "again.dcm")
    assert_read(tmp_path, "copies")


def test_one_uid_with_other_pixels_is_refused(tmp_path):
    paths = write_series(tmp_path)
    other = pydicom.dcmread(paths[3])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(tmp_path / "other.dcm")
    refused(tmp_path, "3.dcm and other.dcm", "one SOP instance UID and differ")


def test_slices_that_an_anonymiser_gave_one_uid_are_all_read(tmp_path):
    write_series(tmp_path, change=lambda i, d: setattr(d, "SOPInstanceUID", "1.2.3"))
    assert_read(tmp_path)


# ---- scouts and other company


def scout(dataset, series):
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.SOPInstanceUID = "1.2.3.9"
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    dataset.SeriesInstanceUID = series
    return dataset


@pytest.mark.filterwarnings("ignore:Left out")
def test_commands_leave_a_scout_out(cli, tmp_path):
    paths = write_series(tmp_path / "in")
    scout(pydicom.dcmread(paths[0]), SERIES_UID + ".9").save_as(tmp_path / "in" / "scout.dcm")
    volume = tmp_path / "v.nii.gz"
    for command in (
        ("import", tmp_path / "in", "-o", volume),
        ("evaluate", volume, "--reference", tmp_path / "in"),
        ("export", volume, "-o", tmp_path / "out", "--template", tmp_path / "in"),
    ):
        result = cli(*command)
        assert result.code == 0, result
    np.testing.assert_array_equal(read_volume(tmp_path / "out").values, HU)


@pytest.mark.parametrize("series", [SERIES_UID + ".9", SERIES_UID])
def test_a_scout_is_left_out_with_a_note(tmp_path, series):
    paths = write_series(tmp_path)
    scout(pydicom.dcmread(paths[0]), series).save_as(tmp_path / "scout.dcm")
    report = assert_read(tmp_path, "Left out", "localiser")
    assert report.skipped_files == 1
    with pytest.warns(UserWarning, match="localiser"):
        np.testing.assert_array_equal(read_volume(tmp_path).values, HU)


def test_a_dose_report_and_a_tracking_slice_are_left_out_with_a_note(tmp_path):
    paths = write_series(tmp_path)
    report = pydicom.dcmread(paths[0])
    report.SOPClassUID, report.SOPInstanceUID = SecondaryCaptureImageStorage, "1.2.9"
    report.SeriesInstanceUID = SERIES_UID + ".8"
    del report.ImagePositionPatient, report.ImageOrientationPatient
    report.save_as(tmp_path / "dose.dcm")
    tracking = pydicom.dcmread(paths[0])
    tracking.SOPInstanceUID, tracking.SeriesInstanceUID = "1.2.10", SERIES_UID + ".7"
    tracking.save_as(tmp_path / "tracking.dcm")
    assert_read(tmp_path, "Left out", SERIES_UID + ".8", SERIES_UID + ".7")


def test_two_stacks_are_refused_with_a_way_that_every_verb_has(tmp_path):
    write_series(tmp_path)
    for path in list(tmp_path.iterdir()):
        other = pydicom.dcmread(path)
        other.SeriesInstanceUID, other.SOPInstanceUID = (
            SERIES_UID + ".2",
            f"1.2.{path.stem}",
        )
        other.save_as(tmp_path / f"b{path.name}")
    refused(tmp_path, "2 series", "diffusionblend import", "--series", "--template-series")
    assert_read(tmp_path, series_uid=SERIES_UID)


# ---- files as they come


def strip(path, implicit):
    """A data set without preamble and file meta information."""
    bare = Dataset()
    bare.update(pydicom.dcmread(path))
    bare.save_as(path, implicit_vr=implicit, little_endian=True)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("ending", ["", ".dcm", ".001"])
def test_files_without_preamble_or_ending_are_read(tmp_path, implicit, ending):
    for path in write_series(tmp_path):
        strip(path, implicit)
        path.rename(tmp_path / f"I{path.stem}{ending}")
    assert_read(tmp_path)


def test_other_files_without_ending_are_not_taken_for_dicom(tmp_path):
    for path in write_series(tmp_path):
        path.rename(tmp_path / f"I{path.stem}")
    for name, data in (
        ("README", b"read me " * 40),
        ("zeros", bytes(500)),
        ("short", b"\x08\x00"),
        ("numbers", bytes(range(256))),
        ("VERSION", b"\x02\x00 and then something else"),
    ):
        (tmp_path / name).write_bytes(data)
    assert assert_read(tmp_path).skipped_files == 5


def test_a_slice_cut_within_its_preamble_is_refused(tmp_path):
    for path in write_series(tmp_path):
        path.rename(tmp_path / f"I{path.stem}")
    whole = (tmp_path / "I5").read_bytes()
    (tmp_path / "I5").write_bytes(whole[:120])
    refused(tmp_path, "I5", "truncated")


def write_dicomdir(disc, names):
    """A directory of a medium, whose records name files in folders below, in capitals."""
    directory = Dataset()
    directory.file_meta = FileMetaDataset()
    directory.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    directory.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    directory.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    directory.DirectoryRecordSequence = [
        item(DirectoryRecordType="SERIES"),
        *(item(DirectoryRecordType="IMAGE", ReferencedFileID=name) for name in names),
    ]
    directory.save_as(disc / "DICOMDIR", enforce_file_format=True)


@pytest.mark.parametrize("lower", [False, True])
def test_a_dicomdir_is_followed(tmp_path, lower):
    """A CD: DICOMDIR at the top, files in folders below, perhaps copied with small letters."""
    folder = "images/st1" if lower else "IMAGES/ST1"
    names = []
    for path in write_series(tmp_path / "slices"):
        names.append(["IMAGES", "ST1", f"IM{path.stem}"])
        (tmp_path / "disc" / folder).mkdir(parents=True, exist_ok=True)
        path.rename(tmp_path / "disc" / folder / f"{'im' if lower else 'IM'}{path.stem}")
    write_dicomdir(tmp_path / "disc", [*names, "GONE", ""])
    for source in (tmp_path / "disc", tmp_path / "disc" / "DICOMDIR"):
        assert_read(source)


def test_a_single_slice_by_its_name_is_refused_clearly(tmp_path):
    refused(write_series(tmp_path)[0], "1 slice(s)", "whole series")


def test_names_that_are_no_utf_8_are_read(tmp_path):
    for path in write_series(tmp_path):
        path.rename(tmp_path / f"Sch\udcfcler-{path.name}")
    assert_read(tmp_path)


# ---- Enhanced CT


def item(**tags) -> Dataset:
    found = Dataset()
    for name, value in tags.items():
        setattr(found, name, value)
    return found


def enhance(folder, *, order=range(6), change=lambda i, groups: None, pack=False):
    """Make a written series one multi-frame file, frames in some order; `change` alters one."""
    slices = [pydicom.dcmread(folder / f"{i}.dcm") for i in order]
    whole = slices[0]
    frames = []
    for i, s in enumerate(slices):
        groups = item(
            PlanePositionSequence=[item(ImagePositionPatient=s.ImagePositionPatient)],
            FrameContentSequence=[item(FrameAcquisitionNumber=1)],
        )
        change(i, groups)
        frames.append(groups)
    whole.PerFrameFunctionalGroupsSequence = frames
    whole.SharedFunctionalGroupsSequence = [
        item(
            PixelMeasuresSequence=[item(PixelSpacing=[0.5, 0.75], SliceThickness=2)],
            PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
            PixelValueTransformationSequence=[
                item(RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU")
            ],
            CTImageFrameTypeSequence=[item(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"])],
            CTReconstructionSequence=[item(ConvolutionKernel="Br40")],
        )
    ]
    whole.PixelData = b"".join(s.PixelData for s in slices)
    whole.NumberOfFrames = len(slices)
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = EnhancedCTImageStorage
    for tag in ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope",
                "RescaleIntercept", "SliceThickness", "ConvolutionKernel"):  # fmt: skip
        delattr(whole, tag)
    for path in folder.iterdir():
        path.unlink()
    if pack:
        whole.compress(RLELossless)
    whole.save_as(folder / "all.dcm")
    return folder / "all.dcm"


@pytest.mark.parametrize("order", [range(6), (3, 0, 5, 1, 4, 2)])
@pytest.mark.parametrize("pack", [False, True])
def test_enhanced_ct_is_read(tmp_path, order, pack):
    write_series(tmp_path)
    path = enhance(tmp_path, order=order, pack=pack)
    for source in (tmp_path, path):
        report = assert_read(source)
        assert (report.n_slices, report.kernel, report.slice_thickness_mm) == (6, "Br40", 2.0)
    shutil.copy(path, tmp_path / "copy.dcm")
    assert_read(tmp_path, "copies")


def test_a_missing_part_of_a_split_image_is_reported(tmp_path):
    write_series(tmp_path)
    path = enhance(tmp_path)
    dataset = pydicom.dcmread(path)
    dataset.ConcatenationUID, dataset.InConcatenationNumber = "1.2.3", 1
    dataset.InConcatenationTotalNumber = 3
    dataset.save_as(path)
    assert_read(path, "part 2, 3 is missing")


def test_each_frames_own_rescaling_is_applied(tmp_path):
    def change(i, groups):
        groups.PixelValueTransformationSequence = [
            item(RescaleSlope=1, RescaleIntercept=-1024 + 10 * i, RescaleType="HU")
        ]

    write_series(tmp_path)
    enhance(tmp_path, change=change)
    assert_read(tmp_path, "6 different slopes", values=HU + 10.0 * np.arange(6)[:, None, None])


def test_phases_of_frames_are_separated(tmp_path):
    def change(i, groups):
        groups.FrameContentSequence[0].TemporalPositionIndex = i % 2 + 1

    write_series(tmp_path)
    enhance(tmp_path, change=change)
    refused(tmp_path, "2 temporal positions", "TemporalPositionIndex=1: 3 slice(s), 4 mm apart")
    assert_read(tmp_path, "4 mm apart", only=["TemporalPositionIndex=2"], values=HU[1::2])


@pytest.mark.parametrize(
    ("sequence", "name", "pair"),
    [
        (
            "CTImageFrameTypeSequence",
            "FrameType",
            (["ORIGINAL", "PRIMARY"], ["DERIVED", "PRIMARY"]),
        ),
        ("CTImageFrameTypeSequence", "VolumeBasedCalculationTechnique", ("NONE", "MAX_IP")),
        ("CTReconstructionSequence", "ConvolutionKernel", ("Br40", "Br64")),
        ("CTXRayDetailsSequence", "KVP", (80, 140)),
        ("CTExposureSequence", "XRayTubeCurrentInmA", (100, 300)),
        ("ContrastBolusUsageSequence", "ContrastBolusAgentAdministered", ("YES", "NO")),
        ("UnassignedPerFrameConvertedAttributesSequence", "SeriesDescription", ("a", "b")),
    ],
)
def test_kinds_of_frames_that_alternate_are_no_volume(tmp_path, sequence, name, pair):
    """Also where the image as a whole, or all frames, have one of the two values."""

    def change(i, groups):
        setattr(groups, sequence, [item(**{name: pair[i % 2]})])

    write_series(tmp_path)
    enhance(tmp_path, change=change)
    refused(tmp_path, "3 slice(s), 4 mm apart", "--only ")
    slice_name = {"FrameType": "ImageType", "XRayTubeCurrentInmA": "XRayTubeCurrent"}.get(
        name, name
    )
    first = "/".join(pair[0]) if isinstance(pair[0], list) else pair[0]
    only = f"{slice_name}={first}"
    assert_read(tmp_path, "4 mm apart", only=[only], values=HU[::2])


@pytest.mark.parametrize("group", [None, "PixelMeasures", "PixelValueTransformation"])
def test_tags_outside_the_functional_groups_are_no_frames(tmp_path, group):
    """By PS3.3 C.7.6.16 they mean nothing; other programs take them where no group has them."""
    write_series(tmp_path)
    path = enhance(tmp_path)
    whole = pydicom.dcmread(path)
    right = group is not None
    whole.PixelSpacing, whole.RescaleSlope = ([0.5, 0.75] if right else [1, 1]), 1
    whole.RescaleIntercept, whole.ImagePositionPatient = (-1024 if right else 0), [0, 0, 0]
    if right:
        delattr(whole.SharedFunctionalGroupsSequence[0], f"{group}Sequence")
    whole.save_as(path)
    assert_read(tmp_path, "alone, which was taken" if right else "left aside")


def test_frames_that_are_no_hu_or_not_described_are_refused(tmp_path):
    def change(i, groups):
        groups.PixelValueTransformationSequence = [
            item(RescaleSlope=1, RescaleIntercept=0, RescaleType="MGML")
        ]

    write_series(tmp_path / "a")
    enhance(tmp_path / "a", change=change)
    refused(tmp_path / "a", "MGML")
    write_series(tmp_path / "b")
    path = enhance(tmp_path / "b")
    dataset = pydicom.dcmread(path)
    dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:4]
    dataset.save_as(path)
    refused(tmp_path / "b", "6 frames and describes 4")
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    refused(tmp_path / "b", "all.dcm")


def test_slices_at_one_place_are_refused_as_such(tmp_path):
    def change(i, dataset):
        dataset.ImagePositionPatient, dataset.SliceLocation = [0, 0, 0], 2 * i

    write_series(tmp_path, change=change)
    refused(tmp_path, "All 6 slices have the ImagePositionPatient 0", "SliceLocation differs")


def test_a_frame_that_lacks_its_place_is_named(tmp_path):
    def change(i, groups):
        if i == 2:
            del groups.PlanePositionSequence

    write_series(tmp_path)
    enhance(tmp_path, change=change)
    refused(tmp_path, "all.dcm", "ImagePositionPatient")
