"""Conjugate gradients for symmetric positive semi-definite systems."""

from __future__ import annotations

from collections.abc import Callable

import torch

ROUNDINGS = 10.0
"""A residual or curvature below this many roundings of the system's own size is noise."""


def conjugate_gradient(
    apply: Callable[[torch.Tensor], torch.Tensor],
    right_side: torch.Tensor,
    start: torch.Tensor,
    iterations: int,
    *,
    per_slice: bool = False,
    stop: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """`iterations` steps of conjugate gradients on apply(z) = right_side, from `start`.

    (z, y, x) to (z, y, x). `per_slice`: apply couples no two slices, so that each is a system of
    its own with its own step lengths (Hestenes and Stiefel 1952). A system solved to rounding stays
    as it is, however many iterations follow, also where `apply` is singular. stop: told the length
    (z or 1, 1, 1) of every step along what was last applied, first 1 for the start itself, it says
    which systems are to stay as they are.
    """
    dims = (1, 2) if per_slice else (0, 1, 2)

    def dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a * b).sum(dims, keepdim=True)

    z = start.clone()
    residual = right_side - apply(z)
    direction = residual.clone()
    squared = dot(residual, residual)
    smallest = torch.finfo(squared.dtype).tiny
    rounding = ROUNDINGS * torch.finfo(squared.dtype).eps
    floor = (rounding**2 * dot(right_side, right_side)).clamp(min=smallest)
    steepest = torch.zeros_like(squared)
    unsolved = squared > floor
    if stop is not None:
        unsolved &= ~stop(torch.ones_like(squared))
    for _ in range(iterations):
        if stop is not None and not unsolved.any():
            break
        applied = apply(direction)
        curvature, length = dot(direction, applied), dot(direction, direction)
        steepest = torch.maximum(steepest, curvature / length.clamp(min=smallest))
        unsolved &= (squared > floor) & (curvature > rounding * steepest * length)
        step = torch.where(unsolved, squared / curvature.clamp(min=smallest), 0.0)
        z += step * direction
        residual -= step * applied
        if stop is not None:
            unsolved &= ~stop(step)
        next_squared = dot(residual, residual)
        direction = residual + next_squared / squared.clamp(min=smallest) * direction
        squared = next_squared
    return z
