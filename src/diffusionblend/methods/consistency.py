"""Data consistency steps: x0 moved towards the measurement, usable by any diffusion method."""

from __future__ import annotations

import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.measurement import Measurement
from diffusionblend.methods.sampler import Consistency
from diffusionblend.solvers.conjugate_gradient import conjugate_gradient
from diffusionblend.solvers.proximal import ExactProximal

DEFAULT_RHO = {"cg": 0.0, "prox": 0.1}
CONSISTENCIES = tuple(DEFAULT_RHO)
NO_ATTENUATION = -1.0
"""Zero attenuation (-1000 HU) in the network's range."""


def make_consistency(
    name: str, measurement: Measurement, *, cg_iterations: int, rho: float | None = None
) -> Consistency:
    """The named step for a measurement.

    "cg": cg_iterations steps of CG on (A*A + rho I) z = A*y + rho x0, started at x0, each slice a
    system of its own; the paper's is 5 steps with rho 0. "prox": the exact minimiser of
    |Az - y|^2 + rho |z - x0|^2, with rho > 0. Raises InputError on an unknown name or rho.
    """
    operator, y = measurement.operator, measurement.y
    if name not in CONSISTENCIES:
        raise InputError(f"The consistency step is {name!r}.", f"one of {', '.join(CONSISTENCIES)}")
    rho = DEFAULT_RHO[name] if rho is None else rho
    if not rho >= 0:
        raise InputError(f"rho is {rho}.", "a number not below 0")
    if name == "cg":
        back = operator.adjoint(y)

        def cg(x0: torch.Tensor) -> torch.Tensor:
            def system(z: torch.Tensor) -> torch.Tensor:
                applied = operator.normal(z)
                return applied + rho * z if rho else applied

            right_side = back + rho * x0 if rho else back
            return conjugate_gradient(system, right_side, x0, cg_iterations, per_slice=True)

        return cg
    if not rho > 0:
        raise InputError(f"The proximal step has rho {rho}.", "rho above 0", "--rho 0.1")
    proximal = ExactProximal(operator)
    return lambda x0: proximal(x0, y, rho)


def after_nonnegativity(consistency: Consistency) -> Consistency:
    """The step, started at an x0 of no negative attenuation.

    CT files pad what lies outside the scanner's circle with less than air, which no projection can
    show; a prior that has learnt it would otherwise disagree with every ray through a corner.
    """
    return lambda x0: consistency(x0.clamp(min=NO_ATTENUATION))
