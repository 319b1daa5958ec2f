"""The proximal step solved at once: what such solvers share, and the one by eigenvectors."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch

from diffusionblend.errors import InputError
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers import iterative_proximal
from diffusionblend.solvers.gram import LEAST_DIRECT, folds, gram_parts, scipy_matrix

MAX_EIGEN = 2048
"""Rays of a slice (of a half, where it splits) up to which eigenvectors take a few seconds."""
TRIAL_ITERATIONS = 8
"""Of weighed rays, for timing a step without the factor that makes them few."""


class DirectProximal(ABC):
    """A solver of (A*A + rho I) that ends at once; CG preconditioned by it where rays are weighed.

    Slices are independent. Weights of at most 1, of few rays, leave the system near the one that is
    solved at once: some ten iterations reach the tolerance that CG has in other geometries.
    """

    solver: str
    least: float = LEAST_DIRECT
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
        found, _ = iterative_proximal.proximal_by_iterations(
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
