"""The random numbers of a run: one generator, on the CPU, whatever computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def generator_of(seed: int) -> torch.Generator:
    """The generator of a run's noise: on the CPU, so that devices and free memory change none."""
    import torch

    return torch.Generator().manual_seed(seed)
