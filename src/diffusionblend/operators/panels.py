"""Rays of any sources and panels, on the fly; slices are coupled.

Joseph's method in three dimensions: a ray advances plane by plane along the axis that it crosses
most steeply and reads the volume by bilinear interpolation in between. Forward and adjoint walk the
same rays, so that they have the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import Geometry
from diffusionblend.geometry.grid import Grid
from diffusionblend.geometry.vectors import Panels
from diffusionblend.operators.kernels.devices import gpu_kernels
from diffusionblend.operators.kernels.threads import in_parts

RAYS_AT_ONCE = 1 << 19
"""Rays whose table is held at a time: 32 MiB."""
RAY_COLUMNS = 8
PANELS_AT_ONCE = 256
"""Panels that are looked at together before they are traced."""
COLUMNS, RAYS = "columns", "rays"


class PanelRays:
    """How an X-ray transform whose geometry couples slices computes A and A*, by its vectors.

    `scale` multiplies every length. storage: "columns" computes a whole detector column at a time,
    where the panels' rows run along z and no ray is too steep (`is_upright`), as of every usual
    ConeBeam, with a copy of the volume; "rays" goes ray by ray and holds 32 MiB of them; None takes
    columns where they can be. Positions and sums along a ray are float64; the result has the data's
    precision and device. On the CPU it does not depend on the number of threads. Data on a GPU are
    projected there where Triton is installed (the adjoint's last digit may differ from run to run).
    Raises InputError for another storage, and where vectors and geometry disagree in shape.
    """

    storages = (COLUMNS, RAYS)
    description = "rays on the fly"

    def __init__(
        self, geometry: Geometry, grid: Grid, *, scale: float, storage: str | None
    ) -> None:
        panels = geometry.panels()
        self.grid, self.scale, self.parallel = grid, scale, panels.parallel
        self.traced = (len(panels.places_mm), panels.n_rows, panels.n_columns)
        self.shape = (geometry.n_views, geometry.detector_rows(grid), geometry.n_columns)
        n_views, n_rows, n_columns = self.shape
        if self.traced not in (self.shape, (n_views * n_columns, n_rows, 1)):
            raise InputError(
                f"The vectors of {type(geometry).__name__} have {self.traced} views, rows and "
                "columns.",
                f"{self.shape}, as the geometry itself",
            )
        self._views = views_in_voxels(panels, grid)
        upright = is_upright(self._views, *self.traced[1:], self.parallel)
        if storage == COLUMNS and not upright:
            raise InputError(
                "Whole detector columns were asked for of panels that are tilted or seen steeply.",
                "panels whose rows run along z, and rays closer to the plane than to z",
                f'storage="{RAYS}"',
            )
        self.storage = storage or (COLUMNS if upright else RAYS)

    def with_slices(self, n_slices: int) -> PanelRays:
        """Itself, for its own number of slices; raises InputError for another."""
        if n_slices != self.grid.shape[0]:
            raise InputError(
                f"{self.grid.shape[0]} slices that are measured together were asked for as "
                f"{n_slices}.",
                "the whole volume, whose slices are measured together",
            )
        return self

    @property
    def held_bytes(self) -> int:
        """Bytes of what is kept: sources and panels."""
        return self._views.nbytes

    @property
    def matrix(self) -> torch.Tensor:
        """There is none: raises InputError."""
        raise InputError(
            "The matrix of a slice was asked for, but slices are measured together.",
            "a geometry whose slices are independent, such as a parallel or fan beam",
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Line integrals (view, row, column) of a volume (z, y, x)."""
        lines = self._forward(x)
        if self.traced == self.shape:
            return lines
        n_views, n_rows, n_columns = self.shape
        return lines.reshape(n_views, n_columns, n_rows).transpose(1, 2).contiguous()

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        """Line integrals (panel, row, column) of the panels as they are traced."""
        kernels = gpu_kernels(x)
        if kernels is not None:
            return kernels.project_volume(x, panel=self.traced[1:], **self._rays)
        if self.storage == COLUMNS:
            return self._forward_by_columns(x)
        from diffusionblend.operators.kernels import cpu as kernels_cpu

        volume = x.detach().cpu().contiguous().numpy().reshape(-1)
        lines = np.empty(self.traced, volume.dtype).reshape(-1)
        for first, table in self._tables():
            part = lines[first : first + len(table)]
            arguments = (table, volume, *self.grid.shape, part)
            in_parts(kernels_cpu.project_volume, len(table), *arguments)
        return torch.from_numpy(lines).reshape(self.traced).to(x.device)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """The adjoint's volume (z, y, x) of line integrals (view, row, column)."""
        if self.traced != self.shape:
            y = y.transpose(1, 2).reshape(self.traced).contiguous()
        kernels = gpu_kernels(y)
        if kernels is not None:
            return kernels.back_project_volume(y, shape=self.grid.shape, **self._rays)
        if self.storage == COLUMNS:
            return self._adjoint_by_columns(y)
        from diffusionblend.operators.kernels import cpu as kernels_cpu

        lines = y.detach().cpu().contiguous().numpy().reshape(-1)
        volume = np.zeros(self.grid.shape, lines.dtype).reshape(-1)
        for first, table in self._tables():
            part = lines[first : first + len(table)]
            for axis in np.unique(table[:, 0]).astype(int):
                arguments = (table, axis, part, *self.grid.shape, volume)
                in_parts(kernels_cpu.back_project_volume, self.grid.shape[axis], *arguments)
        return torch.from_numpy(volume).reshape(self.grid.shape).to(y.device)

    def _forward_by_columns(self, x: torch.Tensor) -> torch.Tensor:
        from diffusionblend.operators.kernels import columns as kernels

        volume = x.detach().cpu().permute(1, 2, 0).contiguous().numpy()
        lines = np.empty(self.traced, volume.dtype)
        n_lines = self.traced[0] * self.traced[2]
        in_parts(kernels.project_columns, n_lines, volume, *self._columns, lines)
        return torch.from_numpy(lines).to(x.device)

    def _adjoint_by_columns(self, y: torch.Tensor) -> torch.Tensor:
        from diffusionblend.operators.kernels import columns as kernels

        lines = y.detach().cpu().contiguous().numpy()
        _, n_y, n_x = self.grid.shape
        volume = np.zeros((n_y, n_x, self.grid.shape[0]), lines.dtype)
        for along, n_lines in ((1, n_y), (2, n_x)):
            arguments = (along, lines, *self._columns, volume)
            in_parts(kernels.back_project_columns, n_lines, *arguments)
        return torch.from_numpy(volume).permute(2, 0, 1).contiguous().to(y.device)

    @property
    def _columns(self) -> tuple:
        """What the kernels for upright panels work the rays out from."""
        return self._views, self.parallel, np.array(self.grid.spacing_mm), self.scale

    @property
    def _rays(self) -> dict[str, object]:
        """What the kernels of a GPU work the rays out from."""
        return {
            "views": self._views,
            "spacing_mm": self.grid.spacing_mm,
            "scale": self.scale,
            "parallel": self.parallel,
        }

    def _tables(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first ray, table of rays (ray, 8)) for all rays, some detector rows at a time."""
        from diffusionblend.operators.kernels import cpu as kernels_cpu

        n_panels, n_rows, n_columns = self.traced
        n_lines = n_panels * n_rows
        at_once = max(1, RAYS_AT_ONCE // n_columns)
        for first in range(0, n_lines, at_once):
            n = min(at_once, n_lines - first)
            table = np.empty((n * n_columns, RAY_COLUMNS))
            arguments = (first, self._views, n_rows, n_columns, self.parallel)
            spacing = np.array(self.grid.spacing_mm)
            size = np.array(self.grid.shape)
            in_parts(kernels_cpu.trace, n, *arguments, size, spacing, self.scale, table)
            yield first * n_columns, table


def views_in_voxels(panels: Panels, grid: Grid) -> np.ndarray:
    """Source, panel's middle, column step and row step of every panel in voxels, (panel, 12).

    Each is (z, y, x); places count from the centre of voxel [0, 0, 0].
    """
    places = panels.places_mm[:, :, ::-1] / np.array(grid.spacing_mm)
    centre = (np.array(grid.shape) - 1) / 2
    if not panels.parallel:
        places[:, 0] += centre
    places[:, 1] += centre
    return np.ascontiguousarray(places.reshape(-1, 12))


def is_upright(views: np.ndarray, n_rows: int, n_columns: int, parallel: bool) -> bool:
    """Whether all panels' rows step along z, and no ray advances along z more than across it."""
    if views[:, 10:].any():
        return False
    columns = np.arange(n_columns)[:, None] - (n_columns - 1) / 2
    outermost = (n_rows - 1) / 2
    for first in range(0, len(views), PANELS_AT_ONCE):
        source, middle, u, v = (
            views[first : first + PANELS_AT_ONCE].reshape(-1, 4, 1, 3).swapaxes(0, 1)
        )
        ahead = source if parallel else middle + columns * u - source
        across = np.abs(ahead[..., 1:]).max(axis=-1)
        reach = 0.0 if parallel else outermost * np.abs(v[..., 0])
        if (np.abs(ahead[..., 0]) + reach > across).any():
            return False
    return True
