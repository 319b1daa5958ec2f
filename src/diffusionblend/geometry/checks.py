"""Whether a scan and a volume fit: sources outside it, and a detector that sees all of it."""

from __future__ import annotations

import math
import warnings
from typing import TypeGuard

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.cone import ConeBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.turning import (
    BY_ANGLES,
    FromSource,
    Turning,
    measured_directions,
    missing_arcs,
    turns_wholly,
)
from diffusionblend.geometry.vectors import VectorGeometry

SAMPLES = 21
"""Points along each axis of the volume, and four times as many views, that stand for all."""
VIEWS = 4 * SAMPLES
WARNED_FRACTION = 0.01
SEEN_IN_PART = "the detector does not see"
"""So begins what an import says of the same."""
OFF_THE_MIDDLE = 0.8
"""Of the longer side of a detector, below which its shorter side counts as short."""
FIRST_COLUMNS, LAST_COLUMNS = slice(0, 2), slice(None, -3, -1)
"""Columns of the ends of a detector, the outermost first."""
AIR_SHARE = 0.12
"""Of the high line integrals, below which the ends of a detector see air."""
HIGH_VIEWS, HIGH_ROWS = 75, 90
"""Percentiles: of the views' highest lines, and in a view of the rows' ends. A small object off the
axis fills few rows, and leaves the detector in few views."""
ABOVE_NOISE = 2.5
"""Deviations of the noise by which ends must be above that too."""
NORMAL_MEDIAN = 0.6745
"""Median of the absolute value of a normal variable of variance 1."""
GRAZING = 0.55
"""Of the second column from an end, below which the outermost one holds the object's rim: chords
grow with the root of the depth, so that means over columns are 1 to 2^1.5 - 1 where it just ends
there."""
LEFT_SHARE = 0.5
"""Of what most views attenuate in all, below which the object has left the detector."""
MISSED_VIEWS = 0.02
"""Share of the views that may lack lines, which costs as much of the values."""


def check_scan(geometry: Geometry, grid: Grid) -> None:
    """Raise InputError where a source lies inside the volume; warn of a detector too small."""
    check_sources(geometry, grid)
    fraction = truncated_fraction(geometry, grid)
    if fraction > WARNED_FRACTION:
        vectors = isinstance(geometry, VectorGeometry)  # which FBP does not take
        ways = "--margin-mm" if vectors else "fbp --extrapolate, or --margin-mm with other methods"
        why = ""
        if is_one_sided(geometry) and not turns_wholly(geometry.angles_rad):
            why = f" ({one_sided_words(geometry)}; over 360 the opposite views would see it)"
            ways = "an iterative method, admm-tv or cgls, on slices that hold the whole object"
        warnings.warn(
            f"The detector is too small: {100 * fraction:.0f} % of the volume's cylinder leaves "
            f"it in some view{why}, so whatever attenuates there shows as streaks and shading. If "
            f"the object reaches there, use {ways}.",
            stacklevel=3,
        )


def check_sources(geometry: Geometry, grid: Grid) -> None:
    """Raise InputError where the source of a view lies inside the volume."""
    sources = geometry.source_positions_mm()
    if sources is None:
        return
    half = np.array(grid.shape[::-1]) * np.array(grid.spacing_mm[::-1]) / 2
    inside = (np.abs(sources) < half)[:, : 3 if geometry.couples_slices else 2].all(axis=1)
    if inside.any():
        view = int(inside.argmax())
        place = ", ".join(f"{c:.1f}" for c in sources[view])
        raise InputError(
            f"The source of view {view} lies inside the volume, at ({place}) mm.",
            f"a source outside +-({', '.join(f'{h:.1f}' for h in half)}) mm",
            "check that distances and voxel spacing are in mm, or take a smaller volume",
        )


def truncated_fraction(geometry: Geometry, grid: Grid) -> float:
    """The share of the volume's cylinder that some view does not see, 0 to 1.

    The cylinder is what fits inside the volume about the z axis: corners do not count. A point
    whose rays are measured from the opposite side, over a whole turn, is seen. Of a cone a slice
    counts as seen along z where its middle is, since what lies towards the source leaves the first
    and last rows whatever the volume's width. Of vectors only the ends of detector rows count,
    since a helix never sees all along z. A sample of points and of views stands for all.
    """
    geometry = geometry.with_opposite_rays()
    points = _cylinder_points(grid, in_3d=geometry.couples_slices)
    picked = np.unique(np.linspace(0, geometry.n_views - 1, VIEWS).round().astype(int))
    if type(geometry) is not ConeBeam:
        return float(1 - geometry.sees(points, picked).mean())
    seen = geometry.to_vectors().sees(points, picked)
    return float(1 - (seen & geometry.sees(points * (0.0, 0.0, 1.0), picked)).mean())


def lacks_opposite_rays(lines: np.ndarray, geometry: Geometry) -> bool:
    """Whether lines are missing since a detector reaches farther to one side of the axis: the
    object leaves its short end in views whose opposite ones were not taken.

    lines: line integrals (view, row, column). Not where the object is seen whole or its rays are
    measured from the opposite side, nor for geometries of other classes.
    """
    if not isinstance(geometry, Turning) or not leaves_short_side(lines, geometry):
        return False
    cut = _cut_views(lines, geometry)
    angles, fan_rad = np.array(geometry.angles_rad), _short_end_rad(geometry)
    alone = cut & ~measured_directions(angles, angles + np.pi - 2 * fan_rad)
    return bool(alone.mean() > MISSED_VIEWS)


