"""Fan, cone and vector geometries: values, places of sources and columns, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import diffusionblend.geometry as room
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    VectorGeometry,
    check_scan,
    equally_spaced_angles,
    truncated_fraction,
)
from diffusionblend.geometry.checks import check_sources
from diffusionblend.geometry.grid import Grid

ANGLES = (0.0, 0.4, math.pi / 2, 3.0, -2.0, 7.5)
FAN = FanBeam(
    angles_rad=ANGLES, n_columns=9, column_mm=2.0, source_to_axis_mm=100, source_to_detector_mm=150
)
CONE = ConeBeam(
    angles_rad=ANGLES,
    n_columns=9,
    column_mm=2.0,
    n_rows=5,
    row_mm=3.0,
    source_to_axis_mm=100,
    source_to_detector_mm=150,
    detector_shift_mm=4.0,
    detector_lift_mm=-2.0,
    axis_shift_mm=1.5,
)
PARALLEL = ParallelBeam(angles_rad=ANGLES, n_columns=9, column_mm=2.0, detector_shift_mm=0.7)
GRID = Grid(shape=(8, 16, 16), spacing_mm=(1, 1, 1))


def distance_to_line(point, source, target) -> float:
    along = (target - source) / np.linalg.norm(target - source)
    return float(np.linalg.norm(np.cross(point - source, along)))


@pytest.mark.parametrize(
    "geometry", [FAN, replace(FAN, curved=True), CONE, PARALLEL, CONE.to_vectors()], ids=repr
)
def test_a_geometry_prints_itself_and_compares(geometry):
    again = eval(repr(geometry), vars(room))
    assert again == geometry
    assert hash(again) == hash(geometry)
    assert replace(geometry, n_columns=10) != geometry
    assert geometry.n_views == len(ANGLES)
    with pytest.raises(AttributeError):
        geometry.n_columns = 3


def test_at_angle_zero_the_source_is_above_and_the_columns_run_with_the_columns():
    vectors = CONE.to_vectors()
    np.testing.assert_allclose(vectors.sources_mm[0], (-1.5, -100, 0), atol=1e-12)
    np.testing.assert_allclose(vectors.detectors_mm[0], (4.0 - 1.5, 50, -2), atol=1e-12)
    np.testing.assert_allclose(vectors.column_steps_mm[0], (2, 0, 0), atol=1e-12)
    np.testing.assert_allclose(vectors.row_steps_mm[0], (0, 0, 3), atol=1e-12)
    np.testing.assert_allclose(vectors.sources_mm[2], (100, -1.5, 0), atol=1e-12)
    np.testing.assert_allclose(vectors.column_steps_mm[2], (0, 2, 0), atol=1e-12)


def test_the_axis_is_seen_where_its_shift_says():
    """A point on the axis lies on the ray whose flat detector position is shift magnified."""
    geometry = replace(FAN, axis_shift_mm=3.0)
    vectors = geometry.to_vectors()
    for view in range(geometry.n_views):
        u = np.array(vectors.column_steps_mm[view]) / geometry.column_mm
        position = 3.0 * 150 / 100
        target = np.array(vectors.detectors_mm[view]) + position * u
        source = np.array(vectors.sources_mm[view])
        assert distance_to_line(np.zeros(3), source, target) < 1e-9


def test_a_column_at_the_axis_is_smaller_by_the_magnification():
    assert PARALLEL.column_at_axis_mm == PARALLEL.to_vectors().column_at_axis_mm == 2.0
    for geometry in (FAN, replace(FAN, curved=True), CONE, CONE.to_vectors()):
        assert geometry.column_at_axis_mm == pytest.approx(2.0 * 100 / 150)


def test_a_far_source_is_a_parallel_beam():
    far = 1e7
    fan = replace(
        FAN, source_to_axis_mm=far, source_to_detector_mm=far, detector_shift_mm=0.7
    ).to_vectors()
    parallel = PARALLEL.to_vectors()
    for view in range(PARALLEL.n_views):
        ray = fan.central_rays()[view] / np.linalg.norm(fan.central_rays()[view])
        np.testing.assert_allclose(ray, parallel.sources_mm[view], atol=1e-6)
        np.testing.assert_allclose(fan.detectors_mm[view], parallel.detectors_mm[view], atol=1e-6)
    c, s = np.cos(ANGLES), np.sin(ANGLES)
    middle = np.array(parallel.detectors_mm)
    np.testing.assert_allclose(middle[:, 0] * c + middle[:, 1] * s, 0.7)


def test_fan_angles_of_flat_and_curved_detectors():
    np.testing.assert_allclose(np.tan(FAN.fan_angles_rad) * 150, np.arange(-8, 9, 2))
    curved = replace(FAN, curved=True, detector_shift_mm=1.0)
    np.testing.assert_allclose(curved.fan_angles_rad * 150, np.arange(-8, 9, 2) + 1.0)
    with pytest.raises(InputError, match="curved"):
        curved.to_vectors()


def test_moving_the_volume_moves_the_scan_the_other_way():
    moved = CONE.to_vectors().moved(1, 2, 3)
    before = np.array(CONE.to_vectors().sources_mm)
    np.testing.assert_allclose(np.array(moved.sources_mm) - before, np.tile((-1, -2, -3), (6, 1)))
    parallel = PARALLEL.to_vectors().moved(1, 2, 3)
    assert parallel.sources_mm == PARALLEL.to_vectors().sources_mm


def test_projections_of_a_cone_have_its_rows():
    values = np.ones((6, 5, 9))
    assert Projections(values, CONE, GRID, 0.02).values.shape == (6, 5, 9)
    with pytest.raises(InputError, match="5 detector rows") as raised:
        Projections(np.ones((6, 8, 9)), CONE, GRID, 0.02)
    assert "(6, 5, 9)" in raised.value.expected
    assert Projections(np.ones((6, 8, 9)), FAN, GRID, 0.02).values.shape == (6, 8, 9)


@pytest.mark.parametrize(
    ("geometry", "wrong"),
    [
        (FAN, {"source_to_axis_mm": 0.0}),
        (FAN, {"source_to_detector_mm": -1.0}),
        (FAN, {"source_to_detector_mm": math.nan}),
        (FAN, {"axis_shift_mm": 1e4}),
        (FAN, {"detector_shift_mm": math.nan}),
        (FAN, {"curved": True, "column_mm": 80.0}),
        (FAN, {"n_columns": 5.5}),
        (FAN, {"column_mm": "wide"}),
        (CONE, {"n_rows": 0}),
        (CONE, {"row_mm": 0.0}),
        (CONE, {"detector_lift_mm": math.inf}),
        (CONE, {"angles_rad": ()}),
    ],
)
def test_a_bad_geometry_is_an_error(geometry, wrong):
    with pytest.raises(InputError) as raised:
        replace(geometry, **wrong)
    assert raised.value.expected


def test_bad_vectors_are_an_error():
    good = CONE.to_vectors()
    for name in ("sources_mm", "row_steps_mm"):
        with pytest.raises(InputError, match="number of each"):
            replace(good, **{name: getattr(good, name)[1:]})
        with pytest.raises(InputError, match=name):
            replace(good, **{name: [row[:2] for row in getattr(good, name)]})
    with pytest.raises(InputError, match="view 0"):
        replace(good, row_steps_mm=good.column_steps_mm)
    with pytest.raises(InputError, match="no area"):
        replace(good, sources_mm=np.array(good.detectors_mm) + np.array(good.column_steps_mm))


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_angles_that_look_like_degrees_are_said(kind):
    degrees = tuple(range(0, 180, 20))
    with pytest.warns(UserWarning, match="160 rad.*degrees"):
        replace(PARALLEL if kind == "parallel" else FAN, angles_rad=degrees)
    replace(FAN, angles_rad=tuple(np.radians(range(0, 720, 20))))


@pytest.mark.parametrize("geometry", [FAN, CONE, CONE.to_vectors()], ids=["fan", "cone", "vector"])
def test_a_source_inside_the_volume_is_an_error(geometry):
    large = Grid(shape=(8, 300, 300), spacing_mm=(1, 1, 1))
    with pytest.raises(InputError, match="source of view 0 lies inside"):
        check_scan(geometry, large)


def test_a_fitted_detector_sees_all_and_a_smaller_one_is_warned_of():
    distances = {"source_to_axis_mm": 60.0, "source_to_detector_mm": 90.0}
    angles = equally_spaced_angles(12, 360)
    for whole in (
        FanBeam.fitting(GRID, angles_rad=angles, **distances),
        FanBeam.fitting(GRID, angles_rad=angles, curved=True, **distances),
        ConeBeam.fitting(GRID, angles_rad=angles, **distances),
        room.ParallelBeam.fitting(GRID, angles_rad=angles),
    ):
        assert truncated_fraction(whole, GRID) == 0
        check_scan(whole, GRID)
        small = replace(whole, n_columns=whole.n_columns // 2)
        with pytest.warns(UserWarning, match="too small: [0-9]+ %"):
            check_scan(small, GRID)
    with pytest.warns(UserWarning, match=r"use --margin-mm\.") as told:  # not FBP
        check_scan(
            replace(whole, n_columns=whole.n_columns // 2).to_vectors(GRID.shape[0], 1.0), GRID
        )
    assert len(told) == 1
    low = replace(ConeBeam.fitting(GRID, angles_rad=angles, **distances), n_rows=3)
    assert truncated_fraction(low, GRID) > 0.4


def test_the_truncated_fraction_is_the_area_outside_the_field_of_view():
    """A parallel detector of half the width sees a disc of half the radius from everywhere."""
    half = ParallelBeam(angles_rad=equally_spaced_angles(180), n_columns=8, column_mm=1.0)
    assert truncated_fraction(half, GRID) == pytest.approx(0.75, abs=0.04)
    aside = replace(half, n_columns=16, detector_shift_mm=4.0)
    assert 0.1 < truncated_fraction(aside, GRID) < 0.75


@pytest.mark.parametrize("kind", ["flat", "curved", "cone"])
def test_the_truncated_fraction_of_a_fan_is_the_area_outside_its_circle(kind):
    """A fan sees the circle that its outermost rays touch; rows of a tall panel see all of it."""
    n_columns, distances = 12, {"source_to_axis_mm": 60.0, "source_to_detector_mm": 90.0}
    angles = equally_spaced_angles(180, 360)
    if kind == "cone":
        geometry = replace(
            ConeBeam.fitting(GRID, angles_rad=angles, **distances),
            n_columns=n_columns,
            column_mm=1.5,
        )
    else:
        geometry = FanBeam(
            angles_rad=angles,
            n_columns=n_columns,
            column_mm=1.5,
            curved=kind == "curved",
            **distances,
        )
    half_fan = 9.0 / 90 if kind == "curved" else math.atan(9.0 / 90)
    seen = 60 * math.sin(half_fan)
    assert truncated_fraction(geometry, GRID) == pytest.approx(1 - (seen / 8) ** 2, abs=0.04)
    percent = round(100 * truncated_fraction(geometry, GRID))
    with pytest.warns(UserWarning, match=f"too small: {percent} %"):
        check_scan(geometry, GRID)


def test_the_one_view_whose_source_is_inside_is_named():
    helix = CONE.to_vectors()
    sources = np.array(helix.sources_mm)
    sources[4] = (7.9, -7.9, 3.9)
    with pytest.raises(InputError, match=r"view 4 lies inside the volume, at \(7.9, -7.9, 3.9\)"):
        check_scan(replace(helix, sources_mm=sources), GRID)
    sources[4] = (7.9, -7.9, 4.1)  # just above it
    check_sources(replace(helix, sources_mm=sources), GRID)
    # a fan's source is in every slice's plane, whatever the volume's height
    fan = replace(FAN, source_to_axis_mm=7.5, angles_rad=(0.0,))
    with pytest.raises(InputError, match="view 0 lies inside"):
        check_sources(fan, GRID)


def test_a_parallel_beam_has_no_source_to_lie_inside():
    check_sources(PARALLEL, GRID)
    check_sources(PARALLEL.to_vectors(), GRID)


def test_a_helix_is_not_blamed_for_its_ends_and_a_panel_behind_its_source_is():
    angles = equally_spaced_angles(12, 360)
    whole = ConeBeam.fitting(
        GRID, angles_rad=angles, source_to_axis_mm=60.0, source_to_detector_mm=90.0
    )
    low = replace(whole, n_rows=3).to_vectors()
    assert truncated_fraction(low, GRID) == 0
    assert truncated_fraction(replace(low, n_columns=4), GRID) > 0.5
    backwards = replace(low, detectors_mm=2 * np.array(low.sources_mm))
    assert truncated_fraction(backwards, GRID) == 1


def test_a_fitted_fan_needs_its_source_outside():
    with pytest.raises(InputError, match="corners"):
        FanBeam.fitting(GRID, angles_rad=(0.0,), source_to_axis_mm=10.0, source_to_detector_mm=30.0)


def test_vectors_of_another_type_print_as_plain_numbers():
    geometry = VectorGeometry(
        sources_mm=np.array([[0, -50, 0]], dtype=np.float32),
        detectors_mm=[(0, 50, 0)],
        column_steps_mm=[(1, 0, 0)],
        row_steps_mm=[(0, 0, 1)],
        n_rows=np.int64(3),
        n_columns=4,
    )
    assert "float" not in repr(geometry) and "int64" not in repr(geometry)


@pytest.mark.parametrize(
    ("cls", "arc"), [(ParallelBeam, 180), (FanBeam, 360), (ConeBeam, 360)], ids=str
)
def test_a_fitted_scan_covers_its_own_arc_unless_angles_are_given(cls, arc):
    fitted = cls.fitting(GRID)
    np.testing.assert_allclose(np.degrees(fitted.angles_rad), np.arange(8) * arc / 8)
    short = cls.fitting(GRID, 4, 90)
    np.testing.assert_allclose(np.degrees(short.angles_rad), [0, 22.5, 45, 67.5])
    assert cls.fitting(GRID, angles_rad=ANGLES).angles_rad == ANGLES
    for views, degrees in ((0, 90), (3, 0), (3, 361), (3, math.nan)):
        with pytest.raises(InputError, match="views over"):
            cls.fitting(GRID, views, degrees)
    for both in ({"views": 3}, {"arc_degrees": 90}):
        with pytest.raises(InputError, match="Both angles_rad"):
            cls.fitting(GRID, angles_rad=ANGLES, **both)


@pytest.mark.parametrize("geometry", [FAN, CONE, PARALLEL, CONE.to_vectors()], ids=repr)
def test_some_views_are_those_views(geometry):
    some = geometry.of_views(np.array([4, 0]))
    assert type(some) is type(geometry) and some.n_views == 2
    whole = geometry.to_vectors()
    for name in ("sources_mm", "detectors_mm", "column_steps_mm"):
        expected = [getattr(whole, name)[i] for i in (4, 0)]
        assert list(getattr(some.to_vectors(), name)) == expected
