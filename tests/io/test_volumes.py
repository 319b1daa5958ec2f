from __future__ import annotations

import gzip

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_series import hu_pattern, write_series
from diffusionblend.data.plausible import check_hu
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError, OutputExistsError, OutputWriteError
from diffusionblend.geometry.grid import Grid
from diffusionblend.io.volumes import (
    image_from_volume,
    read_volume,
    summary,
    write_volume,
)

GRID = Grid(shape=(5, 6, 7), spacing_mm=(2.5, 0.5, 0.75), origin_mm=(-10.0, 20.0, 30.5))


def volume_of(values=None, grid=GRID) -> Volume:
    values = hu_pattern(5, 6, 7) + 0.25 if values is None else values
    return Volume(values, grid)


def assert_same(a: Volume, b: Volume) -> None:
    np.testing.assert_array_equal(a.values, b.values)
    assert a.grid.shape == b.grid.shape
    np.testing.assert_allclose(a.grid.spacing_mm, b.grid.spacing_mm, rtol=1e-6)
    np.testing.assert_allclose(a.grid.origin_mm, b.grid.origin_mm, atol=1e-5)
    np.testing.assert_allclose(a.grid.direction, b.grid.direction, atol=1e-6)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_what_is_written_is_read(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    write_volume(volume_of(), path)
    assert_same(read_volume(path), volume_of())
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_an_oblique_grid_survives(tmp_path):
    c, s = np.cos(0.1), np.sin(0.1)
    grid = Grid(
        shape=GRID.shape,
        spacing_mm=GRID.spacing_mm,
        origin_mm=GRID.origin_mm,
        direction=(c, -s, 0, s, c, 0, 0, 0, 1),
    )
    write_volume(volume_of(grid=grid), tmp_path / "a.nii.gz")
    assert_same(read_volume(tmp_path / "a.nii.gz"), volume_of(grid=grid))
    assert summary(read_volume(tmp_path / "a.nii.gz"))["orientation"] == "LPS (oblique)"


def turned(*angles: float, flips: tuple[int, int, int] = (1, 1, 1)) -> sitk.Image:
    """The pattern as SimpleITK's image, turned by Euler angles in radians, with axes flipped."""
    turn = np.array(sitk.Euler3DTransform((0, 0, 0), *angles).GetMatrix()).reshape(3, 3)
    image = image_from_volume(volume_of())
    image.SetDirection((turn @ np.diag(flips)).ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_oblique_and_flipped_volumes_agree_with_simpleitk(tmp_path, suffix, flips):
    """In through this reader, out through this writer: SimpleITK finds each voxel in its place."""
    image = turned(0.1, -0.2, 0.3, flips=flips)
    sitk.WriteImage(image, str(tmp_path / f"in{suffix}"))
    write_volume(read_volume(tmp_path / f"in{suffix}"), tmp_path / f"out{suffix}")
    written = sitk.ReadImage(str(tmp_path / f"out{suffix}"))
    assert written.GetNumberOfPixels() == image.GetNumberOfPixels()
    for index in [(0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4), (2, 3, 1)]:
        place_mm = image.TransformIndexToPhysicalPoint(index)
        found = written.TransformPhysicalPointToContinuousIndex(place_mm)
        np.testing.assert_allclose(found, np.round(found), atol=1e-4)
        assert written[[round(i) for i in found]] == image[index]


def test_the_nifti_header_is_ras_as_the_standard_wants(tmp_path):
    """Read by hand, not by SimpleITK: srow_x, _y, _z at byte 280 map (i, j, k) to RAS."""
    write_volume(volume_of(), tmp_path / "a.nii")
    header = (tmp_path / "a.nii").read_bytes()
    affine = np.frombuffer(header, "<f4", 12, 280).reshape(3, 4)
    expected = [[-0.75, 0, 0, 10], [0, -0.5, 0, -20], [0, 0, 2.5, 30.5]]
    np.testing.assert_allclose(affine, expected, atol=1e-6)
    voxels = np.frombuffer(header, "<f4", 5 * 6 * 7, 352).reshape(5, 6, 7)
    np.testing.assert_array_equal(voxels, volume_of().values)


@pytest.mark.parametrize("code", ["RAS", "LAS", "RPI", "PIR", "SLA"])
def test_every_orientation_is_turned_to_lps(tmp_path, code):
    """The same voxel must have the same value at the same place in the patient."""
    turned = sitk.DICOMOrient(image_from_volume(volume_of()), code)
    assert turned.GetDirection() != image_from_volume(volume_of()).GetDirection()
    sitk.WriteImage(turned, str(tmp_path / "a.nrrd"))
    assert_same(read_volume(tmp_path / "a.nrrd"), volume_of())


def test_int16_rounds_to_whole_hu_and_refuses_what_does_not_fit(tmp_path):
    values = volume_of().values
    write_volume(volume_of(), tmp_path / "a.nii.gz", dtype="int16")
    assert sitk.ReadImage(str(tmp_path / "a.nii.gz")).GetPixelID() == sitk.sitkInt16
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").values, np.round(values))
    for wide in (values * 40, np.where(values > 0, np.nan, values)):
        with pytest.raises(InputError, match="int16"):
            write_volume(volume_of(wide), tmp_path / "b.nii.gz", dtype="int16")
    with pytest.raises(InputError, match="uint8"):
        write_volume(volume_of(), tmp_path / "b.nii.gz", dtype="uint8")
    assert not (tmp_path / "b.nii.gz").exists()


def test_the_scale_of_a_nifti_is_applied(tmp_path):
    write_volume(volume_of(), tmp_path / "a.nii", dtype="int16")
    raw = bytearray((tmp_path / "a.nii").read_bytes())
    raw[112:120] = np.array([2.0, -10.0], "<f4").tobytes()  # scl_slope, scl_inter
    (tmp_path / "a.nii").write_bytes(raw)
    expected = np.round(volume_of().values) * 2 - 10
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").values, expected)


def test_a_dicom_folder_is_read(tmp_path):
    write_series(tmp_path)
    np.testing.assert_array_equal(read_volume(tmp_path).values, hu_pattern())


def test_a_fourth_axis_of_one_is_dropped(tmp_path):
    image = sitk.JoinSeries([image_from_volume(volume_of())])
    sitk.WriteImage(image, str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii").values, volume_of().values)


def test_the_summary_is_right(tmp_path):
    values = volume_of().values
    found = summary(volume_of())
    assert found["shape_zyx"] == [5, 6, 7]
    assert found["spacing_mm_zyx"] == [2.5, 0.5, 0.75]
    assert found["extent_mm_zyx"] == [12.5, 3.0, 5.25]
    assert found["orientation"] == "LPS"
    assert (found["hu_min"], found["hu_max"]) == (values.min(), values.max())


# ---- writing that fails


def test_an_existing_volume_needs_force(tmp_path):
    path = tmp_path / "a.nii.gz"
    write_volume(volume_of(), path)
    with pytest.raises(OutputExistsError, match="force=True"):
        write_volume(volume_of(volume_of().values + 1), path)
    assert_same(read_volume(path), volume_of())
    write_volume(volume_of(volume_of().values + 1), path, force=True)
    np.testing.assert_array_equal(read_volume(path).values, volume_of().values + 1)


@pytest.mark.parametrize("name", ["a.png", "a", "a.nii.bz2", "a.mhd"])
def test_an_unknown_suffix_is_refused_with_a_proposal(tmp_path, name):
    with pytest.raises(InputError, match=r"\.nii\.gz"):
        write_volume(volume_of(), tmp_path / name)


def large_volume() -> Volume:
    values = np.random.default_rng(0).normal(0, 300, (20, 128, 128))
    return Volume(values, Grid(shape=values.shape, spacing_mm=(1.0, 1.0, 1.0)))


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_full_disk_leaves_nothing(small_disk, suffix):
    with pytest.raises(OutputWriteError, match="disk is full"):
        write_volume(large_volume(), small_disk / f"a{suffix}")
    assert list(small_disk.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_short_write_leaves_nothing(tmp_path, suffix, small_files_only):
    path = tmp_path / f"a{suffix}"
    with pytest.raises(OutputWriteError, match="only a part"):
        write_volume(large_volume(), path)
    assert list(tmp_path.iterdir()) == []


# ---- bad input


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_volume(path)
    for word in words:
        assert word in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("keep", [0.03, 0.5, 0.995])
def test_a_truncated_file_is_refused(tmp_path, suffix, keep, capfd):
    path = tmp_path / f"a{suffix}"
    write_volume(large_volume(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * keep)])
    message = refused(path, str(path), "copy it again")
    assert "No such file" not in message
    assert capfd.readouterr().err == ""  # libraries are silent


def test_a_gzip_of_a_short_nifti_is_refused(tmp_path):
    write_volume(volume_of(), tmp_path / "a.nii")
    whole = (tmp_path / "a.nii").read_bytes()
    for cut in (1, len(whole) - 100, len(whole)):
        (tmp_path / "b.nii.gz").write_bytes(gzip.compress(whole[:-cut]))
        refused(tmp_path / "b.nii.gz", "NIfTI")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_nan_is_found_in_any_nifti(tmp_path, dtype):
    """SimpleITK alone would read it as 0 HU, water."""
    values = large_volume().values.astype(dtype)
    values[19, 127, 127] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values), str(tmp_path / "a.nii.gz"))
    refused(tmp_path / "a.nii.gz", "1 values that are NaN")


def nifti_by_hand(order: str, values: np.ndarray) -> bytes:
    """A NIfTI-1 file of float32 voxels (z, y, x) of 2.5 x 0.5 x 0.75 mm, in either byte order.

    By the standard's table of fields, since SimpleITK writes no big-endian files.
    """
    header = bytearray(352)
    for offset, kind, numbers in (
        (0, "i4", 348),
        (40, "i2", (3, *values.shape[::-1], 1, 1, 1, 1)),
        (70, "i2", (16, 32)),
        (76, "f4", (1, 0.75, 0.5, 2.5, 1, 1, 1, 1)),
        (108, "f4", (352, 1)),
    ):
        field = np.array(numbers, order + kind).tobytes()
        header[offset : offset + len(field)] = field
    header[344:347] = b"n+1"
    return bytes(header) + values.astype(f"{order}f4").tobytes()


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order_of_nifti_is_read(tmp_path, order):
    values = volume_of().values
    whole = nifti_by_hand(order, values)
    (tmp_path / "a.nii").write_bytes(whole)
    with pytest.warns(UserWarning, match="neither sform nor qform"):
        found = read_volume(tmp_path / "a.nii")
    assert found.grid.spacing_mm == (2.5, 0.5, 0.75)
    np.testing.assert_array_equal(np.sort(found.values, None), np.sort(values, None))
    (tmp_path / "a.nii").write_bytes(whole[:-1])
    refused(tmp_path / "a.nii", "truncated")


def test_a_damaged_gzip_is_refused(tmp_path):
    write_volume(large_volume(), tmp_path / "a.nii.gz")
    raw = bytearray((tmp_path / "a.nii.gz").read_bytes())
    raw[-6] ^= 0xFF  # in the checksum
    (tmp_path / "a.nii.gz").write_bytes(raw)
    refused(tmp_path / "a.nii.gz", "gzip")


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_foreign_file_is_refused(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_text("This is a letter, not a volume. " * 40)
    refused(path, str(path))


def test_nothing_and_empty_and_unknown_files_are_refused(tmp_path):
    refused(tmp_path / "none.nii", "There is no")
    (tmp_path / "empty.nii").write_bytes(b"")
    refused(tmp_path / "empty.nii", "empty")
    (tmp_path / "a.dcm").write_bytes(b"x")
    refused(tmp_path / "a.dcm", "truncated or not DICOM")
    (tmp_path / "a.img").write_bytes(b"x")
    refused(tmp_path / "a.img", "by its name", "folder")


def test_colour_flat_and_moving_images_are_refused(tmp_path):
    values = volume_of().values
    colour = sitk.GetImageFromArray(np.stack([values] * 3, axis=-1), isVector=True)
    sitk.WriteImage(colour, str(tmp_path / "colour.nrrd"))
    refused(tmp_path / "colour.nrrd", "3 components", "colour")
    sitk.WriteImage(sitk.GetImageFromArray(values[0]), str(tmp_path / "flat.mha"))
    refused(tmp_path / "flat.mha", "2 dimensions")
    moving = sitk.JoinSeries([image_from_volume(volume_of())] * 2)
    sitk.WriteImage(moving, str(tmp_path / "moving.nii"))
    refused(tmp_path / "moving.nii", "4 dimensions")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu: (hu + 1000) / 2500, "fractions"),
        (lambda hu: (hu + 250) / 1250, "fractions"),
        (lambda hu: (hu + 1000) * 8e-6, "fractions"),
        (lambda hu: (hu + 1000) / 10, "none below 0"),
        (lambda hu: hu + 1024, "none below 0"),
        (lambda hu: hu * 100, "far beyond"),
        (lambda hu: hu * 0 - 1000, "constant"),
        (lambda hu: np.where(hu > 1000, np.nan, hu), "NaN"),
        (lambda hu: np.where(hu > 1000, np.inf, hu), "infinite"),
    ],
)
def test_what_is_plainly_not_hu_is_refused(tmp_path, change, words):
    volume = volume_of(change(hu_pattern(5, 6, 7)))
    with pytest.raises(InputError, match=words):
        check_hu(volume, "a.nii")
    write_volume(volume, tmp_path / "a.nii")
    refused(tmp_path / "a.nii", "a.nii", words)
    write_volume(volume, tmp_path / "a.mha")
    refused(tmp_path / "a.mha", "a.mha", words)
    unchecked = read_volume(tmp_path / "a.mha", check=False)
    np.testing.assert_array_equal(unchecked.values, volume.values)


