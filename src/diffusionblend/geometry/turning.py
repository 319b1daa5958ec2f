"""What scans about the z axis share: angles, detector columns, and a source on a circle.

Everything is in mm from the centre of the volume: x grows with the column, y with the row, z with
the slice. At angle t the detector's columns run along u = (cos t, sin t, 0), its rows along z, and
the beam travels along n = (-sin t, cos t, 0). The column b lies at p = (b - (n_columns - 1) / 2)
column_mm + detector_shift_mm along u. docs/conventions.md has the drawing.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry.base import Geometry, settle
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import VectorGeometry, triples

MOST_LIKELY_RADIANS = 4 * math.pi
"""Angles beyond two turns are more often degrees, but of a class that `turns_often`."""
DEFAULT_VIEWS = 8
BY_ANGLES = ("parallel", "fan", "cone")
"""Registered names of the scans whose views their angles make, each by itself."""
SCANNER_SOURCE_TO_AXIS_MM, SCANNER_SOURCE_TO_DETECTOR_MM = 595.0, 1085.6
"""Distances of a clinical CT scanner, the default of a fitted fan or cone."""
SQUARE_PIXELS = 1e-3
MISSING_ARC_GAPS, MOST_MISSING_ARCS = 3.0, 3
"""Gaps between neighbouring angles count as arcs not measured where they are few, and so many times
as large as all others."""
SAME_ANGLE_RAD = 1e-9
"""Angles closer than this, modulo a turn, are one direction."""
LEAST_PART = 1e-6
"""Of a column, below which it is a matter of rounding."""
TURN_STEPS = round(2 * math.pi / SAME_ANGLE_RAD)


@dataclass(frozen=True, kw_only=True)
class Turning(Geometry):
    """What all scans about the z axis share: angles and detector columns."""

    angles_rad: tuple[float, ...]
    n_columns: int
    column_mm: float
    detector_shift_mm: float = 0.0
    turns_often: ClassVar[bool] = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        angles = tuple(float(a) for a in np.ravel(self.angles_rad))
        object.__setattr__(self, "angles_rad", angles)
        settle(self, n_columns=int, column_mm=float, detector_shift_mm=float)
        if not angles or not np.isfinite(angles).all():
            raise InputError(f"{name} has angles {angles}.", "at least one finite angle")
        if self.n_columns < 1 or not 0 < self.column_mm < math.inf:
            raise InputError(
                f"{name} has {self.n_columns} columns of {self.column_mm} mm.",
                "at least one column of positive width",
            )
        largest = max(angles, key=abs)
        if abs(largest) > MOST_LIKELY_RADIANS and not self.turns_often:
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
    def column_positions_mm(self) -> np.ndarray:
        """Detector position p of every column in mm, shape (column,)."""
        middle = (self.n_columns - 1) / 2
        return (np.arange(self.n_columns) - middle) * self.column_mm + self.detector_shift_mm

    @property
    def column_at_axis_mm(self) -> float:
        """Width of a detector column as it projects onto the axis of rotation."""
        return self.column_mm

    def of_views(self, views: np.ndarray) -> Geometry:
        """The same scan at some of its angles, by number; a subclass's by its vectors."""
        if self.registered_name not in BY_ANGLES:
            return super().of_views(views)
        return replace(self, angles_rad=np.array(self.angles_rad)[views])

    @property
    def axis_position_mm(self) -> float:
        """Detector position p onto which the axis of rotation projects."""
        return 0.0

    def with_opposite_rays(self) -> Self:
        """The scan with a detector that reaches as far to both sides of the axis.

        Over a whole turn the columns that are added measure lines that the others measure from the
        opposite side, so that its views are known where those of the scan are. Itself for an arc,
        and where the axis is seen beyond the detector.
        """
        return self.reaching_both_sides() if turns_wholly(self.angles_rad) else self

    @property
    def reach_mm(self) -> tuple[float, float]:
        """How far the detector reaches from the axis to lower and to higher columns, in mm along
        it; below 0 where it does not see the axis.
        """
        half_mm = self.column_mm / 2
        ends = self.column_positions_mm[[0, -1]] - self.axis_position_mm
        return half_mm - float(ends[0]), half_mm + float(ends[1])

    def reaching_both_sides(self) -> Self:
        """The scan with columns added on the shorter side of the axis until both are as long.

        Itself where the axis is seen beyond the detector, and for other geometries than parallel,
        fan and cone.
        """
        before, after = self.reach_mm
        if self.registered_name not in BY_ANGLES or min(before, after) <= 0:
            return self
        added = math.floor(abs(after - before) / self.column_mm + LEAST_PART)
        if not added:
            return self
        towards = -1 if after > before else 1
        return replace(
            self,
            n_columns=self.n_columns + added,
            detector_shift_mm=self.detector_shift_mm + towards * added * self.column_mm / 2,
        )

    def axes(self) -> tuple[np.ndarray, np.ndarray]:
        """u, along which the columns run, and n, along which the beam travels, each (view, 3)."""
        c, s = np.cos(self.angles_rad), np.sin(self.angles_rad)
        zero = np.zeros_like(c)
        return np.stack([c, s, zero], axis=1), np.stack([-s, c, zero], axis=1)


