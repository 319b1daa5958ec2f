"""Parallel, fan and cone beam: immutable values, keyword-only, whose `repr` evaluates back.

Everything is in mm from the centre of the volume: x grows with the column, y with the row, z with
the slice. At angle t the detector's bins run along u = (cos t, sin t, 0), its rows along z, and the
beam travels along n = (-sin t, cos t, 0). The bin b lies at p = (b - (n_bins - 1) / 2) bin_mm +
detector_shift_mm along u. docs/conventions.md has the drawing.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import VectorGeometry, settle

MOST_LIKELY_RADIANS = 4 * math.pi
"""Angles beyond two turns are more often degrees than a long helix."""
LARGEST_FAN_RAD = math.pi / 2
"""A curved detector reaches less far than this from its own middle, seen from the source."""


@dataclass(frozen=True, kw_only=True)
class _Turning(Geometry):
    """What all scans about the z axis share: angles and detector bins."""

    angles_rad: tuple[float, ...]
    n_bins: int
    bin_mm: float
    detector_shift_mm: float = 0.0

    def __post_init__(self) -> None:
        name = type(self).__name__
        angles = tuple(float(a) for a in np.ravel(self.angles_rad))
        object.__setattr__(self, "angles_rad", angles)
        settle(self, n_bins=int, bin_mm=float, detector_shift_mm=float)
        if not angles or not np.isfinite(angles).all():
            raise InputError(f"{name} has angles {angles}.", "at least one finite angle")
        if self.n_bins < 1 or not 0 < self.bin_mm < math.inf:
            raise InputError(
                f"{name} has {self.n_bins} bins of {self.bin_mm} mm.",
                "at least one bin of positive width",
            )
        largest = max(angles, key=abs)
        if abs(largest) > MOST_LIKELY_RADIANS:
            warnings.warn(
                f"{name} has angles up to {largest:g} rad, more than two turns: are they degrees? "
                "Then convert them with numpy.radians.",
                stacklevel=4,
            )

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.angles_rad)

    @property
    def bin_positions_mm(self) -> np.ndarray:
        """Detector position p of every bin in mm, shape (bin,)."""
        middle = (self.n_bins - 1) / 2
        return (np.arange(self.n_bins) - middle) * self.bin_mm + self.detector_shift_mm

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """u, along which the bins run, and n, along which the beam travels, each (view, 3)."""
        c, s = np.cos(self.angles_rad), np.sin(self.angles_rad)
        zero = np.zeros_like(c)
        return np.stack([c, s, zero], axis=1), np.stack([-s, c, zero], axis=1)


@dataclass(frozen=True, kw_only=True)
class ParallelBeam(_Turning):
    """Parallel rays, slice by slice: one detector row per slice.

    angles_rad: one per view, in radians. n_bins: detector bins. bin_mm: their width.
    detector_shift_mm: how far the detector's middle lies along u; an axis of rotation seen at bin c
    is a shift of ((n_bins - 1) / 2 - c) bin_mm. The ray at angle t and position p is the line
    p = x cos t + y sin t. Raises InputError; warns of angles that look like degrees.
    """

    couples_slices: ClassVar[bool] = False

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections of `grid`: one per slice."""
        return grid.shape[0]

    def to_vectors(self, n_rows: int = 1, row_mm: float = 1.0) -> VectorGeometry:
        """The same rays as directions and detectors, with rows of their own about z = 0."""
        u, n = self.axes()
        return VectorGeometry(
            sources_mm=n,
            detectors_mm=self.detector_shift_mm * u,
            bin_steps_mm=self.bin_mm * u,
            row_steps_mm=np.tile((0.0, 0.0, row_mm), (self.n_views, 1)),
            n_rows=n_rows,
            n_bins=self.n_bins,
            parallel=True,
        )


