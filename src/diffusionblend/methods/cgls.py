"""CGLS: least squares by conjugate gradients, regularised by the number of its iterations."""

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
class Cgls(Method):
    """Least squares by conjugate gradients, stopped early."""

    name: ClassVar[str] = "cgls"
    summary: ClassVar[str] = "least squares by conjugate gradients, stopped early"
    when: ClassVar[str] = "noisy data, in fewer iterations than sirt"
    volumes_held: ClassVar[int] = 8
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
        return Solution(x.clamp(min=NO_ATTENUATION) if self.nonnegative else x)
