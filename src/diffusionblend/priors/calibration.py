"""Blocks on which the ranges of a network's layers are measured; of no patient, but made up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from diffusionblend.phantom import synthetic_chest
from diffusionblend.priors.prior_types.base import LOW_NOISE_BELOW
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.units import hu_to_network

if TYPE_CHECKING:
    from diffusionblend.priors.config import NetworkConfig

FIELD_MM, SLICE_MM = 360.0, 2.5
PARTS = (1.0, 0.5)
"""Of the field: pixels of a network for every pixel size are as fine; others see the whole."""
N_BLOCKS, N_SLICES = 96, 24
STRIDES = (1, 3)
LOW_SHARE = 0.75
"""Of the blocks, those at timesteps below LOW_NOISE_BELOW, where the presets spend most steps."""


def calibration_blocks(
    config: NetworkConfig, n_blocks: int = N_BLOCKS
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Noisy blocks (1, k, size, size), network range, timesteps (1,) and codes (1,) or (1, 3).

    Of synthetic chests, always the same.
    """
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    schedule, size = NoiseSchedule(), config.image_size
    parts = PARTS if config.length_codes else PARTS[:1]
    found = []
    for seed, part in enumerate(parts):
        pixels, mm = round(size / part), FIELD_MM * part / size
        chest = synthetic_chest(
            seed, shape=(N_SLICES, pixels, pixels), in_plane_mm=mm, slice_mm=SLICE_MM
        )
        for i in range(n_blocks // len(parts)):
            corner = rng.integers(pixels - size + 1, size=2)
            volume = chest.values[:, corner[0] :, corner[1] :][:, :size, :size]
            place = config.type.draw_place(volume.shape, config.block_slices, STRIDES, rng)
            x0 = hu_to_network(torch.from_numpy(np.ascontiguousarray(place.read(volume))))[None]
            low = i % 4 < 4 * LOW_SHARE
            t = torch.from_numpy(
                rng.integers(*((0, LOW_NOISE_BELOW) if low else (LOW_NOISE_BELOW, 1000)), size=1)
            )
            eps = torch.randn(x0.shape, generator=generator)
            codes = [float(place.stride), mm, SLICE_MM][: 3 if config.length_codes else 1]
            code = torch.tensor([codes]) if config.length_codes else torch.tensor(codes)
            found.append((schedule.add_noise(x0, eps, t).float(), t, code))
    return found
