"""The normalised problem as the solvers see it: in the network's range, lengths in pixels.

From y = A mu with mu = mu_water (1 + u) follows y' = y / (mu_water pixel) - A' 1 = A' u, where A'
is A with lengths in pixels. Then weights and penalties mean the same for every scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.operators import MaskedTransform, XRayTransform
from diffusionblend.solvers.noisy_data import line_variance, statistical_weights

NO_ATTENUATION = -1.0
"""Zero attenuation (-1000 HU) in the network's range.

CT files pad what lies outside the scanner's circle with less, which no projection can show; a prior
that has learnt it would otherwise disagree with every ray through a corner.
"""

RESIDUAL_SLICES = 64
"""Slices whose residual is computed together."""


@dataclass(frozen=True)
class Problem:
    """Projections with their operator, normalised to the network's range.

    projections: as they were given. operator: A', (z, y, x) to (view, row, column). y: the data y'
    for it. water: A' 1 of one slice, (view, 1, column), or of the whole volume where the geometry
    couples slices or some rays do not count, (view, row, column). Rays that do not count are 0 in
    all of them.
    variance: that of the noise in y, and weights: one over it, with mean 1 over the whole scan,
    both of y's shape, if they were asked for. factor_bytes: the memory that a dense factor may
    take; None: what this machine allows.
    """

    projections: Projections
    operator: XRayTransform | MaskedTransform
    y: torch.Tensor
    water: torch.Tensor
    variance: torch.Tensor | None = None
    weights: torch.Tensor | None = None
    factor_bytes: float | None = None

    @classmethod
    def of(
        cls,
        projections: Projections,
        device: torch.device | str = "cpu",
        *,
        with_noise: bool = False,
    ) -> Problem:
        """The problem of a scan, on a device.

        with_noise: with its variance and weights. Raises InputError where the scan does not
        contain its photon count.
        """
        grid = projections.grid
        pixel_mm = grid.spacing_mm[2]
        whole = XRayTransform(projections.geometry, grid, device=device, scale=1 / pixel_mm)
        operator: XRayTransform | MaskedTransform = whole
        lines = torch.from_numpy(projections.values).to(device)
        if projections.measured is not None:
            measured = torch.from_numpy(projections.measured).to(lines)
            operator, lines = MaskedTransform(whole, measured), measured * lines
        slices = grid.shape[0] if operator.couples_slices else 1
        ones = torch.ones((slices, *grid.in_plane_shape), device=device)
        water = operator.with_slices(slices).forward(ones)
        unit = projections.mu_water_per_mm * pixel_mm
        y = lines / unit - water
        if not with_noise:
            return cls(projections, operator, y, water)
        variance = photon_variance(lines, projections) / unit**2
        return cls(projections, operator, y, water, variance, statistical_weights(variance))

    def of_slices(self, slices: slice) -> Problem:
        """What was measured of some slices; of coupled ones only all. Raises InputError."""
        if self.operator.couples_slices:
            self.operator.with_slices(len(range(*slices.indices(self.operator.domain_shape[0]))))
            return self
        y = self.y[:, slices].contiguous()
        operator = self.operator.with_slices(y.shape[1])
        variance, weights = (
            None if v is None else v[:, slices] for v in (self.variance, self.weights)
        )
        return replace(self, operator=operator, y=y, variance=variance, weights=weights)

    def empty_volume(self) -> torch.Tensor:
        """A volume (z, y, x) of no attenuation, where the iterative methods start."""
        shape = self.operator.domain_shape
        return torch.full(shape, NO_ATTENUATION, dtype=self.y.dtype, device=self.y.device)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x) of the volume."""
        z, y, x = self.operator.domain_shape
        return z, y, x

    @property
    def device(self) -> torch.device:
        """Where the data are."""
        return self.y.device

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


def photon_variance(lines: torch.Tensor, scan: Projections) -> torch.Tensor:
    """Variance of the line integrals by a scan's photons, of each or of all; raises InputError."""
    photons = scan.notes.get("photons")
    electronic = float(str(scan.notes.get("electronic_counts", 0.0)))
    if scan.photons is not None:
        return line_variance(lines, torch.from_numpy(scan.photons).to(lines), electronic)
    if photons is None:
        raise InputError(
            "Statistical weighting requires the incident photon count, which this scan does not "
            "contain.",
            "`photons` (counts of an unattenuated detector pixel) in the scan's notes, and "
            "`electronic_counts` where there are any",
            "--photons with simulate or projections import, or no weighting and a fixed number of "
            "CG iterations",
        )
    return line_variance(lines, float(str(photons)), electronic)
