"""CGLS: least squares by conjugate gradients, regularised by the number of its iterations."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.methods.validation import AtLeastOne

if TYPE_CHECKING:
    import torch

    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior

MOST_CLIPPED = 0.3
"""Of the norm of the projections. Streaks account for 0.05, the noise of 1000 photons for 0.2."""


@dataclass(frozen=True, kw_only=True)
class Cgls(Method):
    """Least squares by conjugate gradients, stopped early."""

    name: ClassVar[str] = "cgls"
    summary: ClassVar[str] = "least squares by conjugate gradients, stopped early"
    when: ClassVar[str] = "noisy data, in fewer iterations than sirt"
    highest_residual: ClassVar[tuple[float, int]] = (0.1, 8)
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "iterations": (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
    }
    basic: ClassVar[tuple[str, ...]] = ("iterations",)

    iterations: Annotated[int, AtLeastOne] = 12
    """Number of iterations; early stopping regularises, so tune it for your scans."""
    nonnegative: bool = True
    """Clip the result at zero attenuation."""

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """The iterate, from zero attenuation; clipped only at the end, to keep conjugacy."""
        from diffusionblend.methods.problem import NO_ATTENUATION
        from diffusionblend.solvers.least_squares import cgls

        x = cgls(
            problem.operator,
            problem.y,
            problem.empty_volume(),
            iterations=self.iterations,
            per_slice=not problem.operator.couples_slices,
            on_step=execution.on_step,
        )
        if not self.nonnegative:
            return Solution(x)
        clipped = x.clamp(min=NO_ATTENUATION)
        _warn_of_clip(problem, x - clipped)
        return Solution(clipped)


def _warn_of_clip(problem: Problem, removed: torch.Tensor) -> None:
    """Tell where the values below zero, which are removed, explain much of the projections."""
    measured = float((problem.y + problem.water).norm())
    if not removed.any() or not measured:
        return
    share = float(problem.operator.forward(removed).norm()) / measured
    if share > MOST_CLIPPED:
        warnings.warn(
            f"cgls clipped values below zero that account for {100 * share:.0f} % of the "
            "projections, so that what is left no longer fits them, as of an object that reaches "
            "beyond the slices or the detector: --no-nonnegative keeps them, and --margin-mm makes "
            "room for what lies outside.",
            stacklevel=2,
        )
