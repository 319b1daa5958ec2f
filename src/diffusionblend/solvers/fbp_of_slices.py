"""FBP of slices from simulated scans of them, the training input of FBP-UNet."""

from __future__ import annotations

import torch

from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.units import AIR_HU, hu_to_network

NO_ATTENUATION = hu_to_network(AIR_HU)


def fbp_of_slices(x: torch.Tensor, n_views: int, arc_degrees: float) -> torch.Tensor:
    """FBP of the noiseless line integrals of slices x (n, size, size), network range, like x.

    The views are equally spaced over the arc, in a parallel beam. Nothing depends on the size of a
    pixel, which is taken as 1 mm.
    """
    n, height, width = x.shape
    grid = Grid(shape=(n, height, width), spacing_mm=(1.0, 1.0, 1.0))
    geometry = ParallelBeam.fitting(grid, n_views, arc_degrees)
    operator = XRayTransform(geometry, grid, device=x.device)
    attenuation = (x - NO_ATTENUATION).clamp(min=0)  # as a simulated scan has it
    fbp = filtered_back_projection(operator.forward(attenuation), geometry, grid)
    return fbp + NO_ATTENUATION
