"""The proximal step by preconditioned conjugate gradients, for any geometry and size."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

from diffusionblend.operators import MaskedTransform, XRayTransform
from diffusionblend.operators.linear import LinearOperator
from diffusionblend.operators.weighted import WeightedOperator
from diffusionblend.solvers.conjugate_gradient import preconditioned_conjugate_gradient

FLOOR = 0.01
"""Share of the transfer function's maximum below which it is taken as that: what no view crosses is
left to the iterations, since a finite grid has no such sharp wedge."""
TOLERANCE = 1e-2
"""Norm of the preconditioned residual, relative to the start, at which a system is solved."""
EXACT_TOLERANCE = 3e-3
"""The same of data without noise."""
MOST_ITERATIONS = 200
LEAST_ITERATIVE = 1e-6
"""Smallest rho over |A|^2: what less would change lies below TOLERANCE (docs/log.md)."""


class IterativeProximal:
    """(A*A + rho I) d = A*(y - A x0), z = x0 + d, by CG, until the residual has fallen so far.

    Preconditioned by a circulant matrix: A*A answers a point in the middle of the grid nearly as it
    does elsewhere, so that its Fourier transform, plus rho, is nearly that of the system (Fessler
    and Booth 1999, IEEE TIP 8(5)). Each slice is a system of its own, unless they are coupled.
    """

    solver = "conjugate gradients"
    least = LEAST_ITERATIVE
    weighs = False

    def __init__(self, operator: XRayTransform | MaskedTransform, *, exact: bool = False) -> None:
        self.operator = operator
        self.tolerance = EXACT_TOLERANCE if exact else TOLERANCE
        self.per_slice = not operator.couples_slices
        self.transfer = _transfer_function(
            operator if operator.couples_slices else operator.with_slices(1)
        )
        self.iterations = 0

    def __call__(
        self,
        x0: torch.Tensor,
        y: torch.Tensor,
        rho: float,
        start: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The proximal point of x0 (z, y, x) for data y (view, row, column), from x0 on or from a
        start. weights: of the squared misfit of each ray, of y's shape, at most 1.
        """
        operator: LinearOperator = self.operator
        if self.per_slice:
            operator = self.operator.with_slices(len(x0))
        found, self.iterations = proximal_by_iterations(
            operator,
            x0,
            y,
            rho,
            lambda r: self.preconditioned(r, rho),
            start=start,
            weights=weights,
            per_slice=self.per_slice,
            tolerance=self.tolerance,
        )
        return found

    def preconditioned(self, r: torch.Tensor, rho: float) -> torch.Tensor:
        """(F*HF + rho I)^-1 r, H the transfer function of A*A."""
        dims = (-2, -1) if self.per_slice else (-3, -2, -1)
        spectrum = torch.fft.rfftn(r, dim=dims) / (self.transfer + rho)
        return torch.fft.irfftn(spectrum, s=r.shape[-len(dims) :], dim=dims)


def proximal_by_iterations(
    operator: LinearOperator,
    x0: torch.Tensor,
    y: torch.Tensor,
    rho: float,
    precondition: Callable[[torch.Tensor], torch.Tensor],
    *,
    start: torch.Tensor | None = None,
    weights: torch.Tensor | None = None,
    per_slice: bool,
    tolerance: float,
    most_iterations: int = MOST_ITERATIONS,
) -> tuple[torch.Tensor, int]:
    """(A*WA + rho I) d = A*W(y - Az) + rho (x0 - z), by CG; the point z + d and the iterations.

    x0: (z, y, x). y: (view, row, column). precondition: nearly the inverse of the system. z: the
    start, or x0. weights: W, of y's shape, or the identity. Warns where MOST_ITERATIONS do not do.
    """
    if weights is not None:
        operator = WeightedOperator(operator, weights)
        y = operator.of_data(y)
    begin = x0 if start is None else start
    step, iterations = preconditioned_conjugate_gradient(
        lambda z: operator.normal(z) + rho * z,
        operator.adjoint(y - operator.forward(begin)) + rho * (x0 - begin),
        precondition,
        per_slice=per_slice,
        tolerance=tolerance,
        most_iterations=most_iterations,
    )
    if iterations == MOST_ITERATIONS:
        warnings.warn(
            f"The data-consistency step was not solved in {MOST_ITERATIONS} iterations of "
            "conjugate gradients; a larger --rho needs fewer.",
            stacklevel=2,
        )
    return begin + step, iterations


def _transfer_function(operator: XRayTransform | MaskedTransform) -> torch.Tensor:
    """The (real, positive) Fourier transform of A*A's answer to a point in the middle."""
    point = torch.zeros(operator.domain_shape, device=operator.device, dtype=operator.dtype)
    middle = tuple(n // 2 for n in operator.domain_shape)
    point[middle] = 1.0
    answer = operator.normal(point)
    shifts = tuple(-m for m in middle)
    centred = torch.roll(answer, shifts, dims=(0, 1, 2))
    if not operator.couples_slices:
        centred = centred[0]
    dims = tuple(range(-centred.dim(), 0))
    transfer = torch.fft.rfftn(centred, dim=dims).real
    return transfer.clamp(min=FLOOR * float(transfer.max()))
