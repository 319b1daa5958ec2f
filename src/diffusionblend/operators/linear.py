"""Linear operators: forward, exact adjoint, autograd through both, and their algebra."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, overload

import numpy as np
import torch

from diffusionblend.errors import InputError, check_kind

Array = TypeVar("Array", torch.Tensor, np.ndarray)

NORM_ITERATIONS = 200
NORM_TOLERANCE = 1e-5
"""Relative change from one power iteration to the next below which the norm counts as found."""
LESS_THAN_SINGLE = (torch.float16, torch.bfloat16)


class LinearOperator(ABC):
    """A linear map from arrays of `domain_shape` to arrays of `range_shape`.

    `A @ x`, `A(x)` and `A.forward(x)` are A x; `A.H @ y`, `A.T @ y` and `A.adjoint(y)` are A* y
    (all is real). `A @ B`, `A + B`, `A - B`, `c * A`, `A / c`, `stack(A, B)` are operators again.
    x is a tensor on the operator's device, or a NumPy array, which comes back as one; other numbers
    than `dtype` are cast to it. device, dtype: None where the operator takes what the data have.
    Gradients of any order flow through tensors, forward and adjoint being each other's derivative.
    A subclass writes `_forward` and `_adjoint`.
    """

    domain_shape: tuple[int, ...]
    range_shape: tuple[int, ...]
    device: torch.device | None = None
    dtype: torch.dtype | None = None
    __array_ufunc__ = None  # so that NumPy leaves `number * A` and `array @ A` to us

    @abstractmethod
    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        """A x for x of domain_shape."""

    @abstractmethod
    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """A* y for y of range_shape."""

    def forward(self, x: Array) -> Array:
        """A x, domain_shape to range_shape, differentiable.

        Raises InputError for another shape or device, and for what is no array of real numbers.
        """
        return self._apply(x, self._forward, self._adjoint, self.domain_shape, "forward")

    def adjoint(self, y: Array) -> Array:
        """A* y, range_shape to domain_shape, differentiable. Raises InputError as `forward`."""
        return self._apply(y, self._adjoint, self._forward, self.range_shape, "adjoint")

    def normal(self, x: Array) -> Array:
        """A* A x, domain_shape to domain_shape."""
        return self.adjoint(self.forward(x))

    def __call__(self, x: Array) -> Array:
        """A x."""
        return self.forward(x)

    @overload
    def __matmul__(self, other: LinearOperator) -> LinearOperator: ...
    @overload
    def __matmul__(self, other: Array) -> Array: ...
    def __matmul__(self, other: Any) -> Any:
        """A x of an array, or the product of two operators."""
        if isinstance(other, LinearOperator):
            return _Product(self, other)
        return self.forward(other)

    @property
    def H(self) -> LinearOperator:  # noqa: N802
        """The adjoint as an operator."""
        return _Adjoint(self)

    @property
    def T(self) -> LinearOperator:  # noqa: N802
        """The transpose as an operator: the adjoint, since all is real."""
        return self.H

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return _Sum(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return _Sum(self, -other) if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> LinearOperator:
        return _Scaled(self, -1.0)

    def __mul__(self, factor: float) -> LinearOperator:
        try:
            return _Scaled(self, float(factor))
        except (TypeError, ValueError):
            return NotImplemented

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> LinearOperator:
        try:
            return _Scaled(self, 1 / float(divisor))
        except (TypeError, ValueError):
            return NotImplemented

    def norm(
        self,
        *,
        iterations: int = NORM_ITERATIONS,
        tolerance: float = NORM_TOLERANCE,
        seed: int = 0,
    ) -> float:
        """The largest singular value, from below, by power iteration on A*A from a random start.

        Stops when the value changes by less than the tolerance (relative), or after so many
        iterations. Golub and Van Loan 2013, Matrix Computations, section 8.2.1.
        """
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(self.domain_shape, generator=generator, dtype=self.dtype)
        x, value = x.to(self.device or "cpu"), 0.0
        with torch.no_grad():
            for _ in range(iterations):
                size = x.norm()
                if size == 0:
                    return 0.0
                y = self.forward(x / size)
                before, value = value, float(y.norm())
                if abs(value - before) <= tolerance * value:
                    break
                x = self.adjoint(y)
        return value

    def to(self, device: torch.device | str) -> LinearOperator:
        """The same operator for data on another device. Raises InputError for an unknown device."""
        if self.device is None or known_device(device) == self.device:
            return self
        return self._on(known_device(device))

    def _on(self, device: torch.device) -> LinearOperator:
        """What `to` returns, for an operator that is tied to a device."""
        raise InputError(f"{self!r} stays on {self.device}.", "an operator that can be moved")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._facts()})"

    def _facts(self) -> str:
        return f"{tuple(self.domain_shape)} -> {tuple(self.range_shape)}"

    def _apply(
        self,
        array: Array,
        apply: Callable[[torch.Tensor], torch.Tensor],
        transpose: Callable[[torch.Tensor], torch.Tensor],
        shape: tuple[int, ...],
        direction: str,
    ) -> Array:
        name = f"{type(self).__name__.removeprefix('_')}.{direction}"
        if not isinstance(array, torch.Tensor | np.ndarray):
            raise InputError(
                f"{name} was given a {type(array).__name__}.",
                f"a torch tensor or NumPy array of shape {tuple(shape)}",
                "a volume's attenuation in 1/mm, diffusionblend.units.hu_to_mu(volume.values), or "
                "the line integrals, scan.values",
            )
        if tuple(array.shape) != tuple(shape):
            raise InputError(
                f"{name} was given shape {tuple(array.shape)}.", f"shape {tuple(shape)}"
            )
        if isinstance(array, np.ndarray):
            tensor = self._from_numpy(array, name)
            return _Linear.apply(tensor, apply, transpose).detach().cpu().numpy()
        return _Linear.apply(self._cast(array, name), apply, transpose)

    def _from_numpy(self, array: np.ndarray, name: str) -> torch.Tensor:
        """A NumPy array as a tensor of the operator's device and precision."""
        if array.dtype.kind not in "fiub":
            raise InputError(f"{name} was given values of {array.dtype}.", "real numbers")
        single = array.dtype.kind != "f" or array.dtype.itemsize < 8
        kind = np.float32 if single else np.float64
        if self.dtype is not None:
            kind = np.float64 if self.dtype == torch.float64 else np.float32
        plain = np.require(array, dtype=kind, requirements=["C", "W"])
        return torch.from_numpy(plain).to(self.device or "cpu", self.dtype)

    def _cast(self, tensor: torch.Tensor, name: str) -> torch.Tensor:
        """A tensor in the operator's precision; raises InputError on another device."""
        if tensor.is_complex():
            raise InputError(f"{name} was given values of {tensor.dtype}.", "real numbers")
        if self.device is not None and known_device(tensor.device) != self.device:
            raise InputError(
                f"{name} was given data on {tensor.device}.",
                f"data on {self.device}, where the operator is",
                f"operator.to({str(tensor.device)!r}), or move the data",
            )
        if self.dtype is not None:
            return tensor.to(self.dtype)
        if not tensor.is_floating_point() or tensor.dtype in LESS_THAN_SINGLE:
            return tensor.to(torch.float32)
        return tensor


