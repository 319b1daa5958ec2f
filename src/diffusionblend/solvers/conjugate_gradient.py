"""Conjugate gradients for symmetric positive semi-definite systems, and for least squares."""

from __future__ import annotations

from collections.abc import Callable

import torch

from diffusionblend.operators.linear import LinearOperator

ROUNDINGS = 10.0
"""A residual or curvature below this many roundings of the system's own size is noise."""


def conjugate_gradient(
    apply: Callable[[torch.Tensor], torch.Tensor],
    right_side: torch.Tensor,
    start: torch.Tensor,
    iterations: int,
    *,
    per_slice: bool = False,
) -> torch.Tensor:
    """`iterations` steps of conjugate gradients on apply(z) = right_side, from `start`.

    (z, y, x) to (z, y, x). `per_slice`: apply couples no two slices, so that each is a system of
    its own with its own step lengths (Hestenes and Stiefel 1952). A system solved to rounding stays
    as it is, however many iterations follow, also where `apply` is singular.
    """
    dims = (1, 2) if per_slice else (0, 1, 2)

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dims, keepdim=True)

    z = start.clone()
    applied = apply(z)
    residual = right_side - applied
    direction = residual.clone()
    squared = dot(residual, residual)
    smallest = torch.finfo(squared.dtype).tiny
    rounding = ROUNDINGS * torch.finfo(squared.dtype).eps
    size = dot(right_side, right_side) + dot(applied, applied)  # the residual rounds like these
    floor = (rounding**2 * size).clamp(min=smallest)
    steepest = torch.zeros_like(squared)
    unsolved = squared > floor
    for _ in range(iterations):
        applied = apply(direction)
        curvature, length = dot(direction, applied), dot(direction, direction)
        steepest = torch.maximum(steepest, curvature / length.clamp(min=smallest))
        unsolved &= (squared > floor) & (curvature > rounding * steepest * length)
        step = torch.where(unsolved, squared / curvature.clamp(min=smallest), 0.0)
        z += step * direction
        residual -= step * applied
        next_squared = dot(residual, residual)
        direction = residual + next_squared / squared.clamp(min=smallest) * direction
        squared = next_squared
    return z


def data_space_conjugate_gradient(
    operator: LinearOperator,
    y: torch.Tensor,
    start: torch.Tensor,
    iterations: int,
    *,
    rho: float = 0.0,
    per_slice: bool = False,
    stop: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """`iterations` steps of CG on min over z of |Az - y|^2 + rho |z - start|^2, from `start`.

    start, result: (z, y, x). y: (view, row, column). The iterates are those of `conjugate_gradient`
    on (A*A + rho I) z = A*y + rho start. Since they all lie at start + A* p, the vectors that are
    kept have the size of the data, which for few views is a small part of the volume's; A and A*
    are applied once in each step, and once more in all. per_slice: A couples no two slices, and row
    r is slice r's. stop: given y - Az, it returns which systems (1, row or 1, 1) are to stay as
    they are.
    """
    dims = (0, 2) if per_slice else (0, 1, 2)

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dims, keepdim=True)

    def gram(lines: torch.Tensor) -> torch.Tensor:
        return operator.forward(operator.adjoint(lines))

    p = torch.zeros_like(y)
    predicted = operator.forward(start)
    u = y - predicted  # A* u is the residual of the normal equations
    rounding = ROUNDINGS * torch.finfo(y.dtype).eps
    smallest = torch.finfo(y.dtype).tiny
    floor = (rounding**2 * (dot(y, y) + dot(predicted, predicted))).clamp(min=smallest)
    unsolved = dot(u, u) > floor
    steepest = torch.zeros_like(floor)
    direction, along, squared = torch.zeros_like(y), torch.zeros_like(y), torch.zeros_like(floor)
    for done in range(iterations):
        if stop is not None:
            unsolved &= ~stop(u + rho * p if rho else u)
            if not unsolved.any():  # asked only here, since a GPU would have to be waited for
                break
        applied = gram(u)
        next_squared = dot(u, applied)
        share = next_squared / squared.clamp(min=smallest) if done else 0.0
        direction, along, squared = u + share * direction, applied + share * along, next_squared
        length = dot(direction, along)
        curvature = dot(along, along) + rho * length
        steepest = torch.maximum(steepest, curvature / length.clamp(min=smallest))
        noise = (rounding**2 * steepest * dot(u, u)).clamp(min=smallest)
        unsolved &= (squared > noise) & (curvature > rounding * steepest * length)
        step = torch.where(unsolved, squared / curvature.clamp(min=smallest), 0.0)
        p += step * direction
        u -= step * (along + rho * direction)
    return start + operator.adjoint(p)


def preconditioned_conjugate_gradient(
    apply: Callable[[torch.Tensor], torch.Tensor],
    right_side: torch.Tensor,
    precondition: Callable[[torch.Tensor], torch.Tensor],
    *,
    per_slice: bool = False,
    tolerance: float,
    most_iterations: int,
) -> tuple[torch.Tensor, int]:
    """Solve apply(z) = right_side, (z, y, x), from 0; the solution and the iterations taken.

    apply, precondition: symmetric and positive definite. per_slice: both couple no two slices, and
    each is a system of its own. Ends when the norm of the preconditioned residual of every system
    has fallen to `tolerance` of that at the start (Golub and Van Loan 2013, Alg. 11.5.1).
    """
    dims = (1, 2) if per_slice else (0, 1, 2)

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dims, keepdim=True)

    smallest = torch.finfo(right_side.dtype).tiny
    z, residual = torch.zeros_like(right_side), right_side.clone()
    direction = precondition(residual)
    squared = dot(residual, direction)
    target = tolerance**2 * squared
    for done in range(most_iterations):
        unsolved = squared > target
        if not unsolved.any():
            return z, done
        applied = apply(direction)
        curvature = dot(direction, applied)
        step = torch.where(unsolved, squared / curvature.clamp(min=smallest), 0.0)
        z += step * direction
        residual -= step * applied
        conditioned = precondition(residual)
        next_squared = dot(residual, conditioned)
        direction = conditioned + next_squared / squared.clamp(min=smallest) * direction
        squared = torch.where(unsolved, next_squared, squared)
    return z, most_iterations
