"""Data consistency steps: x0 moved towards the measurement, usable by any diffusion method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.measurement import Measurement
from diffusionblend.solvers.noisy_data import fit_data
from diffusionblend.solvers.proximal import ExactProximal

DEFAULT_RHO = {"cg": 0.0, "prox": 0.1}
CONSISTENCIES = tuple(DEFAULT_RHO)
NO_ATTENUATION = -1.0
"""Zero attenuation (-1000 HU) in the network's range.

CT files pad what lies outside the scanner's circle with less, which no projection can show; a prior
that has learnt it would otherwise disagree with every ray through a corner.
"""


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
    """`iterations` steps of CG on (A*WA + rho I) z = A*Wy + rho x0, started at x0.

    Each slice is a system of its own, unless the geometry couples them. The paper's is 5 steps with
    rho 0 and W = I. weighted: W from the photon counts. to_noise: stop where the misfit has come
    down to the noise. Both want a measurement with its noise.
    """

    measurement: Measurement
    iterations: int
    rho: float
    weighted: bool = False
    to_noise: bool = False

    @property
    def couples_slices(self) -> bool:
        """Whether the geometry does."""
        return self.measurement.operator.couples_slices

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        """The estimate (z, y, x) of the given slices after the steps."""
        part = self.measurement.of_slices(slices)
        return fit_data(
            part.operator,
            part.y,
            x0,
            self.iterations,
            rho=self.rho,
            per_slice=not self.couples_slices,
            weights=part.weights if self.weighted else None,
            variance=part.variance if self.to_noise else None,
        )


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


def make_consistency(
    name: str,
    measurement: Measurement,
    *,
    cg_iterations: int,
    rho: float | None = None,
    weighted: bool = False,
    to_noise: bool = False,
) -> Consistency:
    """The named step for a measurement, "cg" or "prox", with its own default for rho.

    Raises InputError on an unknown name or rho, and on a proximal step that is to know the noise.
    """
    if name not in CONSISTENCIES:
        raise InputError(f"The consistency step is {name!r}.", f"one of {', '.join(CONSISTENCIES)}")
    rho = DEFAULT_RHO[name] if rho is None else rho
    if not rho >= 0:
        raise InputError(f"rho is {rho}.", "a number not below 0")
    if name == "cg":
        return ConjugateGradientStep(measurement, cg_iterations, rho, weighted, to_noise)
    if weighted or to_noise:
        raise InputError(
            "The proximal step was asked to know the noise.",
            "equal weights, which all slices share",
            "--consistency cg",
        )
    if not rho > 0:
        raise InputError(f"The proximal step has rho {rho}.", "rho above 0", "--rho 0.1")
    return ProximalStep(measurement, rho)