@dataclass(frozen=True, kw_only=True)
class FromSource(Turning):
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

    @property
    def axis_position_mm(self) -> float:
        """Detector position p onto which the axis of rotation projects, along a flat detector."""
        return self.axis_shift_mm * self.source_to_detector_mm / self.source_to_axis_mm

    @property
    def column_at_axis_mm(self) -> float:
        """Width of a detector column as it projects onto the axis of rotation."""
        return self.column_mm * self.source_to_axis_mm / self.source_to_detector_mm

    def circle_mm(self) -> np.ndarray:
        """The source's circle, in the plane z = 0: its position in every view, (view, 3)."""
        u, n = self.axes()
        return -self.source_to_axis_mm * n - self.axis_shift_mm * u

    def flat_panels(self, n_rows: int, row_mm: float, lift_mm: float) -> VectorGeometry:
        """The rays from the circle to flat panels of some rows, whose middle lies at z = lift."""
        u, n = self.axes()
        behind = self.source_to_detector_mm - self.source_to_axis_mm
        middle = behind * n + (self.detector_shift_mm - self.axis_shift_mm) * u
        return VectorGeometry(
            sources_mm=triples(self.circle_mm()),
            detectors_mm=triples(middle + (0.0, 0.0, lift_mm)),
            column_steps_mm=triples(self.column_mm * u),
            row_steps_mm=triples(np.tile((0.0, 0.0, row_mm), (self.n_views, 1))),
            n_rows=n_rows,
            n_columns=self.n_columns,
        )


def missing_arcs(gaps: np.ndarray) -> np.ndarray:
    """Which gaps between neighbouring angles are arcs not measured, (gap,) bool.

    The largest ones, three at most, that are above three times all others. Where many gaps are
    large, as of views in the golden angle or denser in one part of the arc, none is.
    """
    largest = np.argsort(gaps)[::-1]
    missing = np.zeros(len(gaps), dtype=bool)
    for count in range(min(MOST_MISSING_ARCS, (len(gaps) - 1) // 2), 0, -1):
        if gaps[largest[count - 1]] > MISSING_ARC_GAPS * gaps[largest[count]]:
            missing[largest[:count]] = True
            break
    return missing


def measured_directions(angles_rad: Sequence[float] | np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Which of some directions, rad of any shape, lie within the arcs that views cover, bool."""
    turn = 2 * math.pi
    angles = np.unique(np.mod(np.asarray(angles_rad, dtype=float), turn))
    gaps = np.diff(angles, append=angles[0] + turn)
    missing = missing_arcs(gaps) if len(angles) > 2 else gaps > 0
    half_step = float(np.median(gaps)) / 2
    before = np.searchsorted(angles, np.mod(wanted, turn), side="right") - 1
    from_view = np.mod(wanted - angles[before], turn)
    near = np.minimum(from_view, gaps[before] - from_view) <= half_step
    return ~missing[before] | near


def turns_wholly(angles_rad: Sequence[float] | np.ndarray) -> bool:
    """Whether views go all the way round, with no arc that is not measured."""
    turn = 2 * math.pi
    angles = np.mod(np.round(np.asarray(angles_rad, dtype=float) / SAME_ANGLE_RAD), TURN_STEPS)
    directions = np.unique(angles) * SAME_ANGLE_RAD
    gaps = np.diff(directions, append=directions[0] + turn)
    return len(directions) > 2 and not missing_arcs(gaps).any()


def equally_spaced_angles(n_views: int, arc_degrees: float = 180.0) -> tuple[float, ...]:
    """N angles in radians, equally spaced over an arc that starts at 0; its end is left out.

    Sparse view is N angles over 180 degrees; limited angle an arc below 180.
    """
    return tuple(math.radians(arc_degrees) * i / n_views for i in range(n_views))


def fitted_angles(
    views: int, arc_degrees: float, angles_rad: Sequence[float] | None, own_arc_degrees: float
) -> tuple[float, ...]:
    """The angles of a fitted scan: those given, else equally spaced ones.

    own_arc_degrees: the geometry's default arc. Raises InputError for no views, an arc outside
    0 to 360 degrees, and for angles beside views or an arc.
    """
    if angles_rad is not None:
        if views != DEFAULT_VIEWS or arc_degrees != own_arc_degrees:
            raise InputError(
                f"Both angles_rad and {views} views over {arc_degrees:g} degrees were given.",
                "either angles_rad, or views and arc_degrees",
            )
        return tuple(angles_rad)
    if views < 1 or not 0 < arc_degrees <= 360:
        raise InputError(
            f"Asked for {views} views over {arc_degrees} degrees.",
            "at least one view, and an arc above 0 and up to 360 degrees",
        )
    return equally_spaced_angles(views, arc_degrees)


def square_pixel_mm(grid: Grid) -> float:
    """The width of square pixels; raises InputError where they are not square."""
    check_kind(grid, Grid, "The grid to fit a geometry to")
    _, sy, sx = grid.spacing_mm
    if abs(sy - sx) > SQUARE_PIXELS * sx:
        raise InputError(
            f"The pixels are {sy} x {sx} mm.", "square pixels", "import with --spacing-mm"
        )
    return sx


def slice_radius_mm(grid: Grid) -> float:
    """Distance of a slice's corners from its centre."""
    sizes = (n * s for n, s in zip(grid.shape[1:], grid.spacing_mm[1:], strict=True))
    return math.hypot(*sizes) / 2


def half_fan_rad(grid: Grid, source_to_axis_mm: float) -> float:
    """Half the angle under which the source sees the circle about a slice. Raises InputError."""
    radius_mm = slice_radius_mm(grid)
    if not source_to_axis_mm > radius_mm:
        raise InputError(
            f"The source is {source_to_axis_mm} mm from the axis.",
            f"more than {radius_mm:.1f} mm, where the slice's corners are",
            "a larger source_to_axis_mm",
        )
    return math.asin(radius_mm / source_to_axis_mm)
