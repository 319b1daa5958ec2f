"""Whether a scan and a volume fit: sources outside it, and a detector that sees all of it."""

from __future__ import annotations

import warnings

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.cone import ConeBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.turning import BY_ANGLES, Turning, turns_wholly
from diffusionblend.geometry.vectors import VectorGeometry

SAMPLES = 21
"""Points along each axis of the volume, and four times as many views, that stand for all."""
VIEWS = 4 * SAMPLES
WARNED_FRACTION = 0.01
SEEN_IN_PART = "the detector does not see"
"""So begins what an import says of the same."""
OFF_THE_MIDDLE = 0.8
"""Of the longer side of a detector, below which its shorter side counts as short."""
AIR_SHARE = 0.12
"""Of the high line integrals, below which the ends of a detector see air."""


def check_scan(geometry: Geometry, grid: Grid) -> None:
    """Raise InputError where a source lies inside the volume; warn of a detector too small."""
    check_sources(geometry, grid)
    fraction = truncated_fraction(geometry, grid)
    if fraction > WARNED_FRACTION:
        vectors = isinstance(geometry, VectorGeometry)  # which FBP does not take
        ways = "--margin-mm" if vectors else "fbp --extrapolate, or --margin-mm with other methods"
        warnings.warn(
            f"The detector is too small: {100 * fraction:.0f} % of the volume's cylinder leaves "
            "it in some view, so whatever attenuates there shows as streaks and shading. If the "
            f"object reaches there, use {ways}.",
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


def one_sided_reach_mm(lines: np.ndarray, geometry: Geometry) -> tuple[float, float] | None:
    """How far a detector reaches to either side of the axis, the shorter first, where lines are
    missing for that: views go less than once around, and the short end lies within the object.

    lines: line integrals (view, row, column). None where lines are complete, since the object is
    seen whole or opposite rays of a whole turn measure it, and for geometries of other classes.
    """
    if not isinstance(geometry, Turning) or geometry.registered_name not in BY_ANGLES:
        return None
    place = geometry.column_positions_mm - geometry.axis_position_mm
    half_mm = geometry.column_mm / 2
    reach = np.array((half_mm - place.min(), half_mm + place.max()))
    short, long = float(reach.min()), float(reach.max())
    if turns_wholly(geometry.angles_rad) or not 0 < short < OFF_THE_MIDDLE * long:
        return None
    end = slice(0, 2) if reach[0] < reach[1] else slice(-2, None)
    high = np.percentile(lines, 95)
    cut = float(np.median(lines[:, :, end].mean(axis=2))) > AIR_SHARE * high > 0
    return (short, long) if cut else None


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
