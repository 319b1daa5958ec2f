"""The gradient of the residual through the network (Chung et al., DPS, ICLR 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import Positive

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Dps(Consistency):
    """A step of fixed length along the gradient of the residual's norm, through the network."""

    name: ClassVar[str] = "dps"
    summary: ClassVar[str] = "the gradient of the residual through the network"

    dps_step: Annotated[float, Positive] = 1.0
    """Step size along the gradient of the residual's norm; tune it for your scans."""

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem. Raises InputError for a geometry that couples slices."""
        return GradientStep(problem, self.dps_step)


@dataclass(frozen=True)
class GradientStep(ConsistencyStep):
    """The state moved along the gradient of |y - A x0(x_t)| (Chung et al. 2023, DPS, Alg. 1).

    x' - step grad |r|, where grad |r| = grad (|r|^2 / 2) / |r| with the norm of the whole volume's
    residual r. Raises InputError for a geometry that couples slices.
    """

    problem: Problem
    length: float
    needs_gradient = True

    def __post_init__(self) -> None:
        if self.problem.operator.couples_slices:
            raise InputError(
                "The data-consistency step 'dps' was asked for a geometry that couples slices.",
                "slices that are independent",
                "--consistency cg",
            )

    def misfit(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """|y - A x0|^2 of each of the given slices (z,)."""
        part = self.problem.of_slices(slices)
        return (part.operator.forward(x0) - part.y).square().sum((0, 2))

    def moved(self, x: torch.Tensor, gradient: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        """x - length gradient / sqrt(misfit), for the gradient of half the misfit."""
        import torch

        norm = misfit.clamp(min=torch.finfo(misfit.dtype).tiny).sqrt()
        return x - self.length * gradient / norm
