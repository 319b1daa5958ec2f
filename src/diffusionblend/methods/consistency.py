"""Data consistency steps: x0 moved towards the measurement, usable by any diffusion method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.measurement import NO_ATTENUATION, Measurement
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from diffusionblend.solvers.proximal import ExactProximal

DEFAULT_RHO = {"cg": 0.0, "prox": 0.1}
CONSISTENCIES = tuple(DEFAULT_RHO)


class Consistency(Protocol):
    """Moves an estimate x0 towards the data.

    couples_slices: whether a slice's result depends on others; then it is given whole volumes.
    """

    couples_slices: bool

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x), network range, of the given slices, made consistent."""
        ...


@dataclass(frozen=True)
class ConjugateGradientStep:
    """`iterations` steps of CG on (A*A + rho I) z = A*y + rho x0, started at x0.

    Each slice is a system of its own. The paper's is 5 steps with rho 0.
    """

    measurement: Measurement
    iterations: int
    rho: float
    couples_slices = False

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x) of the given slices after the steps."""
        part, rho = self.measurement.of_slices(slices), self.rho
        operator, back = part.operator, part.operator.adjoint(part.y)

        def system(z: torch.Tensor) -> torch.Tensor:
            applied = operator.normal(z)
            return applied + rho * z if rho else applied

        right_side = back + rho * x0 if rho else back
        return conjugate_gradient(system, right_side, x0, self.iterations, per_slice=True)


class ProximalStep:
    """The exact minimiser of |Az - y|^2 + rho |z - x0|^2, with rho > 0."""

    couples_slices = False

    def __init__(self, measurement: Measurement, rho: float) -> None:
        self.measurement, self.rho = measurement, rho
        self.proximal = ExactProximal(measurement.operator)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The proximal point of the given slices' estimate (z, y, x)."""
        return self.proximal(x0, self.measurement.of_slices(slices).y, self.rho)


class Unconditional:
    """No data at all: samples are of the prior alone."""

    couples_slices = False

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate as it is."""
        return x0


@dataclass(frozen=True)
class AfterNonnegativity:
    """The step, started at an x0 of no negative attenuation.

    CT files pad what lies outside the scanner's circle with less than air, which no projection can
    show; a prior that has learnt it would otherwise disagree with every ray through a corner.
    """

    step: Consistency

    @property
    def couples_slices(self) -> bool:
        """Whether the step does."""
        return self.step.couples_slices

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The step's result for the estimate raised to no attenuation where below."""
        return self.step(x0.clamp(min=NO_ATTENUATION), slices)


def make_consistency(
    name: str, measurement: Measurement, *, cg_iterations: int, rho: float | None = None
) -> Consistency:
    """The named step for a measurement, "cg" or "prox", with its own default for rho.

    Raises InputError on an unknown name or rho.
    """
    if name not in CONSISTENCIES:
        raise InputError(f"The consistency step is {name!r}.", f"one of {', '.join(CONSISTENCIES)}")
    rho = DEFAULT_RHO[name] if rho is None else rho
    if not rho >= 0:
        raise InputError(f"rho is {rho}.", "a number not below 0")
    if name == "cg":
        return ConjugateGradientStep(measurement, cg_iterations, rho)
    if not rho > 0:
        raise InputError(f"The proximal step has rho {rho}.", "rho above 0", "--rho 0.1")
    return ProximalStep(measurement, rho)
