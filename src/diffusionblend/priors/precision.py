"""The number format a network runs in: bfloat16 where the processor has it, else float32.

int8 is taken where it is asked for alone: it needs an engine of its own, see `integer`.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from diffusionblend.errors import InputError

Precision = Literal["auto", "float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether the device computes bfloat16 in hardware; emulated, it is slower than float32."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def runs_bfloat16(precision: Precision, device: torch.device | str) -> bool:
    """Whether a network of this precision runs under bfloat16 autocast on the device."""
    return has_bfloat16(device) if precision == "auto" else precision == "bfloat16"


def precision_used(precision: Precision, device: torch.device | str) -> str:
    """The number format that a precision means on a device."""
    if precision == "int8":
        return precision
    return "bfloat16" if runs_bfloat16(precision, device) else "float32"


def check_precision(precision: str) -> None:
    """Raise InputError unless it is one of PRECISIONS."""
    if precision not in PRECISIONS:
        raise InputError(f"precision is {precision!r}.", f"one of {', '.join(PRECISIONS)}")
