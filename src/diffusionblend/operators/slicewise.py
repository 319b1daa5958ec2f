"""X-ray transforms whose slices are independent: everything but the equations of their rays.

The rays of one slice serve all: computed on the fly, or as a sparse matrix where that is faster.
Both have the same weights.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Self

import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import FanBeam, ParallelBeam
from diffusionblend.geometry.checks import check_sources
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.kernels.devices import gpu_kernels
from diffusionblend.operators.kernels.planes import back_project, project
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.rays import PlaneRays, plane_rays
from diffusionblend.operators.sparse import matrix_bytes, ray_matrix, torch_csr

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MATRIX, RAYS = "matrix", "rays"
MATRIX_LIMIT_BYTES = {"cpu": 1 << 20, "cuda": 1 << 30}
"""A and A* of a slice together are matrices up to this size: on the CPU where they stay in its
cache (rays on the fly are faster beyond), on a GPU where they fit. Making them takes half more."""


class SlicewiseTransform(LinearOperator):
    """A: volume (z, y, x) in 1/mm to line integrals (view, row, bin), slice by slice.

    geometry, grid: what is measured; row r of the detector sees slice r. `scale` multiplies every
    length: with 1 / pixel_mm the result is in pixels, as the solvers like it. storage: "matrix"
    keeps A and its exact adjoint as CSR matrices of (views * bins) by (y * x) in dtype; "rays"
    computes both as they are used, in the data's dtype, on the CPU or, where Triton is installed,
    on the data's GPU; None takes the matrix up to MATRIX_LIMIT_BYTES of the device. Raises
    InputError where the source lies inside the volume.
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
        self.scale, self.dtype, self.device = scale, dtype, torch.device(device)
        self.matrix_bytes = matrix_bytes(rays, dtype)
        limit = MATRIX_LIMIT_BYTES["cpu" if self.device.type == "cpu" else "cuda"]
        self.storage = storage or (MATRIX if self.matrix_bytes <= limit else RAYS)
        self._table = rays.table(scale) if self.storage == RAYS else None
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
        """How the rays are held, in a few words: for reports."""
        size = f"{self.matrix_bytes / 1e9:.2g} GB"
        if self.storage == MATRIX:
            return f"sparse matrix of up to {size}"
        return f"rays on the fly (their matrix would take up to {size})"

    def with_slices(self, n_slices: int) -> Self:
        """The same transform for another number of slices; what it holds is shared."""
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
        return (self._made["A*"] @ lines).T.reshape(self.domain_shape).contiguous()

    def _forward_by_rays(self, x: torch.Tensor) -> torch.Tensor:
        views, slices, bins = self.range_shape
        kernels = gpu_kernels(x)
        if kernels is None:
            volume = x.detach().cpu().contiguous().numpy()
            return torch.from_numpy(project(volume, self._table, views)).to(x.device)
        pixels = x.detach().reshape(slices, -1).T.contiguous()
        table = self._table_on(x.device)
        lines = kernels.project_slices(pixels, table, *self.grid.in_plane_shape)
        return lines.reshape(views, bins, slices).transpose(1, 2).contiguous()

    def _adjoint_by_rays(self, y: torch.Tensor) -> torch.Tensor:
        views, slices, bins = self.range_shape
        shape = self.grid.in_plane_shape
        kernels = gpu_kernels(y)
        if kernels is None:
            values = y.detach().cpu().contiguous().numpy()
            return torch.from_numpy(back_project(values, self._table, shape)).to(y.device)
        lines = y.detach().transpose(1, 2).reshape(views * bins, slices).contiguous()
        pixels = kernels.back_project_slices(lines, self._table_on(y.device), *shape)
        return pixels.T.reshape(self.domain_shape).contiguous()

    def _table_on(self, device: torch.device) -> torch.Tensor:
        """The table of rays on a device, copied there once."""
        if device not in self._made:
            self._made[device] = torch.from_numpy(self._table).to(device)
        return self._made[device]

    def _scipy_matrix(self, rays: PlaneRays) -> csr_array:
        return ray_matrix(rays, self.grid.in_plane_shape, self.scale, self.dtype)

    def _on_torch(self, matrix: csr_array) -> torch.Tensor:
        return torch_csr(matrix, dtype=self.dtype, device=self.device)
