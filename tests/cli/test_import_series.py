from __future__ import annotations

import json

import numpy as np
import pytest

from command_line import assert_nothing_in, assert_refused, assert_succeeded
from dicom_series import SERIES_UID, hu_pattern, write_series
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.volumes import read_volume, write_volume


def without(i_missing):
    """Heights of a series that lacks one slice."""
    return [2.0 * i for i in range(7) if i != i_missing]


def tilt_one(i, dataset):
    if i == 4:
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 0.99862953, 0.05233596]  # 3 degrees


def shift_one(i, dataset):
    if i == 4:
        dataset.ImagePositionPatient = [-10.0, -18.5, 8.0]


def mix_two_series(i, dataset):
    if i >= 3:
        dataset.SeriesInstanceUID = SERIES_UID + ".9"


def colour(i, dataset):
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
    dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PixelData = b"\x7f" * (dataset.Rows * dataset.Columns * 3)


def localiser(i, dataset):
    if i == 0:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ({"heights_mm": without(3)}, ("A slice is missing", "2.dcm and 3.dcm", "4 mm apart")),
        ({"heights_mm": [0, 2, 4, 4, 6, 8]}, ("Two slices lie at one place", "2.dcm and 3.dcm")),
        ({"change": tilt_one}, ("4.dcm is tilted by 3.0 degrees",)),
        ({"change": shift_one}, ("do not follow one line", "4.dcm lies 1.50 mm beside")),
        ({"change": mix_two_series}, ("holds 2 series", SERIES_UID + ".9", "--series")),
        ({"change": colour}, ("colour image",)),
        ({"change": localiser}, ("0.dcm is a localiser",)),
        ({"hu": hu_pattern(2)}, ("has 2 slice(s)", "at least 3")),
    ],
    ids=["missing", "twice", "one tilted", "shifted", "two series", "colour", "localiser", "thin"],
)
def test_a_series_that_is_no_regular_ct_is_refused(cli, tmp_path, series, words):
    write_series(tmp_path / "in", **series)
    result = cli("import", tmp_path / "in", "-o", tmp_path / "out" / "a.nii.gz")
    assert_refused(result, *words)
    assert_nothing_in(tmp_path / "out")


def test_an_empty_folder_is_refused(cli, tmp_path):
    (tmp_path / "in").mkdir()
    result = cli("import", tmp_path / "in", "-o", tmp_path / "out" / "a.nii.gz")
    assert_refused(result, "holds no DICOM images", "no files")
    assert_nothing_in(tmp_path / "out")


def test_a_real_series_with_a_slice_twice_is_refused(cli, tmp_path, shared_data):
    series = shared_data / "dicom" / "RIDER-Pilot-0109-duplicate-slice"
    result = cli("import", series, "-o", tmp_path / "a.nii.gz")
    assert_refused(result, "Two slices lie at one place", ".dcm")
    assert_nothing_in(tmp_path)


def test_a_truncated_slice_is_refused(cli, tmp_path):
    paths = write_series(tmp_path / "in")
    paths[2].write_bytes(paths[2].read_bytes()[:-20])
    result = cli("import", tmp_path / "in", "-o", tmp_path / "out" / "a.nii.gz")
    assert_refused(result, "2.dcm is truncated")
    assert_nothing_in(tmp_path / "out")


def volume_of(values) -> Volume:
    values = np.asarray(values, dtype=np.float32)
    return Volume(values, Grid(shape=values.shape, spacing_mm=(2.0, 1.0, 1.0)))


with_nan = hu_pattern()
with_nan[3, 2, 1] = np.nan


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
@pytest.mark.parametrize(
    ("values", "words"),
    [
        (with_nan, ("1 values that are NaN or infinite",)),
        (hu_pattern() + 1024, ("is not in HU", "none below 0")),
        (hu_pattern() / 1000, ("is not in HU", "fractions or attenuation")),
        (np.full((4, 8, 8), -1000.0), ("is not in HU", "a constant")),
    ],
    ids=["NaN", "raw", "normalised", "constant"],
)
def test_a_file_that_is_no_volume_in_hu_is_refused(cli, tmp_path, suffix, values, words):
    source = tmp_path / f"in{suffix}"
    write_volume(volume_of(values), source)
    result = cli("import", source, "-o", tmp_path / "out" / "a.nii.gz")
    assert_refused(result, *words)
    assert_nothing_in(tmp_path / "out")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_a_truncated_file_is_refused(cli, tmp_path, suffix):
    source = tmp_path / f"in{suffix}"
    write_volume(volume_of(hu_pattern()), source)
    source.write_bytes(source.read_bytes()[:-200])
    result = cli("import", source, "-o", tmp_path / "out" / "a.nii.gz")
    assert_refused(result, source.name, "copy it again")
    assert_nothing_in(tmp_path / "out")


