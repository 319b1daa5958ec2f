"""The proximal step of the data term, solved: by eigenvectors, by a dense factor, or by CG.

argmin over z of |Az - y|^2 + rho |z - x0|^2, slice by slice unless the geometry couples them.
"""

from __future__ import annotations

import math
import warnings
from typing import Protocol

import torch

from diffusionblend.operators import MaskedTransform, XRayTransform
from diffusionblend.solvers.dense_proximal import DenseProximal, dense_bytes
from diffusionblend.solvers.direct_proximal import MAX_EIGEN, ExactProximal
from diffusionblend.solvers.gram import folds, scipy_matrix
from diffusionblend.solvers.iterative_proximal import IterativeProximal

MAX_DENSE = 10_240
"""Rays or pixels of a slice (of a half, where it splits), whichever are fewer, up to which a dense
factor is made."""
MAX_EXACT = 24_576
"""The same for exact data, of which CG leaves too much (docs/log.md)."""


class Proximal(Protocol):
    """The proximal point of x0 (z, y, x) for data y (view, row, column) and a weight rho.

    solver: how it solves, for records. least: the smallest rho, over |A|^2, that it solves for in
    good time.
    """

    solver: str
    least: float

    @property
    def weighs(self) -> bool:
        """Whether it was made for weights that all slices share."""
        ...

    def __call__(
        self,
        x0: torch.Tensor,
        y: torch.Tensor,
        rho: float,
        start: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """argmin over z of (Az - y)*W(Az - y) + rho |z - x0|^2, (z, y, x).

        start: a point near it, from which a solver that iterates goes on. weights: W, of y's shape,
        at most 1; else those that it was made for, or the identity.
        """
        ...


def proximal_of(
    operator: XRayTransform | MaskedTransform,
    memory_bytes: float = math.inf,
    *,
    exact: bool = False,
    trial: bool = False,
    weights: torch.Tensor | None = None,
) -> Proximal:
    """The fastest solver for an operator, with rho > 0.

    memory_bytes: that a dense factor may take; with less CG is taken in its place, with a warning.
    exact: the data have no noise, so that a larger factor, or more iterations, are worth their
    time.
    trial: for timing a step; a dense factor is then not made, and its results mean nothing.
    weights: of the rays of every slice alike, (view, 1, column), which what solves all slices at
    once is made for; conjugate gradients are given each ray's at every call.
    """
    if isinstance(operator, MaskedTransform):
        return IterativeProximal(operator, exact=exact)
    if has_few_rays(operator):
        return ExactProximal(operator, weights)
    sizes = dense_sizes(operator, exact=exact)
    if sizes is None:
        return IterativeProximal(operator, exact=exact)
    if dense_bytes(sizes) > memory_bytes:
        warnings.warn(
            "A dense factor for the data-consistency step would take "
            f"{dense_bytes(sizes) / 1e9:.2g} GB, and {memory_bytes / 1e9:.2g} GB may be taken: "
            "conjugate gradients are run in its place, to a tolerance.",
            stacklevel=2,
        )
        return IterativeProximal(operator, exact=exact)
    return DenseProximal(operator, weights, trial=trial)


def has_few_rays(operator: XRayTransform) -> bool:
    """Whether slices are independent, with so few rays that eigenvectors are quick."""
    n_rays = operator.range_shape[0] * operator.range_shape[2]
    if operator.couples_slices or n_rays > 2 * MAX_EIGEN:
        return False  # without a look at the matrix, which may be too large to be made
    return max(folds(scipy_matrix(operator), operator.range_shape[2])[0].sizes) <= MAX_EIGEN


def dense_sizes(operator: XRayTransform, *, exact: bool = False) -> list[int] | None:
    """The sizes of the blocks of a dense factor, None where another solver is taken.

    exact: see `proximal_of`.
    """
    most = MAX_EXACT if exact else MAX_DENSE
    n_rays = operator.range_shape[0] * operator.range_shape[2]
    n_pixels = operator.domain_shape[1] * operator.domain_shape[2]
    too_many = min(n_rays, n_pixels) > 2 * most
    if operator.couples_slices or too_many or has_few_rays(operator):
        return None
    rays, pixels = folds(scipy_matrix(operator), operator.range_shape[2])
    fewer = min(rays.sizes, pixels.sizes, key=max)
    return fewer if max(fewer) <= most else None
