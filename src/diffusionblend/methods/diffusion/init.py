"""Images of the data to start a sampler from, in place of pure noise."""

from __future__ import annotations

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import Reconstruction
from diffusionblend.errors import InputError
from diffusionblend.methods.admm_tv import reconstruct_admm_tv
from diffusionblend.methods.diffusion.consistency import ConjugateGradientStep
from diffusionblend.methods.fbp import reconstruct_fbp
from diffusionblend.methods.problem import Measurement
from diffusionblend.methods.settings import AdmmTvSettings, FbpSettings
from diffusionblend.operators.kernels.threads import one_thread
from diffusionblend.units import hu_to_network

CG_ITERATIONS = 20
TV_ITERATIONS = 30
STARTS = ("fbp", "cg", "tv")


def warm_start(name: str, projections: Projections, measurement: Measurement) -> torch.Tensor:
    """A first volume (z, y, x), network range: "fbp"; "cg", from no attenuation; or "tv", ADMM-TV.

    Where a geometry has no FBP, it is "cg". Raises InputError on an unknown name.
    """
    device = measurement.y.device
    if name == "fbp":
        settings = FbpSettings(window="hann")
        try:
            with one_thread():  # so that the same volume comes of any number of processes
                image = reconstruct_fbp(projections, settings, device=str(device))
            return _in_network_range(image, device)
        except InputError:  # there is none of general vectors
            name = "cg"
    if name == "cg":
        empty = measurement.empty_volume()
        step = ConjugateGradientStep(measurement, CG_ITERATIONS, rho=0.0)
        return step(empty, slice(0, len(empty)))
    if name != "tv":
        raise InputError(f"The start is {name!r}.", f"noise, or one of {', '.join(STARTS)}")
    settings = AdmmTvSettings(iterations=TV_ITERATIONS)
    return _in_network_range(reconstruct_admm_tv(projections, settings, device=str(device)), device)


def _in_network_range(result: Reconstruction, device: torch.device) -> torch.Tensor:
    return hu_to_network(torch.from_numpy(result.volume.values)).to(device)
