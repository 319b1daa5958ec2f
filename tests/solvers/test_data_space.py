"""Conjugate gradients in the space of the data: the same iterates, and as steady."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.geometry import ConeBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.conjugate_gradient import (
    conjugate_gradient,
    data_space_conjugate_gradient,
)
from operator_properties import random_array

DOUBLE = torch.float64


def transform(kind="parallel", shape=(3, 8, 7), n_views=4, dtype=DOUBLE):
    grid = Grid(shape=shape, spacing_mm=(1, 1, 1))
    if kind == "parallel":
        return XRayTransform(ParallelBeam.fitting(grid, n_views), grid, dtype=dtype)
    distances = {"source_to_axis_mm": 30.0, "source_to_detector_mm": 45.0}
    geometry = ConeBeam.fitting(grid, n_views, **distances)
    return XRayTransform(geometry, grid, dtype=dtype)


class Counted:
    """An operator that counts its calls."""

    def __init__(self, operator):
        self.operator, self.calls = operator, 0

    def forward(self, x):
        self.calls += 1
        return self.operator.forward(x)

    def adjoint(self, y):
        self.calls += 1
        return self.operator.adjoint(y)


@pytest.mark.parametrize("kind", ["parallel", "cone"])
@pytest.mark.parametrize("rho", [0.0, 0.7])
@pytest.mark.parametrize("steps", [0, 1, 2, 5, 9])
def test_the_iterates_are_those_of_the_normal_equations(kind, rho, steps):
    operator = transform(kind)
    y = random_array(operator.range_shape, 1, DOUBLE)
    start = random_array(operator.domain_shape, 2, DOUBLE)

    def normal(z):
        return operator.normal(z) + rho * z

    right_side, per_slice = operator.adjoint(y) + rho * start, kind == "parallel"
    expected = conjugate_gradient(normal, right_side, start, steps, per_slice=per_slice)
    found = data_space_conjugate_gradient(operator, y, start, steps, rho=rho, per_slice=per_slice)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


def test_each_step_projects_once_there_and_back():
    counted = Counted(transform())
    y = random_array(counted.operator.range_shape, 1, DOUBLE)
    start = random_array(counted.operator.domain_shape, 2, DOUBLE)
    data_space_conjugate_gradient(counted, y, start, 5, per_slice=True)
    assert counted.calls == 2 * 5 + 2


@pytest.mark.parametrize("per_slice", [False, True])
def test_a_solved_start_stays(per_slice):
    operator = transform(dtype=torch.float32)
    start = random_array(operator.domain_shape, 0)
    y = operator.forward(start)
    found = data_space_conjugate_gradient(operator, y, start, 5, per_slice=per_slice)
    assert torch.equal(found, start)
    near = data_space_conjugate_gradient(operator, y * (1 + 1e-7), start, 50, per_slice=per_slice)
    assert (near - start).norm() < 1e-4 * start.norm()
    zero = torch.zeros_like(start)
    nothing = torch.zeros_like(y)
    assert torch.equal(data_space_conjugate_gradient(operator, nothing, zero, 5), zero)


@pytest.mark.parametrize("per_slice", [False, True])
@pytest.mark.parametrize("data", ["consistent", "inconsistent", "zero"])
def test_many_steps_on_a_singular_system_stay_at_the_nearest_solution(data, per_slice):
    """Few views leave A*A singular; rounding must not be taken for a residual."""
    operator = transform(shape=(2, 16, 16), dtype=torch.float32)
    start = random_array((2, 16, 16), 3)
    y = random_array(operator.range_shape, 0)
    if data == "consistent":
        y = operator.forward(random_array((2, 16, 16), 1))
    elif data == "zero":
        y = torch.zeros_like(y)
    found = data_space_conjugate_gradient(operator, y, start, 1500, per_slice=per_slice)
    rows = transform(shape=(2, 16, 16)).matrix.to_dense()
    x0 = start.double().reshape(2, -1)
    lines = y.double().transpose(1, 2).reshape(-1, 2)
    change = torch.linalg.pinv(rows, rtol=1e-6) @ (lines - rows @ x0.T)
    expected = (x0 + change.T).reshape(2, 16, 16)
    assert (found.double() - expected).norm() < 2e-2 * expected.norm()


def test_what_is_given_is_left_alone():
    operator = transform()
    y, start = random_array(operator.range_shape, 1, DOUBLE), torch.ones(3, 8, 7, dtype=DOUBLE)
    copy = y.clone()
    data_space_conjugate_gradient(operator, y, start, 3)
    assert torch.equal(y, copy) and torch.equal(start, torch.ones_like(start))
