"""Properties that every linear operator must have; each operator's test calls all of them.

`check_operator(operator)` runs everything that holds at any size in float32; `check_gradient` wants
a small operator in float64.
"""

from __future__ import annotations

import warnings

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import Geometry, Grid
from diffusionblend.operators import LinearOperator, XRayTransform

SINGLE_PRECISION = 1e-6


def transform_of(geometry: Geometry, grid: Grid, **options) -> XRayTransform:
    """The transform, also of a detector that does not see all of the volume, without a warning."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The detector is too small")
        return XRayTransform(geometry, grid, **options)


def random_array(
    shape: tuple[int, ...],
    seed: int,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
) -> torch.Tensor:
    """Standard normal values; the same seed gives the same values, on any device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype)


def dense_matrix(operator: LinearOperator, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """The operator as a float64 matrix (range, domain), one unit vector at a time.

    dtype: what the operator computes in. Small operators only.
    """
    n = int(torch.tensor(operator.domain_shape).prod())
    units = torch.eye(n, dtype=dtype).reshape(n, *operator.domain_shape)
    return torch.stack([operator.forward(unit).double().flatten() for unit in units], dim=1)


def check_operator(
    operator: LinearOperator, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> None:
    """Linearity, adjointness and shape errors."""
    check_linearity(operator, dtype=dtype, device=device)
    check_adjoint(operator, dtype=dtype, device=device)
    check_shape_errors(operator, dtype=dtype)


def check_linearity(
    operator: LinearOperator,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tolerance: float = SINGLE_PRECISION,
    seed: int = 0,
) -> None:
    """A(a u + b v) = a A u + b A v and A 0 = 0, for A and for A*; the shapes are as declared.

    The error is taken relative to |A| (|a u| + |b v|), with a lower bound for the norm |A|, since
    A u itself may be small by cancellation.
    """
    for apply, transpose, shape, out_shape in (
        (operator.forward, operator.adjoint, operator.domain_shape, operator.range_shape),
        (operator.adjoint, operator.forward, operator.range_shape, operator.domain_shape),
    ):
        u, v = (random_array(shape, seed + i, dtype, device) for i in range(2))
        together = apply(1.7 * u - 0.6 * v)
        apart = 1.7 * apply(u) - 0.6 * apply(v)
        assert tuple(together.shape) == tuple(out_shape)
        assert together.dtype == dtype and together.device.type == device
        probe = transpose(random_array(out_shape, seed + 2, dtype, device))
        gain = apply(probe).double().norm() / probe.double().norm().clamp(min=1e-30)
        scale = gain * (1.7 * u.double().norm() + 0.6 * v.double().norm())
        assert (together.double() - apart.double()).norm() <= tolerance * scale
        assert not apply(torch.zeros(shape, dtype=dtype, device=device)).any()


def check_adjoint(
    operator: LinearOperator,
    *,
    dtype: torch.dtype = torch.float32,
    device: str = "cpu",
    tolerance: float = SINGLE_PRECISION,
    seed: int = 0,
) -> None:
    """|<A x, y> - <x, A* y>| <= tolerance max(|A x| |y|, |x| |A* y|), through the whole operator.

    For a random x and for x = A* y: with x random both sides are small against the bound, so that a
    wrong scale could hide. The larger of the two bounds, since A x may be small by cancellation.
    """
    y = random_array(operator.range_shape, seed + 1, dtype, device)
    for x in (random_array(operator.domain_shape, seed, dtype, device), operator.adjoint(y)):
        projected, back = operator.forward(x), operator.adjoint(y)
        left = torch.sum(projected.double() * y.double())
        right = torch.sum(x.double() * back.double())
        scale = max(
            projected.double().norm() * y.double().norm(),
            x.double().norm() * back.double().norm(),
        )
        assert abs(left - right) <= tolerance * scale, (
            f"<Ax, y> = {left:.8g}, <x, A*y> = {right:.8g}"
        )


def check_gradient(operator: LinearOperator, *, device: str = "cpu", seed: int = 0) -> None:
    """First and second derivatives of A and A* against finite differences.

    operator: small, computing in float64.
    """
    for apply, shape in (
        (operator.forward, operator.domain_shape),
        (operator.adjoint, operator.range_shape),
    ):
        u = random_array(shape, seed, torch.float64, device).requires_grad_()

        def squared(v: torch.Tensor, apply=apply) -> torch.Tensor:
            return apply(v).square()

        assert torch.autograd.gradcheck(apply, u, fast_mode=False)
        assert torch.autograd.gradcheck(squared, u, fast_mode=True)
        assert torch.autograd.gradgradcheck(squared, u, fast_mode=True)


def check_shape_errors(operator: LinearOperator, *, dtype: torch.dtype = torch.float32) -> None:
    """Other shapes raise InputError, naming what was got and what was expected."""
    for apply, shape in (
        (operator.forward, tuple(operator.domain_shape)),
        (operator.adjoint, tuple(operator.range_shape)),
    ):
        longer = (*shape[:-1], shape[-1] + 1)
        for wrong in (longer, shape[1:], (1, *shape)):
            with pytest.raises(InputError) as raised:
                apply(torch.zeros(wrong, dtype=dtype))
            assert str(wrong) in raised.value.got
            assert str(shape) in raised.value.expected
