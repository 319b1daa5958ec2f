"""Preconditioned conjugate gradients, and the proximal step by them, against dense solutions."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.geometry import ConeBeam, FanBeam, Grid, ParallelBeam, equally_spaced_angles
from diffusionblend.solvers import iterative_proximal
from diffusionblend.solvers.conjugate_gradient import preconditioned_conjugate_gradient
from diffusionblend.solvers.iterative_proximal import IterativeProximal
from operator_properties import dense_matrix, random_array, transform_of

CONE = {"source_to_axis_mm": 40.0, "source_to_detector_mm": 80.0}
GEOMETRIES = {
    "parallel": ParallelBeam(angles_rad=equally_spaced_angles(12), n_columns=15, column_mm=1.0),
    "fan": FanBeam(angles_rad=equally_spaced_angles(9), n_columns=15, column_mm=2.0, **CONE),
    "cone": ConeBeam(
        angles_rad=equally_spaced_angles(9),
        n_columns=15,
        column_mm=2.0,
        n_rows=7,
        row_mm=2.0,
        **CONE,
    ),
}
GRID = Grid(shape=(3, 9, 10), spacing_mm=(1, 1, 1))


def dense_solution(operator, x0, y, rho):
    matrix = dense_matrix(operator, torch.float32)
    system = matrix.T @ matrix + rho * torch.eye(matrix.shape[1], dtype=torch.float64)
    right_side = matrix.T @ y.double().flatten() + rho * x0.double().flatten()
    return torch.linalg.solve(system, right_side).reshape(x0.shape)


@pytest.mark.parametrize("kind", GEOMETRIES)
@pytest.mark.parametrize("rho", [0.05, 3.0, 300.0])
def test_the_minimiser_of_every_geometry(kind, rho, monkeypatch) -> None:
    monkeypatch.setattr(iterative_proximal, "TOLERANCE", 1e-5)
    operator = transform_of(GEOMETRIES[kind], GRID)
    x0, y = random_array(GRID.shape, 0), random_array(operator.range_shape, 1)
    expected = dense_solution(operator, x0, y, rho)
    found = IterativeProximal(operator)(x0, y, rho).double()
    assert (found - expected).norm() < 1e-3 * expected.norm()


@pytest.mark.parametrize("kind", GEOMETRIES)
def test_from_a_start_that_is_near_the_end_is_nearer(kind) -> None:
    operator = transform_of(GEOMETRIES[kind], GRID)
    x0, y = random_array(GRID.shape, 0), random_array(operator.range_shape, 1)
    expected = dense_solution(operator, x0, y, 0.5).float()
    proximal = IterativeProximal(operator)
    from_x0, iterations = proximal(x0, y, 0.5), proximal.iterations
    start = expected + 0.01 * random_array(GRID.shape, 2)
    found = proximal(x0, y, 0.5, start)
    assert proximal.iterations <= iterations + 2
    assert (found - expected).norm() < 0.1 * (from_x0 - expected).norm()


def test_a_system_that_is_not_solved_is_told(monkeypatch) -> None:
    monkeypatch.setattr(iterative_proximal, "TOLERANCE", 0.0)
    operator = transform_of(GEOMETRIES["fan"], GRID)
    x0, y = random_array(GRID.shape, 0), random_array(operator.range_shape, 1)
    with pytest.warns(UserWarning, match="not solved in 200 iterations"):
        IterativeProximal(operator)(x0, y, 1e-6)


def test_slices_are_systems_of_their_own() -> None:
    operator = transform_of(GEOMETRIES["parallel"], GRID)
    x0, y = random_array(GRID.shape, 0), random_array(operator.range_shape, 1)
    proximal = IterativeProximal(operator)
    whole = proximal(x0, y, 1.0)
    one = proximal(x0[1:2], y[:, 1:2].contiguous(), 1.0)
    torch.testing.assert_close(one[0], whole[1], atol=2e-5, rtol=1e-4)


def test_the_preconditioner_saves_iterations() -> None:
    geometry = ParallelBeam(angles_rad=equally_spaced_angles(30), n_columns=46, column_mm=1.0)
    operator = transform_of(geometry, Grid(shape=(1, 32, 32), spacing_mm=(1, 1, 1)))
    proximal = IterativeProximal(operator)
    right_side = operator.adjoint(random_array(operator.range_shape, 1))

    def taken(precondition) -> int:
        return preconditioned_conjugate_gradient(
            lambda z: operator.normal(z) + 5.0 * z,
            right_side,
            precondition,
            tolerance=1e-3,
            most_iterations=200,
        )[1]

    assert taken(lambda r: proximal.preconditioned(r, 5.0)) < 0.6 * taken(lambda r: r)


@pytest.mark.parametrize("kind", ["fan", "cone"])
def test_the_smallest_weight_takes_few_iterations(kind) -> None:
    """Data without noise cost no more than some tens of iterations."""
    operator = transform_of(GEOMETRIES[kind], GRID)
    proximal = IterativeProximal(operator)
    y = operator.forward(random_array(GRID.shape, 1))
    proximal(torch.zeros(GRID.shape), y, proximal.least * operator.norm() ** 2)
    assert 0 < proximal.iterations < 60
