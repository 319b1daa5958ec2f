"""FBP-UNet: a network trained to add to each slice of an FBP what it lacks (Jin et al. 2017)."""

from __future__ import annotations

import time

import numpy as np
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry import ParallelBeam, equally_spaced_angles, parallel_beam_for
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.diffusion.method import check_prior_fits
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.problem import NO_ATTENUATION, Measurement
from diffusionblend.methods.settings import FbpUnetSettings
from diffusionblend.operators.parallel import ParallelBeamTransform
from diffusionblend.priors.prior import Prior
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.units import hu_to_network, mu_to_hu, network_to_hu


def reconstruct_fbp_unet(
    projections: Projections,
    prior: Prior,
    settings: FbpUnetSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU by FBP and one pass of the network, slice by slice.

    execution is not looked at: there is nothing to resume or to share. Raises InputError where the
    network was trained for slices of another size, or for other views.
    """
    started = time.perf_counter()
    check_prior_fits(prior, projections)
    check_views(prior, projections)
    with torch.no_grad():
        lines = torch.from_numpy(projections.values).to(prior.device)
        mu = filtered_back_projection(lines, projections.geometry, projections.grid)
        x = hu_to_network(mu_to_hu(mu, projections.mu_water_per_mm))
        parts = x.split(settings.batch_slices)
        restored, began = [], time.perf_counter()
        for i, part in enumerate(parts):
            restored.append(prior.restore(part[:, None])[:, 0])
            on_step(i + 1, len(parts))
        network = time.perf_counter() - began
        x = torch.cat(restored)
        residual = Measurement.of(projections, prior.device).relative_residual(x)
    seconds = {"network": network, "total": time.perf_counter() - started}
    volume = Volume(network_to_hu(x).cpu().numpy(), projections.grid)
    return Reconstruction(volume, residual, 1, seconds)


def check_views(prior: Prior, projections: Projections) -> None:
    """Raise InputError unless the scan has the views that the network was trained for."""
    views, arc_degrees = prior.views
    expected = equally_spaced_angles(views, arc_degrees)
    geometry = projections.geometry
    if not isinstance(geometry, ParallelBeam):
        raise InputError(
            "The network was trained for a parallel beam; the scan is of "
            f"{type(geometry).__name__}.",
            "a parallel beam",
            "--method diffusionblend++",
        )
    found = geometry.angles_rad
    if len(found) != views or not np.allclose(found, expected, atol=1e-6):
        last = np.degrees(max(found))
        arc = last * len(found) / (len(found) - 1) if len(found) > 1 else 180.0
        raise InputError(
            f"The network was trained for {views} views over {arc_degrees:g} degrees; the scan has "
            f"{len(found)} views, up to {last:g} degrees.",
            "the views that it was trained for",
            "'diffusionblend train VOLUMES -o priors/fbp-unet --layout fbp-unet --views "
            f"{len(found)} --arc-degrees {arc:g}'",
        )


def fbp_of_slices(x: torch.Tensor, n_views: int, arc_degrees: float) -> torch.Tensor:
    """FBP of the noiseless projections of slices x (n, size, size), network range, like x.

    Nothing depends on the size of a pixel, which is taken as 1 mm.
    """
    grid = Grid(shape=tuple(x.shape), spacing_mm=(1.0, 1.0, 1.0))
    geometry = parallel_beam_for(grid, equally_spaced_angles(n_views, arc_degrees))
    operator = ParallelBeamTransform(geometry, grid, device=x.device)
    attenuation = (x - NO_ATTENUATION).clamp(min=0)  # as a simulated scan has it
    return filtered_back_projection(operator.forward(attenuation), geometry, grid) - 1
