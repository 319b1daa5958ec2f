"""Least squares by iteration, where stopping early is the regularisation: SIRT and CGLS."""

from __future__ import annotations

from collections.abc import Callable

import torch

from diffusionblend.operators.linear import LinearOperator

OnStep = Callable[[int, int], None]


def sirt(
    operator: LinearOperator,
    y: torch.Tensor,
    start: torch.Tensor,
    *,
    iterations: int,
    lowest: float | None = None,
    on_step: OnStep = lambda done, total: None,
) -> torch.Tensor:
    """x <- x + C A* R (y - A x), R and C one over the row and column sums of A.

    y: range_shape. start, result: (z, y, x). lowest: a lower bound kept at every step, or None. A
    ray that meets no voxel and a voxel that no ray meets take no part. A has no negative entry, as
    an X-ray transform (Gregor and Benson 2008, Eq. 1).
    """
    rows = _inverse(operator.forward(torch.ones_like(start)))
    columns = _inverse(operator.adjoint(torch.ones_like(y)))
    x = start.clone()
    for done in range(iterations):
        x += columns * operator.adjoint(rows * (y - operator.forward(x)))
        if lowest is not None:
            x.clamp_(min=lowest)
        on_step(done + 1, iterations)
    return x


def cgls(
    operator: LinearOperator,
    y: torch.Tensor,
    start: torch.Tensor,
    *,
    iterations: int,
    per_slice: bool = True,
    on_step: OnStep = lambda done, total: None,
) -> torch.Tensor:
    """Conjugate gradients for min |Ax - y|^2 (Bjorck 1996, section 7.4.1).

    y: (view, row, column). start, result: (z, y, x). per_slice: every slice is a system of its own,
    row r of y that of slice r. The residual is carried among the data, which loses less to rounding
    than the normal equations; a system that is solved to rounding stays as it is.
    """
    image_axes, data_axes = ((1, 2), (0, 2)) if per_slice else ((0, 1, 2), (0, 1, 2))
    x, residual = start.clone(), y - operator.forward(start)
    gradient = operator.adjoint(residual)
    direction, squared = gradient.clone(), _squares(gradient, image_axes)
    tiny = torch.finfo(x.dtype).tiny
    floor = torch.finfo(x.dtype).eps ** 2 * _squares(operator.adjoint(y), image_axes)
    for done in range(iterations):
        projected = operator.forward(direction)
        curvature = _squares(projected, data_axes).reshape(squared.shape)
        unsolved = (squared > floor) & (curvature > tiny)
        step = torch.where(unsolved, squared / curvature.clamp(min=tiny), 0.0)
        x += step * direction
        residual -= step.reshape(1, -1, 1) * projected
        gradient = operator.adjoint(residual)
        following = _squares(gradient, image_axes)
        direction = gradient + following / squared.clamp(min=tiny) * direction
        squared = following
        on_step(done + 1, iterations)
    return x


def _inverse(sums: torch.Tensor) -> torch.Tensor:
    """One over each sum; 0 where there is nothing to share out."""
    return torch.where(sums > 0, 1 / sums.clamp(min=torch.finfo(sums.dtype).tiny), 0.0)


def _squares(values: torch.Tensor, dims: tuple[int, ...]) -> torch.Tensor:
    return values.square().sum(dims, keepdim=True)
