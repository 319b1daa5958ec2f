"""The exact proximal step of the data term, for few views."""

from __future__ import annotations

import numpy as np
import torch

from diffusionblend.errors import InputError
from diffusionblend.operators import XRayTransform

MAX_RAYS = 8192
"""Rays of a slice above which the dense matrix AA* (float64) would pass half a gigabyte."""


class ExactProximal:
    """z = x0 + A*(AA* + rho I)^-1 (y - A x0), the minimiser of |Az - y|^2 + rho |z - x0|^2.

    The matrix AA* of one slice (views * columns squared) is shared by all slices: its
    eigendecomposition is made once and serves every rho. Raises InputError above MAX_RAYS rays.
    """

    def __init__(self, operator: XRayTransform) -> None:
        self.operator = operator
        n_rays = operator.range_shape[0] * operator.range_shape[2]
        if operator.couples_slices:
            raise InputError(
                "The exact proximal step was asked for a geometry whose slices are measured "
                f"together, {type(operator.geometry).__name__}.",
                "slices that are independent, of a parallel or fan beam",
                "--consistency cg",
            )
        if n_rays > MAX_RAYS:
            raise InputError(
                f"The exact proximal step was asked for {n_rays} rays a slice.",
                f"at most {MAX_RAYS} (views times columns)",
                "--consistency cg",
            )
        values, vectors = torch.linalg.eigh(torch.from_numpy(gram_matrix(operator.matrix)))
        self.eigenvalues = values.clamp(min=0).to(operator.matrix)
        self.eigenvectors = vectors.to(operator.matrix)

    def __call__(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """The proximal point of x0 (z, y, x), any number of slices, for data y (view, row,
        column).
        """
        operator = self.operator.with_slices(len(x0))
        views, slices, columns = operator.range_shape
        difference = (y - operator.forward(x0)).transpose(1, 2).reshape(views * columns, slices)
        spectrum = (self.eigenvectors.T @ difference) / (self.eigenvalues + rho)[:, None]
        lines = (self.eigenvectors @ spectrum).reshape(views, columns, slices).transpose(1, 2)
        return x0 + operator.adjoint(lines.contiguous())


def is_exact_for(operator: XRayTransform) -> bool:
    """Whether slices are independent and have few enough rays."""
    n_rays = operator.range_shape[0] * operator.range_shape[2]
    return not operator.couples_slices and n_rays <= MAX_RAYS


def gram_matrix(matrix: torch.Tensor) -> np.ndarray:
    """AA* of a CSR matrix (rays, pixels), dense (rays, rays) in float64; A itself stays sparse."""
    from scipy.sparse import csr_array

    parts = (matrix.values().double(), matrix.col_indices(), matrix.crow_indices())
    rows = csr_array(tuple(part.cpu().numpy() for part in parts), shape=tuple(matrix.shape))
    return (rows @ rows.T).toarray()
