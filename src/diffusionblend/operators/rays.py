"""The rays of a slice as Joseph's method walks them (Joseph 1982, IEEE TMI 1(3)).

A ray advances row by row or column by column, whichever it crosses more steeply, and reads the
slice by linear interpolation in between.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, Geometry, ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import PER_VIEW

SPARE_LINES = 1
"""Lines taken at either end, since division rounds, before those outside are dropped."""


@dataclass(frozen=True, eq=False)
class PlaneRays:
    """Every ray of a slice, all of shape (ray,): ray v * n_columns + b is column b of view v.

    along_rows: the ray advances row by row, else column by column; call these its lines. On line k
    it lies at start + slope * k across them, in pixels. step_mm: its length from a line to the
    next. first, last: the lines at which it is less than a pixel off the slice, last left out.
    """

    along_rows: np.ndarray
    start: np.ndarray
    slope: np.ndarray
    step_mm: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @property
    def most_entries(self) -> int:
        """The entries that the matrix of a slice has at most: two for each line of each ray."""
        return 2 * int((self.last - self.first).sum())

    def table(self, scale: float) -> np.ndarray:
        """All of it as float64 (ray, 6) for the compiled kernels, lengths multiplied by scale."""
        columns = (
            self.along_rows,
            self.start,
            self.slope,
            self.step_mm * scale,
            self.first,
            self.last,
        )
        return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def plane_rays(geometry: Geometry, grid: Grid) -> PlaneRays:
    """The rays of `geometry` in a slice of `grid`; half lines where they come from a source."""
    n_y, n_x = grid.in_plane_shape
    spacing_xy = np.array(grid.spacing_mm[:0:-1])
    origins, directions, from_source = rays_in_mm(geometry)
    origins = origins.reshape(-1, 2) / spacing_xy + (np.array((n_x, n_y)) - 1) / 2
    steps = directions.reshape(-1, 2) / spacing_xy
    along_rows = np.abs(steps[:, 1]) >= np.abs(steps[:, 0])

    def picked(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of (x, y) pairs, the one along which rays advance and the one across."""
        x, y = pairs.T
        return np.where(along_rows, y, x), np.where(along_rows, x, y)

    (from_line, from_across), (ahead, aside) = picked(origins), picked(steps)
    n_lines, n_across = picked(np.broadcast_to((n_x, n_y), origins.shape))
    slope = aside / ahead
    start = from_across - slope * from_line
    first, last = _lines_met(start, slope, n_lines, n_across)
    if from_source:
        first = np.where(ahead > 0, np.maximum(first, np.floor(from_line) + 1), first)
        last = np.where(ahead < 0, np.minimum(last, np.ceil(from_line)), last)
    first = np.clip(first, 0, n_lines).astype(np.int64)
    last = np.clip(last, first, n_lines).astype(np.int64)
    for end, line, inwards in ((first, 0, 1), (last, -1, -1)):
        rays = np.flatnonzero(first < last)
        while rays.size:
            across = start[rays] + slope[rays] * (end[rays] + line)
            outside = ~((across > -1) & (across < n_across[rays])) & (first[rays] < last[rays])
            rays = rays[outside]
            end[rays] += inwards
    return PlaneRays(along_rows, start, slope, 1 / np.abs(ahead), first, last)


def rays_in_mm(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, bool]:
    """A point (x, y) in mm and a direction of every ray, (view, column, 2); whether from a source.

    Of parallel and fan beams themselves by their angles, of any other class by its vectors. Raises
    InputError where those do not lie in the plane of a slice.
    """
    return _RAYS_OF.get(type(geometry), _rays_of_vectors)(geometry)


def _parallel_rays(geometry: ParallelBeam) -> tuple[np.ndarray, np.ndarray, bool]:
    u, n = (axis[:, None, :2] for axis in geometry.axes())
    origins = geometry.column_positions_mm[:, None] * u
    return origins, np.broadcast_to(n, origins.shape), False


def _fan_rays(geometry: FanBeam) -> tuple[np.ndarray, np.ndarray, bool]:
    u, n = (axis[:, None, :2] for axis in geometry.axes())
    angles = geometry.fan_angles_rad[:, None]
    directions = np.cos(angles) * n + np.sin(angles) * u
    sources = geometry.circle_mm()[:, None, :2]
    return np.broadcast_to(sources, directions.shape), directions, True


def _rays_of_vectors(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, bool]:
    vectors = geometry.to_vectors()
    sources, middles, steps, _ = (np.array(getattr(vectors, name)) for name in PER_VIEW)
    shape = vectors.n_views, vectors.n_rows, vectors.n_columns
    if shape != (geometry.n_views, 1, geometry.n_columns) or any(
        part[:, 2].any() for part in (sources, middles, steps)
    ):
        raise InputError(
            f"{type(geometry).__name__} has independent slices, but its vectors are of {shape} "
            "views, rows and columns, or leave the plane z = 0.",
            f"({geometry.n_views}, 1, {geometry.n_columns}), all in the plane z = 0",
            "couples_slices = True for rays that pass from slice to slice",
        )
    columns = (np.arange(vectors.n_columns) - (vectors.n_columns - 1) / 2)[:, None]
    places = middles[:, None, :2] + columns * steps[:, None, :2]
    starts = np.broadcast_to(sources[:, None, :2], places.shape)
    ahead = starts if vectors.parallel else places - starts
    directions = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
    return (places if vectors.parallel else starts), directions, not vectors.parallel


_RAYS_OF: dict[type, Callable[..., tuple[np.ndarray, np.ndarray, bool]]] = {
    ParallelBeam: _parallel_rays,
    FanBeam: _fan_rays,
}
"""By exact class, so that a subclass is traced by its own vectors."""


def _lines_met(
    start: np.ndarray, slope: np.ndarray, n_lines: np.ndarray, n_across: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lines between which -1 < start + slope k < n_across, and spare ones, as floats."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ends = np.sort(np.stack([(-1 - start) / slope, (n_across - start) / slope]), axis=0)
    inside = (start > -1) & (start < n_across)
    first = np.where(slope == 0, np.where(inside, 0, n_lines), np.floor(ends[0]) - SPARE_LINES)
    last = np.where(slope == 0, n_lines, np.ceil(ends[1]) + 1 + SPARE_LINES)
    return first, last
