"""The weighed operator against its properties and the product of dense matrices."""

from __future__ import annotations

import torch

from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import WeightedOperator, XRayTransform
from operator_properties import check_gradient, check_operator, dense_matrix, random_array


def weighted(shape, dtype=torch.float32) -> WeightedOperator:
    grid = Grid(shape=shape, spacing_mm=(1, 1, 1))
    geometry = ParallelBeam.fitting(grid, 4)
    operator = XRayTransform(geometry, grid, dtype=dtype)
    return WeightedOperator(operator, random_array(operator.range_shape, 5, dtype).square())


def test_properties():
    check_operator(weighted((2, 9, 7)))
    check_gradient(weighted((1, 4, 3), torch.float64))


def test_its_square_is_the_weighted_normal_product():
    operator = weighted((1, 6, 5), torch.float64)
    rows, weights = dense_matrix(operator.operator), operator.roots.square().flatten()
    x = random_array((1, 6, 5), 1, torch.float64)
    expected = rows.T @ (weights * (rows @ x.flatten()))
    torch.testing.assert_close(operator.normal(x).flatten(), expected, rtol=0, atol=1e-10)
    y = random_array(operator.range_shape, 2, torch.float64)
    expected = rows.T @ (weights * y.flatten())
    back = operator.adjoint(operator.of_data(y)).flatten()
    torch.testing.assert_close(back, expected, rtol=0, atol=1e-10)


def test_one_weight_a_view_is_broadcast():
    grid = Grid(shape=(2, 5, 5), spacing_mm=(1, 1, 1))
    plain = XRayTransform(ParallelBeam.fitting(grid, angles_rad=(0.1, 0.9, 2.0)), grid)
    operator = WeightedOperator(plain, torch.tensor([4.0, 0.0, 9.0])[:, None, None])
    lines = plain.forward(x := random_array((2, 5, 5), 0))
    torch.testing.assert_close(operator.forward(x)[0], 2 * lines[0])
    torch.testing.assert_close(operator.forward(x)[2], 3 * lines[2])
    assert not operator.forward(x)[1].any()
    check_operator(operator)
