"""Total variation reconstruction by ADMM."""

from __future__ import annotations

from collections.abc import Callable

import torch

from diffusionblend.operators.differences import FiniteDifferences
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient


def admm_total_variation(
    operator: LinearOperator,
    y: torch.Tensor,
    start: torch.Tensor,
    *,
    weight: float,
    iterations: int,
    penalty: float,
    cg_iterations: int = 5,
    lowest: float | None = None,
    highest: float | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    """min over x of 1/2 |Ax - y|^2 + weight TV(x), isotropic in 3D, by ADMM (Boyd et al. 2011).

    y: range_shape. start, result: (z, y, x). penalty: ADMM's rho, which sets the speed and not the
    solution. lowest, highest: bounds on x (air, the densest material), or None.
    """
    gradient = FiniteDifferences(start.shape)
    bounded = lowest is not None or highest is not None
    x = start.clone()
    back = operator.adjoint(y)
    slopes = torch.zeros(gradient.range_shape, dtype=x.dtype, device=x.device)
    slopes_dual = torch.zeros_like(slopes)
    bound, bound_dual = x.clone(), torch.zeros_like(x)

    def system(z: torch.Tensor) -> torch.Tensor:
        coupled = gradient.normal(z) + z if bounded else gradient.normal(z)
        return operator.normal(z) + penalty * coupled

    for done in range(iterations):
        pull = gradient.adjoint(slopes - slopes_dual)
        if bounded:
            pull = pull + bound - bound_dual
        x = conjugate_gradient(system, back + penalty * pull, x, cg_iterations)
        g = gradient.forward(x)
        slopes = shrink(g + slopes_dual, weight / penalty)
        slopes_dual += g - slopes
        if bounded:
            bound = (x + bound_dual).clamp(lowest, highest)
            bound_dual += x - bound
        on_step(done + 1, iterations)
    return bound if bounded else x


def shrink(slopes: torch.Tensor, threshold: float) -> torch.Tensor:
    """The proximal map of the isotropic TV norm: shorten each voxel's gradient (3, z, y, x)."""
    length = slopes.square().sum(0, keepdim=True).sqrt()
    smallest = torch.finfo(length.dtype).tiny
    return slopes * (1 - threshold / length.clamp(min=max(threshold, smallest)))
