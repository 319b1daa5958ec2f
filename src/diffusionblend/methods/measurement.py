"""The measurement as the solvers see it: in the network's range, lengths in pixels.

From y = A mu with mu = mu_water (1 + u) follows y' = y / (mu_water pixel) - A' 1 = A' u, where A'
is A with lengths in pixels. Then weights and penalties mean the same for every scan.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from diffusionblend.geometry import Projections
from diffusionblend.operators import XRayTransform, make_transform

RESIDUAL_SLICES = 64
"""Slices whose residual is computed together."""


@dataclass(frozen=True)
class Measurement:
    """Projections with their operator, in the network's range.

    operator: A', (z, y, x) to (view, row, bin). y: the data y' for it. water: A' 1 of one slice,
    (view, 1, bin), or of the whole volume where the geometry couples slices, (view, row, bin).
    """

    operator: XRayTransform
    y: torch.Tensor
    water: torch.Tensor

    @classmethod
    def of(cls, projections: Projections, device: torch.device | str = "cpu") -> Measurement:
        """The measurement of a scan, on a device."""
        grid = projections.grid
        pixel_mm = grid.spacing_mm[2]
        operator = make_transform(projections.geometry, grid, device=device, scale=1 / pixel_mm)
        slices = grid.shape[0] if operator.couples_slices else 1
        ones = torch.ones((slices, *grid.in_plane_shape), device=device)
        water = operator.with_slices(slices).forward(ones)
        lines = torch.from_numpy(projections.values).to(device)
        return cls(operator, lines / (projections.mu_water_per_mm * pixel_mm) - water, water)

    def of_slices(self, slices: slice) -> Measurement:
        """What was measured of some slices; of coupled ones only all. Raises InputError."""
        if self.operator.couples_slices:
            self.operator.with_slices(len(range(*slices.indices(self.operator.domain_shape[0]))))
            return self
        y = self.y[:, slices].contiguous()
        return Measurement(self.operator.with_slices(y.shape[1]), y, self.water)

    def relative_residual(self, x: torch.Tensor) -> float:
        """|A mu - y| / |y| of a volume x in the network's range, in attenuation."""
        misfit = size = 0.0
        together = len(x) if self.operator.couples_slices else RESIDUAL_SLICES
        for first in range(0, len(x), together):
            slices = slice(first, min(first + together, len(x)))
            part = self.of_slices(slices)
            difference = part.operator.forward(x[slices].to(part.y.device)) - part.y
            misfit += float(difference.double().square().sum())
            size += float((part.y + self.water).double().square().sum())
        return (misfit / size) ** 0.5
