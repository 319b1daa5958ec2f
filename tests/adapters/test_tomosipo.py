"""tomosipo's protocol: (z, y, x) to (row, angle, column), `.T`, `out=`."""

from __future__ import annotations

import pytest
import torch

from diffusionblend.adapters.tomosipo import TomosipoOperator
from diffusionblend.errors import InputError
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.operators import XRayTransform

GRID = Grid(shape=(3, 9, 8), spacing_mm=(2.0, 1.5, 1.5))


def test_it_is_called_as_tomosipos_operators_are():
    operator = XRayTransform(ParallelBeam.fitting(GRID, 7), GRID, dtype=torch.float64)
    a = TomosipoOperator(operator)
    views, rows, columns = operator.range_shape
    assert a.domain_shape == GRID.shape and a.range_shape == (rows, views, columns)
    assert a.T.domain_shape == a.range_shape and a.T.range_shape == a.domain_shape
    x = torch.rand(a.domain_shape, dtype=torch.float64)
    y = torch.rand(a.range_shape, dtype=torch.float64)
    assert float((a(x) * y).sum()) == pytest.approx(float((x * a.T(y)).sum()))
    torch.testing.assert_close(a(x)[1, 4], operator.forward(x)[4, 1])
    out = torch.empty(a.range_shape, dtype=torch.float64)
    assert a(x, out=out) is out
    torch.testing.assert_close(out, a(x))
    torch.testing.assert_close(a.T.T(x), a(x))
    with pytest.raises(InputError, match="tomosipo"):
        TomosipoOperator(torch.eye(3))
