"""The proximal step of the data term, solved: by eigenvectors, by a dense inverse, or by CG.

argmin over z of |Az - y|^2 + rho |z - x0|^2, of each slice, or of a volume whose slices are coupled.
"""

from __future__ import annotations

import math
from typing import Protocol

import torch

from diffusionblend.errors import InputError
from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.gram import folds, gram_parts, scipy_matrix

MAX_EIGEN = 2048
"""Rays of a slice (of a half, where it splits) up to which eigenvectors take a few seconds."""
MAX_DENSE = 10_240
"""The same of rays or pixels, whichever are fewer, for a dense inverse."""


class Proximal(Protocol):
    """The proximal point of x0 (z, y, x) for data y (view, row, column) and a weight rho."""

    def __call__(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """argmin over z of |Az - y|^2 + rho |z - x0|^2, (z, y, x)."""
        ...


def proximal_of(operator: XRayTransform, memory_bytes: float = math.inf) -> Proximal:
    """The fastest solver for an operator, with rho > 0.

    memory_bytes: that a dense inverse may take; with less CG is taken in its place.
    """
    from diffusionblend.solvers.dense_proximal import DenseProximal, dense_bytes
    from diffusionblend.solvers.iterative_proximal import IterativeProximal

    if operator.couples_slices:
        return IterativeProximal(operator)
    sizes = part_sizes(operator)
    if max(sizes["rays"]) <= MAX_EIGEN:
        return ExactProximal(operator)
    fewer = min(sizes.values(), key=max)
    if max(fewer) <= MAX_DENSE and dense_bytes(fewer) <= memory_bytes:
        return DenseProximal(operator)
    return IterativeProximal(operator)


def part_sizes(operator: XRayTransform) -> dict[str, list[int]]:
    """Rays and pixels of a slice, of each half where it splits."""
    matrix = scipy_matrix(operator)
    rays, pixels = folds(matrix, operator.range_shape[2])
    return {"rays": rays.sizes, "pixels": pixels.sizes}


class ExactProximal:
    """z = x0 + A*(AA* + rho I)^-1 (y - A x0) by the eigenvectors of AA*, for few rays.

    The matrix AA* of one slice is shared by all slices: its eigendecomposition (float64) is made
    once and serves every rho. Raises InputError where slices are coupled, or above MAX_EIGEN rays.
    """

    def __init__(self, operator: XRayTransform) -> None:
        check_independent(operator)
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

    def __call__(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
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


def check_independent(operator: XRayTransform) -> None:
    """Raise InputError for a geometry whose slices are measured together."""
    if operator.couples_slices:
        raise InputError(
            "The matrix of one slice was asked for a geometry whose slices are measured together, "
            f"{type(operator.geometry).__name__}.",
            "slices that are independent, of a parallel or fan beam",
            "proximal_of(operator), which takes another solver there",
        )

