"""The Triton kernels on random geometries against those of the CPU, interpreted without a GPU."""

from __future__ import annotations

from itertools import islice

import pytest
import torch

from random_geometries import KINDS, LIMIT, both_ways, random_operators, worst_error

pytest.importorskip("triton", reason="Triton is not installed")
CASES = 17
"""Of each of six kinds: a hundred; `benchmarks/kernels.py` tries as many as are asked for."""
BOTH = (torch.float32, torch.float64)


@pytest.mark.parametrize("kind", KINDS)
def test_random_geometries(kind, monkeypatch):
    from diffusionblend.operators.kernels import cuda as kernels

    operators = list(islice(random_operators(kind, seed=1, dtypes=BOTH), CASES))
    expected = [both_ways(operator, i) for i, operator in enumerate(operators)]
    for module in ("panels", "slicewise"):
        monkeypatch.setattr(f"diffusionblend.operators.{module}.gpu_kernels", lambda data: kernels)
    for i, operator in enumerate(operators):
        error = worst_error(both_ways(operator, i), expected[i])
        assert error <= LIMIT[operator.dtype], (operator.geometry, operator.grid)
    assert sum(bool(e[0].any()) for e in expected) > CASES / 2
