"""Conjugate gradients from the denoised estimate, as in the papers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import AtLeastOne, NotNegative

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Cg(Consistency):
    """Conjugate gradients on the normal equations, started at the estimate and stopped early."""

    name: ClassVar[str] = "cg"
    summary: ClassVar[str] = "conjugate gradients, stopped early"
    on_estimate: ClassVar[bool] = True
    on_scaled_state: ClassVar[bool] = True
    highest_residual: ClassVar[float] = 0.05

    cg_iterations: Annotated[int, AtLeastOne] = 5
    """CG iterations in every reverse step."""
    rho: Annotated[float, NotNegative] = 0.0
    """Weight rho of the squared distance to the denoised estimate."""
    weighted: bool = False
    """Statistical weighting of the rays; the scan must contain its photon count."""
    stop_at_noise: bool = False
    """Stop CG when the misfit reaches the noise level; the scan must contain its photon count."""

    @property
    def needs_noise(self) -> bool:
        """Whether weights or the noise level are asked for."""
        return self.weighted or self.stop_at_noise

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem."""
        return ConjugateGradientStep(
            problem, self.cg_iterations, self.rho, self.weighted, self.stop_at_noise
        )


@dataclass(frozen=True)
class ConjugateGradientStep(ConsistencyStep):
    """`iterations` steps of CG on (A^T W A + rho I) z = A^T W y + rho x0, started at x0.

    Each slice is a system of its own, unless the geometry couples them. The paper's is 5 steps with
    rho 0 and W = I. weighted: W from the photon counts. stop_at_noise: stop where the misfit has
    come down to the noise. Both need a problem with its noise.
    """

    problem: Problem
    iterations: int
    rho: float
    weighted: bool = False
    stop_at_noise: bool = False

    @property
    def couples_slices(self) -> bool:  # type: ignore[override]
        """Whether the geometry does."""
        return self.problem.operator.couples_slices

    def facts(self) -> dict[str, object]:
        """The solver with its iterations, and rho."""
        return {"solver": "conjugate gradients", "iterations": self.iterations, "rho": [self.rho]}

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x) of the given slices after the iterations."""
        from diffusionblend.solvers.noisy_data import fit_data

        part = self.problem.of_slices(slices)
        return fit_data(
            part.operator,
            part.y,
            x0,
            self.iterations,
            rho=self.rho,
            per_slice=not self.couples_slices,
            weights=part.weights if self.weighted else None,
            variance=part.variance if self.stop_at_noise else None,
        )
