"""Which slices a prior serves, and the grid on which it reconstructs those that it does not.

Projections do not fix the pixels: any grid over the same field of view will do. So slices of
another size are reconstructed on the prior's own grid and interpolated to the requested one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from diffusionblend.data.resample import resampled_grid
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.priors.trained_network import TrainedNetwork

MOST_FACTOR = 4.0
"""How many times as large or small a prior's pixels may be as those wanted."""
ROUNDING = 1e-6


@dataclass(frozen=True)
class Reach:
    """The slices that a prior is for.

    name: of the prior. size: of its slices in pixels, None where it serves any. pixel_range_mm: the
    pixels that a prior for any size was trained for, where that is known.
    """

    name: str
    size: int | None
    pixel_range_mm: tuple[float, float] | None = None

    @classmethod
    def of(cls, prior: TrainedNetwork) -> Self:
        """That of a loaded prior."""
        config = prior.config
        size = None if config.length_codes else config.image_size
        return cls(prior.source or "The prior", size, prior.pixel_range_mm)

    @classmethod
    def of_facts(cls, name: str, facts: Mapping[str, Any]) -> Self:
        """That of a prior with this prior.json."""
        network = facts["network"]
        size = None if network.get("length_codes") else int(network["image_size"])
        limits = facts.get("pixel_range_mm")
        return cls(name, size, None if limits is None else (float(limits[0]), float(limits[1])))

    def serves(self, grid: Grid) -> bool:
        """Whether slices of a grid are the prior's own: by their size, or by their pixels."""
        if self.size is not None:
            return grid.in_plane_shape == (self.size, self.size)
        low, high = self.pixel_range_mm or (0.0, math.inf)
        return low <= grid.pixel_mm <= high

    def working_grid(self, grid: Grid) -> Grid:
        """The grid on which the prior reconstructs: this one, or one that contains its slices.

        Of a prior for one size: square slices of that size as wide as the longer side. Of one for
        any size: the nearest pixels that it was trained for. Raises InputError where its pixels
        would be more than four times as large or as small.
        """
        if self.serves(grid):
            return grid
        sides_mm = [n * mm for n, mm in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True)]
        if self.size is not None:
            pixel_mm = max(sides_mm) / self.size
            pixels = (self.size, self.size)
        else:
            low, high = self.pixel_range_mm or (0.0, math.inf)
            pixel_mm = min(max(grid.pixel_mm, low), high)
            y, x = (math.ceil(side / pixel_mm - ROUNDING) for side in sides_mm)
            pixels = (y, x)
        if not 1 / MOST_FACTOR <= pixel_mm / grid.pixel_mm <= MOST_FACTOR:
            raise self.too_far(grid, pixel_mm)
        n_z, mm_z = grid.shape[0], grid.spacing_mm[0]
        return resampled_grid(grid, spacing_mm=(mm_z, pixel_mm, pixel_mm), shape=(n_z, *pixels))

    def too_far(self, grid: Grid, pixel_mm: float) -> InputError:
        """The error of a grid whose pixels are far from those of the prior, of `pixel_mm`."""
        y, x = grid.in_plane_shape
        own = f"pixels of {pixel_mm:.3g} mm"
        if self.size is not None:
            own = f"slices of {self.size} x {self.size} pixels, here of {pixel_mm:.3g} mm"
        return InputError(
            f"{self.name} is for {own}; the scan's slices have {y} x {x} pixels of "
            f"{grid.pixel_mm:.3g} mm.",
            f"pixels at most {MOST_FACTOR:g} times as large or as small as the prior's",
            "--pixel-mm or --size for another grid of the same scan (in Python "
            "scan.with_pixels(...)), another prior, or a method without one (--method admm-tv)",
        )


def on_prior_grid(scan: Projections, priors: Mapping[str, TrainedNetwork]) -> Projections:
    """The scan on the grid on which its main prior reconstructs; itself where there is none.

    Raises InputError where that prior cannot serve it.
    """
    if "prior" not in priors:
        return scan
    grid = Reach.of(priors["prior"]).working_grid(scan.grid)
    return scan if grid is scan.grid else replace(scan, grid=grid)
