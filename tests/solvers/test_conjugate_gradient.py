"""Conjugate gradients against dense solutions."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.conjugate_gradient import (
    conjugate_gradient,
    data_space_conjugate_gradient,
    preconditioned_conjugate_gradient,
)
from operator_properties import random_array

SHAPE = (3, 6, 5)


def positive_system(seed: int, n: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """A well-conditioned symmetric positive definite matrix (n, n)."""
    factor = random_array((n, n), seed, torch.float64)
    return (factor @ factor.T / n + torch.eye(n, dtype=torch.float64)).to(dtype)


def sparse_view_transform(shape, n_views=6, **options):
    grid = Grid(shape=shape, spacing_mm=(1, 1, 1))
    geometry = ParallelBeam.fitting(grid, n_views)
    return XRayTransform(geometry, grid, **options)


@pytest.mark.parametrize("per_slice", [False, True])
def test_the_dense_solution(per_slice):
    matrices = torch.stack([positive_system(seed, 30) for seed in range(3)])
    right_side = random_array(SHAPE, 7, torch.float64)
    start = random_array(SHAPE, 8, torch.float64)

    def apply(z):
        return (matrices @ z.reshape(3, 30, 1)).reshape(SHAPE)

    expected = torch.linalg.solve(matrices, right_side.reshape(3, 30, 1)).reshape(SHAPE)
    found = conjugate_gradient(apply, right_side, start, 90, per_slice=per_slice)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_a_coupled_system():
    matrix = positive_system(1, 90)
    right_side = random_array(SHAPE, 2, torch.float64)
    expected = torch.linalg.solve(matrix, right_side.flatten()).reshape(SHAPE)
    found = conjugate_gradient(
        lambda z: (matrix @ z.flatten()).reshape(SHAPE), right_side, torch.zeros_like(expected), 90
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_n_steps_minimise_over_the_krylov_space():
    """After k steps z minimises 1/2 z'Mz - b'z over the span of b, Mb, ... M^(k-1) b."""
    matrix, right_side = positive_system(3, 30), random_array((1, 6, 5), 4, torch.float64)
    b = right_side.flatten()
    for steps in (1, 2, 5):
        powers = [b]
        for _ in range(steps - 1):
            powers.append(matrix @ powers[-1])
        basis = torch.linalg.qr(torch.stack(powers, dim=1)).Q
        expected = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ b)
        found = conjugate_gradient(
            lambda z: (matrix @ z.flatten()).reshape(1, 6, 5),
            right_side,
            torch.zeros_like(right_side),
            steps,
        )
        torch.testing.assert_close(found.flatten(), expected, rtol=0, atol=1e-9)


def test_per_slice_is_each_slice_alone():
    operator, single = sparse_view_transform((4, 16, 16)), sparse_view_transform((1, 16, 16))
    right_side = operator.adjoint(random_array(operator.range_shape, 0))
    right_side *= torch.tensor([1.0, 100.0, 0.0, 0.01])[:, None, None]
    start = random_array((4, 16, 16), 1)
    start[3] = 0
    found = conjugate_gradient(operator.normal, right_side, start, 5, per_slice=True)
    together = conjugate_gradient(operator.normal, right_side, start, 5)
    for i in range(4):
        part = slice(i, i + 1)
        alone = conjugate_gradient(single.normal, right_side[part], start[part], 5)
        scale = float(alone.abs().max())
        torch.testing.assert_close(found[part], alone, rtol=0, atol=1e-4 * scale)
    assert (together[0] - found[0]).norm() > 1e-2 * found[0].norm()


@pytest.mark.parametrize("per_slice", [False, True])
def test_a_solved_start_stays(per_slice):
    operator = sparse_view_transform((2, 12, 12))
    solution = random_array((2, 12, 12), 0)
    solved = conjugate_gradient(
        operator.normal, operator.normal(solution), solution, 5, per_slice=per_slice
    )
    assert torch.equal(solved, solution)
    zero = torch.zeros(2, 12, 12)
    assert torch.equal(
        conjugate_gradient(operator.normal, zero, zero, 5, per_slice=per_slice), zero
    )


def test_a_start_solved_to_rounding_stays_near():
    operator = sparse_view_transform((2, 12, 12))
    solution = random_array((2, 12, 12), 0)
    right_side = operator.normal(solution) * (1 + 1e-7)
    found = conjugate_gradient(operator.normal, right_side, solution, 50)
    assert (found - solution).norm() < 1e-4 * solution.norm()


def test_the_start_is_left_alone():
    operator = sparse_view_transform((1, 8, 8))
    right_side, start = operator.adjoint(random_array(operator.range_shape, 0)), torch.ones(1, 8, 8)
    copy = right_side.clone()
    conjugate_gradient(operator.normal, right_side, start, 3)
    assert torch.equal(start, torch.ones(1, 8, 8))
    assert torch.equal(right_side, copy)


@pytest.mark.parametrize("consistent", [True, False])
def test_many_steps_on_a_singular_system_stay_at_the_smallest_solution(consistent):
    """Few views leave A*A singular; in float32 plain CG walks off along its null space."""
    operator = sparse_view_transform((2, 16, 16), n_views=4)
    y = random_array(operator.range_shape, 0)
    if consistent:
        y = operator.forward(random_array((2, 16, 16), 1))
    right_side = operator.adjoint(y)
    found = conjugate_gradient(operator.normal, right_side, torch.zeros(2, 16, 16), 1500)
    exact = sparse_view_transform((2, 16, 16), n_views=4, dtype=torch.float64)
    rows = exact.matrix.to_dense()
    lines = y.double().transpose(1, 2).reshape(-1, 2)
    expected = (torch.linalg.pinv(rows, rtol=1e-6) @ lines).T.reshape(2, 16, 16)
    assert (found.double() - expected).norm() < 2e-2 * expected.norm()
    # several slices, each a system of its own, must do no worse
    each = conjugate_gradient(
        operator.normal, right_side, torch.zeros(2, 16, 16), 1500, per_slice=True
    )
    assert (each.double() - expected).norm() < 2e-2 * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [3, 4, 5])
@pytest.mark.parametrize("solve", ["volume", "data"])
def test_many_steps_for_zero_data_leave_the_null_space_part_of_the_start(solve, seed, dtype):
    """The right side is zero, so that only the size of A*A start tells what is rounding."""
    operator = sparse_view_transform((1, 16, 16), n_views=4, dtype=dtype)
    start = random_array((1, 16, 16), seed, dtype)
    if solve == "volume":
        found = conjugate_gradient(operator.normal, torch.zeros_like(start), start, 1500)
    else:
        y = torch.zeros(operator.range_shape, dtype=dtype)
        found = data_space_conjugate_gradient(operator, y, start, 1500)
    rows = operator.matrix.to_dense().double()
    x = start.double().flatten()
    expected = x - torch.linalg.pinv(rows, rtol=1e-6) @ (rows @ x)
    assert (found.double().flatten() - expected).norm() < 2e-2 * expected.norm()
    assert found.norm() <= (1 + 1e-5) * start.norm()  # CG comes nearer to it at every step


def test_a_solved_system_costs_nothing() -> None:
    zero = torch.zeros(2, 3, 3)
    found, iterations = preconditioned_conjugate_gradient(
        lambda z: 2 * z, zero, lambda r: r, per_slice=True, tolerance=1e-3, most_iterations=9
    )
    assert iterations == 0
    assert torch.equal(found, zero)
