"""ADMM-TV: total variation in 3D, the tuned classical baseline."""

from __future__ import annotations

import time

import torch

from diffusionblend.geometry import Projections
from diffusionblend.methods.consistency import NO_ATTENUATION
from diffusionblend.methods.measurement import Measurement
from diffusionblend.methods.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.settings import AdmmTvSettings
from diffusionblend.solvers.total_variation import admm_total_variation
from diffusionblend.units import network_to_hu
from diffusionblend.volume import Volume


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
        torch.full(projections.grid.shape, NO_ATTENUATION, device=device),
        weight=settings.weight,
        iterations=settings.iterations,
        penalty=settings.penalty,
        cg_iterations=settings.inner_iterations,
        lowest=NO_ATTENUATION if settings.nonnegative else None,
        on_step=on_step,
    )
    seconds = {"total": time.perf_counter() - started}
    volume = Volume(network_to_hu(x).cpu().numpy(), projections.grid)
    return Reconstruction(volume, measurement.relative_residual(x), 0, seconds)
