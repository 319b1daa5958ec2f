"""Least squares that know the noise: weights from photon counts, and where to stop."""

from __future__ import annotations

from collections.abc import Callable

import torch

from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.weighted import WeightedOperator
from diffusionblend.solvers.conjugate_gradient import data_space_conjugate_gradient

FEWEST_COUNTS = 1.0
"""Fewer count as this many: their logarithm has no meaning."""
DISCREPANCY = 1.02
"""CG stops where the misfit's norm is this many times that of the noise; the theory wants it above
1 (Engl, Hanke and Neubauer 1996, 4.3)."""


def line_variance(
    lines: torch.Tensor, photons: float | torch.Tensor, electronic_counts: float = 0.0
) -> torch.Tensor:
    """Variance of measured line integrals -ln(N / I0), of their shape, to first order.

    photons: I0, of all or of each. With N = I0 exp(-line) counts of Poisson noise and electronic
    noise of so many counts it is (N + electronic^2) / N^2.
    """
    counts = (photons * torch.exp(-lines)).clamp(min=FEWEST_COUNTS)
    return (counts + electronic_counts**2) / counts**2


def statistical_weights(variance: torch.Tensor) -> torch.Tensor:
    """The diagonal of W, one over the variance, with mean 1 so that rho keeps its meaning."""
    weights = 1 / variance
    return weights / weights.mean()


def fit_data(
    operator: LinearOperator,
    y: torch.Tensor,
    start: torch.Tensor,
    iterations: int,
    *,
    rho: float = 0.0,
    per_slice: bool = False,
    weights: torch.Tensor | None = None,
    variance: torch.Tensor | None = None,
) -> torch.Tensor:
    """CG steps on min over z of |W^(1/2) (Az - y)|^2 + rho |z - start|^2, from `start`.

    start, result: (z, y, x). y: (view, row, column). per_slice: A couples no two slices, and row r
    is slice r's. weights: the diagonal of W, of y's shape. variance: that of the noise in y; each
    system stops where |W^(1/2) (Az - y)| has come down to what the noise makes of it (the
    discrepancy principle), and at once if it is there already.
    """
    if weights is not None:
        operator = WeightedOperator(operator, weights)
        y = operator.of_data(y)
    stop = None
    if variance is not None:
        expected = variance if weights is None else weights * variance
        stop = _discrepancy(y, expected, per_slice)
    return data_space_conjugate_gradient(
        operator, y, start, iterations, rho=rho, per_slice=per_slice, stop=stop
    )


def _discrepancy(
    y: torch.Tensor, variance: torch.Tensor, per_slice: bool
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Reports for a misfit y - Az which systems fit the data as well as the noise allows."""
    dims = (0, 2) if per_slice else (0, 1, 2)
    target = DISCREPANCY**2 * variance.to(y).expand_as(y).sum(dims, keepdim=True)
    return lambda misfit: misfit.square().sum(dims, keepdim=True) <= target
