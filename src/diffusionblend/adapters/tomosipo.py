"""An operator by tomosipo's protocol: `A(x, out=None)`, `A.T(y)`, projections (row, angle, column).

tomosipo itself is not needed; what takes its operators takes this one.
"""

from __future__ import annotations

from typing import Self

import torch

from diffusionblend.errors import check_kind
from diffusionblend.operators.linear import LinearOperator


class TomosipoOperator:
    """An X-ray transform called as those of tomosipo are.

    operator: volume (z, y, x) to projections (view, row, column). Raises InputError for any other
    object.
    """

    def __init__(self, operator: LinearOperator, *, transposed: bool = False) -> None:
        check_kind(operator, LinearOperator, "The operator for tomosipo")
        self.operator, self.transposed = operator, transposed

    @property
    def T(self) -> Self:  # noqa: N802
        """The transpose."""
        return type(self)(self.operator, transposed=not self.transposed)

    @property
    def domain_shape(self) -> tuple[int, ...]:
        """Of what it takes: (z, y, x), or (row, angle, column) of the transpose."""
        return self._rows_first if self.transposed else self.operator.domain_shape

    @property
    def range_shape(self) -> tuple[int, ...]:
        """Of what it gives."""
        return self.operator.domain_shape if self.transposed else self._rows_first

    def __call__(self, x: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        """A x, or A^T x of the transpose, written into `out` where it is given."""
        if self.transposed:
            result = self.operator.adjoint(x.transpose(0, 1).contiguous())
        else:
            result = self.operator.forward(x).transpose(0, 1).contiguous()
        if out is None:
            return result
        out[...] = result
        return out

    @property
    def _rows_first(self) -> tuple[int, ...]:
        views, rows, columns = self.operator.range_shape
        return rows, views, columns
