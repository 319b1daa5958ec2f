"""An X-ray transform without some of its rays, such as those through metal."""

from __future__ import annotations

import torch

from diffusionblend.errors import InputError
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.xray import XRayTransform


class MaskedTransform(LinearOperator):
    """M A for an X-ray transform A: rays that do not count read 0, and give nothing back.

    measured: which rays count, (view, row, column), 1 or 0. Since each slice has rays of its own,
    slices count as coupled, also where A does not couple them. Raises InputError for another shape.
    """

    couples_slices = True

    def __init__(self, operator: XRayTransform, measured: torch.Tensor) -> None:
        if tuple(measured.shape) != tuple(operator.range_shape):
            raise InputError(
                f"The rays that count have shape {tuple(measured.shape)}.",
                f"{tuple(operator.range_shape)}, as the projections",
            )
        self.operator, self.grid, self.scale = operator, operator.grid, operator.scale
        self.geometry = operator.geometry
        self.device, self.dtype = operator.device, operator.dtype
        self.measured = measured.to(operator.device, operator.dtype)
        self.domain_shape, self.range_shape = operator.domain_shape, operator.range_shape

    @property
    def description(self) -> str:
        """How the rays are kept, in a few words."""
        return f"{self.operator.description}, some of them left out"

    def with_slices(self, n_slices: int) -> MaskedTransform:
        """Itself, for its own number of slices; raises InputError for another."""
        if n_slices != self.domain_shape[0]:
            raise InputError(
                f"{self.domain_shape[0]} slices with rays of their own were asked for as "
                f"{n_slices}.",
                "the whole volume",
            )
        return self

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.measured * self.operator.forward(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.operator.adjoint(self.measured * y)

    def _on(self, device: torch.device) -> MaskedTransform:
        return MaskedTransform(self.operator._on(device), self.measured.to(device))
