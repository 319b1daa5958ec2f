"""FBP of slices from simulated scans of them, the training input of FBP-UNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.filtered_back_projection import filtered_back_projection
from diffusionblend.units import AIR_HU, hu_to_network

NO_ATTENUATION = hu_to_network(AIR_HU)


def fbp_of_slices(x: torch.Tensor, scans: Sequence[tuple[int, float]]) -> torch.Tensor:
    """FBP of the noiseless line integrals of slices x (n, size, size), network range, like x.

    scans: of each slice, the number of views and the arc in degrees over which they are equally
    spaced, in a parallel beam. Nothing depends on the size of a pixel, which is taken as 1 mm.
    """
    fbp = torch.empty_like(x)
    for scan in dict.fromkeys(scans):
        alike = torch.tensor([i for i, other in enumerate(scans) if other == scan])
        fbp[alike] = _fbp_of_one_scan(x[alike], *scan)
    return fbp


def _fbp_of_one_scan(x: torch.Tensor, n_views: int, arc_degrees: float) -> torch.Tensor:
    """The same, where all slices have one scan."""
    n, height, width = x.shape
    grid = Grid(shape=(n, height, width), spacing_mm=(1.0, 1.0, 1.0))
    geometry = ParallelBeam.fitting(grid, n_views, arc_degrees)
    operator = XRayTransform(geometry, grid, device=x.device)
    attenuation = (x - NO_ATTENUATION).clamp(min=0)  # as a simulated scan has it
    fbp = filtered_back_projection(operator.forward(attenuation), geometry, grid)
    return fbp + NO_ATTENUATION
