"""Gram matrices of a slice's rays or pixels, in halves where the scan is point-symmetric.

A parallel beam whose axis lies in the middle of detector and grid measures a slice turned by 180
degrees as the same lines read backwards. Then A*A and AA* split into two blocks, on what is even
and what is odd under that turn: half the memory, and a quarter of the work of every factor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from diffusionblend.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from diffusionblend.operators import XRayTransform

SYMMETRY_TOLERANCE = 1e-4
"""Weights that differ by less than this share of the largest are the same to rounding."""
LEAST_DIRECT = 1e-7
"""Smallest rho over |A|^2 with which a factor in float32 is still one: the limit for data without
noise."""
BLOCK_ROWS = 1024
"""Rows of a Gram matrix that are computed together, so that passing arrays stay small."""


@dataclass(frozen=True)
class Fold:
    """Vectors as their even and odd parts under an exchange of entries.

    partner: of each entry, (n,); partner[partner] is the identity. Where each is its own there is
    one part, the vector itself.
    """

    partner: np.ndarray

    @property
    def sizes(self) -> list[int]:
        """Entries of each part."""
        first, single = self._first(), self._single()
        return [len(first) + len(single), *([len(first)] if len(first) else [])]

    def parts(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The parts (size, k) of vectors (n, k), in orthonormal coordinates."""
        first, single = self._first(), self._single()
        if not len(first):
            return [x]
        a, b = x[first], x[self.partner[first]]
        return [torch.cat([(a + b) * 0.5**0.5, x[single]]), (a - b) * 0.5**0.5]

    def joined(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """The vectors (n, k) of their parts."""
        first, single = self._first(), self._single()
        if not len(first):
            return parts[0]
        even, odd = parts
        x = even.new_empty((len(self.partner), even.shape[1]))
        x[first] = (even[: len(first)] + odd) * 0.5**0.5
        x[self.partner[first]] = (even[: len(first)] - odd) * 0.5**0.5
        x[single] = even[len(first) :]
        return x

    def undone(self) -> Fold:
        """The fold of as many entries that has one part."""
        return Fold(np.arange(len(self.partner)))

    def bases(self) -> list[csr_array]:
        """The orthonormal basis (n, size) of each part, sparse."""
        from scipy.sparse import csr_array, eye, hstack

        first, single = self._first(), self._single()
        unit = csr_array(eye(len(self.partner), format="csr"))
        if not len(first):
            return [unit]
        a, b = unit[:, first], unit[:, self.partner[first]]
        even = hstack([(a + b) * 0.5**0.5, unit[:, single]], format="csr")
        return [csr_array(even), csr_array((a - b) * 0.5**0.5)]

    def _first(self) -> np.ndarray:
        return np.flatnonzero(self.partner > np.arange(len(self.partner)))

    def _single(self) -> np.ndarray:
        return np.flatnonzero(self.partner == np.arange(len(self.partner)))


def scipy_matrix(operator: XRayTransform) -> csr_array:
    """A of one slice, (rays, pixels). Raises InputError where slices are measured together."""
    from scipy.sparse import csr_array

    if operator.couples_slices:
        raise InputError(
            "The matrix of one slice was asked for a geometry whose slices are measured together, "
            f"{type(operator.geometry).__name__}.",
            "slices that are independent, of a parallel or fan beam",
            "proximal_of(operator), which takes another solver there",
        )
    matrix = operator.matrix
    parts = (matrix.values(), matrix.col_indices(), matrix.crow_indices())
    return csr_array(tuple(p.cpu().numpy() for p in parts), shape=tuple(matrix.shape))


def folds(matrix: csr_array, n_columns: int) -> tuple[Fold, Fold]:
    """The folds of rays (views * columns) and pixels, where a turn by 180 degrees changes nothing.

    Otherwise those of one part each.
    """
    n_rays, n_pixels = matrix.shape
    rays = np.arange(n_rays).reshape(-1, n_columns)[:, ::-1].ravel()
    pixels = np.arange(n_pixels)[::-1].copy()
    change = abs(matrix[rays][:, pixels] - matrix).max()
    if change > SYMMETRY_TOLERANCE * abs(matrix).max():
        return Fold(rays).undone(), Fold(pixels).undone()
    return Fold(rays), Fold(pixels)


def gram_parts(matrix: csr_array, fold: Fold, dtype: type = np.float32) -> list[np.ndarray]:
    """The blocks (size, size) of M*M for a matrix M (m, n) and a fold of its n columns."""
    blocks = []
    for basis in fold.bases():
        part = (matrix @ basis).astype(dtype).tocsc()
        rows = part.T.tocsr()
        gram = np.empty((part.shape[1],) * 2, dtype)
        for first in range(0, len(gram), BLOCK_ROWS):
            gram[first : first + BLOCK_ROWS] = (rows[first : first + BLOCK_ROWS] @ part).toarray()
        blocks.append(gram)
    return blocks
