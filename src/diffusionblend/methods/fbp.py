"""FBP: filtered back-projection, the method without a prior."""

from __future__ import annotations

import time

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.data.volume import Volume
from diffusionblend.methods.problem import Measurement
from diffusionblend.methods.settings import FbpSettings
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.units import hu_to_network, mu_to_hu


def reconstruct_fbp(
    projections: Projections,
    settings: FbpSettings,
    on_step: OnStep = ignore_progress,
    device: str = "cpu",
) -> Reconstruction:
    """A volume in HU by filtered back-projection of every slice."""
    started = time.perf_counter()
    mu = filtered_back_projection(
        torch.from_numpy(projections.values).to(device),
        projections.geometry,
        projections.grid,
        window=settings.window,
    )
    hu = mu_to_hu(mu, projections.mu_water_per_mm)
    seconds = {"total": time.perf_counter() - started}
    on_step(1, 1)
    residual = Measurement.of(projections, device).relative_residual(hu_to_network(hu))
    return Reconstruction(Volume(hu.cpu().numpy(), projections.grid), residual, 0, seconds)
