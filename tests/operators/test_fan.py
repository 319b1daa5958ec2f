"""The fan-beam transform against its properties and analytic integrals, stored and on the fly."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analytic import Ellipsoid, panel_rays
from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.operators.rays import plane_rays
from diffusionblend.operators.slicewise import MATRIX_LIMIT_BYTES
from operator_properties import (
    check_adjoint,
    check_gradient,
    check_linearity,
    check_operator,
    random_array,
    transform_of,
)

STORAGES = ("matrix", "rays")


def fan(angles_rad, n_columns, column_mm=1.5, source=80.0, detector=120.0, **options) -> FanBeam:
    return FanBeam(
        angles_rad=angles_rad,
        n_columns=n_columns,
        column_mm=column_mm,
        source_to_axis_mm=source,
        source_to_detector_mm=detector,
        **options,
    )


def transform(shape, geometry, spacing_mm=(1, 1, 1), **options):
    return transform_of(geometry, Grid(shape=shape, spacing_mm=spacing_mm), **options)


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("curved", [False, True])
def test_properties(curved, storage):
    geometry = fan(equally_spaced_angles(7, 360), 40, curved=curved, axis_shift_mm=1.3)
    check_operator(transform((2, 24, 20), geometry, (2, 1, 1.2), storage=storage))
    one = fan((0.3,), 1, 4.0, detector_shift_mm=2.0, curved=curved)
    check_operator(transform((1, 5, 7), one, storage=storage))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    angles_rad=st.lists(st.floats(-7, 7), min_size=1, max_size=4).map(tuple),
    n_columns=st.integers(1, 16),
    pixel_mm=st.tuples(st.floats(0.3, 3), st.floats(0.3, 3)),
    column_mm=st.floats(0.2, 4),
    shifts=st.tuples(st.floats(-5, 5), st.floats(-5, 5)),
    curved=st.booleans(),
    parallel=st.booleans(),
)
def test_any_geometry_is_adjoint_and_the_same_on_the_fly(
    shape, angles_rad, n_columns, pixel_mm, column_mm, shifts, curved, parallel
):
    if parallel:
        geometry = ParallelBeam(
            angles_rad=angles_rad,
            n_columns=n_columns,
            column_mm=column_mm,
            detector_shift_mm=shifts[0],
        )
    else:
        geometry = fan(
            angles_rad,
            n_columns,
            column_mm,
            source=40.0,
            detector_shift_mm=shifts[0],
            axis_shift_mm=shifts[1],
            curved=curved,
        )
    stored, on_the_fly = (
        transform(shape, geometry, (1, *pixel_mm), storage=storage) for storage in STORAGES
    )
    for operator in (stored, on_the_fly):
        check_linearity(operator)
        check_adjoint(operator)
    x, y = random_array(stored.domain_shape, 0), random_array(stored.range_shape, 1)
    torch.testing.assert_close(on_the_fly.forward(x), stored.forward(x), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(on_the_fly.adjoint(y), stored.adjoint(y), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("storage", STORAGES)
def test_adjointness_holds_for_many_views_of_positive_data(storage):
    """Where every sum grows and none cancels: single precision must still be enough."""
    geometry = fan(equally_spaced_angles(400, 360), 90, source=200.0, detector=300.0)
    operator = transform((2, 64, 64), geometry, storage=storage)
    x = random_array(operator.domain_shape, 0).abs()
    y = random_array(operator.range_shape, 1).abs()
    left = (operator.forward(x).double() * y.double()).sum()
    right = (x.double() * operator.adjoint(y).double()).sum()
    assert abs(left - right) < 1e-6 * left


@pytest.mark.parametrize("storage", STORAGES)
def test_gradient(storage):
    geometry = fan((0.2, 2.6), 5, 4.0, source=20.0, detector=30.0)
    check_gradient(transform((2, 4, 3), geometry, dtype=torch.float64, storage=storage))


@pytest.mark.parametrize("curved", [False, True])
def test_ellipses_and_refinement(curved):
    ellipse = Ellipsoid(centre_mm=(12, -7, 0), semi_axes_mm=(25, 18, math.inf))
    geometry = fan(
        equally_spaced_angles(11, 360),
        80,
        2.0,
        source=150.0,
        detector=200.0,
        curved=curved,
        detector_shift_mm=3.0,
        axis_shift_mm=-2.0,
    )
    rays = panel_rays(
        geometry.angles_rad,
        geometry.column_positions_mm,
        np.zeros(1),
        150.0,
        200.0,
        axis_shift_mm=-2.0,
        curved=curved,
    )
    exact = ellipse.line_integrals(*rays)
    errors = []
    for n in (48, 96, 192):
        image = ellipse.picture((1, n, n), (1, 96 / n, 96 / n))
        operator = transform((1, n, n), geometry, (1, 96 / n, 96 / n))
        found = operator.forward(torch.from_numpy(image).float()).numpy()
        errors.append(np.linalg.norm(found - exact) / np.linalg.norm(exact))
    assert errors[0] < 0.05
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < min(0.6 * errors[1], 0.01)


def test_a_far_source_is_the_parallel_beam():
    angles, far = equally_spaced_angles(9, 360), 1e6
    parallel = ParallelBeam(angles_rad=angles, n_columns=20, column_mm=1.1, detector_shift_mm=0.4)
    distant = fan(angles, 20, 1.1, source=far, detector=far, detector_shift_mm=0.4)
    x = random_array((2, 14, 14), 0)
    ours, theirs = (transform((2, 14, 14), g).forward(x) for g in (distant, parallel))
    assert (ours - theirs).norm() < 1e-3 * theirs.norm()


def test_rays_end_at_their_source():
    """A volume beside and behind the source is not seen by rays that leave it the other way."""
    geometry = fan((math.radians(45),), 3, 60.0, source=13.0, detector=26.0)
    x = torch.zeros(1, 18, 200)
    x[:, :, 120:] = 1
    lines = transform((1, 18, 200), geometry).forward(x)
    source = geometry.source_positions_mm()[0]
    assert source[0] < 20  # where the seen part of the volume begins
    to_the_left = [b for b, g in enumerate(geometry.fan_angles_rad) if math.pi / 4 - g > 0.0]
    assert 0 in to_the_left and 1 in to_the_left
    assert not lines[0, 0, to_the_left].any()


@pytest.mark.parametrize("storage", STORAGES)
def test_slices_do_not_mix_and_share_their_rays(storage):
    geometry = fan(equally_spaced_angles(5, 360), 20)
    whole = transform((70, 8, 9), geometry, storage=storage)
    x, y = random_array((70, 8, 9), 0), random_array((5, 70, 20), 1)
    single = whole.with_slices(1)
    forward, back = whole.forward(x), whole.adjoint(y)
    for r in (0, 31, 63, 64, 69):
        torch.testing.assert_close(forward[:, r : r + 1], single.forward(x[r : r + 1]))
        torch.testing.assert_close(back[r : r + 1], single.adjoint(y[:, r : r + 1]))


@pytest.mark.parametrize("n_slices", [3, 50])
def test_threads_do_not_change_the_result(n_slices, monkeypatch):
    """Few slices are split by rays and lines, many by chunks of slices if there is room."""
    geometry = fan(equally_spaced_angles(9, 360), 30)
    operator = transform((n_slices, 20, 17), geometry, storage="rays")
    x, y = random_array(operator.domain_shape, 0), random_array(operator.range_shape, 1)
    threads = torch.get_num_threads()
    found = []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append((operator.forward(x), operator.adjoint(y)))
        monkeypatch.setattr("diffusionblend.operators.kernels.planes.ROOMS_LIMIT_BYTES", 0)
        found.append((operator.forward(x), operator.adjoint(y)))
    finally:
        torch.set_num_threads(threads)
    for forward, back in found[1:]:
        assert torch.equal(forward, found[0][0])
        assert torch.equal(back, found[0][1])


def test_what_a_call_leaves_behind_does_not_reach_the_next(monkeypatch):
    """Rooms are kept from call to call, with what rays left beside the slice and in spare lanes."""
    monkeypatch.setattr("diffusionblend.operators.kernels.planes._kept", deque())
    geometry = fan(equally_spaced_angles(9, 360), 40)
    stored, rays = (transform((2, 12, 11), geometry, storage=s) for s in STORAGES)
    x, y = random_array(rays.domain_shape, 0), random_array(rays.range_shape, 1)
    fresh = rays.forward(x)
    for seed in range(2):
        wide = random_array((9, 16, 40), seed) * 1e6
        rays.with_slices(16).adjoint(wide)
        assert torch.equal(rays.forward(x), fresh)
        torch.testing.assert_close(rays.adjoint(y), stored.adjoint(y), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fresh, stored.forward(x), rtol=1e-4, atol=1e-4)


def test_rays_stay_within_a_pixel_of_the_lines_they_meet():
    """The kernels read without asking: also where rays run along the very edge."""
    grid = Grid(shape=(1, 8, 11), spacing_mm=(1, 1, 1))
    edges = tuple(math.radians(a) for a in (0, 45, 90, 135, 180, 270, 1e-6, 44.999999))
    for shift in (0.0, 0.5, 1.0, -1.0):
        beam = ParallelBeam(angles_rad=edges, n_columns=21, column_mm=1.0, detector_shift_mm=shift)
        rays = plane_rays(beam, grid)
        n_across = np.where(rays.along_rows, 11, 8)
        for line, beyond in ((rays.first, rays.first - 1), (rays.last - 1, rays.last)):
            met = rays.first < rays.last
            across = (rays.start + rays.slope * line)[met]
            assert ((across > -1) & (across < n_across[met])).all()
            outside = rays.start + rays.slope * beyond
            n_lines = np.where(rays.along_rows, 8, 11)
            left = met & (beyond >= 0) & (beyond < n_lines)
            assert ((outside <= -1) | (outside >= n_across))[left].all()


def test_rays_on_the_fly_make_their_matrix_when_asked():
    geometry = fan(equally_spaced_angles(5, 360), 20)
    stored, on_the_fly = (transform((2, 9, 8), geometry, storage=s) for s in STORAGES)
    asked = on_the_fly.with_slices(1).matrix
    assert on_the_fly.matrix is asked
    torch.testing.assert_close(asked.to_dense(), stored.matrix.to_dense(), rtol=0, atol=0)


def test_the_storage_is_chosen_by_the_matrix_size():
    grid = Grid(shape=(1, 2048, 2048), spacing_mm=(1, 0.2, 0.2))
    geometry = fan(equally_spaced_angles(20, 360), 2048, 0.4, source=400.0, detector=600.0)
    operator = XRayTransform(geometry, grid)
    assert operator._rays.matrix_bytes > MATRIX_LIMIT_BYTES["cuda"] > MATRIX_LIMIT_BYTES["cpu"]
    assert operator.storage == "rays"
    assert "on the fly" in operator.description and "GB" in operator.description
    small = transform((1, 16, 16), fan((0.0, 1.0), 24))
    assert small.storage == "matrix" and "matrix" in small.description
    held = 2 * small.matrix.values().numel() * 8
    assert held <= small._rays.matrix_bytes < 1.6 * held


def test_a_source_inside_the_volume_and_another_storage_are_errors():
    with pytest.raises(InputError, match="inside the volume"):
        transform((1, 200, 200), fan((0.0,), 5))
    with pytest.raises(InputError, match="'disk'"):
        transform((1, 8, 8), fan((0.0,), 5), storage="disk")
