"""The proximal step by a Cholesky factor, where rays or pixels of a slice are some ten thousand."""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from diffusionblend.operators import XRayTransform
from diffusionblend.solvers.direct_proximal import DirectProximal
from diffusionblend.solvers.gram import gram_parts

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TIMED_SIZES, TIMED_TIMES = (2048, 3072), 3
"""Factors that are timed: their time has a part that goes with the square and one with the cube."""
GRAM_SECONDS = 3.0
"""Of a block of 8192 rays or pixels, by sparse matrices; it grows with their square."""
TRIAL = 1e8
"""Times the identity, a factor that leaves x0 as it is to rounding."""
STEADY = 1e-4
"""Smallest rho, over a bound of the eigenvalues, whose point of zeros is a preconditioner: it is
x0 less what nearly equals it, and in float32 nothing is left of less (docs/log.md)."""
RAISE = 4.0
"""Factor on rho where rounding (float32) leaves the matrix without a Cholesky factor."""


def dense_bytes(sizes: Sequence[int]) -> float:
    """Memory of Gram matrix and factor by the sizes of their blocks, with one block to compute."""
    return 4.0 * (2 * sum(n**2 for n in sizes) + 2 * max(sizes) ** 2)


def dense_seconds(sizes: Sequence[int], n_factors: int, device: torch.device | str) -> float:
    """About how long a Gram matrix and so many factors take, by small factors that are timed."""
    square, cube = _seconds_by_power(str(device))
    one = sum(square * n**2 + cube * n**3 for n in sizes)
    return one * n_factors + GRAM_SECONDS * sum((n / 8192) ** 2 for n in sizes)


@functools.cache
def _seconds_by_power(device: str) -> tuple[float, float]:
    """What a factor takes by the square and by the cube of its size, timed once in a process."""
    (small, large), seconds = TIMED_SIZES, []
    for n in TIMED_SIZES:
        matrix, taken = torch.eye(n, device=device), []
        for _ in range(TIMED_TIMES):
            started = time.perf_counter()
            float(_factor(matrix, 1.0)[0, 0])
            taken.append(time.perf_counter() - started)
        seconds.append(min(taken))
    a, b = seconds[0] / small**2, seconds[1] / large**2
    cube = min(max(0.0, (b - a) / (large - small)), b / large)
    return b - cube * large, cube


class DenseProximal(DirectProximal):
    """z = x0 + B*(BB* + rho I)^-1 d = x0 + (B*B + rho I)^-1 B*d, by a factor.

    B is W^(1/2) A, and d is W^(1/2) (y - A x0). Of BB* or B*B of one slice, whichever is smaller,
    shared by all slices. The Cholesky factor (float32) is of one rho and made again for another:
    ask for few of them. trial: no factor is made, for timing the rest. Raises InputError where
    slices are coupled.
    """

    solver = "dense factor"

    def __init__(
        self,
        operator: XRayTransform,
        weights: torch.Tensor | None = None,
        *,
        trial: bool = False,
    ) -> None:
        self.trial = trial
        self.rho: float | None = None
        self.grams: list[torch.Tensor] = []
        self.factors: list[torch.Tensor] = []
        super().__init__(operator, weights)

    def _prepare(self, matrix: csr_array) -> None:
        self.in_rays = max(self.rays.sizes) < max(self.pixels.sizes)
        self.fold = self.rays if self.in_rays else self.pixels
        device = self.operator.matrix.device
        if self.trial:
            self.factors = [TRIAL * torch.eye(n, device=device) for n in self.fold.sizes]
            return
        grams = gram_parts(matrix.T if self.in_rays else matrix, self.fold, np.float32)
        self.grams = [torch.from_numpy(gram).to(device) for gram in grams]
        norms = [torch.linalg.vector_norm(gram, ord=1, dim=1) for gram in self.grams]
        self.least_preconditioning = STEADY * max(float(norm.max()) for norm in norms)

    def solved(self, x0: torch.Tensor, y: torch.Tensor, rho: float) -> torch.Tensor:
        """The proximal point of x0 (z, y, x), any number of slices, for data y (view, row,
        column).
        """
        operator = self.operator.with_slices(len(x0))
        views, slices, columns = operator.range_shape
        misfit = self.weighed(y - operator.forward(x0))
        if self.in_rays:
            flat = misfit.transpose(1, 2).reshape(views * columns, slices)
            lines = self._solved(flat, rho).reshape(views, columns, slices).transpose(1, 2)
            return x0 + operator.adjoint(self.weighed(lines).contiguous())
        flat = operator.adjoint(self.weighed(misfit)).reshape(slices, -1).T
        return x0 + self._solved(flat, rho).T.reshape(x0.shape)

    def _solved(self, right_side: torch.Tensor, rho: float) -> torch.Tensor:
        """(G + rho I)^-1 of vectors (n, slices)."""
        if rho != self.rho and not self.trial:
            self.factors.clear()
            self.factors.extend(_factor(gram, rho) for gram in self.grams)
            self.rho = rho
        parts = self.fold.parts(right_side.float().contiguous())
        pairs = zip(parts, self.factors, strict=True)
        return self.fold.joined([_solve(factor, part) for part, factor in pairs]).to(right_side)


def _solve(factor: torch.Tensor, right_side: torch.Tensor) -> torch.Tensor:
    """(LL*)^-1 of vectors (n, slices); torch.cholesky_solve would copy the factor each time."""
    half = torch.linalg.solve_triangular(factor, right_side, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)


def _factor(gram: torch.Tensor, rho: float) -> torch.Tensor:
    """The lower Cholesky factor of G + rho I; rho is raised where rounding (float32) has given G
    negative eigenvalues.
    """
    while True:
        matrix = gram.clone()
        matrix.diagonal().add_(rho)
        factor, failed = torch.linalg.cholesky_ex(matrix)
        del matrix
        if not failed:
            return factor
        rho *= RAISE
