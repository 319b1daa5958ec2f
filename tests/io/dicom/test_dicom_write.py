"""Derived series: read back by this package, by SimpleITK and by pydicom, judged by dciodvfy."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from dicom_series import hu_pattern, write_series
from diffusionblend.data.sitk import image_from_volume
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, OutputExistsError, OutputWriteError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.dicom.read import read_dicom_series
from diffusionblend.io.dicom.write import write_dicom_series
from diffusionblend.io.volumes import read_volume
from simpleitk_volumes import turned_by_simpleitk, volume_of_image

TURN = np.array(
    [
        [0.9362933635841992, -0.28962947762551555, 0.19866933079506122],
        [0.31299182646937793, 0.9447024859948943, -0.09784339500725571],
        [-0.15934507930797785, 0.15379180063545397, 0.9751703272018158],
    ]
)
"""Euler angles 0.1, 0.2 and 0.3 radians: no axis is upright."""
DIRECTIONS = {
    "upright": np.eye(3),
    "oblique": TURN,
    "flipped x": np.diag([-1.0, 1, 1]),
    "flipped z": np.diag([1.0, 1, -1]),
    "oblique, flipped y and z": TURN @ np.diag([1.0, -1, -1]),
    "oblique, flipped z": TURN @ np.diag([1.0, 1, -1]),
    "sagittal": np.array([[0.0, 0, 1], [1, 0, 0], [0, -1, 0]]),
}


def volume_of(direction: np.ndarray = DIRECTIONS["upright"]) -> Volume:
    grid = Grid(
        shape=(5, 6, 7),
        spacing_mm=(2.5, 0.5, 0.75),
        origin_mm=(-10.25, 20.125, 1030.5),
        direction=tuple(direction.ravel()),
    )
    return Volume(hu_pattern(5, 6, 7) * 0.9 - 300.3, grid)  # to below -1024, not whole


def assert_round_trip(found: Volume, written: Volume) -> None:
    """Values within half a unit, the geometry equal."""
    assert np.abs(found.values - written.values).max() <= 0.5 + 1e-4
    assert found.grid.shape == written.grid.shape
    for name in ("spacing_mm", "origin_mm", "direction"):
        np.testing.assert_allclose(
            getattr(found.grid, name), getattr(written.grid, name), atol=1e-6
        )


def read_by_simpleitk(folder) -> Volume:
    """As any SimpleITK script reads a series: sorted by GDCM, orientation left as it is."""
    reader = sitk.ImageSeriesReader()
    (series,) = reader.GetGDCMSeriesIDs(str(folder))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder), series))
    return volume_of_image(reader.Execute())


@pytest.mark.parametrize("name", DIRECTIONS)
def test_values_and_geometry_survive_in_both_readers(tmp_path, name):
    volume = volume_of(DIRECTIONS[name])
    write_dicom_series(volume, tmp_path / "out", n_views=8)
    found, report = read_dicom_series(tmp_path / "out")
    assert_round_trip(found, turned_by_simpleitk(volume))
    assert_round_trip(read_by_simpleitk(tmp_path / "out"), turned_by_simpleitk(volume))
    assert report.padding_voxels == 0 and report.warnings == ()


def test_each_voxel_lies_where_its_header_says(tmp_path):
    """By the standard's equation C.7.6.2.1-1, from pydicom's numbers alone."""
    volume = volume_of(DIRECTIONS["oblique, flipped z"])
    image = image_from_volume(volume)
    for path in write_dicom_series(volume, tmp_path / "out"):
        slice_ = pydicom.dcmread(path)
        hu = slice_.pixel_array * float(slice_.RescaleSlope) + float(slice_.RescaleIntercept)
        along_row, along_column = np.array(slice_.ImageOrientationPatient, float).reshape(2, 3)
        row_mm, column_mm = (float(s) for s in slice_.PixelSpacing)
        for row, column in ((0, 0), (5, 2), (3, 6)):
            place_mm = np.array(slice_.ImagePositionPatient, float)
            place_mm = place_mm + along_row * column_mm * column + along_column * row_mm * row
            index = image.TransformPhysicalPointToIndex(place_mm.tolist())
            assert abs(image[index] - hu[row, column]) <= 0.5 + 1e-4


def test_the_header_reports_what_the_series_is(tmp_path):
    paths = write_dicom_series(volume_of(), tmp_path / "out", n_views=8)
    slices = [pydicom.dcmread(p) for p in paths]
    first = slices[0]
    assert [p.name for p in paths] == [f"slice-000{k}.dcm" for k in range(1, 6)]
    assert first.SOPClassUID == "1.2.840.10008.5.1.4.1.1.2"
    assert list(first.ImageType) == ["DERIVED", "SECONDARY", "AXIAL"]
    assert len({s.SOPInstanceUID for s in slices}) == 5
    assert len({s.SeriesInstanceUID for s in slices}) == 1
    assert [s.InstanceNumber for s in slices] == [1, 2, 3, 4, 5]
    assert (first.SliceThickness, first.SpacingBetweenSlices) == (2.5, 2.5)
    assert list(first.PixelSpacing) == [0.5, 0.75]
    assert first.PixelData[:2] == np.int16(round(volume_of().values[0, 0, 0]) + 1024).tobytes()
    assert "8 views" in first.SeriesDescription
    assert "8 X-ray projections" in first.DerivationDescription
    assert "Not for diagnosis" in first.ImageComments
    (equipment,) = first.ContributingEquipmentSequence
    assert equipment.Manufacturer == "diffusionblend"
    assert equipment.PurposeOfReferenceCodeSequence[0].CodeMeaning == "Processing Equipment"
    assert first.PatientID == "RESEARCH" and first.PatientIdentityRemoved == "YES"
    assert first.WindowCenter[first.WindowCenterWidthExplanation.index("mediastinum")] == 40


def named(i: int, dataset: pydicom.Dataset) -> None:
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.PatientName = "Müller^Jörg"
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.3"
    dataset.StudyDate = "20240203"
    dataset.SeriesNumber = 4
    dataset.add_new(0x00091001, "LO", "private")
    dataset.InstitutionName = "Somewhere"


def test_a_template_gives_patient_study_and_frame_of_reference(tmp_path):
    write_series(tmp_path / "source", change=named)
    volume = read_volume(tmp_path / "source")
    paths = write_dicom_series(
        volume, tmp_path / "out", template=tmp_path / "source", description="8 views, seed 1"
    )
    source, derived = pydicom.dcmread(tmp_path / "source" / "0.dcm"), pydicom.dcmread(paths[0])
    for tag in ("PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "StudyDate", "KVP"):
        assert derived[tag].value == source[tag].value, tag
    assert str(derived.PatientName) == "Müller^Jörg"
    assert derived.SeriesInstanceUID != source.SeriesInstanceUID
    assert derived.SOPInstanceUID != source.SOPInstanceUID
    assert derived.SeriesNumber == 9004 and derived.SeriesDescription == "8 views, seed 1"
    purposes = {
        item.PurposeOfReferenceCodeSequence[0].CodeMeaning: item.Manufacturer
        for item in derived.ContributingEquipmentSequence
    }
    assert purposes == {
        "Processing Equipment": "diffusionblend",
        "Acquisition Equipment": "Maker",
    }
    assert 0x00091001 not in derived and "InstitutionName" not in derived
    assert_round_trip(read_volume(tmp_path / "out"), volume)


@pytest.mark.parametrize("with_template", [False, True])
def test_dciodvfy_finds_no_error(tmp_path, with_template):
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (Debian: dicom3tools) is not installed")
    template = None
    volume = volume_of(DIRECTIONS["oblique"])
    if with_template:
        write_series(tmp_path / "source", change=named)
        template, volume = tmp_path / "source", read_volume(tmp_path / "source")
    for path in write_dicom_series(volume, tmp_path / "out", template=template, n_views=6):
        told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, errors="replace")
        lines = (told.stdout + told.stderr).splitlines()
        assert "CTImage" in lines, lines
        assert not [line for line in lines if line.startswith("Error")], lines


def test_a_real_series_survives_with_its_study(tmp_path, shared_data):
    source = shared_data / "dicom" / "Lung_Dx-A0001-B"
    some = tmp_path / "source"
    some.mkdir()
    for path in sorted(source.iterdir())[:5]:
        (some / path.name).symlink_to(path)
    volume = read_volume(some)
    paths = write_dicom_series(volume, tmp_path / "out", template=some, n_views=8)
    assert_round_trip(read_volume(tmp_path / "out"), volume)
    original = pydicom.dcmread(next(some.iterdir()))
    assert pydicom.dcmread(paths[0]).FrameOfReferenceUID == original.FrameOfReferenceUID
    if shutil.which("dciodvfy") is not None:
        told = subprocess.run(["dciodvfy", paths[0]], capture_output=True, text=True)
        assert "Error" not in told.stdout + told.stderr


# ---- bad input and failing disks


def test_a_template_of_another_place_is_refused(tmp_path):
    write_series(tmp_path / "source")
    with pytest.raises(InputError, match="does not lie where"):
        write_dicom_series(volume_of(), tmp_path / "out", template=tmp_path / "source")
    assert not (tmp_path / "out").exists()


def test_a_template_that_is_none_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no DICOM images"):
        write_dicom_series(volume_of(), tmp_path / "out", template=tmp_path / "empty")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty"]


@pytest.mark.parametrize("value", [np.nan, np.inf, 40_000, -40_000])
def test_values_that_do_not_fit_are_refused(tmp_path, value):
    values = volume_of().values.copy()
    values[1, 2, 3] = value
    with pytest.raises(InputError, match="float32"):
        write_dicom_series(volume_of().with_values(values), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"description": "x" * 65}, "65 letters"),
        ({"description": "a\nb"}, "one line"),
        ({"description": "a\\b"}, "backslash"),
        ({"n_views": 0}, "at least 1"),
    ],
)
def test_bad_notes_are_refused(tmp_path, options, words):
    with pytest.raises(InputError, match=words):
        write_dicom_series(volume_of(), tmp_path / "out", **options)


def test_skewed_axes_are_refused(tmp_path):
    skewed = np.array([[1.0, 0.3, 0], [0, 1, 0], [0, 0, 1]])
    with pytest.raises(InputError, match="perpendicular"):
        write_dicom_series(volume_of(skewed), tmp_path / "out")


def test_a_folder_is_replaced_only_by_force_and_only_if_it_is_ours(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    write_dicom_series(volume_of(), out)  # an empty folder is taken
    before = {p.name: p.read_bytes() for p in out.iterdir()}
    with pytest.raises(OutputExistsError, match="force=True"):
        write_dicom_series(volume_of(), out)
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    thin = Volume(volume_of().values[:3], volume_of().grid.with_slices(3))
    write_dicom_series(thin, out, force=True)
    assert len(list(out.iterdir())) == 3
    (out / "letter.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match=r"letter\.txt"):
        write_dicom_series(volume_of(), out, force=True)
    assert (out / "letter.txt").read_text() == "mine" and len(list(out.iterdir())) == 4
    with pytest.raises(OutputExistsError, match="is a file"):
        write_dicom_series(volume_of(), out / "letter.txt", force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_leaves_nothing(small_disk):
    values = np.random.default_rng(0).normal(0, 300, (20, 128, 128))
    volume = Volume(values, Grid(shape=values.shape, spacing_mm=(1.0, 1.0, 1.0)))
    with pytest.raises(OutputWriteError, match="disk is full"):
        write_dicom_series(volume, small_disk / "out")
    assert list(small_disk.iterdir()) == []
