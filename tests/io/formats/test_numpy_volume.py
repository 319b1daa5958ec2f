"""NumPy arrays as volumes: what they say of their places, and what is left open."""

from __future__ import annotations

import numpy as np
import pytest

from command_line import assert_refused, assert_succeeded
from diffusionblend.errors import InputError
from diffusionblend.io.volumes import find_volumes, read_volume
from volume_files import SPACING, blocks

HU = blocks()


def read(path):
    notes = []
    return read_volume(path, on_note=notes.append), " ".join(notes)


def test_an_archive_with_its_spacing_and_place(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, values=HU, spacing_mm=SPACING, origin_mm=(-3, 4, 5), other=np.zeros(9))
    volume, notes = read(path)
    np.testing.assert_array_equal(volume.values, HU)
    assert volume.grid.spacing_mm == SPACING and volume.grid.origin_mm == (-3, 4, 5)
    assert "no orientation" in notes and "1 mm" not in notes


@pytest.mark.parametrize("name", ["spacing", "pixel_size", "affine"])
def test_a_spacing_by_another_name_is_named(tmp_path, name):
    np.savez(tmp_path / "a.npz", volume=HU, **{name: SPACING})
    assert f"no spacing_mm, and {name}, of no known order" in read(tmp_path / "a.npz")[1]


@pytest.mark.parametrize("dtype", ["i2", ">f4", "f8"])
def test_an_array_alone(tmp_path, dtype):
    np.save(tmp_path / "a.npy", HU.astype(dtype))
    volume, notes = read(tmp_path / "a.npy")
    np.testing.assert_array_equal(volume.values, HU)
    assert volume.grid.spacing_mm == (1, 1, 1) and "taken to be 1 mm" in notes


def test_voxels_are_given_on_the_command_line(cli, tmp_path):
    np.save(tmp_path / "a.npy", HU)
    command = ("import", tmp_path / "a.npy", "-o", tmp_path / "a.nii.gz", "--voxel-mm", *SPACING)
    result = cli(*command)
    assert_succeeded(result)
    assert "1 mm" not in result.out
    volume = read_volume(tmp_path / "a.nii.gz")
    assert volume.grid.spacing_mm == pytest.approx(SPACING)
    np.testing.assert_array_equal(volume.values, HU)
    again = ("import", tmp_path / "a.nii.gz", "-o", tmp_path / "b.nii.gz", "--voxel-mm", 1, 1, 1)
    assert_refused(cli(*again), "contains its own voxel size", "--spacing-mm")
    assert_refused(cli(*command[:-1], 0, "--force"), "--voxel-mm is")


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"values": HU, "hu": HU}, "holds values, hu"),
        ({"other": HU}, "holds other"),
        ({"values": HU[0]}, r"shape \(16, 12\)"),
        ({"values": HU.astype(complex)}, "complex"),
        ({"values": HU, "spacing_mm": [1, 2]}, "three numbers"),
        ({"values": HU, "spacing_mm": [1, np.nan, 2]}, "three numbers"),
        ({"values": HU, "spacing_mm": [1, 0, 2]}, "none of them 0"),
    ],
)
def test_what_is_no_volume_is_refused(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=words):
        read_volume(tmp_path / "a.npz")


def test_arrays_in_a_folder_are_not_taken_for_volumes(tmp_path):
    np.save(tmp_path / "a.npy", HU)
    with pytest.raises(InputError, match="no volumes"):
        find_volumes(tmp_path)
    (tmp_path / "b.nii").write_bytes(b"one that is read")
    with pytest.warns(UserWarning, match=r"left out, such as a\.npy"):
        assert find_volumes(tmp_path) == [tmp_path / "b.nii"]