def covered_degrees(geometry: Geometry) -> float:
    """The arc that views cover, at most 180 degrees of a parallel beam and 360 of others.

    Of a geometry without angles it is the whole.
    """
    whole = 180.0 if geometry.source_positions_mm() is None else 360.0
    angles = getattr(geometry, "angles_rad", None)
    if angles is None:
        return whole
    directions = np.unique(np.round(np.mod(np.degrees(angles), whole), 6))
    if len(directions) == 1:
        return 0.0
    gaps = np.diff(directions, append=directions[0] + whole)
    missing = missing_arcs(gaps)
    return whole - float((gaps[missing] - np.median(gaps)).sum())


def one_sided_words(geometry: Geometry) -> str:
    """What to know of a detector beside the axis: its offset, its reach, and the views' arc."""
    assert isinstance(geometry, Turning)
    short, long = sorted(geometry.reach_mm)
    return (
        f"the detector's middle lies {(long - short) / 2:.4g} mm beside the axis (it reaches "
        f"{short:.4g} mm to one side and {long:.4g} mm to the other), and the views cover "
        f"{covered_degrees(geometry):.4g} degrees"
    )


def leaves_short_side(lines: np.ndarray, geometry: Geometry) -> bool:
    """Whether, over less than a turn, the object leaves the short side of such a detector."""
    if is_one_sided(geometry) and not turns_wholly(geometry.angles_rad):
        return bool(_cut_views(lines, geometry).mean() > MISSED_VIEWS)
    return False


def is_one_sided(geometry: Geometry) -> TypeGuard[Turning]:
    """Whether a parallel, fan or cone beam's detector reaches clearly farther to one side of the
    axis.
    """
    if not isinstance(geometry, Turning) or geometry.registered_name not in BY_ANGLES:
        return False
    short, long = sorted(geometry.reach_mm)
    return 0 < short < OFF_THE_MIDDLE * long


def cut_share(lines: np.ndarray, geometry: Geometry) -> float:
    """The share of the views in which the object leaves the detector and no opposite rays measure
    it, as they do beyond the short side over a whole turn.
    """
    ends = [FIRST_COLUMNS, LAST_COLUMNS]
    if isinstance(geometry, Turning) and geometry.with_opposite_rays() is not geometry:
        ends.pop(int(geometry.reach_mm[0] > geometry.reach_mm[1]))
    return float(np.any([_reached_views(lines, end) for end in ends], axis=0).mean())


def _reached_views(lines: np.ndarray, end: slice) -> np.ndarray:
    """In which views the object reaches beyond an end of the detector, (view,).

    end: its columns, the outermost first.
    """
    columns = lines[:, :, end]
    of_rows = columns.mean(axis=2)
    high = np.percentile(lines.max(axis=(1, 2)), HIGH_VIEWS)
    least = AIR_SHARE * max(high, 0.0) + ABOVE_NOISE * noise_between_views(of_rows)
    beyond = columns[:, :, 0] > GRAZING * columns[:, :, -1]
    return np.percentile(np.where(beyond, of_rows, 0.0), HIGH_ROWS, axis=1) > least


def noise_between_views(values: np.ndarray) -> float:
    """The standard deviation that values (view, ...) show from view to view, 0 for two and fewer.

    By second differences, of variance 1.5, in the median, so that edges do not count.
    """
    if len(values) <= 2:
        return 0.0
    bent = values[1:-1] - (values[:-2] + values[2:]) / 2
    return float(np.median(np.abs(bent))) / (NORMAL_MEDIAN * math.sqrt(1.5))


def _cut_views(lines: np.ndarray, geometry: Turning) -> np.ndarray:
    """In which views the object leaves the detector on its short side, (view,)."""
    end = FIRST_COLUMNS if geometry.reach_mm[0] < geometry.reach_mm[1] else LAST_COLUMNS
    reached = _reached_views(lines, end)
    totals = lines.sum(axis=(1, 2), dtype=np.float64)
    return reached | (totals < LEFT_SHARE * np.percentile(totals, HIGH_VIEWS))


def _short_end_rad(geometry: Turning) -> float:
    """The angle between the axis and the end of the detector that is nearer to it, 0 if parallel.

    Positive towards higher columns.
    """
    if not isinstance(geometry, FromSource):
        return 0.0
    before, after = geometry.reach_mm
    place = geometry.axis_position_mm + (-before if before < after else after)
    distance = geometry.source_to_detector_mm
    to_axis = math.atan2(geometry.axis_shift_mm, geometry.source_to_axis_mm)
    curved = getattr(geometry, "curved", False)
    return (place / distance if curved else math.atan(place / distance)) - to_axis


def _cylinder_points(grid: Grid, *, in_3d: bool) -> np.ndarray:
    """Points (x, y, z) in mm that fill the cylinder, or its disc at z = 0."""
    half_z, half_y, half_x = (n * s / 2 for n, s in zip(grid.shape, grid.spacing_mm, strict=True))
    unit = (np.arange(SAMPLES) + 0.5) / SAMPLES * 2 - 1
    y, x = np.meshgrid(unit, unit, indexing="ij")
    disc = np.hypot(x, y) <= 1
    disc_points = np.stack([x[disc] * half_x, y[disc] * half_y], axis=1)
    z = unit * half_z if in_3d else np.zeros(1)
    flat = np.tile(disc_points, (len(z), 1))
    return np.column_stack([flat, np.repeat(z, len(disc_points))])
