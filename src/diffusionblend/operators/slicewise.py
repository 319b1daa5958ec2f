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
from diffusionblend.operators.devices import gpu_kernels
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
    as they are used, on the CPU or, where Triton is installed, on the data's GPU; None takes the
    matrix up to MATRIX_LIMIT_BYTES. Raises InputError where the source lies inside the volume.
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
            self._tables: dict[torch.device, torch.Tensor] = {}

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
        """A x; on the CPU every thread has rays of its own."""
        views, slices, bins = self.range_shape
        shape = self.grid.in_plane_shape
        out = torch.empty(self.range_shape, dtype=x.dtype, device=x.device)
        for first in range(0, slices, SLICES_AT_ONCE):
            part = slice(first, first + SLICES_AT_ONCE)
            pixels = x[part].detach().reshape(-1, shape[0] * shape[1]).T.contiguous()
            lines = self._project(pixels, shape)
            out[:, part] = lines.reshape(views, bins, -1).transpose(1, 2)
        return out

    def _adjoint_by_rays(self, y: torch.Tensor) -> torch.Tensor:
        """A* y; on the CPU every thread has rows, then columns, of its own."""
        views, slices, bins = self.range_shape
        shape = self.grid.in_plane_shape
        out = torch.empty(self.domain_shape, dtype=y.dtype, device=y.device)
        for first in range(0, slices, SLICES_AT_ONCE):
            part = slice(first, first + SLICES_AT_ONCE)
            lines = y[:, part].detach().transpose(1, 2).reshape(views * bins, -1).contiguous()
            out[part] = self._back_project(lines, shape).T.reshape(-1, *shape)
        return out

    def _project(self, pixels: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """(pixel, slice) to lines (ray, slice)."""
        kernels = gpu_kernels(pixels)
        if kernels is not None:
            return kernels.project_slices(pixels, self._table_on(pixels.device), *shape)
        from diffusionblend.operators import kernels_cpu

        values = pixels.cpu().numpy()
        lines = np.empty((len(self.table), values.shape[1]), values.dtype)
        in_parts(kernels_cpu.project_slices, len(lines), self.table, values, *shape, lines)
        return torch.from_numpy(lines).to(pixels.device)

    def _back_project(self, lines: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
        """Lines (ray, slice) to (pixel, slice)."""
        kernels = gpu_kernels(lines)
        if kernels is not None:
            return kernels.back_project_slices(lines, self._table_on(lines.device), *shape)
        from diffusionblend.operators import kernels_cpu

        values = lines.cpu().numpy()
        pixels = np.zeros((shape[0] * shape[1], values.shape[1]), values.dtype)
        for along_rows, n_lines in ((True, shape[0]), (False, shape[1])):
            arguments = (self.table, along_rows, values, *shape, pixels)
            in_parts(kernels_cpu.back_project_slices, n_lines, *arguments)
        return torch.from_numpy(pixels).to(lines.device)

    def _table_on(self, device: torch.device) -> torch.Tensor:
        """The table of rays on a device, copied there once."""
        if device not in self._tables:
            self._tables[device] = torch.from_numpy(self.table).to(device)
        return self._tables[device]
