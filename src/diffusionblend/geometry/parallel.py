"""The parallel beam."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.turning import (
    DEFAULT_VIEWS,
    Turning,
    fitted_angles,
    square_pixel_mm,
)
from diffusionblend.geometry.vectors import VectorGeometry, triples

DEFAULT_ARC_DEGREES = 180.0


@dataclass(frozen=True, kw_only=True)
class ParallelBeam(Turning, name="parallel"):
    """Parallel rays, slice by slice: one detector row per slice.

    angles_rad: one per view, in radians. n_columns: detector columns. column_mm: their width.
    detector_shift_mm: how far the detector's middle lies along u; a centre of rotation at column c
    is a shift of ((n_columns - 1) / 2 - c) column_mm. The ray at angle t and position p is the line
    p = x cos t + y sin t. Raises InputError; warns of angles that look like degrees.
    """

    couples_slices: ClassVar[bool] = False

    @classmethod
    def fitting(
        cls,
        grid: Grid,
        views: int = DEFAULT_VIEWS,
        arc_degrees: float = DEFAULT_ARC_DEGREES,
        *,
        angles_rad: Sequence[float] | None = None,
    ) -> Self:
        """A parallel beam whose columns are one pixel wide and measure the whole slice of `grid`.

        views: equally spaced over arc_degrees from 0 on, its end left out; or angles_rad in place
        of both. Raises InputError where pixels are not square.
        """
        pixel_mm = square_pixel_mm(grid)
        return cls(
            angles_rad=fitted_angles(views, arc_degrees, angles_rad, DEFAULT_ARC_DEGREES),
            n_columns=full_detector(grid.in_plane_shape),
            column_mm=pixel_mm,
        )

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections of `grid`: one per slice."""
        return grid.shape[0]

    def to_vectors(self, n_rows: int = 1, row_mm: float = 1.0) -> VectorGeometry:
        """The same rays as directions and detectors, with rows of their own about z = 0."""
        u, n = self.axes()
        return VectorGeometry(
            sources_mm=triples(n),
            detectors_mm=triples(self.detector_shift_mm * u),
            column_steps_mm=triples(self.column_mm * u),
            row_steps_mm=triples(np.tile((0.0, 0.0, row_mm), (self.n_views, 1))),
            n_rows=n_rows,
            n_columns=self.n_columns,
            parallel=True,
        )


def full_detector(in_plane_shape: tuple[int, int]) -> int:
    """The number of one-pixel columns that measure a whole slice with its corners: its diagonal.

    363 columns for 256 x 256 pixels, as in the paper.
    """
    return math.ceil(math.hypot(*in_plane_shape))
