"""The number format a network runs in: bfloat16 where the processor has it, else float32."""

from __future__ import annotations

from typing import Literal

import torch

Precision = Literal["auto", "float32", "bfloat16"]
PRECISIONS: tuple[str, ...] = ("auto", "float32", "bfloat16")


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether the device computes bfloat16 in hardware; emulated, it is slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def runs_bfloat16(precision: Precision, device: torch.device | str) -> bool:
    """Whether a network of this precision runs under bfloat16 autocast on the device."""
    return has_bfloat16(device) if precision == "auto" else precision == "bfloat16"