def test_a_series_becomes_a_volume_and_says_what_it_was_but_not_whose(cli, tmp_path):
    write_series(tmp_path / "in")
    output = tmp_path / "a.nii.gz"
    result = cli("import", tmp_path / "in", "-o", output)
    assert_succeeded(result)
    volume = read_volume(output)
    np.testing.assert_array_equal(volume.values, hu_pattern())
    assert volume.grid.spacing_mm == (2.0, 0.5, 0.75)
    assert "6 slices of 8 x 10, spacing 2 x 0.5 x 0.75 mm (z, y, x), LPS" in result.out
    assert f"-1000 to {hu_pattern().max():.0f} HU" in result.out
    text = output.with_name("a.nii.gz.run.json").read_text()
    record = json.loads(text)
    assert record["results"]["found"]["shape_zyx"] == [6, 8, 10]
    assert record["results"]["series"]["kernel"] == "B30f"
    assert "secret" not in (text + result.out + result.err).lower()


def test_a_series_is_picked_by_its_uid(cli, tmp_path):
    write_series(tmp_path / "in", change=mix_two_series)
    output = tmp_path / "a.nrrd"
    assert_succeeded(cli("import", tmp_path / "in", "-o", output, "--series", SERIES_UID))
    np.testing.assert_array_equal(read_volume(output).values, hu_pattern()[:3])


def test_the_slices_take_a_priors_size(cli, tmp_path, chest_file):
    output = tmp_path / "a.nii.gz"
    assert_succeeded(cli("import", chest_file, "-o", output, "--size", 8, "--dtype", "int16"))
    before, after = read_volume(chest_file), read_volume(output)
    by_hand = before.values.reshape(8, 8, 2, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(after.values, np.round(by_hand), atol=1)
    np.testing.assert_array_equal(after.values, np.round(after.values))
    assert after.grid.spacing_mm[1] == pytest.approx(2 * before.grid.spacing_mm[1])


def test_a_spacing_is_taken(cli, tmp_path, chest_file):
    output = tmp_path / "a.nii.gz"
    arguments = ("import", chest_file, "-o", output, "--spacing-mm", 4, 3, 3)
    assert_succeeded(cli(*arguments))
    assert read_volume(output).grid.spacing_mm == (4.0, 3.0, 3.0)
    one_slice = tmp_path / "b.nii.gz"
    assert_succeeded(cli("import", chest_file, "-o", one_slice, "--spacing-mm", 15, 3, 3))
    assert read_volume(one_slice).grid.shape[0] == 1


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (("--size", 8, "--spacing-mm", 1, 1, 1), "Both --size and --spacing-mm"),
        (("--series", "1.2"), "--series was given"),
        (("--size", 0), "0 pixels"),
        (("--spacing-mm", 2, 0, 2), "(2.0, 0.0, 2.0)"),
    ],
)
def test_options_that_make_no_volume_are_refused(cli, tmp_path, chest_file, options, word):
    result = cli("import", chest_file, "-o", tmp_path / "a.nii.gz", *options)
    assert result.code == 1
    assert word in result.err
    assert "Expected:" in result.err
    assert_nothing_in(tmp_path)


def test_a_name_that_is_no_volume_and_a_source_that_is_not_there(cli, tmp_path, chest_file):
    assert_refused(cli("import", chest_file, "-o", tmp_path / "a.png"), ".nii.gz", "a.png")
    missing = tmp_path / "nowhere.nii.gz"
    assert_refused(cli("import", missing, "-o", tmp_path / "a.nii"), "nowhere.nii.gz")
    assert_nothing_in(tmp_path)


def test_the_source_is_not_overwritten_even_by_force(cli, tmp_path, chest_file):
    volume = tmp_path / "a.nii.gz"
    volume.write_bytes(chest_file.read_bytes())
    beside = tmp_path / "sub" / ".." / "a.nii.gz"
    (tmp_path / "sub").mkdir()
    command = ("import", volume, "-o", beside, "--force", "--size", 8)
    assert_refused(cli(*command), "is also an input")
    assert volume.read_bytes() == chest_file.read_bytes()


def test_exported_tiff_slices_are_imported(cli, tmp_path, chest_file):
    stack, back = tmp_path / "stack", tmp_path / "back.mha"
    assert_succeeded(cli("export", chest_file, "-o", stack, "--format", "tiff"))
    assert_succeeded(cli("import", stack, "-o", back))
    chest, found = read_volume(chest_file), read_volume(back)
    np.testing.assert_array_equal(found.values, chest.values)
    np.testing.assert_allclose(found.grid.spacing_mm, chest.grid.spacing_mm)


def test_an_output_or_its_record_is_not_overwritten_without_force(cli, tmp_path, chest_file):
    output = tmp_path / "a.nii.gz"
    output.write_bytes(b"precious")
    assert_refused(cli("import", chest_file, "-o", output), "exists already", "--force")
    assert output.read_bytes() == b"precious"
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]
    assert_succeeded(cli("import", chest_file, "-o", output, "--force"))
    np.testing.assert_array_equal(read_volume(output).values, read_volume(chest_file).values)
    output.unlink()  # the record alone is left
    assert_refused(cli("import", chest_file, "-o", output), "a.nii.gz.run.json", "--force")


def test_a_full_disk_is_reported_and_nothing_stays(cli, small_disk, chest_file):
    arguments = ("import", chest_file, "-o", small_disk / "a.nii", "--size", 128)
    assert_refused(cli(*arguments), "the disk is full")
    assert_nothing_in(small_disk)
