"""SIRT: simultaneous iterative reconstruction, regularised by the number of its iterations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.methods.validation import AtLeastOne

if TYPE_CHECKING:
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class Sirt(Method):
    """Weighted least squares by simultaneous iterations, stopped early."""

    name: ClassVar[str] = "sirt"
    summary: ClassVar[str] = "weighted least squares, stopped early"
    when: ClassVar[str] = "noisy data, no training volumes"
    volumes_held: ClassVar[int] = 7
    highest_residual: ClassVar[tuple[float, int]] = (0.05, 1)
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "iterations": (5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560)
    }
    basic: ClassVar[tuple[str, ...]] = ("iterations",)

    iterations: Annotated[int, AtLeastOne] = 50
    """Number of iterations over all views; early stopping regularises, so tune it for your
    scans."""
    nonnegative: bool = True
    """Keep attenuation at or above zero."""

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """The iterate, from zero attenuation."""
        from diffusionblend.methods.problem import NO_ATTENUATION
        from diffusionblend.solvers.least_squares import sirt

        x = sirt(
            problem.operator,
            problem.y,
            problem.empty_volume(),
            iterations=self.iterations,
            lowest=NO_ATTENUATION if self.nonnegative else None,
            on_step=execution.on_step,
        )
        return Solution(x)
