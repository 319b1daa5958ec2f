"""ASTRA's and TIGRE's descriptions: round trips, and their own conventions written out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.errors import InputError
from diffusionblend.geometry import ConeBeam, FanBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.interop import from_astra, from_tigre, to_astra, to_tigre
from diffusionblend.geometry.vectors import PER_VIEW

ANGLES = (0.0, 0.4, math.pi / 2, 3.0, -2.0)
GRID = Grid(shape=(4, 16, 12), spacing_mm=(2, 1, 1.5))
DISTANCES = {"source_to_axis_mm": 100.0, "source_to_detector_mm": 150.0}
CONE = ConeBeam(angles_rad=ANGLES, n_columns=9, column_mm=2.0, n_rows=5, row_mm=3.0, **DISTANCES)
SHIFTED = replace(CONE, detector_shift_mm=4.0, detector_lift_mm=-2.0, axis_shift_mm=1.5)
FAN = FanBeam(angles_rad=ANGLES, n_columns=9, column_mm=2.0, axis_shift_mm=1.5, **DISTANCES)
PARALLEL = ParallelBeam(angles_rad=ANGLES, n_columns=9, column_mm=2.0)


def assert_same_rays(one, other):
    assert (one.n_rows, one.n_columns, one.parallel) == (
        other.n_rows,
        other.n_columns,
        other.parallel,
    )
    for name in PER_VIEW:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-12)


@pytest.mark.parametrize("geometry", [CONE, PARALLEL], ids=["cone", "parallel"])
def test_astra_by_angles_and_back(geometry):
    assert from_astra(to_astra(geometry, GRID)["proj_geom"]) == geometry


def test_astra_by_vectors_and_back():
    for geometry in (SHIFTED, SHIFTED.to_vectors()):
        described = to_astra(geometry, GRID)["proj_geom"]
        assert described["type"] == "cone_vec"
        assert described["Vectors"].shape == (5, 12)
        assert_same_rays(from_astra(described), SHIFTED.to_vectors())
    shifted = replace(PARALLEL, detector_shift_mm=0.7)
    described = to_astra(shifted, GRID)["proj_geom"]
    assert described["type"] == "parallel3d_vec"
    assert_same_rays(from_astra(described), shifted.to_vectors(4, 2.0))


def test_astra_in_2d_and_back():
    described = to_astra(FAN, GRID)["proj_geom"]
    assert described["type"] == "fanflat_vec"
    assert_same_rays(from_astra(described), FAN.to_vectors())
    np.testing.assert_allclose(described["Vectors"][0], (-1.5, 100, -1.5, -50, 2, 0), atol=1e-12)


def test_astra_draws_y_upwards_in_2d():
    """A point (x, y up) is seen at x cos t + y sin t by ASTRA's parallel, and so by ours."""
    x, y_up, t = 3.0, 5.0, 0.4
    ours = from_astra(
        {"type": "parallel", "DetectorCount": 9, "DetectorWidth": 1.0, "ProjectionAngles": [t]}
    )
    (angle,) = ours.angles_rad
    seen = x * math.cos(angle) - y_up * math.sin(angle)
    assert seen == pytest.approx(x * math.cos(t) + y_up * math.sin(t))
    fan = from_astra(
        {
            "type": "fanflat",
            "DetectorCount": 9,
            "DetectorWidth": 1.0,
            "ProjectionAngles": [t],
            "DistanceOriginSource": 100.0,
            "DistanceOriginDetector": 50.0,
        }
    )
    np.testing.assert_allclose(fan.sources_mm[0], (100 * math.sin(t), 100 * math.cos(t), 0))
    np.testing.assert_allclose(fan.column_steps_mm[0], (math.cos(t), -math.sin(t), 0))


def test_the_volume_of_astra():
    volume = to_astra(CONE, GRID)["vol_geom"]
    assert (volume["GridSliceCount"], volume["GridRowCount"], volume["GridColCount"]) == (4, 16, 12)
    assert volume["option"]["WindowMaxX"] == 9.0
    assert volume["option"]["WindowMinY"] == -8.0
    assert volume["option"]["WindowMaxZ"] == 4.0


@pytest.mark.parametrize("geometry", [CONE, SHIFTED, replace(PARALLEL, detector_shift_mm=0.7)])
def test_tigre_and_back(geometry):
    found, grid = from_tigre(to_tigre(geometry, GRID))
    assert grid == GRID
    np.testing.assert_allclose(found.angles_rad, geometry.angles_rad, atol=1e-12)
    assert replace(found, angles_rad=geometry.angles_rad) == geometry


def test_tigre_starts_with_its_source_on_the_x_axis():
    described = to_tigre(CONE, GRID) | {"angles": [0.0], "COR": 2.0}
    vectors = from_tigre(described)[0].to_vectors()
    np.testing.assert_allclose(vectors.sources_mm[0], (100, 2, 0), atol=1e-12)
    np.testing.assert_allclose(vectors.detectors_mm[0], (-50, 2, 0), atol=1e-12)
    np.testing.assert_allclose(vectors.column_steps_mm[0], (0, 2, 0), atol=1e-12)


def test_tigre_with_its_volume_off_the_axis():
    described = to_tigre(CONE, GRID) | {"offOrigin": np.array((3.0, 2.0, 1.0))}
    vectors, _ = from_tigre(described)
    assert_same_rays(vectors, CONE.to_vectors().moved(1.0, 2.0, 3.0))


def test_what_they_have_no_word_for():
    curved = replace(FAN, curved=True)
    for described in (
        lambda: to_astra(curved, GRID),
        lambda: to_tigre(curved, GRID.with_slices(1)),
        lambda: to_tigre(FAN, GRID),
        lambda: to_tigre(CONE.to_vectors(), GRID),
        lambda: from_astra({"type": "helix"}),
        lambda: from_astra({"type": "cone"}),
        lambda: from_tigre({"mode": "cone"}),
        lambda: from_tigre(to_tigre(CONE, GRID) | {"COR": [0.0, 1.0, 2.0, 3.0, 4.0]}),
        lambda: from_tigre(to_tigre(CONE, GRID) | {"rotDetector": np.ones(3)}),
    ):
        with pytest.raises(InputError) as raised:
            described()
        assert raised.value.expected
    assert to_tigre(FAN, GRID.with_slices(1))["nDetector"][0] == 1
