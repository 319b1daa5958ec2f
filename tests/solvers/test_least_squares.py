"""SIRT and CGLS against the dense matrices of a small problem."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.geometry import ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.least_squares import cgls, sirt
from operator_properties import dense_matrix, random_array, transform_of

SHAPE = (2, 6, 6)


def transform(n_views: int = 4, n_columns: int = 7, dtype: torch.dtype = torch.float64):
    geometry = ParallelBeam(
        angles_rad=equally_spaced_angles(n_views), n_columns=n_columns, column_mm=1.0
    )
    grid = Grid(shape=SHAPE, spacing_mm=(1, 1, 1))
    return transform_of(geometry, grid, dtype=dtype)


def problem(operator: XRayTransform, seed: int = 0):
    """A (rays, voxels), y that no volume fits, and a start, all in float64."""
    y = random_array(operator.range_shape, seed, torch.float64)
    start = random_array(SHAPE, seed + 1, torch.float64)
    return dense_matrix(operator).numpy(), y, start


def weights(sums: np.ndarray) -> np.ndarray:
    return np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)


@pytest.mark.parametrize(("n_views", "n_columns"), [(2, 2), (4, 7), (4, 13)])
@pytest.mark.parametrize("iterations", [1, 2, 30])
def test_sirt_is_its_iteration_in_closed_form(
    iterations: int, n_views: int, n_columns: int
) -> None:
    """x_n = x* + (I - C A'RA)^n (x_0 - x*) with x* any solution of A'RA x* = A'R y."""
    operator = transform(n_views, n_columns)
    a, y, start = problem(operator)
    rows, columns = weights(a.sum(1)), weights(a.sum(0))
    assert (columns == 0).any() == (n_columns == 2)
    assert (rows == 0).any() == (n_columns == 13)
    weighted = a.T * rows
    fixed = np.linalg.pinv(weighted @ a) @ weighted @ y.numpy().ravel()
    step = np.eye(a.shape[1]) - columns[:, None] * (weighted @ a)
    first = start.numpy().ravel()
    expected = fixed + np.linalg.matrix_power(step, iterations) @ (first - fixed)
    found = sirt(operator, y, start, iterations=iterations)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-9)


def test_sirt_tends_to_weighted_least_squares() -> None:
    operator = transform(n_views=9, n_columns=9)
    a, y, start = problem(operator)
    root = weights(a.sum(1)) ** 0.5
    expected = np.linalg.lstsq(root[:, None] * a, root * y.numpy().ravel(), rcond=None)[0]
    found = sirt(operator, y, start, iterations=20_000)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-3)


def test_sirt_keeps_its_bound_at_every_step_not_at_the_end_alone() -> None:
    operator = transform()
    a, y, start = problem(operator)
    rows, columns = weights(a.sum(1)), weights(a.sum(0))
    x = start.numpy().ravel()
    for _ in range(12):
        x = x + columns * (a.T @ (rows * (y.numpy().ravel() - a @ x)))
        x = np.maximum(x, -0.2)
    found = sirt(operator, y, start, iterations=12, lowest=-0.2)
    np.testing.assert_allclose(found.numpy().ravel(), x, atol=1e-10)
    late = sirt(operator, y, start, iterations=12).clamp(min=-0.2)
    assert (found - late).abs().max() > 0.01


@pytest.mark.parametrize("iterations", [1, 2, 4, 7])
def test_cgls_is_the_best_fit_in_the_krylov_space(iterations: int) -> None:
    """The defining property: least residual over x_0 + span{g, Ng, ..., N^(n-1) g}, N = A'A."""
    operator = transform()
    a, y, start = problem(operator)
    found = cgls(operator, y, start, iterations=iterations).numpy()
    one = a.reshape(4, 2, 7, 2, 36)[:, 0, :, 0].reshape(28, 36)
    for i in range(SHAPE[0]):
        data, first = y[:, i].numpy().ravel(), start[i].numpy().ravel()
        vector, basis = one.T @ (data - one @ first), []
        for _ in range(iterations):
            for _ in range(2):
                for b in basis:
                    vector = vector - (b @ vector) * b
            basis.append(vector / np.linalg.norm(vector))
            vector = one.T @ (one @ basis[-1])
        space = np.stack(basis, 1)
        best = np.linalg.lstsq(one @ space, data - one @ first, rcond=None)[0]
        np.testing.assert_allclose(found[i].ravel(), first + space @ best, atol=1e-7)


def test_cgls_of_coupled_slices_is_the_best_fit_of_the_whole_volume() -> None:
    operator = transform()
    a, y, start = problem(operator)
    data, first = y.numpy().ravel(), start.numpy().ravel()
    gradient = a.T @ (data - a @ first)
    space = np.stack([gradient, a.T @ (a @ gradient)], 1)
    best = np.linalg.lstsq(a @ space, data - a @ first, rcond=None)[0]
    found = cgls(operator, y, start, iterations=2, per_slice=False)
    np.testing.assert_allclose(found.numpy().ravel(), first + space @ best, atol=1e-7)


def test_cgls_tends_to_the_least_squares_solution_nearest_its_start() -> None:
    operator = transform()
    a, y, start = problem(operator)
    first = start.numpy().ravel()
    expected = first + np.linalg.pinv(a) @ (y.numpy().ravel() - a @ first)
    found = cgls(operator, y, start, iterations=60)
    np.testing.assert_allclose(found.numpy().ravel(), expected, atol=1e-7)


def test_cgls_in_single_precision_stays_solved_however_long_it_runs() -> None:
    operator = transform(dtype=torch.float32)
    y = random_array(operator.range_shape, 0, torch.float32)
    start = random_array(SHAPE, 1, torch.float32)
    solved = cgls(operator, y, start, iterations=40)
    longer = cgls(operator, y, start, iterations=400)
    assert longer.isfinite().all()
    torch.testing.assert_close(longer, solved, atol=1e-3, rtol=0)


def test_cgls_takes_every_slice_alone() -> None:
    operator = transform()
    _, y, start = problem(operator)
    both = cgls(operator, y, start, iterations=3)
    changed = y.clone()
    changed[:, 1] *= 7
    torch.testing.assert_close(cgls(operator, changed, start, iterations=3)[0], both[0])


@pytest.mark.parametrize("solve", [sirt, cgls])
def test_progress_is_reported_and_the_start_left_as_it_was(solve) -> None:
    operator, told = transform(), []
    _, y, start = problem(operator)
    before = start.clone()
    solve(operator, y, start, iterations=3, on_step=lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(start, before)
