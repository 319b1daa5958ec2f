"""Least squares that know the noise: weights from photon counts, and where to stop."""

from __future__ import annotations

import torch

from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.weighted import WeightedOperator
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient

FEWEST_COUNTS = 1.0
"""Fewer count as this many: their logarithm tells nothing."""
DISCREPANCY = 1.02
"""CG stops where the misfit's norm is this many times that of the noise; the theory wants it above
1 (Engl, Hanke and Neubauer 1996, 4.3)."""


def line_variance(
    lines: torch.Tensor, photons: float, electronic_counts: float = 0.0
) -> torch.Tensor:
    """Variance of measured line integrals -ln(N / I0), of their shape, to first order.

    photons: I0. With N = I0 exp(-line) counts of Poisson noise and electronic noise of so many
    counts it is (N + electronic^2) / N^2.
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

    start, result: (z, y, x). y: (view, row, bin). per_slice: A couples no two slices, and row r is
    slice r's. weights: the diagonal of W, of y's shape. variance: that of the noise in y; each
    system stops where |W^(1/2) (Az - y)| has come down to what the noise makes of it (the
    discrepancy principle), and at once if it is there already.
    """
    if weights is not None:
        operator = WeightedOperator(operator, weights)
        y = operator.of_data(y)
    rule = None
    if variance is not None:
        expected = variance if weights is None else weights * variance
        rule = _Discrepancy(operator, y, expected, per_slice)

    def system(z: torch.Tensor) -> torch.Tensor:
        applied = operator.normal(z) if rule is None else rule.normal(z)
        return applied + rho * z if rho else applied

    back = operator.adjoint(y)
    right_side = back + rho * start if rho else back
    return conjugate_gradient(system, right_side, start, iterations, per_slice=per_slice, stop=rule)


class _Discrepancy:
    """Tells which systems fit the data as well as the noise allows.

    It keeps Az - y from step to step by what A makes of each direction, which CG needs anyway.
    """

    def __init__(
        self, operator: LinearOperator, y: torch.Tensor, variance: torch.Tensor, per_slice: bool
    ) -> None:
        self.operator, self.dims = operator, (0, 2) if per_slice else (0, 1, 2)
        self.residual = -y
        self.target = DISCREPANCY**2 * variance.to(y).expand_as(y).sum(self.dims, keepdim=True)

    def normal(self, z: torch.Tensor) -> torch.Tensor:
        """A* A z, with A z kept for the step that follows."""
        self.image = self.operator.forward(z)
        return self.operator.adjoint(self.image)

    def __call__(self, step: torch.Tensor) -> torch.Tensor:
        """Whether each system (z or 1, 1, 1) is done, a step of this length taken."""
        self.residual += step.reshape(1, -1, 1) * self.image
        misfit = self.residual.square().sum(self.dims, keepdim=True)
        return (misfit <= self.target).reshape(step.shape)
