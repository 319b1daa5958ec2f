"""The proximal step solved at once: what such solvers share, and the one by eigenvectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch

from diffusionblend.errors import InputError
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers import iterative_proximal
from diffusionblend.solvers.gram import LEAST_DIRECT, folds, gram_parts, scipy_matrix

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_EIGEN = 2048
"""Rays of a slice (of a half, where it splits) up to which eigenvectors take a few seconds."""
TRIAL_ITERATIONS = 8
"""Of weighed rays, for timing a step without the factor that makes them few."""


class DirectProximal(ABC):
    """A solver of (A*WA + rho I) that ends at once; CG preconditioned by it for other weights.

    Slices are independent. operator: A. weights: W, of the rays of every slice alike, (view, 1,
    column), at most 1; None: the identity. Weights of each slice's own leave the system near the
    one that is solved at once: some five iterations reach the tolerance that CG has in other
    geometries.
    """

    solver: str
    least: float = LEAST_DIRECT
    least_preconditioning: float = 0.0
    """Smallest rho whose system preconditions; what solves for less does so by another's."""
    trial: bool = False
    unfolded: int = 0
    """Rays of a slice up to which weights that no turn by 180 degrees leaves alike are kept."""

    def __init__(self, operator: XRayTransform, weights: torch.Tensor | None = None) -> None:
        self.operator = operator
        self.roots: torch.Tensor | None = None
        matrix = scipy_matrix(operator)
        self.rays, self.pixels = folds(matrix, operator.range_shape[2])
        if weights is not None:
            if len(self.rays.partner) <= self.unfolded:
                self.rays, self.pixels = (fold.undone() for fold in (self.rays, self.pixels))
            flat = weights.flatten()
            roots = (2 / (1 / flat + 1 / flat[self.rays.partner])).sqrt()  # halves need the same
            matrix = matrix.multiply(roots.cpu().numpy()[:, None]).tocsr()
            self.roots = roots.reshape(weights.shape)
        self._prepare(matrix)

    @abstractmethod
    def _prepare(self, matrix: csr_array) -> None:
        """Make what serves every call from W^(1/2) A of one slice, (rays, pixels)."""

    @property
    def weighs(self) -> bool:
        """Whether it was made for weights that all slices share."""
        return self.roots is not None

    def weighed(self, lines: torch.Tensor) -> torch.Tensor:
        """W^(1/2) of lines (view, row, column)."""
        return lines if self.roots is None else self.roots.to(lines) * lines

    @abstractmethod
    def solved(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """argmin over z of (Az - y)*W(Az - y) + rho |z - x0|^2, (z, y, x), any number of slices."""

    def __call__(
        self,
        x0: torch.Tensor,
        y: torch.Tensor,
        rho: float,
        start: torch.Tensor | None = None,
        weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The proximal point of x0 (z, y, x), any number of slices, for data y (view, row,
        column). Without weights of their own (of y's shape, at most 1) it needs no start.
        """
        if weights is None:
            return self.solved(x0, y, rho)
        near = max(rho, self.least_preconditioning)
        found, _ = iterative_proximal.proximal_by_iterations(
            self.operator.with_slices(len(x0)),
            x0,
            y,
            rho,
            lambda r: self.solved(r / near, torch.zeros_like(y), near),
            start=start,
            weights=weights,
            per_slice=True,
            tolerance=iterative_proximal.TOLERANCE,
            most_iterations=TRIAL_ITERATIONS if self.trial else iterative_proximal.MOST_ITERATIONS,
        )
        return found


class ExactProximal(DirectProximal):
    """z = x0 + B*(BB* + rho I)^-1 W^(1/2) (y - A x0), B = W^(1/2) A, by eigenvectors, for few rays.

    The matrix BB* of one slice is shared by all slices: its eigendecomposition (float64) is made
    once and serves every rho. Raises InputError where slices are coupled, or above MAX_EIGEN rays.
    """

    solver = "eigenvectors"
    unfolded = MAX_EIGEN

    def _prepare(self, matrix: csr_array) -> None:
        self.fold = self.rays
        if max(self.fold.sizes) > MAX_EIGEN:
            raise InputError(
                f"Eigenvectors were asked for {max(self.fold.sizes)} rays a slice.",
                f"at most {MAX_EIGEN} (views times columns)",
                "proximal_of(operator), which takes another solver there",
            )
        self.pairs = []
        for gram in gram_parts(matrix.T.astype("float64"), self.fold, dtype=float):
            values, vectors = torch.linalg.eigh(torch.from_numpy(gram))
            of_slice = self.operator.matrix
            like = {"dtype": of_slice.dtype, "device": of_slice.device}
            self.pairs.append((values.clamp(min=0).to(**like), vectors.to(**like)))

    def solved(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """The proximal point of x0 (z, y, x), any number of slices, for data y (view, row,
        column).
        """
        operator = self.operator.with_slices(len(x0))
        views, slices, columns = operator.range_shape
        misfit = self.weighed(y - operator.forward(x0))
        flat = misfit.transpose(1, 2).reshape(views * columns, slices)
        solved = []
        for part, (values, vectors) in zip(self.fold.parts(flat), self.pairs, strict=True):
            solved.append(vectors @ ((vectors.T @ part) / (values + rho)[:, None]))
        lines = self.fold.joined(solved).reshape(views, columns, slices).transpose(1, 2)
        return x0 + operator.adjoint(self.weighed(lines).contiguous())
