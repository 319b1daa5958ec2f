"""Sparse matrices on torch, and the matrix of a slice's rays."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch

from diffusionblend.geometry import Geometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.rays import PlaneRays, plane_rays

if TYPE_CHECKING:
    from scipy.sparse import csr_array

BLOCK_ENTRIES = 1 << 22
"""Lines of rays whose entries are computed together: some 200 MB of passing arrays."""
INDEX_BYTES = 4

Entries = tuple[np.ndarray, np.ndarray, np.ndarray]


def joseph_weights(geometry: Geometry, grid: Grid) -> Entries:
    """Rays, pixels and weights in mm of the entries of A for one slice, each of shape (entries,).

    Ray v * n_columns + b is column b of view v; pixel r * n_columns + c is row r, column c.
    """
    rays = plane_rays(geometry, grid)
    return ray_entries(rays, slice(0, len(rays.start)), grid.in_plane_shape)


def ray_entries(rays: PlaneRays, part: slice, shape: tuple[int, int]) -> Entries:
    """Rays (from the first of `part` on), pixels and weights in mm, each of shape (entries,)."""
    n_y, n_x = shape
    numbers = np.arange(part.start, part.stop)
    entries = []
    for along_rows in (True, False):
        chosen = numbers[rays.along_rows[part] == along_rows]
        n_lines, n_across = (n_y, n_x) if along_rows else (n_x, n_y)
        line = np.arange(n_lines)
        crossing = rays.start[chosen, None] + rays.slope[chosen, None] * line
        met = (line >= rays.first[chosen, None]) & (line < rays.last[chosen, None])
        low = np.floor(np.where(met, crossing, -2.0)).astype(np.int64)
        fraction = crossing - low
        for across, weight in ((low, 1 - fraction), (low + 1, fraction)):
            inside = met & (across >= 0) & (across < n_across) & (weight > 0)
            ray, at = np.nonzero(inside)
            place = across[inside]
            pixel = at * n_x + place if along_rows else place * n_x + at
            weights = weight[inside] * rays.step_mm[chosen[ray]]
            entries.append((chosen[ray] - part.start, pixel, weights))
    numbered, pixels, weighed = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    return numbered, pixels, weighed


def ray_matrix(
    rays: PlaneRays, shape: tuple[int, int], scale: float, dtype: torch.dtype
) -> csr_array:
    """A of one slice, (rays, pixels), lengths multiplied by scale, made block by block."""
    from scipy.sparse import coo_array, vstack

    n_rays, n_pixels = len(rays.start), shape[0] * shape[1]
    block = max(1, BLOCK_ENTRIES // max(shape))
    kind = torch.empty(0, dtype=dtype).numpy().dtype
    blocks = []
    for first in range(0, n_rays, block):
        part = slice(first, min(first + block, n_rays))
        rows, columns, weights = ray_entries(rays, part, shape)
        values = (weights * scale).astype(kind)
        size = (part.stop - part.start, n_pixels)
        indices = (rows.astype(np.int32), columns.astype(np.int32))
        blocks.append(coo_array((values, indices), shape=size).tocsr())
    return vstack(blocks, format="csr")


def matrix_bytes(rays: PlaneRays, dtype: torch.dtype) -> int:
    """Bytes that A and A* of a slice take at most, by the lines that rays meet."""
    return 2 * rays.most_entries * (INDEX_BYTES + dtype.itemsize)


def csr_matrix(
    rows: np.ndarray,
    columns: np.ndarray,
    values: np.ndarray,
    shape: tuple[int, int],
    *,
    dtype: torch.dtype,
    device: torch.device | str,
) -> torch.Tensor:
    """A torch CSR matrix from its entries; entries of the same place are added."""
    from scipy.sparse import coo_array

    matrix = coo_array((values, (rows, columns)), shape=shape).tocsr()
    return torch_csr(matrix, dtype=dtype, device=device)


def torch_csr(matrix: csr_array, *, dtype: torch.dtype, device: torch.device | str) -> torch.Tensor:
    """A scipy CSR matrix on torch."""
    matrix.sum_duplicates()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data).to(dtype),
            size=matrix.shape,
            device=device,
            check_invariants=False,
        )
