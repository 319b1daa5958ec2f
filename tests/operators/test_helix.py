"""The helical transform against its properties and the exact integrals of balls."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from analytic import Ellipsoid, rays_of_helix
from diffusionblend.geometry import ConeBeam, Helix
from diffusionblend.geometry.grid import Grid
from operator_properties import (
    check_adjoint,
    check_gradient,
    check_linearity,
    check_operator,
    random_array,
    transform_of,
)

SPOTS = ((-0.9, 0.2, -0.7), (0.9, -0.2, 0.7))


def exact(ball: Ellipsoid, geometry: Helix) -> np.ndarray:
    """Line integrals (view, row, column)."""
    return ball.line_integrals(*rays_of_helix(geometry))


def small(**options) -> Helix:
    given = {
        "angles_rad": (0.3, 1.9, 4.0, 7.0),
        "n_columns": 9,
        "column_mm": 2.3,
        "source_to_axis_mm": 50.0,
        "source_to_detector_mm": 80.0,
        "n_rows": 3,
        "row_mm": 2.5,
        "pitch_mm": 5.0,
        "start_mm": -3.0,
    }
    return Helix(**(given | options))


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("spots", [(), SPOTS * 2])
def test_properties(curved, spots):
    grid = Grid(shape=(5, 8, 9), spacing_mm=(1.2, 1.0, 1.1))
    geometry = small(curved=curved, spot_offsets_mm=spots, detector_shift_mm=0.7)
    check_operator(transform_of(geometry, grid))
    assert transform_of(geometry, grid).range_shape == (4, 3, 9)


def test_gradients_on_a_curved_detector():
    grid = Grid(shape=(3, 4, 4), spacing_mm=(1.2, 1.0, 1.1))
    geometry = small(curved=True, n_columns=4, n_rows=2)
    check_gradient(transform_of(geometry, grid, dtype=torch.float64))


@settings(max_examples=25, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 7), st.integers(1, 7)),
    angles_rad=st.lists(st.floats(-20, 20), min_size=1, max_size=3).map(tuple),
    detector=st.tuples(st.integers(1, 4), st.integers(1, 6)),
    lengths=st.tuples(st.floats(-20, 20), st.floats(-9, 9), st.floats(-3, 3), st.floats(-3, 3)),
    curved=st.booleans(),
)
def test_any_helix_is_linear_with_its_adjoint(shape, angles_rad, detector, lengths, curved):
    geometry = small(
        angles_rad=angles_rad,
        n_rows=detector[0],
        n_columns=detector[1],
        pitch_mm=lengths[0],
        start_mm=lengths[1],
        detector_lift_mm=lengths[2],
        axis_shift_mm=lengths[3],
        curved=curved,
        spot_offsets_mm=[SPOTS[i % 2] for i in range(len(angles_rad))],
    )
    grid = Grid(shape=shape, spacing_mm=(1.1, 0.9, 1.3))
    operator = transform_of(geometry, grid)
    check_linearity(operator)
    check_adjoint(operator)
    kinds = [
        transform_of(geometry, grid, dtype=torch.float64, storage=storage)
        for storage in (None, "rays")
    ]
    x = random_array(shape, 0, torch.float64)
    lines = [kind.forward(x) for kind in kinds]
    torch.testing.assert_close(*lines, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(*(kind.adjoint(lines[0]) for kind in kinds), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("curved", [False, True])
@pytest.mark.parametrize("spots", [(), SPOTS])
def test_balls_off_centre_are_measured_as_they_are(curved, spots):
    grid = Grid(shape=(40, 64, 64), spacing_mm=(0.5, 0.5, 0.5))
    ball = Ellipsoid(centre_mm=(4, -3, 1), semi_axes_mm=(7, 8, 6))
    geometry = Helix.fitting(
        grid,
        7,
        pitch_mm=14.0,
        n_rows=24,
        row_mm=1.0,
        source_to_axis_mm=80.0,
        source_to_detector_mm=120.0,
        curved=curved,
        spots_mm=spots,
    )
    x = torch.from_numpy(ball.picture(grid.shape, grid.spacing_mm)).float()
    found, expected = transform_of(geometry, grid).forward(x).numpy(), exact(ball, geometry)
    assert (expected.max(axis=(1, 2)) > 0.2).sum() >= 4  # views that see much of it
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 0.04


def test_a_helix_without_pitch_is_a_cone():
    grid = Grid(shape=(5, 8, 9), spacing_mm=(1.2, 1.0, 1.1))
    shared = {
        "angles_rad": (0.3, 1.9, 4.0),
        "n_columns": 9,
        "column_mm": 2.3,
        "source_to_axis_mm": 50.0,
        "source_to_detector_mm": 80.0,
        "n_rows": 3,
        "row_mm": 2.5,
        "detector_shift_mm": 0.4,
        "axis_shift_mm": 0.8,
        "detector_lift_mm": 0.3,
    }
    x = random_array(grid.shape, 1)
    flat = transform_of(Helix(**shared, pitch_mm=0.0), grid).forward(x)
    torch.testing.assert_close(flat, transform_of(ConeBeam(**shared), grid).forward(x))
