"""Noisy slices padded with air, for networks that take other sizes than their multiples."""

from __future__ import annotations

import torch

from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.units import AIR_HU, hu_to_network

EVERY_SLICE = slice(None)


def padded_with_air(
    x_t: torch.Tensor,
    t: int,
    multiple: int,
    schedule: NoiseSchedule,
    noisy: slice = EVERY_SLICE,
) -> torch.Tensor:
    """Blocks x_t (B, k, H, W) with air, noised like them, below and right, to multiples of pixels.

    noisy: the places within a block of the noisy slices; the others are clean, and so is their air.
    The padding's noise is fixed for each timestep and the same for all blocks, so that the result
    depends neither on the batch nor on any generator.
    """
    height, width = (-(-n // multiple) * multiple for n in x_t.shape[-2:])
    if (height, width) == tuple(x_t.shape[-2:]):
        return x_t
    noise = torch.randn(height, width, generator=torch.Generator().manual_seed(t)).to(x_t)
    abar = float(schedule.alpha_bar[t])
    padded = x_t.new_full((*x_t.shape[:-2], height, width), hu_to_network(AIR_HU))
    padded[:, noisy] = abar**0.5 * hu_to_network(AIR_HU) + (1 - abar) ** 0.5 * noise
    padded[..., : x_t.shape[-2], : x_t.shape[-1]] = x_t
    return padded
