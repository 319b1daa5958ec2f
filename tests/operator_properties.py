"""Properties that every linear operator must have; each operator's test calls all of them.

`check_operator(operator)` runs everything that holds at any size in float32; `check_gradient` wants
a small operator in float64.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.operators import LinearOperator, stack
from random_geometries import transform_of

__all__ = ["transform_of"]  # shared with a benchmark

SINGLE_PRECISION = 1e-6


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
    """Linearity, adjointness, the ways to call it, its algebra, and what it refuses."""
    check_linearity(operator, dtype=dtype, device=device)
    check_adjoint(operator, dtype=dtype, device=device)
    check_shape_errors(operator, dtype=dtype)
    check_calls(operator, dtype=dtype, device=device)
    check_algebra(operator, dtype=dtype, device=device)
    check_arrays(operator)
    check_refusals(operator)


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
        norm = probe.double().norm().clamp(min=torch.finfo(torch.float64).tiny)
        gain = apply((probe.double() / norm).to(dtype)).double().norm()
        scale = gain * (1.7 * u.double().norm() + 0.6 * v.double().norm())
        rounding = torch.finfo(dtype).tiny  # where a ray that touches a corner weighs 1e-16
        assert (together.double() - apart.double()).norm() <= tolerance * scale + rounding
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
        assert abs(left - right) <= tolerance * scale + torch.finfo(dtype).tiny, (
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


def check_calls(
    operator: LinearOperator, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> None:
    """A @ x, A(x), A.H, A.T and A.normal are forward and adjoint under other names; short repr."""
    x = random_array(operator.domain_shape, 3, dtype, device)
    y = random_array(operator.range_shape, 4, dtype, device)
    lines, back = operator.forward(x), operator.adjoint(y)
    for found in (operator @ x, operator(x)):
        torch.testing.assert_close(found, lines)
    for transposed in (operator.H, operator.T):
        assert tuple(transposed.domain_shape) == tuple(operator.range_shape)
        assert tuple(transposed.range_shape) == tuple(operator.domain_shape)
        torch.testing.assert_close(transposed @ y, back)
        torch.testing.assert_close(transposed.adjoint(x), lines)
        assert transposed.H is operator
    torch.testing.assert_close(operator.normal(x), operator.adjoint(lines))
    assert "\n" not in repr(operator) and len(repr(operator)) < 250
    assert operator.to(device).range_shape == operator.range_shape


def check_algebra(
    operator: LinearOperator, *, dtype: torch.dtype = torch.float32, device: str = "cpu"
) -> None:
    """Products, sums, multiples and stacks by their definitions, linear and with adjoints."""
    x = random_array(operator.domain_shape, 5, dtype, device)
    lines = operator.forward(x)
    made = {
        "product": (operator.H @ operator, operator.adjoint(lines)),
        "sum": (operator + 2 * operator, 3 * lines),
        "difference": (operator * 2 - operator, lines),
        "negative": (-operator, -lines),
        "NumPy's number": (np.float32(0.5) * operator, lines / 2),
    }
    for name, (combined, expected) in made.items():
        limit = 1e-5 * (expected.double().norm() + lines.double().norm())
        error = (combined @ x - expected).double().norm()
        assert error <= limit, name
        check_linearity(combined, dtype=dtype, device=device, tolerance=1e-5)
        check_adjoint(combined, dtype=dtype, device=device, tolerance=1e-5)
    stacked = stack(operator, -operator, operator.H @ operator)
    check_adjoint(stacked, dtype=dtype, device=device, tolerance=1e-5)
    first, second, third = stacked.split(stacked @ x)
    torch.testing.assert_close(first, lines)
    torch.testing.assert_close(second, -lines)
    torch.testing.assert_close(third, operator.normal(x))
    check_shape_errors(stacked, dtype=dtype)


def check_arrays(operator: LinearOperator) -> None:
    """NumPy arrays come back as such; other numbers are cast to the operator's precision."""
    for apply, shape in (
        (operator.forward, operator.domain_shape),
        (operator.adjoint, operator.range_shape),
    ):
        whole = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape) % 7
        kept = whole.copy()
        expected = apply(torch.from_numpy(whole).to(operator.device or "cpu", torch.float32))
        assert expected.dtype == (operator.dtype or torch.float32)
        for array in (whole, whole.astype(np.float64), whole.astype(">f4"), whole[..., ::-1]):
            found = apply(array)
            assert isinstance(found, np.ndarray) and found.dtype.kind == "f"
            if operator.dtype is not None:
                assert found.dtype == expected.detach().cpu().numpy().dtype
            if array.strides[-1] > 0:
                scale = float(expected.abs().max()) + 1e-30
                np.testing.assert_allclose(found / scale, expected.cpu() / scale, atol=1e-5)
        assert (whole == kept).all()
        assert apply(torch.from_numpy(whole).to(operator.device or "cpu")).dtype.is_floating_point


def check_refusals(operator: LinearOperator) -> None:
    """Complex numbers, what is no array, and data on another device, each in words."""
    shape = tuple(operator.domain_shape)
    for wrong, word in (
        (np.zeros(shape, complex), "complex128"),
        (torch.zeros(shape, dtype=torch.complex64), "complex64"),
        (np.zeros(shape).tolist(), "list"),
        (np.full(shape, "1"), "U1"),
    ):
        with pytest.raises(InputError) as raised:
            operator @ wrong
        assert word in raised.value.got and raised.value.expected
    if operator.device is not None:
        with pytest.raises(InputError, match="data on meta") as raised:
            operator @ torch.zeros(shape, device="meta")
        assert str(operator.device) in raised.value.expected


def check_norm(operator: LinearOperator) -> None:
    """`norm` is the largest singular value of the dense matrix. Small operators only."""
    dense = dense_matrix(operator, operator.dtype or torch.float64)
    expected = float(torch.linalg.matrix_norm(dense, 2))
    assert operator.norm(iterations=2000, tolerance=1e-7) == pytest.approx(expected, rel=1e-3)
