"""The proximal step of the data term, solved, and weighed by what the data are worth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import Positive

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem
    from diffusionblend.operators import XRayTransform

ERROR_AT_UNIT_NOISE = 0.11
"""Root mean square error of the denoised estimate, HU / 1000, where noise and image are equal."""
WORTH = 0.3
"""rho's share of the ratio of variances, since the estimate's error is no white noise."""
LEVELS = 4.0
"""rho is rounded to a power of this, so that a run needs few factors."""
LEAST = 1e-7
"""Smallest rho over |A|^2: the limit for data without noise, which float32 just resolves."""


@dataclass(frozen=True, kw_only=True)
class Prox(Consistency):
    """The proximal point of the data misfit, solved for any geometry."""

    name: ClassVar[str] = "prox"
    summary: ClassVar[str] = "the proximal point, solved, weighed by the noise of the data"
    on_estimate: ClassVar[bool] = True
    on_scaled_state: ClassVar[bool] = True

    rho: Annotated[float | None, Positive] = None
    """Weight of the distance to the denoised estimate, the same at every step. By default it
    follows the noise of the data and the timestep."""

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem."""
        return ProximalStep(problem, self.rho)


class ProximalStep(ConsistencyStep):
    """The minimiser of |Az - y|^2 + rho |z - x0|^2.

    rho is given, or the variance of the data over that of x0 (see `weight`).
    """

    def __init__(self, problem: Problem, rho: float | None) -> None:
        from diffusionblend.methods.data_variance import variance_of_data
        from diffusionblend.solvers.proximal import proximal_of

        self.problem, self.given = problem, rho
        self.couples_slices = problem.operator.couples_slices
        self.proximal = proximal_of(problem.operator)
        self.rho = self.least = LEAST * squared_norm(problem.operator)
        self.variance = variance_of_data(problem) if rho is None else 0.0

    def begin(self, abar: float, *, noisy: bool = False) -> None:
        """Weigh the data for a reverse step of noise level abar."""
        if self.given is not None:
            self.rho = self.given
        else:
            ratio = (1 - abar) / abar
            error = ratio if noisy else ERROR_AT_UNIT_NOISE**2 * ratio**0.5
            self.rho = weight(self.variance, error, self.least)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The proximal point of the given slices' estimate (z, y, x)."""
        return self.proximal(x0, self.problem.of_slices(slices).y, self.rho)


def weight(variance: float, error: float, least: float) -> float:
    """rho = WORTH variance / error, a power of LEVELS, and not below `least`.

    variance: of the data, error: of the estimate. With both white this would be the maximum a
    posteriori weight; the estimate's error is mostly of low frequency, which the data know well.
    """
    rho = WORTH * variance / error
    if rho <= least:
        return least
    return max(least, LEVELS ** round(math.log(rho, LEVELS)))


def squared_norm(operator: XRayTransform) -> float:
    """|A|^2, of one slice where slices are independent."""
    return (operator if operator.couples_slices else operator.with_slices(1)).norm() ** 2
