"""ADMM-TV: total variation in 3D, the tuned classical baseline."""

from __future__ import annotations

import time

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.problem import NO_ATTENUATION, Measurement
from diffusionblend.methods.settings import AdmmTvSettings
from diffusionblend.solvers.total_variation import admm_total_variation
from diffusionblend.units import hu_to_network


def reconstruct_admm_tv(
    projections: Projections,
    settings: AdmmTvSettings,
    on_step: OnStep = ignore_progress,
    device: str = "cpu",
) -> Reconstruction:
    """A volume in HU that minimises 1/2 |Ax - y|^2 + weight TV(x)."""
    started = time.perf_counter()
    measurement = Measurement.of(projections, device)
    x = admm_total_variation(
        measurement.operator,
        measurement.y,
        measurement.empty_volume(),
        weight=settings.weight,
        iterations=settings.iterations,
        penalty=settings.penalty,
        cg_iterations=settings.inner_iterations,
        lowest=NO_ATTENUATION if settings.nonnegative else None,
        highest=None if settings.highest_hu is None else hu_to_network(settings.highest_hu),
        on_step=on_step,
    )
    return measurement.reconstruction(x, started)
