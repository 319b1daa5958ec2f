"""The data consistency steps by their names."""

from __future__ import annotations

from collections.abc import Callable

from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.consistency import (
    ConjugateGradientStep,
    Consistency,
    GradientStep,
    HardStep,
    ProximalStep,
    Unconditional,
)
from diffusionblend.methods.diffusion.tv_z import TotalVariationAlongZ
from diffusionblend.methods.problem import Measurement
from diffusionblend.methods.settings import CONSISTENCIES, ConsistencySettings

DEFAULT_RHO = {"cg": 0.0, "prox": 0.1}


def make_consistency(settings: ConsistencySettings, measurement: Measurement) -> Consistency:
    """The step that the settings name, for a measurement.

    Raises InputError on an unknown name, or a rho that the step cannot have.
    """
    if settings.consistency not in CONSISTENCIES:
        raise InputError(
            f"The consistency step is {settings.consistency!r}.",
            f"one of {', '.join(CONSISTENCIES)}",
        )
    makers: dict[str, Callable[[ConsistencySettings, Measurement], Consistency]] = {
        "cg": _conjugate_gradient,
        "prox": _proximal,
        "admm-tv-z": _total_variation,
        "hard": lambda s, m: HardStep(m, s.hard_weight),
        "dps": lambda s, m: GradientStep(m, s.dps_step),
        "none": lambda s, m: Unconditional(),
    }
    return makers[settings.consistency](settings, measurement)


def _conjugate_gradient(s: ConsistencySettings, measurement: Measurement) -> Consistency:
    return ConjugateGradientStep(measurement, s.cg_iterations, _rho(s), s.weighted, s.to_noise)


def _proximal(s: ConsistencySettings, measurement: Measurement) -> Consistency:
    rho = _rho(s)
    if not rho > 0:
        raise InputError(f"The proximal step has rho {rho}.", "rho above 0", "--rho 0.1")
    return ProximalStep(measurement, rho)


def _total_variation(s: ConsistencySettings, measurement: Measurement) -> Consistency:
    return TotalVariationAlongZ(
        measurement,
        weight=s.tv_z_weight,
        penalty=s.tv_z_penalty,
        cg_iterations=s.cg_iterations,
        keeps=s.tv_z_keeps,
    )


def _rho(s: ConsistencySettings) -> float:
    rho = DEFAULT_RHO[s.consistency] if s.rho is None else s.rho
    if not rho >= 0:
        raise InputError(f"rho is {rho}.", "a number not below 0")
    return rho
