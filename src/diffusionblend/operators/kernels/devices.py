"""Where rays on the fly are computed: on the data's GPU if its kernels are there, else the CPU."""

from __future__ import annotations

from importlib.util import find_spec
from types import ModuleType

import torch


def gpu_kernels(data: torch.Tensor) -> ModuleType | None:
    """`kernels_cuda` for data on a GPU, where Triton is installed; None: compute on the CPU."""
    if not data.is_cuda or find_spec("triton") is None:
        return None
    from diffusionblend.operators.kernels import cuda as kernels_cuda

    return kernels_cuda
