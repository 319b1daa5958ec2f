"""Finite differences against their properties, NumPy and linear functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.operators import FiniteDifferences
from operator_properties import check_gradient, check_operator, random_array

SHAPES = [(3, 8, 8), (1, 7, 5), (4, 1, 6), (2, 5, 1), (1, 1, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_properties(shape):
    check_operator(FiniteDifferences(shape))


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 4, 3), (3, 1, 2)])
def test_gradient(shape):
    check_gradient(FiniteDifferences(shape))


@pytest.mark.parametrize("shape", SHAPES)
def test_agreement_with_numpy(shape):
    x = random_array(shape, 1)
    found = FiniteDifferences(shape).forward(x).numpy()
    for axis in range(3):
        last = np.take(x.numpy(), [-1], axis=axis)
        expected = np.diff(x.numpy(), axis=axis, append=last)
        np.testing.assert_allclose(found[axis], expected, atol=1e-6)


def test_the_adjoint_is_minus_the_divergence():
    """Inside, where the differences of a ramp are constant, A*A is minus the Laplacian: zero."""
    z, y, x = np.meshgrid(*(np.arange(n) for n in (5, 6, 7)), indexing="ij")
    ramp = torch.from_numpy(2.0 * z - 3.0 * y + 0.5 * x)
    operator = FiniteDifferences((5, 6, 7))
    slopes = operator.forward(ramp)
    for axis, slope in enumerate((2.0, -3.0, 0.5)):
        inside = slopes[axis].narrow(axis, 0, ramp.shape[axis] - 1)
        assert torch.all(inside == slope)
    assert operator.normal(ramp)[1:-1, 1:-1, 1:-1].abs().max() == 0
    bowl = torch.from_numpy((x - 3.0) ** 2)
    assert torch.all(operator.normal(bowl)[:, :, 1:-1] == -2.0)
