"""The circular cone beam with a flat panel."""

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
    slice_radius_mm,
    square_pixel_mm,
)
from diffusionblend.geometry.vectors import VectorGeometry

DEFAULT_ARC_DEGREES = 360.0


@dataclass(frozen=True, kw_only=True)
class ConeBeam(FromSource, name="cone"):
    """Rays from a point that circles in the plane z = 0 to a flat panel.

    As FanBeam, with n_rows detector rows of row_mm along z, which need not be the slices' spacing.
    detector_lift_mm: how far the panel's middle lies along z. Row r lies at
    (r - (n_rows - 1) / 2) row_mm + detector_lift_mm. source_lift_mm: how far the source's circle
    lies along z, where a volume is not about its plane. Raises InputError.
    """

    n_rows: int
    row_mm: float
    detector_lift_mm: float = 0.0
    source_lift_mm: float = 0.0
    couples_slices: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, n_rows=int, row_mm=float, detector_lift_mm=float, source_lift_mm=float)
        if self.n_rows < 1 or not 0 < self.row_mm < math.inf:
            raise InputError(
                f"ConeBeam has {self.n_rows} rows of {self.row_mm} mm.",
                "at least one row of positive height",
            )
        for name in ("detector_lift_mm", "source_lift_mm"):
            if not math.isfinite(getattr(self, name)):
                raise InputError(
                    f"ConeBeam has {name} {getattr(self, name)}.", "a finite length in mm"
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
    ) -> Self:
        """A cone beam whose panel sees all of `grid`, its columns one pixel wide at the axis.

        Rows are one slice high at the axis. views: equally spaced over arc_degrees from 0 on, its
        end left out; or angles_rad in place of both. Raises InputError as `FanBeam.fitting`.
        """
        column_mm = square_pixel_mm(grid) * source_to_detector_mm / source_to_axis_mm
        row_mm = grid.spacing_mm[0] * source_to_detector_mm / source_to_axis_mm
        half_mm = source_to_detector_mm * math.tan(half_fan_rad(grid, source_to_axis_mm))
        nearest_mm = source_to_axis_mm - slice_radius_mm(grid)
        height_mm = grid.shape[0] * grid.spacing_mm[0] * source_to_detector_mm / nearest_mm
        return cls(
            angles_rad=fitted_angles(views, arc_degrees, angles_rad, DEFAULT_ARC_DEGREES),
            n_rows=math.ceil(height_mm / row_mm),
            row_mm=row_mm,
            n_columns=math.ceil(2 * half_mm / column_mm),
            column_mm=column_mm,
            source_to_axis_mm=source_to_axis_mm,
            source_to_detector_mm=source_to_detector_mm,
        )

    @property
    def row_positions_mm(self) -> np.ndarray:
        """Height of every row in mm, shape (row,)."""
        middle = (self.n_rows - 1) / 2
        return (np.arange(self.n_rows) - middle) * self.row_mm + self.detector_lift_mm

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections: those of its panel, whatever the grid."""
        return self.n_rows

    def to_vectors(self) -> VectorGeometry:
        """The same rays as sources and flat panels, view by view."""
        return self.flat_panels(self.n_rows, self.row_mm, self.detector_lift_mm)

    def circle_mm(self) -> np.ndarray:
        """The source's circle: its position in every view, (view, 3)."""
        return super().circle_mm() + (0.0, 0.0, self.source_lift_mm)

    def sees(self, points_mm: np.ndarray, views: np.ndarray) -> np.ndarray:
        """Which points lie on the panel in all of the views, (point,).

        The panel's ends along z count for the circular scan itself, not for a subclass, which may
        move along z.
        """
        return self.to_vectors().sees(points_mm, views, rows_too=type(self) is ConeBeam)
