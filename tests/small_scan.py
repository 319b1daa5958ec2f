"""A small scan of random tissue, simulated in numpy from the dense matrix of the operator."""

from __future__ import annotations

import numpy as np

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.sparse import joseph_weights

MU_WATER = 0.0193


def small_volume(shape: tuple[int, int, int] = (5, 16, 16), pixel_mm: float = 2.5) -> Volume:
    """Tissue between -900 and 900 HU inside a disc, air around it."""
    rng = np.random.default_rng(3)
    grid = Grid(shape=shape, spacing_mm=(4.0, pixel_mm, pixel_mm))
    y, x = (np.arange(n) - (n - 1) / 2 for n in shape[1:])
    inside = x[None] ** 2 + y[:, None] ** 2 < (0.45 * min(shape[1:])) ** 2
    blobs = np.kron(
        rng.uniform(-900, 900, (shape[0], -(-shape[1] // 4), -(-shape[2] // 4))), np.ones((1, 4, 4))
    )[:, : shape[1], : shape[2]]
    return Volume(np.where(inside, blobs, -1000.0), grid)


def dense_system(geometry: ParallelBeam, grid: Grid) -> np.ndarray:
    """A of one slice in mm, float64, shape (views * columns, y * x)."""
    rays, pixels, weights = joseph_weights(geometry, grid)
    n_pixels = grid.shape[1] * grid.shape[2]
    dense = np.zeros((geometry.n_views * geometry.n_columns, n_pixels))
    np.add.at(dense, (rays, pixels), weights)
    return dense


def scan(volume: Volume, n_views: int = 6) -> Projections:
    """Noiseless projections of a volume, by the dense matrix."""
    geometry = ParallelBeam.fitting(volume.grid, n_views)
    mu = MU_WATER * (1 + volume.values.astype(np.float64) / 1000)
    lines = dense_system(geometry, volume.grid) @ mu.reshape(len(mu), -1).T
    values = lines.reshape(n_views, geometry.n_columns, -1).transpose(0, 2, 1)
    return Projections(values, geometry, volume.grid, MU_WATER)


def residual_by_hand(projections: Projections, hu: np.ndarray) -> float:
    """|A mu - y| / |y| of a volume in HU, in float64."""
    mu = MU_WATER * (1 + hu.astype(np.float64) / 1000)
    dense = dense_system(projections.geometry, projections.grid)
    lines = (dense @ mu.reshape(len(mu), -1).T).reshape(*_views_and_columns(projections), -1)
    y = projections.values.astype(np.float64)
    return float(np.linalg.norm(lines.transpose(0, 2, 1) - y) / np.linalg.norm(y))


def _views_and_columns(projections: Projections) -> tuple[int, int]:
    return projections.geometry.n_views, projections.geometry.n_columns
