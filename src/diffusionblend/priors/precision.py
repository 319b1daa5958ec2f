"""The number format a network runs in: bfloat16 where the processor gains by it, else float32.

int8 is taken where it is asked for alone: it needs an engine of its own, see `integer`.
"""

from __future__ import annotations

import functools
import platform
from contextlib import suppress
from pathlib import Path
from typing import Literal, get_args

import torch

from diffusionblend.errors import InputError

Precision = Literal["auto", "float32", "bfloat16", "int8"]
PRECISIONS: tuple[str, ...] = get_args(Precision)
INTEL = "GenuineIntel"
CPU_INFO = Path("/proc/cpuinfo")


def has_bfloat16(device: torch.device | str) -> bool:
    """Whether the device computes bfloat16 in hardware, and faster than float32.

    Emulated, it is slower; so it is by AVX512-BF16 on Intel's processors without AMX (106 and 67 ms
    a block were measured), but not on AMD's.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and not _is_intel()


@functools.cache
def _is_intel() -> bool:
    """Whether the processor is one of Intel's, as far as the system tells."""
    with suppress(OSError):
        return INTEL in CPU_INFO.read_text(errors="replace")
    return INTEL in platform.processor()


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
