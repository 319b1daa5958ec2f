"""The proximal step of the data term, solved, and weighed by what the data are worth."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.memory import available_memory_bytes, total_memory_bytes
from diffusionblend.methods.diffusion.consistency.base import Consistency, ConsistencyStep
from diffusionblend.methods.validation import Positive
from diffusionblend.ranks import local_count

if TYPE_CHECKING:
    import torch

    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.data_variance import Trust
    from diffusionblend.methods.problem import Problem
    from diffusionblend.operators import MaskedTransform, XRayTransform

ERROR_AT_UNIT_NOISE = 0.11
"""Root mean square error of the denoised estimate, HU / 1000, where noise and image are equal."""
LEVELS = 4.0
"""rho is rounded to a power of this, so that a run needs few factors."""
SHARE_OF_ALL, SHARE_OF_FREE = 0.5, 0.75
"""Of the memory that a dense factor may take; the rest is for the volumes and the network."""
TYPICAL_LEVELS = 4
"""Levels that a run with noise passes."""
NORM_ITERATIONS = 8
"""|A|^2 to some percent, which is all that the smallest rho wants."""


@dataclass(frozen=True, kw_only=True)
class Prox(Consistency):
    """The proximal point of the data misfit, solved for any geometry."""

    name: ClassVar[str] = "prox"
    summary: ClassVar[str] = "the proximal point, solved, weighed by the noise of the data"
    on_estimate: ClassVar[bool] = True
    on_scaled_state: ClassVar[bool] = True
    highest_residual: ClassVar[float] = 0.05

    rho: Annotated[float | None, Positive] = None
    """Constant weight rho of the squared distance to the denoised estimate. By default it follows
    from the data's noise and the timestep."""

    def step(self, problem: Problem) -> ConsistencyStep:
        """The step for one problem."""
        return ProximalStep(problem, self.rho)

    def for_timing(self) -> Consistency:
        """Without a dense factor."""
        return _TrialProx(rho=self.rho)

    def setup_cost(self, scan: Projections) -> tuple[float, int]:
        """Seconds and bytes of the dense factor, where one is made."""
        from diffusionblend.methods.data_variance import is_exact
        from diffusionblend.operators import XRayTransform
        from diffusionblend.solvers.dense_proximal import dense_bytes, dense_seconds
        from diffusionblend.solvers.proximal import dense_sizes

        if scan.measured is not None:
            return 0.0, 0
        grid = scan.grid if scan.geometry.couples_slices else scan.grid.with_slices(1)
        exact = self.rho is None and is_exact(scan)
        sizes = dense_sizes(XRayTransform(scan.geometry, grid), exact=exact)
        if sizes is None or dense_bytes(sizes) > memory_for_factors("cpu"):
            return 0.0, 0
        n_factors = 1 if exact or self.rho is not None else TYPICAL_LEVELS
        return dense_seconds(sizes, n_factors, "cpu"), int(dense_bytes(sizes))


class _TrialProx(Prox):
    def step(self, problem: Problem) -> ConsistencyStep:
        return ProximalStep(problem, self.rho, trial=True)