class _Linear(torch.autograd.Function):
    """A linear map whose derivative is its adjoint, itself differentiable."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        apply: Callable[[torch.Tensor], torch.Tensor],
        transpose: Callable[[torch.Tensor], torch.Tensor],
    ) -> torch.Tensor:
        ctx.apply_map, ctx.transpose_map = apply, transpose
        return apply(x)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple:
        return _Linear.apply(gradient, ctx.transpose_map, ctx.apply_map), None, None


class _Composed(LinearOperator):
    """What operators made of others share: their parts, device and precision."""

    def __init__(self, *parts: LinearOperator) -> None:
        devices = {part.device for part in parts if part.device is not None}
        if len(devices) > 1:
            raise InputError(
                f"Operators on {' and '.join(sorted(map(str, devices)))} were put together.",
                "operators on one device",
                "A.to(device) of one of them",
            )
        dtypes = [part.dtype for part in parts if part.dtype is not None]
        self.parts = parts
        self.device = devices.pop() if devices else None
        self.dtype = max(dtypes, key=lambda dtype: dtype.itemsize, default=None)

    def _on(self, device: torch.device) -> LinearOperator:
        return type(self)(*(part.to(device) for part in self.parts))

    def __repr__(self) -> str:
        return f"{type(self).__name__.removeprefix('_')}({', '.join(map(repr, self.parts))})"


class _Adjoint(_Composed):
    """A* of an operator A."""

    def __init__(self, operator: LinearOperator) -> None:
        super().__init__(operator)
        self.domain_shape, self.range_shape = operator.range_shape, operator.domain_shape

    @property
    def H(self) -> LinearOperator:  # noqa: N802
        """The operator itself."""
        return self.parts[0]

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts[0].adjoint(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.parts[0].forward(y)


class _Product(_Composed):
    """A B: first B, then A."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        if tuple(left.domain_shape) != tuple(right.range_shape):
            raise InputError(
                f"A @ B was asked for A of domain shape {tuple(left.domain_shape)} and B of range "
                f"shape {tuple(right.range_shape)}.",
                "the same shape",
            )
        super().__init__(left, right)
        self.domain_shape, self.range_shape = right.domain_shape, left.range_shape

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts[0].forward(self.parts[1].forward(x))

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.parts[1].adjoint(self.parts[0].adjoint(y))


