"""SIRT: simultaneous iterative reconstruction, regularised by the number of its iterations."""

from __future__ import annotations

import time

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.problem import NO_ATTENUATION, Measurement
from diffusionblend.methods.settings import SirtSettings
from diffusionblend.solvers.least_squares import sirt


def reconstruct_sirt(
    projections: Projections,
    settings: SirtSettings,
    on_step: OnStep = ignore_progress,
    device: str = "cpu",
) -> Reconstruction:
    """A volume in HU by SIRT, from no attenuation."""
    started = time.perf_counter()
    measurement = Measurement.of(projections, device)
    x = sirt(
        measurement.operator,
        measurement.y,
        measurement.empty_volume(),
        iterations=settings.iterations,
        lowest=NO_ATTENUATION if settings.nonnegative else None,
        on_step=on_step,
    )
    return measurement.reconstruction(x, started)