class ProximalStep(ConsistencyStep):
    """The minimiser of |Az - y|^2 + rho |z - x0|^2.

    rho is given, or the variance of the data over that of x0 (see `weight`); then rays of much
    noise or misfit count for less. What solves all slices at once weighs them alike, unless hardly
    any photon passed some rays. trust: in the rays, by default that of `trust_in_rays`.
    """

    def __init__(
        self,
        problem: Problem,
        rho: float | None,
        *,
        trial: bool = False,
        trust: Trust | None = None,
    ) -> None:
        from diffusionblend.methods import data_variance
        from diffusionblend.solvers.proximal import proximal_of

        self.problem, self.given = problem, rho
        self.couples_slices = problem.operator.couples_slices
        memory = problem.factor_bytes
        if memory is None:
            memory = memory_for_factors(problem.device)
        exact = rho is None and data_variance.is_exact(problem.projections)
        if trust is None:
            known = rho is not None
            trust = data_variance.Trust(0.0) if known else data_variance.trust_in_rays(problem)
        self.trust = trust
        self.proximal = proximal_of(
            problem.operator,
            memory,
            exact=exact,
            trial=trial,
            weights=self.trust.alike(),
        )
        shared = self.proximal.weighs and not self.trust.starved
        self.each = None if shared else self.trust.weights
        norm = squared_norm(problem.operator)
        self.least = self.proximal.least * norm
        self.rho = self.least if rho is None else within_rounding(rho, norm)
        self.weights: set[float] = set()

    def begin(self, abar: float, *, noisy: bool = False) -> None:
        """Weigh the data for a reverse step of noise level abar."""
        if self.given is None:
            ratio = (1 - abar) / abar
            error = ratio if noisy else ERROR_AT_UNIT_NOISE**2 * ratio**0.5
            self.rho = weight(self.trust.variance, error, self.least)
        self.weights.add(self.rho)

    def facts(self) -> dict[str, object]:
        """The solver, the values of rho that the run had, and what it took the data for."""
        found: dict[str, object] = {
            "solver": self.proximal.solver,
            "rho": sorted(self.weights),
            "starved_rays": self.trust.starved,
        }
        if self.given is None:
            found["data_variance_pixels2"] = self.trust.variance
            found["rays_weighed"] = self.trust.weights is not None
        return found

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The proximal point of the given slices' estimate (z, y, x)."""
        return self.begun_at(x0, x0, slices)

    def begun_at(self, start: torch.Tensor, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The same, by CG from `start` on; what is solved directly needs none."""
        part, weights = self.problem.of_slices(slices), self.each
        if weights is not None and not self.couples_slices:
            weights = weights[:, slices]
        return self.proximal(x0, part.y, self.rho, start, weights)


def within_rounding(rho: float, norm: float) -> float:
    """A rho that was given, or the nearest that float32 can distinguish from 0 or infinity beside
    |A|^2; a warning where it is another.
    """
    from diffusionblend.solvers.gram import LEAST_DIRECT

    low, high = LEAST_DIRECT * norm, norm / LEAST_DIRECT
    nearest = min(max(rho, low), high)
    if nearest != rho:
        warnings.warn(
            f"rho is {rho:g}, beyond the {low:.2g} to {high:.2g} that single precision resolves "
            f"for this scan: {nearest:.2g} is taken.",
            stacklevel=2,
        )
    return nearest


def weight(variance: float, error: float, least: float) -> float:
    """rho = variance / error, rounded to a power of LEVELS, and not below `least`.

    variance: of the data, as much of it as counts. error: of the estimate. With all of it, and
    both white, this is the maximum a posteriori weight.
    """
    rho = variance / error
    if rho <= least:
        return least
    return max(least, LEVELS ** round(math.log(rho, LEVELS)))


def squared_norm(operator: XRayTransform | MaskedTransform) -> float:
    """|A|^2, nearly; of one slice where slices are independent."""
    one = operator if operator.couples_slices else operator.with_slices(1)
    return one.norm(iterations=NORM_ITERATIONS) ** 2


def memory_for_factors(device: torch.device | str) -> float:
    """Bytes that a dense factor may take: half of a GPU, or of this process's part of the host.

    On the host not more than three quarters of what is free, either: a run that ends for lack of
    memory is worth less than one by conjugate gradients.
    """
    import torch

    if torch.device(device).type == "cuda":
        return SHARE_OF_ALL * torch.cuda.get_device_properties(device).total_memory
    total, free = total_memory_bytes(), available_memory_bytes()
    room = math.inf if total is None else SHARE_OF_ALL * total
    return min(room, math.inf if free is None else SHARE_OF_FREE * free) / local_count()
