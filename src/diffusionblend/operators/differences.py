"""Forward finite differences along the three axes of a volume."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from diffusionblend.errors import InputError
from diffusionblend.operators.linear import LinearOperator


class FiniteDifferences(LinearOperator):
    """Forward differences of a volume (z, y, x) to (3, z, y, x), zero at the far end of each axis.

    Neighbouring voxels are taken one apart along every axis, whatever the spacing.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        if not isinstance(shape, tuple | list) or len(shape) != 3:
            raise InputError(
                f"FiniteDifferences was given {shape!r}.",
                "the shape (z, y, x) of a volume",
                "FiniteDifferences(grid.shape)",
            )
        self.domain_shape = tuple(shape)
        self.range_shape = (3, *shape)

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        out = x.new_zeros(self.range_shape)
        for axis in range(3):
            n = x.shape[axis]
            if n > 1:
                difference = out[axis].narrow(axis, 0, n - 1)
                torch.sub(x.narrow(axis, 1, n - 1), x.narrow(axis, 0, n - 1), out=difference)
        return out

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        out = y.new_zeros(self.domain_shape)
        for axis in range(3):
            n = out.shape[axis]
            if n > 1:
                inner = y[axis].narrow(axis, 0, n - 1)
                out.narrow(axis, 1, n - 1).add_(inner)
                out.narrow(axis, 0, n - 1).sub_(inner)
        return out
