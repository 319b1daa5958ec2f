"""Rays of slices that are independent: the rays of one slice serve all.

They are computed on the fly, or kept as a sparse matrix where that is faster. Both have the same
weights.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from diffusionblend.geometry import Geometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.kernels.devices import gpu_kernels
from diffusionblend.operators.kernels.planes import back_project, project
from diffusionblend.operators.rays import PlaneRays, plane_rays
from diffusionblend.operators.sparse import matrix_bytes, ray_matrix, torch_csr

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MATRIX, RAYS = "matrix", "rays"
MATRIX_LIMIT_BYTES = {"cpu": 1 << 20, "cuda": 1 << 30}
"""A and A* of a slice together are matrices up to this size: on the CPU where they stay in its
cache (rays on the fly are faster beyond), on a GPU where they fit. Making them takes half more."""


class SliceRays:
    """How an X-ray transform whose geometry leaves slices independent computes A and A*.

    Row r of the detector sees slice r. `scale` multiplies every length. storage: "matrix" keeps A
    and its exact adjoint as CSR matrices of (views * columns) by (y * x) in dtype on the device;
    "rays" computes both as they are used, in the data's dtype, on the CPU or, where Triton is
    installed, on the data's GPU; None takes the matrix up to MATRIX_LIMIT_BYTES of the device.
    """

    storages = (MATRIX, RAYS)

    def __init__(
        self,
        geometry: Geometry,
        grid: Grid,
        *,
        device: torch.device,
        dtype: torch.dtype,
        scale: float,
        storage: str | None,
    ) -> None:
        self.geometry, self.grid = geometry, grid
        self.scale, self.dtype, self.device = scale, dtype, device
        self.shape = (geometry.n_views, grid.shape[0], geometry.n_columns)
        rays = plane_rays(geometry, grid)
        self.matrix_bytes = matrix_bytes(rays, dtype)
        limit = MATRIX_LIMIT_BYTES["cpu" if device.type == "cpu" else "cuda"]
        self.storage = storage or (MATRIX if self.matrix_bytes <= limit else RAYS)
        self._table = rays.table(scale) if self.storage == RAYS else np.empty(0)
        self._made: dict[str | torch.device, torch.Tensor] = {}
        if self.storage == MATRIX:
            matrix = self._scipy_matrix(rays)
            self._made["A"] = self._on_torch(matrix)
            self._made["A*"] = self._on_torch(matrix.T.tocsr())

    @property
    def matrix(self) -> torch.Tensor:
        """A of one slice in CSR; of rays on the fly made when it is first asked for."""
        if "A" not in self._made:
            rays = plane_rays(self.geometry, self.grid)
            self._made["A"] = self._on_torch(self._scipy_matrix(rays))
        return self._made["A"]

    @property
    def description(self) -> str:
        """How the rays are kept, in a few words: for reports."""
        size = f"{self.matrix_bytes / 1e9:.2g} GB"
        if self.storage == MATRIX:
            return f"sparse matrix of up to {size}"
        return f"rays on the fly (their matrix would take up to {size})"

    @property
    def held_bytes(self) -> int:
        """Bytes of what is kept: the matrices, or the table of rays."""
        total = self._table.nbytes
        for kept in self._made.values():
            parts: tuple[torch.Tensor, ...] = (kept,)
            if kept.layout == torch.sparse_csr:
                parts = (kept.values(), kept.col_indices(), kept.crow_indices())
            total += sum(part.numel() * part.element_size() for part in parts)
        return total

    def with_slices(self, n_slices: int) -> Self:
        """The same rays for another number of slices; what it holds is shared."""
        other = copy(self)
        other.grid = self.grid.with_slices(n_slices)
        other.shape = (self.shape[0], n_slices, self.shape[2])
        return other

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Line integrals (view, row, column) of a volume (z, y, x)."""
        views, slices, columns = self.shape
        if self.storage == RAYS:
            return self._forward_by_rays(x)
        lines = self.matrix @ x.reshape(slices, -1).T.contiguous()
        return lines.reshape(views, columns, slices).transpose(1, 2).contiguous()

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """The adjoint's volume (z, y, x) of line integrals (view, row, column)."""
        views, slices, columns = self.shape
        if self.storage == RAYS:
            return self._adjoint_by_rays(y)
        lines = y.transpose(1, 2).reshape(views * columns, slices).contiguous()
        return (self._made["A*"] @ lines).T.reshape(self.grid.shape).contiguous()

    def _forward_by_rays(self, x: torch.Tensor) -> torch.Tensor:
        views, slices, columns = self.shape
        kernels = gpu_kernels(x)
        if kernels is None:
            volume = x.detach().cpu().contiguous().numpy()
            return torch.from_numpy(project(volume, self._table, views)).to(x.device)
        pixels = x.detach().reshape(slices, -1).T.contiguous()
        table = self._table_on(x.device)
        lines = kernels.project_slices(pixels, table, *self.grid.in_plane_shape)
        return lines.reshape(views, columns, slices).transpose(1, 2).contiguous()

    def _adjoint_by_rays(self, y: torch.Tensor) -> torch.Tensor:
        views, slices, columns = self.shape
        shape = self.grid.in_plane_shape
        kernels = gpu_kernels(y)
        if kernels is None:
            values = y.detach().cpu().contiguous().numpy()
            return torch.from_numpy(back_project(values, self._table, shape)).to(y.device)
        lines = y.detach().transpose(1, 2).reshape(views * columns, slices).contiguous()
        pixels = kernels.back_project_slices(lines, self._table_on(y.device), *shape)
        return pixels.T.reshape(self.grid.shape).contiguous()

    def _table_on(self, device: torch.device) -> torch.Tensor:
        """The table of rays on a device, copied there once."""
        if device not in self._made:
            self._made[device] = torch.from_numpy(self._table).to(device)
        return self._made[device]

    def _scipy_matrix(self, rays: PlaneRays) -> csr_array:
        return ray_matrix(rays, self.grid.in_plane_shape, self.scale, self.dtype)

    def _on_torch(self, matrix: csr_array) -> torch.Tensor:
        return torch_csr(matrix, dtype=self.dtype, device=self.device)
