"""The X-ray transform of any geometry."""

from __future__ import annotations

from copy import copy
from typing import Self

import torch

from diffusionblend.errors import InputError, check_kind
from diffusionblend.geometry import Geometry, check_scan
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators.linear import LinearOperator, known_device
from diffusionblend.operators.panels import PanelRays
from diffusionblend.operators.slicewise import SliceRays

PRECISIONS = (torch.float32, torch.float64)
DEVICES = ("cpu", "cuda")


class XRayTransform(LinearOperator):
    """A: volume (z, y, x) in 1/mm to line integrals (view, row, column), with its exact adjoint.

    geometry, grid: what is measured, the grid centred on the geometry's origin. device, dtype:
    where and in what precision (float32 or float64) it computes. scale: multiplies every length;
    with 1 / pixel_mm the result is in pixels, as the solvers like it. storage: how rays are kept,
    "matrix" or "rays" where slices are independent, "columns" or "rays" where they are coupled; the
    fastest by default. Rays are discretised by Joseph's method (Joseph 1982, IEEE TMI 1(3)).
    Warns of a detector that does not see all of the volume. Raises InputError where a source lies
    inside the volume, and for a device, dtype or storage that it cannot have.
    """

    def __init__(
        self,
        geometry: Geometry,
        grid: Grid,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        scale: float = 1.0,
        *,
        storage: str | None = None,
    ) -> None:
        check_kind(geometry, Geometry, "The geometry of an XRayTransform")
        check_kind(grid, Grid, "The grid of an XRayTransform")
        if dtype not in PRECISIONS:
            raise InputError(f"The dtype is {dtype}.", "torch.float32 or torch.float64")
        kind = PanelRays if geometry.couples_slices else SliceRays
        if storage is not None and storage not in kind.storages:
            raise InputError(
                f"The storage of a {type(geometry).__name__} is {storage!r}.",
                f"{' or '.join(map(repr, kind.storages))}, or None",
            )
        check_scan(geometry, grid)
        self.geometry, self.grid, self.scale = geometry, grid, scale
        self.dtype = self._precision = dtype
        self._asked = storage
        self._trace(known_device(device))

    def _trace(self, device: torch.device) -> None:
        """Make the rays, for a device."""
        if device.type not in DEVICES:
            raise InputError(f"The device is {str(device)!r}.", "'cpu', 'cuda' or 'cuda:N'")
        self.device = device
        self._rays: PanelRays | SliceRays
        if self.geometry.couples_slices:
            self._rays = PanelRays(self.geometry, self.grid, scale=self.scale, storage=self._asked)
        else:
            self._rays = SliceRays(
                self.geometry,
                self.grid,
                device=device,
                dtype=self._precision,
                scale=self.scale,
                storage=self._asked,
            )
        self.domain_shape, self.range_shape = self.grid.shape, self._rays.shape

    @property
    def couples_slices(self) -> bool:
        """Whether rays pass from slice to slice."""
        return self.geometry.couples_slices

    @property
    def storage(self) -> str:
        """How the rays are kept: "matrix", "columns" or "rays"."""
        return self._rays.storage

    @property
    def matrix(self) -> torch.Tensor:
        """A of one slice as a CSR matrix (views * columns, y * x), made when it is first asked for.

        Raises InputError where slices are coupled.
        """
        return self._rays.matrix

    @property
    def description(self) -> str:
        """How the rays are kept, in a few words: for reports."""
        return self._rays.description

    @property
    def held_bytes(self) -> int:
        """Bytes of what is kept between calls: matrices, a table of rays, or sources and panels."""
        return self._rays.held_bytes

    def with_slices(self, n_slices: int) -> Self:
        """The same transform for another number of slices, sharing its rays.

        Raises InputError where slices are coupled and another number is asked for.
        """
        rays = self._rays.with_slices(n_slices)
        if rays is self._rays:
            return self
        other = copy(self)
        other._rays, other.grid = rays, rays.grid
        other.domain_shape, other.range_shape = rays.grid.shape, rays.shape
        return other

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._rays.forward(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self._rays.adjoint(y)

    def _on(self, device: torch.device) -> XRayTransform:
        other = copy(self)
        other._trace(device)
        return other

    def _facts(self) -> str:
        precision = str(self.dtype).removeprefix("torch.")
        name = f"{type(self.geometry).__name__} of {self.geometry.n_views} views"
        return f"{name}, {super()._facts()}, {self.device}, {precision}"
