"""The cone-beam transform against its properties, analytic integrals and the slice-wise ones."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analytic import Ellipsoid, panel_rays
from diffusionblend.errors import InputError
from diffusionblend.geometry import (
    ConeBeam,
    FanBeam,
    ParallelBeam,
    VectorGeometry,
    equally_spaced_angles,
)
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.operators.sparse import joseph_weights
from operator_properties import (
    check_adjoint,
    check_gradient,
    check_linearity,
    check_operator,
    dense_matrix,
    random_array,
    transform_of,
)


def cone(angles_rad, panel, steps=(1.5, 1.5), source=60.0, detector=90.0, **options) -> ConeBeam:
    """panel: (rows, columns); steps: their spacing in mm."""
    return ConeBeam(
        angles_rad=angles_rad,
        n_rows=panel[0],
        n_columns=panel[1],
        row_mm=steps[0],
        column_mm=steps[1],
        source_to_axis_mm=source,
        source_to_detector_mm=detector,
        **options,
    )


def transform(shape, geometry, spacing_mm=(1, 1, 1), **options) -> XRayTransform:
    return transform_of(geometry, Grid(shape=shape, spacing_mm=spacing_mm), **options)


@pytest.mark.parametrize(
    ("shape", "geometry", "spacing_mm"),
    [
        ((9, 12, 14), cone(equally_spaced_angles(5, 360), (10, 16)), (1, 1, 1)),
        ((4, 15, 9), cone((0.3, 2.0), (3, 7), (4.0, 2.0), axis_shift_mm=2.0), (2.5, 0.7, 1.0)),
        ((1, 1, 1), cone((0.0,), (1, 1)), (1, 1, 1)),
        ((5, 6, 7), cone((1.0,), (4, 1), detector_shift_mm=3.0, detector_lift_mm=-2.0), (1, 1, 1)),
    ],
)
def test_properties(shape, geometry, spacing_mm):
    check_operator(transform(shape, geometry, spacing_mm))


numbers = st.floats(-1, 1)


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 8), st.integers(1, 8)),
    spacing_mm=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3), st.floats(0.3, 3)),
    panel=st.tuples(st.integers(1, 6), st.integers(1, 7)),
    views=st.lists(st.tuples(*[st.floats(-3.2, 3.2)] * 2, *[numbers] * 5), min_size=1, max_size=3),
    parallel=st.booleans(),
)
def test_sources_and_panels_anywhere(shape, spacing_mm, panel, views, parallel):
    """Directions all over the sphere, panels tilted and off centre, all three main axes."""
    parts = {"sources_mm": [], "detectors_mm": [], "column_steps_mm": [], "row_steps_mm": []}
    for turn, tilt, *off in views:
        ahead = np.array(
            (math.cos(tilt) * math.sin(turn), -math.cos(tilt) * math.cos(turn), math.sin(tilt))
        )
        u = np.array((math.cos(turn), math.sin(turn), 0.0))
        v = np.cross(u, ahead)
        parts["sources_mm"].append(-ahead if parallel else 50 * ahead)
        parts["detectors_mm"].append(-30 * ahead + 2 * np.array(off[:3]))
        parts["column_steps_mm"].append(1.7 * u + 0.3 * off[3] * v)
        parts["row_steps_mm"].append(2.1 * v + 0.3 * off[4] * ahead)
    geometry = VectorGeometry(**parts, n_rows=panel[0], n_columns=panel[1], parallel=parallel)
    operator = transform(shape, geometry, spacing_mm)
    check_linearity(operator)
    check_adjoint(operator)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 8), st.integers(1, 8), st.integers(1, 8)),
    spacing_mm=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3), st.floats(0.3, 3)),
    angles_rad=st.lists(st.floats(-7, 7), min_size=1, max_size=3).map(tuple),
    panel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    steps=st.tuples(st.floats(0.3, 4), st.floats(0.3, 4)),
    shifts=st.tuples(*[st.floats(-6, 6)] * 3),
    source=st.floats(18, 200),
)
def test_upright_panels_are_projected_as_ray_by_ray(
    shape, spacing_mm, angles_rad, panel, steps, shifts, source
):
    """Off-centre panels, one column, one row, one slice, voxels of any shape."""
    geometry = cone(
        angles_rad,
        panel,
        steps,
        source=source,
        detector=1.5 * source,
        detector_shift_mm=shifts[0],
        detector_lift_mm=shifts[1],
        axis_shift_mm=shifts[2],
    )
    operator = transform(shape, geometry, spacing_mm)
    check_linearity(operator)
    check_adjoint(operator)
    operator = transform(shape, geometry, spacing_mm, dtype=torch.float64)
    ray_by_ray = transform(shape, geometry, spacing_mm, dtype=torch.float64, storage="rays")
    x, y = (
        random_array(size, i, torch.float64)
        for i, size in enumerate((operator.domain_shape, operator.range_shape))
    )
    found = operator.forward(x), operator.adjoint(y)
    torch.testing.assert_close(found[0], ray_by_ray.forward(x), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found[1], ray_by_ray.adjoint(y), rtol=1e-9, atol=1e-9)


def test_which_panels_are_upright():
    angles = equally_spaced_angles(4, 360)
    geometry = cone(angles, (6, 8))
    assert transform((5, 6, 6), geometry).storage == "columns"
    assert transform((5, 6, 6), geometry.to_vectors().moved(1, 2, 3)).storage == "columns"
    tilted = replace(geometry.to_vectors(), row_steps_mm=[(0.01, 0, 1.5), *[(0, 0, 1.5)] * 3])
    assert transform((5, 6, 6), tilted).storage == "rays"
    with pytest.raises(InputError, match="tilted"):
        transform((5, 6, 6), tilted, storage="columns")
    # slices so thin that some rays pass more of them than rows or columns
    assert transform((5, 6, 6), geometry, (0.02, 1, 1)).storage == "rays"
    parallel = ParallelBeam(angles_rad=angles, n_columns=5, column_mm=1.0).to_vectors(3)
    assert transform((5, 6, 6), parallel).storage == "columns"


def test_gradient():
    geometry = cone((0.2, 2.6), (2, 3), (4.0, 3.0), source=20.0, detector=30.0)
    check_gradient(transform((2, 3, 3), geometry, dtype=torch.float64))


def test_adjointness_holds_for_many_views_of_positive_data():
    """Where every sum grows and none cancels: single precision must still be enough."""
    geometry = cone(equally_spaced_angles(400, 360), (6, 30))
    operator = transform((6, 20, 20), geometry)
    x = random_array(operator.domain_shape, 0).abs()
    y = random_array(operator.range_shape, 1).abs()
    left = (operator.forward(x).double() * y.double()).sum()
    right = (x.double() * operator.adjoint(y).double()).sum()
    assert abs(left - right) < 1e-6 * left


def ball_error(n: int, geometry: ConeBeam) -> float:
    ball = Ellipsoid(centre_mm=(6, -4, 3), semi_axes_mm=(14, 11, 9))
    rays = panel_rays(
        geometry.angles_rad,
        geometry.column_positions_mm,
        geometry.row_positions_mm,
        geometry.source_to_axis_mm,
        geometry.source_to_detector_mm,
        axis_shift_mm=geometry.axis_shift_mm,
    )
    exact = ball.line_integrals(*rays)
    spacing = (48 / n, 48 / n, 48 / n)
    image = ball.picture((n, n, n), spacing)
    found = transform((n, n, n), geometry, spacing).forward(torch.from_numpy(image).float())
    return float(np.linalg.norm(found.numpy() - exact) / np.linalg.norm(exact))


def test_ellipsoids_and_refinement():
    geometry = cone(
        equally_spaced_angles(7, 360),
        (40, 50),
        (2.0, 1.6),
        source=100.0,
        detector=150.0,
        detector_shift_mm=3.0,
        detector_lift_mm=-2.0,
        axis_shift_mm=1.5,
    )
    errors = [ball_error(n, geometry) for n in (24, 48, 72)]
    assert errors[0] < 0.1
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < min(0.75 * errors[1], 0.03)


def test_a_helix_and_a_source_from_above_measure_a_ball():
    """Vectors that no circular scan has: the source climbs, and once looks down along z."""
    t = np.linspace(0, 4 * math.pi, 9)
    n, u, up = np.zeros((10, 3)), np.zeros((10, 3)), np.zeros((10, 3))
    n[:9] = np.stack([-np.sin(t), np.cos(t), 0 * t], axis=1)
    u[:9] = np.stack([np.cos(t), np.sin(t), 0 * t], axis=1)
    up[:9, 2], climb = 1, np.zeros((10, 3))
    climb[:9, 2] = np.linspace(-6, 6, 9)
    n[9], u[9], up[9] = (0, 0, -1), (1, 0, 0), (0, 1, 0)
    geometry = VectorGeometry(
        sources_mm=-80 * n + climb,
        detectors_mm=40 * n + climb,
        column_steps_mm=1.5 * u,
        row_steps_mm=1.5 * up,
        n_rows=40,
        n_columns=40,
    )
    ball = Ellipsoid(centre_mm=(2, -3, 1), semi_axes_mm=(10, 12, 8))
    steps = (np.arange(40) - 19.5) * 1.5
    targets = (40 * n + climb)[:, None, None] + (
        u[:, None, None] * steps[:, None] + up[:, None, None] * steps[:, None, None]
    )
    sources = np.broadcast_to((-80 * n + climb)[:, None, None], targets.shape)
    exact = ball.line_integrals(sources, targets - sources)
    shape, spacing = (64, 64, 64), (0.5, 0.5, 0.5)
    image = torch.from_numpy(ball.picture(shape, spacing)).float()
    found = transform(shape, geometry, spacing).forward(image).numpy()
    for view in range(10):
        error = np.linalg.norm(found[view] - exact[view]) / np.linalg.norm(exact[view])
        assert error < 0.03, f"view {view}"


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_one_row_is_the_slice_wise_matrix(kind):
    angles, grid = equally_spaced_angles(8, 360), Grid(shape=(1, 13, 10), spacing_mm=(1, 0.9, 1.3))
    if kind == "parallel":
        flat = ParallelBeam(angles_rad=angles, n_columns=18, column_mm=0.9, detector_shift_mm=0.35)
    else:
        flat = FanBeam(
            angles_rad=angles,
            n_columns=18,
            column_mm=1.4,
            source_to_axis_mm=40,
            source_to_detector_mm=60,
            axis_shift_mm=0.7,
        )
    rays, pixels, weights = joseph_weights(flat, grid)
    expected = np.zeros((8 * 18, 130))
    np.add.at(expected, (rays, pixels), weights)
    operator = transform_of(flat.to_vectors(), grid, dtype=torch.float64)
    np.testing.assert_allclose(dense_matrix(operator).numpy(), expected, atol=1e-9)


def test_parallel_rows_are_slices():
    geometry = ParallelBeam(angles_rad=equally_spaced_angles(5), n_columns=16, column_mm=1.0)
    grid = Grid(shape=(4, 10, 10), spacing_mm=(2.0, 1, 1))
    x = random_array(grid.shape, 0)
    stack = XRayTransform(geometry, grid).forward(x)
    vectors = XRayTransform(geometry.to_vectors(4, 2.0), grid).forward(x)
    torch.testing.assert_close(vectors, stack, rtol=1e-4, atol=1e-4)


def test_the_axes_and_rows_point_where_the_convention_says():
    """A single voxel shows at the column and row that its place projects to."""
    geometry = cone((0.0, math.pi / 2), (41, 41), (1.0, 1.0), source=100.0, detector=200.0)
    x = torch.zeros(15, 15, 15)
    z, row, column = 3.0, -5.0, 4.0
    x[7 + 3, 7 - 5, 7 + 4] = 1
    lines = transform((15, 15, 15), geometry).forward(x)
    for view, (along, depth) in enumerate(((column, 100 + row), (row, 100 - column))):
        found = np.unravel_index(int(lines[view].argmax()), (41, 41))
        assert found[0] - 20 == pytest.approx(200 * z / depth, abs=1)
        assert found[1] - 20 == pytest.approx(200 * along / depth, abs=1)


@pytest.mark.parametrize("storage", ["columns", "rays"])
def test_scale_multiplies_lengths_and_threads_change_nothing(storage):
    geometry = cone(equally_spaced_angles(5, 360), (6, 12))
    operator, doubled = (
        transform((5, 9, 8), geometry, scale=s, storage=storage) for s in (1.0, 2.0)
    )
    x, y = random_array(operator.domain_shape, 0), random_array(operator.range_shape, 1)
    torch.testing.assert_close(doubled.forward(x), 2 * operator.forward(x))
    threads = torch.get_num_threads()
    found = []
    try:
        for n in (1, 3):
            torch.set_num_threads(n)
            found.append((operator.forward(x), operator.adjoint(y)))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_rays_in_batches_are_the_same(monkeypatch):
    operator = transform((5, 9, 8), cone(equally_spaced_angles(3, 360), (5, 12)), storage="rays")
    x, y = random_array(operator.domain_shape, 0), random_array(operator.range_shape, 1)
    forward, back = operator.forward(x), operator.adjoint(y)
    monkeypatch.setattr("diffusionblend.operators.panels.RAYS_AT_ONCE", 25)
    torch.testing.assert_close(operator.forward(x), forward, rtol=0, atol=0)
    torch.testing.assert_close(operator.adjoint(y), back, rtol=1e-5, atol=1e-5)


def test_part_of_the_slices_cannot_be_asked_for():
    operator = transform((5, 9, 8), cone((0.0,), (3, 4)))
    assert operator.with_slices(5) is operator
    with pytest.raises(InputError, match="whole volume"):
        operator.with_slices(2)
    with pytest.raises(InputError, match="inside the volume"):
        transform((5, 200, 200), cone((0.0,), (3, 4)))


def test_the_factory_knows_every_geometry_and_warns_of_a_small_detector():
    grid = Grid(shape=(3, 8, 8), spacing_mm=(1, 1, 1))
    wide = cone((0.0, 1.0), (12, 24), source=40.0)
    fan = FanBeam(
        angles_rad=(0.0,),
        n_columns=24,
        column_mm=1.5,
        source_to_axis_mm=40,
        source_to_detector_mm=90,
    )
    beam = ParallelBeam(angles_rad=(0.0,), n_columns=12, column_mm=1.0)
    for geometry in (wide, wide.to_vectors(), fan, beam):
        operator = XRayTransform(geometry, grid, scale=0.5)
        assert operator.geometry == geometry
        assert operator.range_shape == (
            geometry.n_views,
            geometry.detector_rows(grid),
            geometry.n_columns,
        )
        assert operator.couples_slices == geometry.couples_slices
        assert operator.description
    with pytest.warns(UserWarning, match="too small"):
        XRayTransform(cone((0.0,), (3, 4)), grid)
