"""X-ray transforms whose slices are independent: everything but the equations of their rays.

The rays of one slice serve all: as a sparse matrix, or computed on the fly where that would take
too much memory. Both have the same weights.
"""

from __future__ import annotations

from copy import copy
from typing import Self

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, ParallelBeam
from diffusionblend.geometry.coverage import check_sources
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.rays import plane_rays
from diffusionblend.operators.sparse import matrix_bytes, ray_matrix, torch_csr
from diffusionblend.operators.threads import in_parts
from diffusionblend.volume import Grid

MATRIX, RAYS = "matrix", "rays"
MATRIX_LIMIT_BYTES = 1 << 30
"""A and A* of a slice are matrices up to this size together; making them takes half more."""
SLICES_AT_ONCE = 64
"""Slices that the on-the-fly kernels carry through each ray: a few cache lines."""


class SlicewiseTransform(LinearOperator):
    """A: volume (z, y, x) in 1/mm to line integrals (view, row, bin), slice by slice.

    geometry, grid: what is measured; row r of the detector sees slice r. `scale` multiplies every
    length: with 1 / pixel_mm the result is in pixels, as the solvers like it. storage: "matrix"
    keeps A and its exact adjoint as CSR matrices of (views * bins) by (y * x); "rays" computes both
    as they are used, on the CPU; None takes the matrix up to MATRIX_LIMIT_BYTES. Raises InputError
    where the source lies inside the volume.
    """

    couples_slices = False

    def __init__(
        self,
        geometry: ParallelBeam | FanBeam,
        grid: Grid,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        scale: float = 1.0,
        storage: str | None = None,
    ) -> None:
        check_sources(geometry, grid)
        if storage not in (MATRIX, RAYS, None):
            raise InputError(f"The storage is {storage!r}.", f"{MATRIX!r}, {RAYS!r} or None")
        self.geometry, self.grid = geometry, grid
        self.domain_shape = grid.shape
        self.range_shape = (geometry.n_views, grid.shape[0], geometry.n_bins)
        rays = plane_rays(geometry, grid)
        self.matrix_bytes = matrix_bytes(rays, dtype)
        small = self.matrix_bytes <= MATRIX_LIMIT_BYTES
        self.storage = storage or (MATRIX if small else RAYS)
        if self.storage == MATRIX:
            matrix = ray_matrix(rays, grid.in_plane_shape, scale, dtype)
            options = {"dtype": dtype, "device": device}
            self.matrix = torch_csr(matrix, **options)
            self.transposed = torch_csr(matrix.T.tocsr(), **options)
        else:
            self.table = rays.table(scale)

    @property
    def description(self) -> str:
        """How the rays are held, in a few words: for reports."""
        size = f"{self.matrix_bytes / 1e9:.2g} GB"
        if self.storage == MATRIX:
            return f"sparse matrix of up to {size}"
        return f"rays on the fly (their matrix would take up to {size})"

    def with_slices(self, n_slices: int) -> Self:
        """The same transform for another number of slices; the matrices are shared."""
        other = copy(self)
        other.grid = self.grid.with_slices(n_slices)
        other.domain_shape = other.grid.shape
        other.range_shape = (self.range_shape[0], n_slices, self.range_shape[2])
        return other

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        views, slices, bins = self.range_shape
        if self.storage == RAYS:
            return self._forward_by_rays(x)
        lines = self.matrix @ x.reshape(slices, -1).T.contiguous()
        return lines.reshape(views, bins, slices).transpose(1, 2).contiguous()

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        views, slices, bins = self.range_shape
        if self.storage == RAYS:
            return self._adjoint_by_rays(y)
        lines = y.transpose(1, 2).reshape(views * bins, slices).contiguous()
        return (self.transposed @ lines).T.reshape(self.domain_shape).contiguous()

    def _forward_by_rays(self, x: torch.Tensor) -> torch.Tensor:
        """A x, every thread with rays of its own."""
        from diffusionblend.operators import kernels_cpu

        views, slices, bins = self.range_shape
        shape = self.grid.in_plane_shape
        out = torch.empty(self.range_shape, dtype=x.dtype)
        for first in range(0, slices, SLICES_AT_ONCE):
            part = slice(first, first + SLICES_AT_ONCE)
            pixels = x[part].detach().cpu().reshape(-1, shape[0] * shape[1]).T.contiguous().numpy()
            lines = np.empty((views * bins, pixels.shape[1]), pixels.dtype)
            in_parts(kernels_cpu.project_slices, views * bins, self.table, pixels, *shape, lines)
            out[:, part] = torch.from_numpy(lines).reshape(views, bins, -1).transpose(1, 2)
        return out.to(x.device)

    def _adjoint_by_rays(self, y: torch.Tensor) -> torch.Tensor:
        """A* y, every thread with rows, then with columns, of its own: sums in a fixed order."""
        from diffusionblend.operators import kernels_cpu

        views, slices, bins = self.range_shape
        n_y, n_x = self.grid.in_plane_shape
        out = torch.empty(self.domain_shape, dtype=y.dtype)
        for first in range(0, slices, SLICES_AT_ONCE):
            part = slice(first, first + SLICES_AT_ONCE)
            lines = y[:, part].detach().cpu().transpose(1, 2).reshape(views * bins, -1)
            lines = lines.contiguous().numpy()
            pixels = np.zeros((n_y * n_x, lines.shape[1]), lines.dtype)
            for along_rows, n_lines in ((True, n_y), (False, n_x)):
                arguments = (self.table, along_rows, lines, n_y, n_x, pixels)
                in_parts(kernels_cpu.back_project_slices, n_lines, *arguments)
            out[part] = torch.from_numpy(pixels).T.reshape(-1, n_y, n_x)
        return out.to(y.device)
