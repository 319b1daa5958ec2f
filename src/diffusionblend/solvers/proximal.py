"""The proximal step of the data term, solved: by eigenvectors, by a dense factor, or by CG.

argmin over z of |Az - y|^2 + rho |z - x0|^2, slice by slice unless the geometry couples them.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from typing import ClassVar, Protocol

import torch

from diffusionblend.errors import InputError
from diffusionblend.operators import MaskedTransform, XRayTransform
from diffusionblend.solvers import iterative_proximal
from diffusionblend.solvers.gram import LEAST_DIRECT, folds, gram_parts, scipy_matrix
from diffusionblend.solvers.iterative_proximal import IterativeProximal, proximal_by_iterations

MAX_EIGEN = 2048
"""Rays of a slice (of a half, where it splits) up to which eigenvectors take a few seconds."""
MAX_DENSE = 10_240
"""The same of rays or pixels, whichever are fewer, for a dense factor."""
MAX_EXACT = 24_576
"""The same for exact data, of which CG leaves too much (docs/log.md)."""
TRIAL_ITERATIONS = 8
"""Of weighed rays, for timing a step without the factor that makes them few."""


class Proximal(Protocol):
    """The proximal point of x0 (z, y, x) for data y (view, row, column) and a weight rho.

    solver: how it solves, for records. least: the smallest rho, over |A|^2, that it solves for in
    good time.
    """

    solver: str
    least: float

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
        at most 1; else the identity.
        """
        ...


def proximal_of(
    operator: XRayTransform | MaskedTransform,
    memory_bytes: float = math.inf,
    *,
    exact: bool = False,
    trial: bool = False,
) -> Proximal:
    """The fastest solver for an operator, with rho > 0.

    memory_bytes: that a dense factor may take; with less CG is taken in its place, with a warning.
    exact: the data have no noise, so that a larger factor, or more iterations, are worth their
    time.
    trial: for timing a step; a dense factor is then not made, and all its results are x0.
    """
    from diffusionblend.solvers.dense_proximal import DenseProximal, dense_bytes

    if isinstance(operator, MaskedTransform):
        return IterativeProximal(operator, exact=exact)
    if has_few_rays(operator):
        return ExactProximal(operator)
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
    return DenseProximal(operator, trial=trial)


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


class DirectProximal(ABC):
    """A solver of (A*A + rho I) that ends at once; CG preconditioned by it where rays are weighed.

    Slices are independent. Weights of at most 1, of few rays, leave the system near the one that is
    solved at once: some ten iterations reach the tolerance that CG has in other geometries.
    """

    solver: ClassVar[str]
    least: ClassVar[float] = LEAST_DIRECT
    operator: XRayTransform
    trial: bool = False

    @abstractmethod
    def solved(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """argmin over z of |Az - y|^2 + rho |z - x0|^2, (z, y, x), any number of slices."""

    def __call__(
        self,
        x0: torch.Tensor,
        y: torch.Tensor,
        rho: float,
        start: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The proximal point of x0 (z, y, x), any number of slices, for data y (view, row,
        column). Without weights (of y's shape, at most 1) it needs no start.
        """
        if weights is None:
            return self.solved(x0, y, rho)
        found, _ = proximal_by_iterations(
            self.operator.with_slices(len(x0)),
            x0,
            y,
            rho,
            lambda r: self.solved(r / rho, torch.zeros_like(y), rho),
            start=start,
            weights=weights,
            per_slice=True,
            tolerance=iterative_proximal.TOLERANCE,
            most_iterations=TRIAL_ITERATIONS if self.trial else iterative_proximal.MOST_ITERATIONS,
        )
        return found


class ExactProximal(DirectProximal):
    """z = x0 + A*(AA* + rho I)^-1 (y - A x0) by the eigenvectors of AA*, for few rays.

    The matrix AA* of one slice is shared by all slices: its eigendecomposition (float64) is made
    once and serves every rho. Raises InputError where slices are coupled, or above MAX_EIGEN rays.
    """

    solver = "eigenvectors"

    def __init__(self, operator: XRayTransform) -> None:
        self.operator = operator
        matrix = scipy_matrix(operator)
        self.fold, _ = folds(matrix, operator.range_shape[2])
        if max(self.fold.sizes) > MAX_EIGEN:
            raise InputError(
                f"Eigenvectors were asked for {max(self.fold.sizes)} rays a slice.",
                f"at most {MAX_EIGEN} (views times columns)",
                "proximal_of(operator), which takes another solver there",
            )
        self.pairs = []
        for gram in gram_parts(matrix.T.astype("float64"), self.fold, dtype=float):
            values, vectors = torch.linalg.eigh(torch.from_numpy(gram))
            like = {"dtype": operator.matrix.dtype, "device": operator.matrix.device}
            self.pairs.append((values.clamp(min=0).to(**like), vectors.to(**like)))

    def solved(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """The proximal point of x0 (z, y, x), any number of slices, for data y (view, row,
        column).
        """
        operator = self.operator.with_slices(len(x0))
        views, slices, columns = operator.range_shape
        misfit = (y - operator.forward(x0)).transpose(1, 2).reshape(views * columns, slices)
        solved = []
        for part, (values, vectors) in zip(self.fold.parts(misfit), self.pairs, strict=True):
            solved.append(vectors @ ((vectors.T @ part) / (values + rho)[:, None]))
        lines = self.fold.joined(solved).reshape(views, columns, slices).transpose(1, 2)
        return x0 + operator.adjoint(lines.contiguous())
