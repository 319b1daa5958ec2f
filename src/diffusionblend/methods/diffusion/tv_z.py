"""The data step of DDS and DiffusionMBIR: total variation along z by ADMM, with CG inside."""

from __future__ import annotations

import torch

from diffusionblend.methods.diffusion.consistency import Consistency
from diffusionblend.methods.problem import Measurement
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from diffusionblend.solvers.total_variation import shrink


class TotalVariationAlongZ(Consistency):
    """`iterations` steps of ADMM on 1/2 |Ax - y|^2 + weight |D x|_1, D the differences along z.

    Started at the estimate x0; each step has `cg_iterations` of CG over the whole volume
    (DiffusionMBIR, Chung et al., CVPR 2023; DDS, Chung et al., ICLR 2024). penalty: ADMM's rho.
    keeps: whether the slopes and their dual go on from one reverse step to the next; otherwise, and
    at the first, the slopes are those of x0, shrunk, and the dual is 0 (published: both 0, which
    makes the first step a quadratic smoothing).
    """

    couples_slices = True

    def __init__(
        self,
        measurement: Measurement,
        *,
        weight: float,
        penalty: float,
        cg_iterations: int,
        iterations: int = 1,
        keeps: bool = False,
    ) -> None:
        self.measurement, self.weight, self.penalty = measurement, weight, penalty
        self.cg_iterations, self.iterations, self.keeps = cg_iterations, iterations, keeps
        self._kept: dict[str, torch.Tensor] = {}

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x) of the whole volume after the steps."""
        operator, rho = self.measurement.operator, self.penalty
        back = operator.adjoint(self.measurement.y)

        def system(z: torch.Tensor) -> torch.Tensor:
            return operator.normal(z) + rho * slopes_adjoint(slopes_along_z(z))

        x = x0
        slopes, dual = self._started(x0)
        for _ in range(self.iterations):
            right_side = back + rho * slopes_adjoint(slopes - dual)
            x = conjugate_gradient(system, right_side, x, self.cg_iterations)
            found = slopes_along_z(x)
            slopes = self._shrunk(found + dual)
            dual = dual + found - slopes
        if self.keeps:
            self._kept = {"slopes": slopes, "slopes_dual": dual}
        return x

    def variables(self) -> dict[str, torch.Tensor]:
        """The slopes and their dual, where they are kept."""
        return dict(self._kept)

    def restore(self, variables: dict[str, torch.Tensor]) -> None:
        """Go on from them, or begin anew."""
        self._kept = {name: v.to(self.measurement.y) for name, v in variables.items()}

    def _started(self, x0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._kept:
            return self._kept["slopes"], self._kept["slopes_dual"]
        return self._shrunk(slopes_along_z(x0)), torch.zeros_like(x0)

    def _shrunk(self, slopes: torch.Tensor) -> torch.Tensor:
        return shrink(slopes[None], self.weight / self.penalty)[0]


def slopes_along_z(x: torch.Tensor) -> torch.Tensor:
    """D x: the next slice less this one, (z, y, x), 0 in the last slice."""
    slopes = torch.zeros_like(x)
    slopes[:-1] = x[1:] - x[:-1]
    return slopes


def slopes_adjoint(slopes: torch.Tensor) -> torch.Tensor:
    """D* of slopes (z, y, x), whose last slice is not looked at."""
    out = torch.zeros_like(slopes)
    out[1:] += slopes[:-1]
    out[:-1] -= slopes[:-1]
    return out
