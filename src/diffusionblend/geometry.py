"""Acquisition geometries: immutable values, keyword-only, whose `repr` evaluates back.

Convention of the parallel beam, in the plane of a slice: x grows with the column, y with the row,
both in mm from the centre of the slice. The ray at angle t and detector position p is the line
p = x cos t + y sin t; bin b lies at p = (b - (n_bins - 1) / 2) bin_mm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.volume import Grid

HIGHEST_LINE_INTEGRAL = 100.0
"""Above this no photon passes: values are counts, or in another unit."""


@dataclass(frozen=True, kw_only=True)
class ParallelBeam:
    """Parallel rays, slice by slice: one detector row per slice.

    angles_rad: one per view, in radians. n_bins: detector bins. bin_mm: their width. Raises
    InputError.
    """

    angles_rad: tuple[float, ...]
    n_bins: int
    bin_mm: float

    def __post_init__(self) -> None:
        angles = tuple(float(a) for a in self.angles_rad)
        object.__setattr__(self, "angles_rad", angles)
        object.__setattr__(self, "n_bins", int(self.n_bins))
        object.__setattr__(self, "bin_mm", float(self.bin_mm))
        if not angles or not np.isfinite(angles).all():
            raise InputError(f"ParallelBeam has angles {angles}.", "at least one finite angle")
        if self.n_bins < 1 or not self.bin_mm > 0:
            raise InputError(
                f"ParallelBeam has {self.n_bins} bins of {self.bin_mm} mm.",
                "at least one bin of positive width",
            )

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.angles_rad)

    @property
    def bin_positions_mm(self) -> np.ndarray:
        """Detector position p of every bin in mm, shape (bin,)."""
        return (np.arange(self.n_bins) - (self.n_bins - 1) / 2) * self.bin_mm


@dataclass(frozen=True, eq=False)
class Projections:
    """Measured line integrals with all that is needed to reconstruct them.

    values: (view, row, bin) float32, dimensionless (1/mm times mm); row r belongs to slice r.
    geometry: how they were taken. grid: the volume to reconstruct. mu_water_per_mm: ties 1/mm to
    HU. notes: how they came about (simulation settings, source), no patient data. Raises
    InputError.
    """

    values: np.ndarray
    geometry: ParallelBeam
    grid: Grid
    mu_water_per_mm: float
    notes: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        values = np.ascontiguousarray(self.values, dtype=np.float32)
        expected = (self.geometry.n_views, self.grid.shape[0], self.geometry.n_bins)
        if values.shape != expected:
            raise InputError(
                f"The projections have shape {values.shape}.",
                f"{expected} (views, rows, bins), from {self.geometry.n_views} angles, "
                f"{self.grid.shape[0]} slices and {self.geometry.n_bins} bins",
                "check that the axes are (view, row, bin) and that every view has its angle",
            )
        if not np.isfinite(values).all():
            bad = int((~np.isfinite(values)).sum())
            raise InputError(
                f"The projections hold {bad} values that are NaN or infinite.",
                "finite line integrals",
                "look for zero counts before the logarithm",
            )
        if not 0 < self.mu_water_per_mm < np.inf:
            raise InputError(f"mu_water_per_mm is {self.mu_water_per_mm}.", "a positive number")
        highest = float(np.abs(values).max())
        if not 0 < highest <= HIGHEST_LINE_INTEGRAL:
            raise InputError(
                f"The projections go up to {highest:g}.",
                f"line integrals -ln(I / I0), not all 0 and at most {HIGHEST_LINE_INTEGRAL:g}",
                "take the logarithm of counts over the flat field first",
            )
        object.__setattr__(self, "values", values)


def full_detector(in_plane_shape: tuple[int, int]) -> int:
    """The number of one-pixel bins that measure a whole slice with its corners: its diagonal.

    363 bins for 256 x 256 pixels, as in the paper.
    """
    return math.ceil(math.hypot(*in_plane_shape))


def equally_spaced_angles(n_views: int, arc_degrees: float = 180.0) -> tuple[float, ...]:
    """N angles in radians, equally spaced over an arc that starts at 0; its end is left out.

    Sparse view is N angles over 180 degrees; limited angle an arc below 180.
    """
    return tuple(math.radians(arc_degrees) * i / n_views for i in range(n_views))


def parallel_beam_for(grid: Grid, angles_rad: tuple[float, ...]) -> ParallelBeam:
    """A parallel beam whose bins are one pixel wide and measure the whole slice of `grid`.

    Raises InputError where pixels are not square.
    """
    _, sy, sx = grid.spacing_mm
    if abs(sy - sx) > 1e-3 * sx:
        raise InputError(
            f"The pixels are {sy} x {sx} mm.", "square pixels", "import with --spacing-mm"
        )
    return ParallelBeam(angles_rad=angles_rad, n_bins=full_detector(grid.in_plane_shape), bin_mm=sx)
