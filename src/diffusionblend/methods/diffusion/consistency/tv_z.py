"""Total variation along z by ADMM, with CG inside: the step of DDS and DiffusionMBIR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import AtLeastOne, NotNegative, Positive

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class TvZ(Consistency):
    """One ADMM step on the data misfit with total variation along z; lengths in pixels."""

    name: ClassVar[str] = "admm-tv-z"
    summary: ClassVar[str] = "ADMM with total variation along z"
    on_estimate: ClassVar[bool] = True
    on_scaled_state: ClassVar[bool] = True
    highest_residual: ClassVar[float] = 0.05

    cg_iterations: Annotated[int, AtLeastOne] = 5
    """CG iterations in every reverse step."""
    tv_z_weight: Annotated[float, NotNegative] = 0.1
    """Weight of the total variation along z, for values in HU / 1000; tune it for your scans, after
    --tv-z-penalty."""
    tv_z_penalty: Annotated[float, Positive] = 1.0
    """Penalty rho of the ADMM for total variation along z. Larger values smooth more along z,
    unless --tv-z-keep is set."""
    tv_z_keep: bool = False
    """Keep the ADMM variables from one reverse step to the next."""

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem."""
        return TotalVariationAlongZ(
            problem,
            weight=self.tv_z_weight,
            penalty=self.tv_z_penalty,
            cg_iterations=self.cg_iterations,
            keeps=self.tv_z_keep,
        )


class TotalVariationAlongZ(ConsistencyStep):
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
        problem: Problem,
        *,
        weight: float,
        penalty: float,
        cg_iterations: int,
        iterations: int = 1,
        keeps: bool = False,
    ) -> None:
        self.problem, self.weight, self.penalty = problem, weight, penalty
        self.cg_iterations, self.iterations, self.keeps = cg_iterations, iterations, keeps
        self._kept: dict[str, torch.Tensor] = {}

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x) of the whole volume after the steps."""
        from diffusionblend.solvers.conjugate_gradient import conjugate_gradient

        operator, rho = self.problem.operator, self.penalty
        back = operator.adjoint(self.problem.y)

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
        self._kept = {name: v.to(self.problem.y) for name, v in variables.items()}

    def _started(self, x0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._kept:
            return self._kept["slopes"], self._kept["slopes_dual"]
        return self._shrunk(slopes_along_z(x0)), x0.new_zeros(x0.shape)

    def _shrunk(self, slopes: torch.Tensor) -> torch.Tensor:
        from diffusionblend.solvers.total_variation import shrink

        return shrink(slopes[None], self.weight / self.penalty)[0]


def slopes_along_z(x: torch.Tensor) -> torch.Tensor:
    """D x: the next slice less this one, (z, y, x), 0 in the last slice."""
    slopes = x.new_zeros(x.shape)
    slopes[:-1] = x[1:] - x[:-1]
    return slopes


def slopes_adjoint(slopes: torch.Tensor) -> torch.Tensor:
    """D* of slopes (z, y, x), whose last slice is not looked at."""
    out = slopes.new_zeros(slopes.shape)
    out[1:] += slopes[:-1]
    out[:-1] -= slopes[:-1]
    return out