@dataclass(frozen=True, kw_only=True)
class _FromSource(_Turning):
    """What fan and cone share: a source on a circle and a detector across from it."""

    source_to_axis_mm: float
    source_to_detector_mm: float
    axis_shift_mm: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, source_to_axis_mm=float, source_to_detector_mm=float, axis_shift_mm=float)
        name = type(self).__name__
        distances = self.source_to_axis_mm, self.source_to_detector_mm
        if not all(0 < d < math.inf for d in distances):
            raise InputError(
                f"{name} has its axis {distances[0]} mm and its detector {distances[1]} mm from "
                "the source.",
                "two positive distances in mm",
            )
        shifts = self.detector_shift_mm, self.axis_shift_mm
        if not all(abs(s) < distances[0] + distances[1] for s in shifts):
            raise InputError(
                f"{name} has detector_shift_mm {shifts[0]} and axis_shift_mm {shifts[1]}.",
                f"shifts far below the distances {distances[0]} and {distances[1]} mm",
                "give the shifts in mm",
            )

    def sources_mm(self) -> np.ndarray:
        """Place of the source of every view, (view, 3) as (x, y, z)."""
        u, n = self.axes()
        return -self.source_to_axis_mm * n - self.axis_shift_mm * u

    def to_vectors(self) -> VectorGeometry:
        """The same rays as sources and flat detectors, view by view. Raises InputError if curved.

        A fan becomes a single row at z = 0.
        """
        if getattr(self, "curved", False):
            raise InputError("A curved detector has no vectors.", "a flat detector", "curved=False")
        u, n = self.axes()
        lift = getattr(self, "detector_lift_mm", 0.0)
        behind = self.source_to_detector_mm - self.source_to_axis_mm
        middle = behind * n + (self.detector_shift_mm - self.axis_shift_mm) * u
        return VectorGeometry(
            sources_mm=self.sources_mm(),
            detectors_mm=middle + (0.0, 0.0, lift),
            bin_steps_mm=self.bin_mm * u,
            row_steps_mm=np.tile((0.0, 0.0, getattr(self, "row_mm", 1.0)), (self.n_views, 1)),
            n_rows=getattr(self, "n_rows", 1),
            n_bins=self.n_bins,
        )


@dataclass(frozen=True, kw_only=True)
class FanBeam(_FromSource):
    """Rays from a point to one row of bins, slice by slice, on a flat or a curved detector.

    angles_rad, n_bins, bin_mm, detector_shift_mm: as of the parallel beam, on the detector.
    source_to_axis_mm, source_to_detector_mm: along n. axis_shift_mm: how far the axis of rotation
    lies along u from the line through the source along n. curved: bins lie on a circle about the
    source, all of the same angle bin_mm / source_to_detector_mm, and lengths along u are lengths of
    arc. Row r of the projections belongs to slice r. Raises InputError.
    """

    curved: bool = False
    couples_slices: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, curved=bool)
        reach = float(np.abs(self.fan_angles_rad).max())
        if reach >= LARGEST_FAN_RAD:
            raise InputError(
                f"FanBeam's curved detector reaches {math.degrees(reach):.0f} degrees to a side.",
                "less than 90 degrees",
                "check bin_mm and source_to_detector_mm",
            )

    @property
    def fan_angles_rad(self) -> np.ndarray:
        """Angle of every bin's ray against n, positive along u, (bin,)."""
        ratio = self.bin_positions_mm / self.source_to_detector_mm
        return ratio if self.curved else np.arctan(ratio)

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections of `grid`: one per slice."""
        return grid.shape[0]


@dataclass(frozen=True, kw_only=True)
class ConeBeam(_FromSource):
    """Rays from a point that circles in the plane z = 0 to a flat panel.

    As FanBeam, with n_rows detector rows of row_mm along z, which need not be the slices' spacing.
    detector_lift_mm: how far the panel's middle lies along z. Row r lies at
    (r - (n_rows - 1) / 2) row_mm + detector_lift_mm. Raises InputError.
    """

    n_rows: int
    row_mm: float
    detector_lift_mm: float = 0.0
    couples_slices: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, n_rows=int, row_mm=float, detector_lift_mm=float)
        if self.n_rows < 1 or not 0 < self.row_mm < math.inf:
            raise InputError(
                f"ConeBeam has {self.n_rows} rows of {self.row_mm} mm.",
                "at least one row of positive height",
            )
        if not math.isfinite(self.detector_lift_mm):
            raise InputError(
                f"ConeBeam has detector_lift_mm {self.detector_lift_mm}.", "a finite length in mm"
            )

    @property
    def row_positions_mm(self) -> np.ndarray:
        """Height of every row in mm, shape (row,)."""
        middle = (self.n_rows - 1) / 2
        return (np.arange(self.n_rows) - middle) * self.row_mm + self.detector_lift_mm

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections: those of its panel, whatever the grid."""
        return self.n_rows


def equally_spaced_angles(n_views: int, arc_degrees: float = 180.0) -> tuple[float, ...]:
    """N angles in radians, equally spaced over an arc that starts at 0; its end is left out.

    Sparse view is N angles over 180 degrees; limited angle an arc below 180.
    """
    return tuple(math.radians(arc_degrees) * i / n_views for i in range(n_views))