def noisy_body() -> np.ndarray:
    """A round body of soft tissue in air, with noise."""
    y, x = np.mgrid[:48, :48] - 23.5
    hu = np.where(np.hypot(x, y) < 18, 40.0, -1000.0)
    return (hu + np.random.default_rng(0).normal(0, 10, (6, 48, 48))).round()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda hu, r: hu, None),
        (lambda hu, r: np.where(r > 23.5, 0.0, hu), "0 HU in every corner"),
        (lambda hu, r: 10 * hu, "multiplied, as by 10"),
        (lambda hu, r: np.where(r > 23.5, -2000.0, hu), None),
    ],
)
def test_what_is_doubtful_is_reported(tmp_path, change, words):
    y, x = np.mgrid[:48, :48] - 23.5
    values = change(noisy_body(), np.hypot(x, y)).astype(np.float32)
    grid = Grid(shape=values.shape, spacing_mm=(2.0, 1.0, 1.0))
    write_volume(Volume(values, grid), tmp_path / "a.nii")
    notes = []
    read_volume(tmp_path / "a.nii", on_note=notes.append)
    assert words in " ".join(notes) if words else not notes


@pytest.mark.parametrize("n_slices", [1, 2])
def test_a_single_slice_is_a_volume_too(tmp_path, n_slices):
    volume = Volume(hu_pattern(n_slices, 6, 7), GRID.with_slices(n_slices))
    write_volume(volume, tmp_path / "a.nii")
    found = read_volume(tmp_path / "a.nii")
    np.testing.assert_array_equal(found.values, volume.values)
    assert found.grid.shape == volume.grid.shape


def test_real_volumes_are_in_hu(shared_data):
    volume = read_volume(shared_data / "volumes" / "val" / "LIDC-IDRI-0001.nii.gz")
    assert volume.grid.shape == (133, 256, 256)
    assert volume.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert "-0.0" not in repr(volume.grid)


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("series.zip", "unpack it first"),
        ("scan.nii.bz2", "unpack it first"),
        ("scan.tar.gz", "unpack it first"),
        ("scan.hdr", "save it as .nii"),
        ("scan.mgz", "save it as .nii"),
        ("scan.raw", "write a header .mhd"),
        ("scan.h5", "projections import"),
        ("scan.TIFF", "pictures tell neither HU nor spacing"),
        ("IM0001", "the folder that holds the slices"),
    ],
)
def test_what_is_no_volume_by_its_name_is_told_what_to_do(tmp_path, name, word):
    (tmp_path / name).write_bytes(bytes(500))
    with pytest.raises(InputError, match=word):
        read_volume(tmp_path / name)
