"""Images of the data to initialise a sampler with, in place of pure noise."""

from __future__ import annotations

import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry.checks import lacks_opposite_rays
from diffusionblend.methods.admm_tv import AdmmTv
from diffusionblend.methods.base import Execution
from diffusionblend.methods.diffusion.consistency.cg import ConjugateGradientStep
from diffusionblend.methods.fbp import Fbp
from diffusionblend.methods.problem import Problem
from diffusionblend.operators.kernels.threads import one_thread
from diffusionblend.solvers.filtered_back_projection import has_filtered_back_projection

CG_ITERATIONS = 20
TV_ITERATIONS = 30
IMAGES = ("fbp", "cg", "tv")


def initial_image(name: str, problem: Problem) -> torch.Tensor:
    """A first volume (z, y, x), network range: "fbp"; "cg", from no attenuation; or "tv", ADMM-TV.

    Where a geometry has no FBP, it is "cg". Raises InputError on an unknown name.
    """
    if name == "fbp":
        scan = problem.projections
        if has_filtered_back_projection(scan.geometry):
            cut = lacks_opposite_rays(scan.values, scan.geometry)
            with one_thread():  # so that the same volume comes of any number of processes
                return Fbp(window="hann", extrapolate=cut).run(problem, {}, Execution()).x
        name = "cg"
    if name == "cg":
        empty = problem.empty_volume()
        step = ConjugateGradientStep(problem, CG_ITERATIONS, rho=0.0)
        return step(empty, slice(0, len(empty)))
    if name != "tv":
        raise InputError(f"The initialisation is {name!r}.", f"noise, or {', '.join(IMAGES)}")
    return AdmmTv(iterations=TV_ITERATIONS).run(problem, {}, Execution()).x
