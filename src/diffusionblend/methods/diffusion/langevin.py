"""Annealed Langevin sampling of the posterior: noise, data and prior in turn, slice by slice.

Langevin sampling over falling noise levels is that of Song and Ermon (2019). Here a step adds noise
of a level, makes the volume one that the data allow, and takes each slice back to the prior, given
its neighbours, along the probability flow (Song et al. 2021). For blocks of three slices that is
exact in the limit of many rounds and a low last level, where the prior is Markov along z: by a
prior of the type neighbours, even slices given the odd ones without noise and the reverse; by a
joint one, whose neighbours have the noise as well, more slowly as the last level falls.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from diffusionblend.errors import InputError
from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.methods.validation import AtLeastOne, NotNegative, Positive
from diffusionblend.priors.resolve import PriorSpec

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior

LOWEST_LEVEL, HIGHEST_LEVEL = 0.02, 100.0
"""Noise levels that the prior's first and last timesteps reach."""


@dataclass(frozen=True, kw_only=True)
class Langevin(Method):
    """Samples of the posterior; a single one is further from the truth than an estimate is."""

    name: ClassVar[str] = "langevin"
    summary: ClassVar[str] = "samples of the posterior: noise, data and prior in turn, many rounds"
    when: ClassVar[str] = "samples that spread more honestly, and are further from the truth"
    prior: ClassVar[PriorSpec | None] = PriorSpec("joint", also=("neighbours",))
    basic: ClassVar[tuple[str, ...]] = ("rounds", "init", "seed")
    highest_residual: ClassVar[tuple[float, int]] = (0.1, 1)

    rounds: Annotated[int, AtLeastOne] = 28
    """Rounds, shared evenly by the noise levels; every slice is renewed once in each."""
    halvings: Annotated[int, NotNegative] = 2
    """Pieces of the way back to the prior before its last one, each to half of the noise; a piece
    takes two network evaluations. Fewer at the lowest levels."""
    first_level: Annotated[float, Positive] = 3.2
    """Standard deviation of the noise in the first rounds, in units of 1000 HU."""
    last_level: Annotated[float, Positive] = 0.05
    """The same in the last rounds; each level is half of the one before."""
    init: Literal["noise", "fbp", "cg", "tv"] = "cg"
    """Initialisation: white noise, or an image reconstructed from the data."""
    nonnegative: bool = True
    """Clip the denoised slices at air (-1000 HU)."""
    seed: Annotated[int, NotNegative] = 0
    """Random seed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not LOWEST_LEVEL <= self.last_level <= self.first_level <= HIGHEST_LEVEL:
            raise InputError(
                f"first_level is {self.first_level} and last_level {self.last_level}.",
                f"{LOWEST_LEVEL:g} to {HIGHEST_LEVEL:g}, the last not above the first",
            )

    @property
    def levels(self) -> list[float]:
        """The different noise levels, falling, as many as there are rounds at most."""
        count = round(math.log2(self.first_level / self.last_level)) + 1
        return [self.first_level * 0.5**i for i in range(count)]

    @property
    def n_steps(self) -> int:
        """Rounds."""
        return self.rounds

    def setup_cost(self, scan: Projections) -> tuple[float, int]:
        """That of the solver for the data."""
        from diffusionblend.methods.diffusion.consistency.prox import Prox

        return Prox().setup_cost(scan)

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """A sample of the posterior of the prior and the projections."""
        from diffusionblend.methods.diffusion.annealing import sample_by_langevin

        return sample_by_langevin(self, problem, priors["prior"], execution)
