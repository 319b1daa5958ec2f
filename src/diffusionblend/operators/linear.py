"""The interface of every linear operator: forward, exact adjoint, autograd through both."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch

from diffusionblend.errors import InputError


class LinearOperator(ABC):
    """A linear map from arrays of `domain_shape` to arrays of `range_shape`.

    A subclass writes `_forward` and `_adjoint`; gradients of any order flow through `forward` and
    `adjoint`, each being the other's derivative.
    """

    domain_shape: tuple[int, ...]
    range_shape: tuple[int, ...]

    @abstractmethod
    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        """A x for x of domain_shape."""

    @abstractmethod
    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """A* y for y of range_shape."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """A x, domain_shape to range_shape, differentiable. Raises InputError on another shape."""
        self._check(x, self.domain_shape, "forward")
        return _Linear.apply(x, self._forward, self._adjoint)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """A* y, range_shape to domain_shape, differentiable. Raises InputError on another shape."""
        self._check(y, self.range_shape, "adjoint")
        return _Linear.apply(y, self._adjoint, self._forward)

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """A* A x, domain_shape to domain_shape."""
        return self.adjoint(self.forward(x))

    def _check(self, array: torch.Tensor, expected: tuple[int, ...], direction: str) -> None:
        if tuple(array.shape) != tuple(expected):
            raise InputError(
                f"{type(self).__name__}.{direction} was given shape {tuple(array.shape)}.",
                f"shape {tuple(expected)}",
            )


class _Linear(torch.autograd.Function):
    """A linear map whose derivative is its adjoint, itself differentiable."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        x: torch.Tensor,
        apply: Callable[[torch.Tensor], torch.Tensor],
        transpose: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        ctx.apply_map, ctx.transpose_map = apply, transpose
        return apply(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor) -> tuple:
        return _Linear.apply(gradient, ctx.transpose_map, ctx.apply_map), None, None
