"""CGLS: conjugate gradients for least squares, regularised by the number of its iterations."""

from __future__ import annotations

import time

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.problem import NO_ATTENUATION, Measurement
from diffusionblend.methods.settings import CglsSettings
from diffusionblend.solvers.least_squares import cgls


def reconstruct_cgls(
    projections: Projections,
    settings: CglsSettings,
    on_step: OnStep = ignore_progress,
    device: str = "cpu",
) -> Reconstruction:
    """A volume in HU by CGLS, from no attenuation.

    The bound is put on the result alone: within the iterations it would break their conjugacy.
    """
    started = time.perf_counter()
    measurement = Measurement.of(projections, device)
    x = cgls(
        measurement.operator,
        measurement.y,
        measurement.empty_volume(),
        iterations=settings.iterations,
        per_slice=not measurement.operator.couples_slices,
        on_step=on_step,
    )
    x = x.clamp(min=NO_ATTENUATION) if settings.nonnegative else x
    return measurement.reconstruction(x, started)
