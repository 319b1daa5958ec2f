"""An operator whose data are weighed."""

from __future__ import annotations

import torch

from diffusionblend.operators.linear import LinearOperator


class WeightedOperator(LinearOperator):
    """W^(1/2) A for a diagonal W: least squares in it are least squares in A weighted by W.

    operator: A. weights: the diagonal of W, not below 0, of A's range_shape or broadcast to it.
    """

    def __init__(self, operator: LinearOperator, weights: torch.Tensor) -> None:
        self.operator, self.roots = operator, weights.sqrt()
        self.domain_shape, self.range_shape = operator.domain_shape, operator.range_shape
        self.device, self.dtype = operator.device, operator.dtype

    def of_data(self, y: torch.Tensor) -> torch.Tensor:
        """W^(1/2) y of data for A, the data for this operator."""
        return self.roots.to(y) * y

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.of_data(self.operator.forward(x))

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.operator.adjoint(self.of_data(y))

    def _on(self, device: torch.device) -> WeightedOperator:
        return WeightedOperator(self.operator.to(device), self.roots.square().to(device))
