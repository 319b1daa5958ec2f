"""How exact a projector is: a phantom whose line integrals are known, and its adjoint."""

from __future__ import annotations

import numpy as np

from diffusionblend.geometry import ConeBeam, Helix, ParallelBeam
from diffusionblend.geometry.grid import Grid
from projector_peers import Contender

VALUE_PER_MM = 0.02
RADIUS, CENTRE = 0.3, (0.11, -0.07, 0.05)
"""Of the ball or cylinder, in the slice's width, or the volume's height if that is less for a ball,
(x, y, z)."""
PARTS = 4
"""Points along each axis of a voxel whose share inside is its value."""


def phantom(geometry: ParallelBeam | ConeBeam | Helix, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """A volume (z, y, x) and its exact lines (view, row, column): a cylinder, or for a cone or
    helix a ball."""
    sizes_mm = [n * step for n, step in zip(grid.shape, grid.spacing_mm, strict=True)]
    width_mm = min(sizes_mm) if geometry.couples_slices else sizes_mm[2]
    radius_mm, centre_mm = RADIUS * width_mm, np.array(CENTRE) * width_mm
    if not geometry.couples_slices:
        slice_, lines = grid.with_slices(1), _lines(geometry, centre_mm, radius_mm, flat=True)
        volume = _picture(slice_, centre_mm, radius_mm, flat=True)
        rows = grid.shape[0]
        return np.repeat(volume, rows, axis=0), np.repeat(lines, rows, axis=1)
    volume = _picture(grid, centre_mm, radius_mm, flat=False)
    return volume, _lines(geometry, centre_mm, radius_mm, flat=False)


def well_inside(grid: Grid, share: float) -> np.ndarray:
    """The voxels within a share of the ball's radius, (z, y, x)."""
    sizes_mm = [n * step for n, step in zip(grid.shape, grid.spacing_mm, strict=True)]
    apart = [
        (np.arange(n) - (n - 1) / 2) * step - middle * min(sizes_mm)
        for n, step, middle in zip(grid.shape, grid.spacing_mm, CENTRE[::-1], strict=True)
    ]
    z, y, x = np.meshgrid(*apart, indexing="ij")
    return x**2 + y**2 + z**2 < (share * RADIUS * min(sizes_mm)) ** 2


def _picture(grid: Grid, centre_mm: np.ndarray, radius_mm: float, *, flat: bool) -> np.ndarray:
    """The share of every voxel inside, times the value, (z, y, x) float32."""
    axes = [
        ((np.arange(n * PARTS) + 0.5) / PARTS - n / 2) * step - middle
        for n, step, middle in zip(grid.shape, grid.spacing_mm, centre_mm[::-1], strict=True)
    ]
    z, y, x = (axis.astype(np.float32) ** 2 for axis in axes)
    n_y, n_x = grid.in_plane_shape
    volume = np.zeros(grid.shape, np.float32)
    for i, height in enumerate((0 * z if flat else z).reshape(-1, PARTS)):
        for part in height:
            inside = y[:, None] + x + part <= radius_mm**2
            volume[i] += inside.reshape(n_y, PARTS, n_x, PARTS).mean(axis=(1, 3))
    return volume * np.float32(VALUE_PER_MM / PARTS)


def _lines(
    geometry: ParallelBeam | ConeBeam | Helix,
    centre_mm: np.ndarray,
    radius_mm: float,
    *,
    flat: bool,
) -> np.ndarray:
    """Exact integrals along the rays through the columns' centres, (view, row, column) float32."""
    vectors = geometry.to_vectors()
    columns = np.arange(vectors.n_columns) - (vectors.n_columns - 1) / 2
    rows = np.arange(vectors.n_rows) - (vectors.n_rows - 1) / 2
    lines = np.empty((vectors.n_views, vectors.n_rows, vectors.n_columns), np.float32)
    for view in range(vectors.n_views):
        places = np.array(vectors.detectors_mm[view])
        places = places + rows[:, None, None] * np.array(vectors.row_steps_mm[view])
        places = places + columns[:, None] * np.array(vectors.column_steps_mm[view])
        source = np.array(vectors.sources_mm[view])
        ahead = np.broadcast_to(source, places.shape) if vectors.parallel else places - source
        ahead = ahead / np.linalg.norm(ahead, axis=-1, keepdims=True)
        away = places - centre_mm
        if flat:
            away[..., 2] = 0
        nearest = (away**2).sum(-1) - (away * ahead).sum(-1) ** 2
        lines[view] = 2 * VALUE_PER_MM * np.sqrt(np.clip(radius_mm**2 - nearest, 0, None))
    return lines


def phantom_error(contender: Contender, volume: np.ndarray, exact: np.ndarray) -> float:
    """|A x - exact| / |exact| for the phantom.

    The outermost detector rows are left out: itk-rtk may drop rays along a volume's very border.
    """
    found = contender.lines_out(contender.forward(contender.volume_in(volume)))
    inner = slice(1, -1) if exact.shape[1] > 2 else slice(None)
    found, exact = found[:, inner].astype(np.float64), exact[:, inner].astype(np.float64)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


def adjoint_error(contender: Contender, y: np.ndarray) -> float:
    """|<A x, y> - <x, B y>| / |B y|^2 with x = B y, 0 where B is the adjoint of A."""
    back = np.ascontiguousarray(contender.volume_out(contender.back(contender.lines_in(y))))
    lines = contender.lines_out(contender.forward(contender.volume_in(back)))
    right = (back.astype(np.float64) ** 2).sum()
    return float(abs((lines.astype(np.float64) * y).sum() - right) / right)
