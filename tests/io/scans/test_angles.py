from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.io.scans.angle_list import read_angle_list
from diffusionblend.io.scans.angles import angles_in_radians

DEGREES = np.linspace(0, 180, 91)


def refused(*words: str, angles=DEGREES, **options) -> None:
    with pytest.raises(InputError) as caught:
        angles_in_radians(angles, "scan.h5", **options)
    assert "Expected: " in str(caught.value)
    for word in ("scan.h5", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("stated", [None, "", "deg", "Degrees", " degree "])
def test_degrees_are_the_default(stated):
    found = angles_in_radians(DEGREES, "scan.h5", stated=stated)
    np.testing.assert_allclose(found, np.linspace(0, np.pi, 91))


@pytest.mark.parametrize("stated", ["rad", "radians"])
def test_radians_where_they_are_stated(stated):
    found = angles_in_radians(np.radians(DEGREES), "scan.h5", stated=stated)
    np.testing.assert_allclose(found, np.linspace(0, np.pi, 91))


def test_radians_where_degrees_are_meant_are_suspected():
    for stated in (None, "degrees"):
        refused("from 0 to 3.14159", "look like radians", 'angle_unit="radians"',
                angles=np.radians(DEGREES), stated=stated)  # fmt: skip
    refused("look like radians", angles=np.linspace(-np.pi, np.pi, 7))


def test_degrees_where_radians_are_meant_are_suspected():
    refused("from 0 to 180", "look like degrees", 'angle_unit="degrees"', stated="rad")
    refused("look like degrees", angles=[-90.0, 0, 2], stated="radian")


def test_a_person_who_insists_is_believed():
    small = np.linspace(0, 3, 31)
    found = angles_in_radians(small, "scan.h5", insisted="degrees")
    np.testing.assert_allclose(found, np.radians(small))
    many = np.linspace(0, 60, 100)
    found = angles_in_radians(many, "scan.h5", stated="degrees", insisted="radians")
    np.testing.assert_array_equal(found, many)


def test_one_view_and_a_narrow_but_wide_enough_arc_are_degrees():
    assert angles_in_radians([1.5], "scan.h5")[0] == pytest.approx(np.radians(1.5))
    assert len(angles_in_radians([0.0, 7.0], "scan.h5")) == 2


def test_angles_that_are_none():
    refused("2 of them NaN", angles=[0, np.nan, np.inf])
    refused("0 angles", angles=[])
    refused("'gon'", "degrees or radians", stated="gon")


def test_lists_of_angles(tmp_path):
    path = tmp_path / "angles.txt"
    path.write_text("# degrees\n0, 10\n20 30.5\n\n-1e1 # the last\n")
    np.testing.assert_array_equal(read_angle_list(path)[0], [0, 10, 20, 30.5, -10])
    np.save(tmp_path / "angles.npy", DEGREES)
    np.testing.assert_array_equal(read_angle_list(tmp_path / "angles.npy")[0], DEGREES)


@pytest.mark.parametrize("content", [b"0\nten\n20", b"\xff\xfe\x00", b""])
def test_lists_that_are_none(tmp_path, content):
    path = tmp_path / "angles.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"angles\.txt"):
        read_angle_list(path)
    path.rename(tmp_path / "angles.npy")
    with pytest.raises(InputError, match=r"angles\.npy"):
        read_angle_list(tmp_path / "angles.npy")
