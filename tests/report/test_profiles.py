"""Profiles: the right voxels, in the right order, at the right place of the chart."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.report.profiles import centre_profiles, profile_chart, round_ticks

GRID = Grid(shape=(7, 9, 11), spacing_mm=(3.0, 2.0, 1.5))


@pytest.fixture
def volume() -> Volume:
    return Volume(np.random.default_rng(0).uniform(-1000, 1000, GRID.shape), GRID)


def test_the_three_lines_cross_in_the_middle_voxel(volume):
    profiles = {p.plane: p for p in centre_profiles({"a": volume, "b": volume})}
    values = volume.values
    np.testing.assert_array_equal(profiles["axial"].hu["a"], values[3, 4, :])
    np.testing.assert_array_equal(profiles["coronal"].hu["b"], values[::-1, 4, 5])  # head first
    np.testing.assert_array_equal(profiles["sagittal"].hu["a"], values[3, :, 5])
    assert [p.ends for p in profiles.values()] == [("R", "L"), ("H", "F"), ("A", "P")]
    np.testing.assert_allclose(profiles["coronal"].mm, (np.arange(7) + 0.5) * 3.0)


def test_a_chart_places_values_linearly(volume):
    chart = profile_chart(centre_profiles({"a": volume})[0])
    ((_, points),) = chart.curves
    x, y = np.array([p.split(",") for p in points.split()], float).T
    hu = volume.values[3, 4]
    assert x[0] > chart.left and x[-1] < chart.right
    np.testing.assert_allclose(np.diff(x), (chart.right - chart.left) / 11, atol=0.11)
    assert (y[hu.argmax()], y[hu.argmin()]) == pytest.approx((chart.top, chart.bottom), abs=0.1)
    place, label = chart.hu_ticks[0]
    assert np.interp(float(label), np.sort(hu), y[np.argsort(hu)]) == pytest.approx(place, abs=0.1)


def test_a_flat_line_has_room_around_it():
    flat = Volume(np.full(GRID.shape, 40.0), GRID)
    chart = profile_chart(centre_profiles({"a": flat})[0])
    (_, points) = chart.curves[0]
    assert {p.split(",")[1] for p in points.split()} == {f"{(chart.top + chart.bottom) / 2:.1f}"}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-1000, 1000, [-1000, -500, 0, 500, 1000]),
        (0, 360, [0, 100, 200, 300]),
        (-0.3, 0.3, [-0.2, 0, 0.2]),
        (-10, 90, [0, 20, 40, 60, 80]),
    ],
)
def test_ticks_are_round(low, high, expected):
    assert round_ticks(low, high, 5) == expected
