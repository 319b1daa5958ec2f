"""The measurement as the solvers see it: in the network's range, lengths in pixels.

From y = A mu with mu = mu_water (1 + u) follows y' = y / (mu_water pixel) - A' 1 = A' u, where A'
is A with lengths in pixels. Then weights and penalties mean the same for every scan.
"""

from __future__ import annotations

import torch

from diffusionblend.geometry import Projections
from diffusionblend.operators.parallel import ParallelBeamTransform


class Measurement:
    """Projections with their operator, in the network's range.

    operator: A', (z, y, x) to (view, row, bin). y: the data y' for it.
    """

    def __init__(self, projections: Projections, device: torch.device | str = "cpu") -> None:
        pixel_mm = projections.grid.spacing_mm[2]
        self.operator = ParallelBeamTransform(
            projections.geometry, projections.grid, device=device, scale=1 / pixel_mm
        )
        lines = torch.from_numpy(projections.values).to(device)
        lines = lines / (projections.mu_water_per_mm * pixel_mm)
        ones = torch.ones(projections.grid.shape, device=device)
        self.attenuation = lines
        self.water = self.operator.forward(ones)
        self.y = lines - self.water

    def relative_residual(self, x: torch.Tensor) -> float:
        """|A mu - y| / |y| of a volume x in the network's range, in attenuation."""
        misfit = self.operator.forward(x) - self.y
        return float(misfit.double().norm() / self.attenuation.double().norm())
