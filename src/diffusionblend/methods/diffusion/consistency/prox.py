"""The exact proximal point of the data misfit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import Positive

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Prox(Consistency):
    """The exact proximal point, for parallel and fan beams of few views."""

    name: ClassVar[str] = "prox"
    summary: ClassVar[str] = "the exact proximal point"
    on_estimate: ClassVar[bool] = True
    on_scaled_state: ClassVar[bool] = True

    rho: Annotated[float, Positive] = 0.1
    """Weight of the distance to the denoised estimate."""

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem. Raises InputError where there are too many rays for it."""
        return ProximalStep(problem, self.rho)


class ProximalStep(ConsistencyStep):
    """The exact minimiser of |Az - y|^2 + rho |z - x0|^2, with rho > 0."""

    def __init__(self, problem: Problem, rho: float) -> None:
        from diffusionblend.solvers.proximal import ExactProximal

        self.problem, self.rho = problem, rho
        self.proximal = ExactProximal(problem.operator)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The proximal point of the given slices' estimate (z, y, x)."""
        return self.proximal(x0, self.problem.of_slices(slices).y, self.rho)
