from __future__ import annotations

import math

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import ParallelBeam, equally_spaced_angles, full_detector
from diffusionblend.geometry.grid import Grid


def test_a_geometry_prints_itself_and_compares():
    angles = np.array([0.1, 1 / 3, 2.0], dtype=np.float32)
    for geometry in (
        ParallelBeam(angles_rad=equally_spaced_angles(7), n_columns=363, column_mm=0.7),
        ParallelBeam(angles_rad=angles, n_columns=np.int64(20), column_mm=np.float64(0.1)),
    ):
        again = eval(repr(geometry), {"ParallelBeam": ParallelBeam})
        assert again == geometry
        assert hash(again) == hash(geometry)
    first = ParallelBeam(angles_rad=(0.0, 1.0), n_columns=5, column_mm=1.0)
    assert first == ParallelBeam(angles_rad=[0, 1], n_columns=5, column_mm=1)
    assert first != ParallelBeam(angles_rad=(0.0, 1.0), n_columns=6, column_mm=1.0)
    assert first != ParallelBeam(angles_rad=(0.0, 1.1), n_columns=5, column_mm=1.0)
    with pytest.raises(AttributeError):
        first.n_columns = 7


def test_columns_lie_evenly_about_the_middle():
    odd = ParallelBeam(angles_rad=(0.0,), n_columns=5, column_mm=0.5)
    np.testing.assert_allclose(odd.column_positions_mm, [-1, -0.5, 0, 0.5, 1])
    even = ParallelBeam(angles_rad=(0.0,), n_columns=4, column_mm=2.0)
    np.testing.assert_allclose(even.column_positions_mm, [-3, -1, 1, 3])


@pytest.mark.parametrize(
    ("shape", "columns"), [((256, 256), 363), ((128, 128), 182), ((3, 4), 5), ((1, 1), 2)]
)
def test_the_full_detector_spans_the_diagonal(shape, columns):
    assert full_detector(shape) == columns


def test_every_pixel_is_seen_from_every_angle():
    for shape in ((256, 256), (7, 30), (33, 32)):
        grid = Grid(shape=(1, *shape), spacing_mm=(2, 0.8, 0.8))
        geometry = ParallelBeam.fitting(grid, 360)
        half_detector_mm = geometry.n_columns * geometry.column_mm / 2
        t = np.array(geometry.angles_rad)
        corner = 0.4 * (shape[1] * np.abs(np.cos(t)) + shape[0] * np.abs(np.sin(t)))
        assert corner.max() <= half_detector_mm
        assert (geometry.column_mm, geometry.n_views) == (0.8, 360)


def test_angles_are_equally_spaced_and_leave_out_the_end():
    np.testing.assert_allclose(np.degrees(equally_spaced_angles(8)), np.arange(8) * 22.5)
    np.testing.assert_allclose(np.degrees(equally_spaced_angles(90, 90)), np.arange(90))
    assert equally_spaced_angles(1) == (0.0,)


@pytest.mark.parametrize(
    "wrong",
    [
        {"angles_rad": ()},
        {"angles_rad": (0.0, math.nan)},
        {"angles_rad": (math.inf,)},
        {"n_columns": 0},
        {"column_mm": 0.0},
        {"column_mm": -1.0},
        {"column_mm": math.nan},
    ],
)
def test_a_bad_geometry_is_an_error(wrong):
    with pytest.raises(InputError) as raised:
        ParallelBeam(**({"angles_rad": (0.0,), "n_columns": 5, "column_mm": 1.0} | wrong))
    assert raised.value.expected


def test_no_views_are_an_error():
    with pytest.raises(InputError, match="at least one"):
        ParallelBeam(angles_rad=equally_spaced_angles(0), n_columns=5, column_mm=1.0)


def test_pixels_that_are_not_square_are_an_error():
    with pytest.raises(InputError, match="square"):
        ParallelBeam.fitting(Grid(shape=(1, 8, 8), spacing_mm=(1, 1, 1.2)), angles_rad=(0.0,))


class TestProjections:
    geometry = ParallelBeam(angles_rad=(0.0, 1.0), n_columns=5, column_mm=1.0)
    grid = Grid(shape=(3, 4, 4), spacing_mm=(1, 1, 1))

    def make(self, values, mu=0.02):
        return Projections(values, self.geometry, self.grid, mu)

    def test_values_are_float32_in_order(self):
        values = np.arange(30, dtype=np.int64).reshape(5, 3, 2).T
        found = self.make(values).values
        assert found.dtype == np.float32
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, values)

    @pytest.mark.parametrize("shape", [(3, 2, 5), (2, 3, 4), (2, 5, 3), (1, 3, 5), (2, 3)])
    def test_a_shape_that_does_not_fit(self, shape):
        with pytest.raises(InputError) as raised:
            self.make(np.zeros(shape))
        assert str(shape) in raised.value.got
        assert "(2, 3, 5)" in raised.value.expected

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_values_that_are_not_finite(self, bad):
        values = np.zeros((2, 3, 5))
        values[1, 2, 3] = values[0, 0, 0] = bad
        with pytest.raises(InputError, match="2 values"):
            self.make(values)

    @pytest.mark.parametrize("mu", [0.0, -1.0, math.nan])
    def test_a_bad_water_attenuation(self, mu):
        with pytest.raises(InputError, match="mu_water_per_mm"):
            self.make(np.zeros((2, 3, 5)), mu)


@pytest.mark.parametrize("photons", [0, -1.0, math.nan, math.inf, "many", True])
def test_a_photon_count_that_is_none_is_refused(photons):
    grid = Grid(shape=(3, 4, 4), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam(angles_rad=(0.0,), n_columns=6, column_mm=1.0)
    with pytest.raises(InputError, match="photons") as refused:
        Projections(np.full((1, 3, 6), 0.5), geometry, grid, 0.02, {"photons": photons})
    assert repr(photons) in refused.value.got
    for count in (1000, 1e6, np.int64(1000), np.float32(5.0), None):
        Projections(np.full((1, 3, 6), 0.5), geometry, grid, 0.02, {"photons": count})


@pytest.mark.parametrize("values", [0.0, 1e6])
def test_values_that_are_no_line_integrals_are_refused(values):
    grid = Grid(shape=(3, 4, 4), spacing_mm=(1, 1, 1))
    geometry = ParallelBeam(angles_rad=(0.0,), n_columns=6, column_mm=1.0)
    with pytest.raises(InputError, match="logarithm"):
        Projections(np.full((1, 3, 6), values), geometry, grid, 0.02)
