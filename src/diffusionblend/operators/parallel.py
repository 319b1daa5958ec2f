"""The parallel-beam X-ray transform as a sparse matrix shared by all slices.

Rays by Joseph's method (Joseph 1982, IEEE TMI 1(3)): a ray advances row by row or column by column,
whichever it crosses more steeply, and reads the slice by linear interpolation in between.
"""

from __future__ import annotations

import math
import warnings
from copy import copy

import numpy as np
import torch

from diffusionblend.geometry import ParallelBeam
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.volume import Grid


class ParallelBeamTransform(LinearOperator):
    """A: volume (z, y, x) in 1/mm to line integrals (view, row, bin), slice by slice.

    geometry, grid: what is measured; row r of the detector sees slice r. A and its exact adjoint
    are both kept as CSR matrices of (views * bins) by (y * x). `scale` multiplies every length:
    with 1 / pixel_mm the result is in pixels, as the solvers like it.
    """

    def __init__(
        self,
        geometry: ParallelBeam,
        grid: Grid,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        scale: float = 1.0,
    ) -> None:
        self.geometry, self.grid = geometry, grid
        self.domain_shape = grid.shape
        self.range_shape = (geometry.n_views, grid.shape[0], geometry.n_bins)
        rows, columns, weights = joseph_weights(geometry, grid)
        n_rays, n_pixels = geometry.n_views * geometry.n_bins, math.prod(grid.in_plane_shape)
        options = {"dtype": dtype, "device": device}
        weights = weights * scale
        self.matrix = csr_matrix(rows, columns, weights, (n_rays, n_pixels), **options)
        self.transposed = csr_matrix(columns, rows, weights, (n_pixels, n_rays), **options)

    def with_slices(self, n_slices: int) -> ParallelBeamTransform:
        """The same transform for another number of slices; the matrices are shared."""
        other = copy(self)
        other.grid = self.grid.with_slices(n_slices)
        other.domain_shape = other.grid.shape
        other.range_shape = (self.range_shape[0], n_slices, self.range_shape[2])
        return other

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        views, slices, bins = self.range_shape
        lines = self.matrix @ x.reshape(slices, -1).T.contiguous()
        return lines.reshape(views, bins, slices).transpose(1, 2).contiguous()

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        views, slices, bins = self.range_shape
        lines = y.transpose(1, 2).reshape(views * bins, slices).contiguous()
        return (self.transposed @ lines).T.reshape(self.domain_shape).contiguous()


def joseph_weights(geometry: ParallelBeam, grid: Grid) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rays, pixels and weights in mm of the entries of A for one slice, each of shape (entries,).

    Ray v * n_bins + b is bin b of view v; pixel r * n_columns + c is row r, column c.
    """
    n_y, n_x = grid.in_plane_shape
    _, spacing_y, spacing_x = grid.spacing_mm
    x_mm = (np.arange(n_x) - (n_x - 1) / 2) * spacing_x
    y_mm = (np.arange(n_y) - (n_y - 1) / 2) * spacing_y
    p = geometry.bin_positions_mm[:, None]
    entries = []
    for view, angle in enumerate(geometry.angles_rad):
        c, s = math.cos(angle), math.sin(angle)
        along_rows = abs(c) * spacing_x >= abs(s) * spacing_y
        if along_rows:
            crossing = ((p - y_mm * s) / c) / spacing_x + (n_x - 1) / 2
            step_mm, n_across = spacing_y / abs(c), n_x
        else:
            crossing = ((p - x_mm * c) / s) / spacing_y + (n_y - 1) / 2
            step_mm, n_across = spacing_x / abs(s), n_y
        low = np.floor(crossing).astype(np.int64)
        fraction = crossing - low
        ray, line = np.indices(crossing.shape)
        for across, weight in ((low, 1 - fraction), (low + 1, fraction)):
            inside = (across >= 0) & (across < n_across) & (weight > 0)
            row, column = (line, across) if along_rows else (across, line)
            pixel = row * n_x + column
            rays = view * geometry.n_bins + ray
            entries.append((rays[inside], pixel[inside], weight[inside] * step_mm))
    return tuple(np.concatenate(parts) for parts in zip(*entries, strict=True))


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
    matrix.sum_duplicates()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
        return torch.sparse_csr_tensor(
            torch.from_numpy(matrix.indptr.astype(np.int32)),
            torch.from_numpy(matrix.indices.astype(np.int32)),
            torch.from_numpy(matrix.data).to(dtype),
            size=shape,
            device=device,
            check_invariants=False,
        )
