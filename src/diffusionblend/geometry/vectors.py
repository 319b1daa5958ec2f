"""The general geometry: a source and a detector anywhere, view by view."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry, settle
from diffusionblend.geometry.grid import Grid

PER_VIEW = ("sources_mm", "detectors_mm", "column_steps_mm", "row_steps_mm")
FLATTEST_PANEL = 1e-9
"""Sine of the angle between a panel's axes, or between a ray and its panel, below which it is a
line or seen edge on."""

Triples = tuple[tuple[float, float, float], ...]


@dataclass(frozen=True, eq=False)
class Panels:
    """Sources and flat panels as arrays, which the kernels for coupled slices trace.

    places_mm: source (or direction, if parallel), panel's middle, step of a column and of a row,
    (panel, 4, 3) as (x, y, z). n_rows, n_columns: of a panel. There is a panel for every view, or
    one of a single column for every view and column, view after view, as of a curved detector.
    """

    places_mm: np.ndarray
    n_rows: int
    n_columns: int
    parallel: bool = False


def triples(values: np.ndarray) -> Triples:
    """An array (view, 3) as the numbers that a VectorGeometry keeps."""
    return tuple((float(x), float(y), float(z)) for x, y, z in values)


@dataclass(frozen=True, kw_only=True)
class VectorGeometry(Geometry, name="vectors"):
    """Rays from a source to a flat panel, both given view by view: a calibrated scan, or a helix.

    All are (x, y, z) in mm from the centre of the volume, one per view. sources_mm: the source.
    detectors_mm: the panel's middle. column_steps_mm, row_steps_mm: from a column to the next, from
    a row to the next. n_rows, n_columns: of the panel. parallel: the rays have no common point, and
    sources_mm holds the direction they travel in, of any length. Raises InputError.
    """

    sources_mm: Triples
    detectors_mm: Triples
    column_steps_mm: Triples
    row_steps_mm: Triples
    n_rows: int
    n_columns: int
    parallel: bool = False
    couples_slices: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in PER_VIEW:
            values = np.asarray(getattr(self, name), dtype=float)
            if values.ndim != 2 or values.shape[1] != 3 or not np.isfinite(values).all():
                raise InputError(
                    f"VectorGeometry.{name} has shape {values.shape} or is not finite.",
                    "finite numbers of shape (views, 3), each (x, y, z) in mm",
                )
            rows = tuple(tuple(float(v) for v in row) for row in values)
            object.__setattr__(self, name, rows)
        settle(self, n_rows=int, n_columns=int, parallel=bool)
        lengths = {name: len(getattr(self, name)) for name in PER_VIEW}
        if len(set(lengths.values())) != 1 or not self.sources_mm:
            raise InputError(
                f"VectorGeometry has views {lengths}.", "the same number of each, at least one"
            )
        if self.n_rows < 1 or self.n_columns < 1:
            raise InputError(
                f"VectorGeometry has {self.n_rows} rows of {self.n_columns} columns.",
                "at least one of each",
            )
        self._check_panels()

    def _check_panels(self) -> None:
        """Raise InputError where a panel is a line, or is seen edge on by its source."""
        u, v = np.array(self.column_steps_mm), np.array(self.row_steps_mm)
        normal = np.cross(u, v)
        area = np.linalg.norm(normal, axis=1)
        size = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
        rays = self.central_rays()
        across = np.abs((normal * rays).sum(1))
        flat = (area <= FLATTEST_PANEL * size) | (
            across <= FLATTEST_PANEL * area * np.linalg.norm(rays, axis=1)
        )
        if flat.any():
            view = int(flat.argmax())
            raise InputError(
                f"The panel of view {view} has no area as its source sees it: columns step "
                f"{self.column_steps_mm[view]}, rows {self.row_steps_mm[view]}.",
                "two axes that are not parallel, and a source that is not in their plane",
            )

    @property
    def n_views(self) -> int:
        """Number of views."""
        return len(self.sources_mm)

    def detector_rows(self, grid: Grid) -> int:
        """Rows of its projections: those of its panel, whatever the grid."""
        return self.n_rows

    def central_rays(self) -> np.ndarray:
        """Direction of the ray to the panel's middle, (view, 3), of any length."""
        sources = np.array(self.sources_mm)
        return sources if self.parallel else np.array(self.detectors_mm) - sources

    def moved(self, x_mm: float, y_mm: float, z_mm: float) -> VectorGeometry:
        """The scan as seen from a volume whose centre lies at (x, y, z) in this one's frame."""
        step = np.array((x_mm, y_mm, z_mm))
        sources = np.array(self.sources_mm)
        return replace(
            self,
            sources_mm=triples(sources if self.parallel else sources - step),
            detectors_mm=triples(np.array(self.detectors_mm) - step),
        )

    def tilted(self, tilt_rad: float) -> VectorGeometry:
        """The scan with an axis that leans along the beam by an angle, as in laminography.

        Source and panel of every view turn about the direction of its columns through the volume's
        centre; with a positive angle the beam of a scan about z travels towards higher z.
        tilt_rad: in radians, less than a right angle. Raises InputError.
        """
        if not abs(tilt_rad) < math.pi / 2:
            raise InputError(
                f"The axis was to lean by {tilt_rad:g} radians, "
                f"which is {math.degrees(tilt_rad):.5g} degrees.",
                f"radians, between -{math.pi / 2:.4g} and {math.pi / 2:.4g}",
                f"math.radians({tilt_rad:g}), where these are degrees",
            )
        columns = np.array(self.column_steps_mm)
        about = columns / np.linalg.norm(columns, axis=1, keepdims=True)

        def turned(name: str) -> Triples:
            # Rodrigues' formula
            values = np.array(getattr(self, name))
            along = about * (about * values).sum(1, keepdims=True)
            across = np.cross(about, values)
            turned = along + np.cos(tilt_rad) * (values - along) + np.sin(tilt_rad) * across
            return triples(turned)

        return replace(
            self,
            sources_mm=turned("sources_mm"),
            detectors_mm=turned("detectors_mm"),
            row_steps_mm=turned("row_steps_mm"),
        )

    def of_views(self, views: np.ndarray) -> VectorGeometry:
        """The geometry of some of the views, by number, in the order given."""
        sources, detectors, columns, rows = (
            triples(np.array(getattr(self, name))[views]) for name in PER_VIEW
        )
        return replace(
            self,
            sources_mm=sources,
            detectors_mm=detectors,
            column_steps_mm=columns,
            row_steps_mm=rows,
        )

    def of_detector(
        self, first: tuple[int, int], shape: tuple[int, int], taken: tuple[int, int] = (1, 1)
    ) -> VectorGeometry:
        """The geometry of a part of the panel, its pixels taken together: all are (row, column).

        first: the pixel of the panel in the corner of the part. shape: of the part, in pixels as
        they are taken together. taken: how many are.
        """
        u, v = np.array(self.column_steps_mm), np.array(self.row_steps_mm)
        middle = [
            f + (n * t - 1) / 2 - (whole - 1) / 2
            for f, n, t, whole in zip(
                first, shape, taken, (self.n_rows, self.n_columns), strict=True
            )
        ]
        return replace(
            self,
            detectors_mm=triples(np.array(self.detectors_mm) + middle[0] * v + middle[1] * u),
            column_steps_mm=triples(u * taken[1]),
            row_steps_mm=triples(v * taken[0]),
            n_rows=shape[0],
            n_columns=shape[1],
        )

    def to_vectors(self) -> VectorGeometry:
        """Itself."""
        return self

    def panels(self) -> Panels:
        """Sources and panels as arrays, one for every view."""
        places_mm = np.stack([np.array(getattr(self, name)) for name in PER_VIEW], axis=1)
        return Panels(places_mm, self.n_rows, self.n_columns, self.parallel)

    def sees(
        self, points_mm: np.ndarray, views: np.ndarray, *, rows_too: bool = False
    ) -> np.ndarray:
        """Which points lie on the panel in all of the views, (point,); behind a source none do.

        rows_too: the panel's first and last row count, too, not the ends of its rows alone.
        """
        seen = np.ones(len(points_mm), dtype=bool)
        for view in views:
            source, middle, u, v = (np.array(getattr(self, name)[view]) for name in PER_VIEW)
            # point + reach * ray lies in the panel
            rays = np.broadcast_to(source, points_mm.shape) if self.parallel else points_mm - source
            across = np.cross(u, v)
            with np.errstate(divide="ignore", invalid="ignore"):
                reach = ((middle - points_mm) @ across) / (rays @ across)
            behind = ~np.isfinite(reach) | ((reach <= -1) & (not self.parallel))
            hit = points_mm + np.where(behind, 0.0, reach)[:, None] * rays - middle
            columns, rows = np.linalg.pinv(np.stack([u, v], axis=1)) @ hit.T
            seen &= ~behind & (np.abs(columns) <= self.n_columns / 2)
            if rows_too:
                seen &= np.abs(rows) <= self.n_rows / 2
        return seen
