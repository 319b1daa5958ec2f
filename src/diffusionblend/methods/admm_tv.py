"""ADMM-TV: total variation in 3D, the tuned classical baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.methods.validation import AtLeastOne, NotNegative, Positive, Within
from diffusionblend.units import AIR_HU

if TYPE_CHECKING:
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class AdmmTv(Method):
    """3D total variation by ADMM: the minimum of 1/2 |Ax - y|^2 + weight TV(x)."""

    name: ClassVar[str] = "admm-tv"
    summary: ClassVar[str] = "3D total variation"
    when: ClassVar[str] = "few views, no training volumes"
    highest_residual: ClassVar[tuple[float, int]] = (0.05, 1)
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "weight": tuple(2.0**n for n in range(-7, 8))
    }
    basic: ClassVar[tuple[str, ...]] = ("weight", "iterations")
    volumes_held: ClassVar[int] = 25
    volumes_kept: ClassVar[int] = 13

    weight: Annotated[float, NotNegative] = 1.0
    """Weight of the total variation, for lengths in pixels and values in HU / 1000; tune it."""
    iterations: Annotated[int, AtLeastOne] = 150
    """Number of ADMM iterations."""
    penalty: Annotated[float, Positive] = 3.0
    """ADMM's penalty rho; it sets the speed of convergence, not the solution."""
    inner_iterations: Annotated[int, AtLeastOne] = 5
    """Number of CG iterations within each ADMM iteration."""
    nonnegative: bool = True
    """Keep attenuation at or above zero."""
    highest_hu: Annotated[float | None, Within(AIR_HU, open_low=True)] = None
    """Upper bound of the values in HU, if the densest material is known."""

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """The iterate, from zero attenuation."""
        from diffusionblend.methods.problem import NO_ATTENUATION
        from diffusionblend.solvers.total_variation import admm_total_variation
        from diffusionblend.units import hu_to_network

        x = admm_total_variation(
            problem.operator,
            problem.y,
            problem.empty_volume(),
            weight=self.weight,
            iterations=self.iterations,
            penalty=self.penalty,
            cg_iterations=self.inner_iterations,
            lowest=NO_ATTENUATION if self.nonnegative else None,
            highest=None if self.highest_hu is None else hu_to_network(self.highest_hu),
            on_step=execution.on_step,
        )
        return Solution(x)
