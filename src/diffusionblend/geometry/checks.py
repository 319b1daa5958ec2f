"""Whether a scan and a volume fit: sources outside it, and a detector that sees all of it."""

from __future__ import annotations

import warnings

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry.base import Geometry
from diffusionblend.geometry.beams import ConeBeam, FanBeam, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import VectorGeometry

SAMPLES = 21
"""Points along each axis of the volume, and four times as many views, that stand for all."""
VIEWS = 4 * SAMPLES
WARNED_FRACTION = 0.01


def check_scan(geometry: Geometry, grid: Grid) -> None:
    """Raise InputError where a source lies inside the volume; warn of a detector too small."""
    check_sources(geometry, grid)
    fraction = truncated_fraction(geometry, grid)
    if fraction > WARNED_FRACTION:
        warnings.warn(
            f"The detector is too small: {100 * fraction:.0f} % of the volume's cylinder leaves "
            "it in some view, so whatever attenuates there shows as streaks and shading.",
            stacklevel=3,
        )


def check_sources(geometry: Geometry, grid: Grid) -> None:
    """Raise InputError where the source of a view lies inside the volume."""
    if isinstance(geometry, ParallelBeam) or getattr(geometry, "parallel", False):
        return
    vectors = isinstance(geometry, VectorGeometry)
    sources = np.array(geometry.sources_mm if vectors else geometry.sources_mm())
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

    The cylinder is what fits inside the volume about the z axis: corners do not count. Of general
    vectors only the bins' ends count, since a helix never sees all along z. A sample of points and
    of views stands for all.
    """
    points = _cylinder_points(grid, in_3d=geometry.couples_slices)
    picked = np.unique(np.linspace(0, geometry.n_views - 1, VIEWS).round().astype(int))
    if isinstance(geometry, FanBeam):
        unseen = _outside_fan(geometry, points, picked)
    else:
        rows_too = isinstance(geometry, ConeBeam)
        unseen = _outside_panel(geometry.to_vectors(), points, picked, rows_too)
    return float(unseen.mean())


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


def _outside_fan(geometry: FanBeam, points: np.ndarray, views: np.ndarray) -> np.ndarray:
    """Which points some view's fan does not reach, (point,)."""
    half = geometry.n_bins * geometry.bin_mm / 2
    u, n = geometry.axes()
    sources = geometry.sources_mm()
    unseen = np.zeros(len(points), dtype=bool)
    for view in views:
        from_source = points - sources[view]
        angle = np.arctan2(from_source @ u[view], from_source @ n[view])
        place = angle if geometry.curved else np.tan(np.clip(angle, -1.57, 1.57))
        position = place * geometry.source_to_detector_mm - geometry.detector_shift_mm
        unseen |= np.abs(position) > half
    return unseen


def _outside_panel(
    vectors: VectorGeometry, points: np.ndarray, views: np.ndarray, rows_too: bool
) -> np.ndarray:
    """Which points some view's panel does not see, (point,); rows_too: count its rows' ends."""
    unseen = np.zeros(len(points), dtype=bool)
    for view in views:
        source, middle, u, v = (
            np.array(part[view])
            for part in (
                vectors.sources_mm,
                vectors.detectors_mm,
                vectors.bin_steps_mm,
                vectors.row_steps_mm,
            )
        )
        # point + reach * ray lies in the panel; behind its source nothing is seen
        rays = np.broadcast_to(source, points.shape) if vectors.parallel else points - source
        across = np.cross(u, v)
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = ((middle - points) @ across) / (rays @ across)
        behind = ~np.isfinite(reach) | ((reach <= -1) & (not vectors.parallel))
        hit = points + np.where(behind, 0.0, reach)[:, None] * rays - middle
        bins, rows = np.linalg.pinv(np.stack([u, v], axis=1)) @ hit.T
        unseen |= behind
        unseen |= np.abs(bins) > vectors.n_bins / 2
        if rows_too:
            unseen |= np.abs(rows) > vectors.n_rows / 2
    return unseen
