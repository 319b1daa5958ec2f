"""No data at all: samples are of the prior alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep

if TYPE_CHECKING:
    from diffusionblend.methods.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Unconstrained(Consistency):
    """No data-consistency step: samples of the prior, whatever the projections."""

    name: ClassVar[str] = "none"
    summary: ClassVar[str] = "no data: samples of the prior alone"
    on_scaled_state: ClassVar[bool] = True

    def step(self, problem: Problem) -> ConsistencyStep:
        """The identity."""
        return ConsistencyStep()
