"""The fan beam, with a flat or a curved detector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import settle
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.turning import (
    DEFAULT_VIEWS,
    SCANNER_SOURCE_TO_AXIS_MM,
    SCANNER_SOURCE_TO_DETECTOR_MM,
    FromSource,
    fitted_angles,
    half_fan_rad,
    square_pixel_mm,
)
from diffusionblend.geometry.vectors import VectorGeometry

DEFAULT_ARC_DEGREES = 360.0
LARGEST_FAN_RAD = math.pi / 2
"""A curved detector reaches less far than this from its own middle, seen from the source."""


@dataclass(frozen=True, kw_only=True)
class FanBeam(FromSource, name="fan"):
    """Rays from a point to one row of columns, slice by slice, on a flat or a curved detector.

    angles_rad, n_columns, column_mm, detector_shift_mm: as of the parallel beam, on the detector.
    source_to_axis_mm, source_to_detector_mm: along n. axis_shift_mm: how far the axis of rotation
    lies along u from the line through the source along n. curved: columns lie on a circle about the
    source, all of the same angle column_mm / source_to_detector_mm, and lengths along u are lengths
    of arc. Row r of the projections belongs to slice r. Raises InputError.
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
                "check column_mm and source_to_detector_mm",
            )

    @classmethod
    def fitting(
        cls,
        grid: Grid,
        views: int = DEFAULT_VIEWS,
        arc_degrees: float = DEFAULT_ARC_DEGREES,
        *,
        angles_rad: Sequence[float] | None = None,
        source_to_axis_mm: float = SCANNER_SOURCE_TO_AXIS_MM,
        source_to_detector_mm: float = SCANNER_SOURCE_TO_DETECTOR_MM,
        curved: bool = False,
    ) -> Self:
        """A fan beam whose columns are one pixel wide at the axis and measure all of `grid`'s
        slices.

        views: equally spaced over arc_degrees from 0 on, its end left out; or angles_rad in place
        of both. Raises InputError where pixels are not square or the source's circle cuts the
        slice's.
        """
        column_mm = square_pixel_mm(grid) * source_to_detector_mm / source_to_axis_mm
        fan_rad = half_fan_rad(grid, source_to_axis_mm)
        half_mm = source_to_detector_mm * (fan_rad if curved else math.tan(fan_rad))
        return cls(
            angles_rad=fitted_angles(views, arc_degrees, angles_rad, DEFAULT_ARC_DEGREES),
            n_columns=math.ceil(2 * half_mm / column_mm),
            column_mm=column_mm,
            source_to_axis_mm=source_to_axis_mm,
            source_to_detector_mm=source_to_detector_mm,
            curved=curved,
        )

    @property
    def fan_angles_rad(self) -> np.ndarray:
        """Angle of every column's ray against n, positive along u, (column,)."""
        ratio = self.column_positions_mm / self.source_to_detector_mm
        return ratio if self.curved else np.arctan(ratio)

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections of `grid`: one per slice."""
        return grid.shape[0]

    @property
    def axis_position_mm(self) -> float:
        """Detector position p onto which the axis of rotation projects."""
        if not self.curved:
            return super().axis_position_mm
        return self.source_to_detector_mm * math.atan(self.axis_shift_mm / self.source_to_axis_mm)

    def to_vectors(self) -> VectorGeometry:
        """The same rays as sources and flat detectors of one row at z = 0.

        Raises InputError for a curved detector.
        """
        if self.curved:
            raise InputError("A curved detector has no vectors.", "a flat detector", "curved=False")
        return self.flat_panels(n_rows=1, row_mm=1.0, lift_mm=0.0)

    def source_positions_mm(self) -> np.ndarray | None:
        """Position of the source of every view, (view, 3) in mm; a curved detector has one too."""
        return self.circle_mm() if self.curved else super().source_positions_mm()

    def sees(self, points_mm: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Which points lie in the fan in all of the views, (point,)."""
        if not self.curved:
            return super().sees(points_mm, views)
        half = self.n_columns * self.column_mm / 2
        u, n = self.axes()
        sources = self.circle_mm()
        seen = np.ones(len(points_mm), dtype=bool)
        for view in views:
            from_source = points_mm - sources[view]
            angle = np.arctan2(from_source @ u[view], from_source @ n[view])
            position = angle * self.source_to_detector_mm - self.detector_shift_mm
            seen &= np.abs(position) <= half
        return seen