class _Sum(_Composed):
    """A + B."""

    def __init__(self, left: LinearOperator, right: LinearOperator) -> None:
        for name in ("domain_shape", "range_shape"):
            one, other = tuple(getattr(left, name)), tuple(getattr(right, name))
            if one != other:
                raise InputError(
                    f"Operators of {name} {one} and {other} were added.", "the same shapes"
                )
        super().__init__(left, right)
        self.domain_shape, self.range_shape = left.domain_shape, left.range_shape

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts[0].forward(x) + self.parts[1].forward(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.parts[0].adjoint(y) + self.parts[1].adjoint(y)


class _Scaled(_Composed):
    """c A."""

    def __init__(self, operator: LinearOperator, factor: float) -> None:
        super().__init__(operator)
        self.factor = factor
        self.domain_shape, self.range_shape = operator.domain_shape, operator.range_shape

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * self.parts[0].forward(x)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.factor * self.parts[0].adjoint(y)

    def _on(self, device: torch.device) -> LinearOperator:
        return _Scaled(self.parts[0].to(device), self.factor)

    def __repr__(self) -> str:
        return f"{self.factor:g} * {self.parts[0]!r}"


class Stack(_Composed):
    """Operators of one domain on top of each other: x to all of their A_i x.

    The results are put together along their first axis where their other axes agree, else end to
    end as one vector; `split` takes them apart. Made by `stack`.
    """

    def __init__(self, *parts: LinearOperator) -> None:
        for part in parts:
            check_kind(part, LinearOperator, "A part of the stack")
        domains = sorted({tuple(part.domain_shape) for part in parts})
        if len(domains) != 1:
            raise InputError(
                f"Operators of domain shapes {', '.join(map(str, domains)) or 'none'} were "
                "stacked.",
                "one domain shape for all, of at least one operator",
            )
        super().__init__(*parts)
        self.domain_shape = parts[0].domain_shape
        rest = {tuple(part.range_shape[1:]) for part in parts}
        if len(rest) == 1:
            self.range_shape = (sum(part.range_shape[0] for part in parts), *rest.pop())
        else:
            self.range_shape = (sum(math.prod(part.range_shape) for part in parts),)

    def split(self, y: torch.Tensor) -> list[torch.Tensor]:
        """The part of every operator in a result y, each of that operator's range shape."""
        flat = y.reshape(-1).split([math.prod(part.range_shape) for part in self.parts])
        return [one.reshape(part.range_shape) for one, part in zip(flat, self.parts, strict=True)]

    def _forward(self, x: torch.Tensor) -> torch.Tensor:
        results = [part.forward(x).reshape(-1) for part in self.parts]
        return torch.cat(results).reshape(self.range_shape)

    def _adjoint(self, y: torch.Tensor) -> torch.Tensor:
        back = [part.adjoint(one) for part, one in zip(self.parts, self.split(y), strict=True)]
        return torch.stack(back).sum(dim=0)


def stack(*operators: LinearOperator | Sequence[LinearOperator]) -> Stack:
    """Operators of one domain on top of each other: `stack(A, B)`, or as NumPy `stack([A, B])`.

    Raises InputError for different domains, and for what is no operator.
    """
    parts: list[Any] = []
    for one in operators:
        parts += one if isinstance(one, list | tuple) else [one]
    return Stack(*parts)


def known_device(device: torch.device | str) -> torch.device:
    """A device with its number; raises InputError where this machine has no such device."""
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"The device is {device!r}.", "'cpu', 'cuda' or 'cuda:N'") from error
    if found.type == "cuda":
        count = torch.cuda.device_count()
        index = found.index if found.index is not None else 0
        if index >= count:
            raise InputError(
                f"The device is {str(found)!r}; this machine has {count} CUDA device(s).",
                "'cpu', or a device of this machine",
            )
        if found.index is None:
            found = torch.device("cuda", torch.cuda.current_device())
    return found
