"""The noisy state projected onto noisy data (Song et al., ICLR 2022)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import StrictFraction

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Hard(Consistency):
    """The renoised state projected onto data with noise of the same level."""

    name: ClassVar[str] = "hard"
    summary: ClassVar[str] = "the noisy state projected onto noisy data"
    highest_residual: ClassVar[float] = 0.05

    hard_weight: Annotated[float, StrictFraction] = 0.1
    """Weight of the state against the data, between 0 and 1."""

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem."""
        return HardStep(problem, self.hard_weight)


class HardStep(ConsistencyStep):
    """The renoised state x' projected onto data noised alike (Song et al., ICLR 2022).

    argmin over z of weight |x' - z|^2 + (1 - weight) |y_t' - A z|^2, with
    y_t' = sqrt(abar') y + sqrt(1 - abar') A n and n white noise of its own: with that of x' itself
    it would be the proximal step on x0. weight: 0 to 1, both left out.
    """

    moves_state = True

    def __init__(self, problem: Problem, weight: float) -> None:
        from diffusionblend.solvers.proximal import proximal_of

        self.problem, self.rho = problem, weight / (1 - weight)
        self.couples_state = problem.operator.couples_slices
        self.proximal = proximal_of(problem.operator)

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        """The projected state (z, y, x) of the given slices."""
        part = self.problem.of_slices(slices)
        y_t = abar**0.5 * part.y + (1 - abar) ** 0.5 * part.operator.forward(noise)
        return self.proximal(x, y_t, self.rho)
