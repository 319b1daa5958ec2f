"""How unlike what a prior has seen a reconstruction is: the error with which it denoises it.

Blocks of the reconstruction are noised to one timestep and denoised; the root mean square of what
changes inside the object, relative to the noise, is small for what the prior was trained on, where
it knows what the noise hides. It costs at most the network evaluations of half the volume's slices.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from diffusionblend.units import hu_to_network

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume
    from diffusionblend.priors.prior import Prior

TIMESTEP = 400
"""At which patients and objects of other kinds differ most: see the log of 2026-11-29."""
MOST_BLOCKS = 8
AIR_BELOW = -0.95
"""Voxels below this (-950 HU) say little of an object: air is alike everywhere."""
LIMIT = 1.5
"""Above the highest error of the calibration's patients times this a reconstruction is unlike
them."""


def denoising_error(volume: Volume, prior: Prior) -> float | None:
    """The error with which a diffusion prior denoises a volume in HU, relative to the noise.

    Its grid is one that the prior serves. None where it holds nothing but air, or too few slices
    for a block.
    """
    x = hu_to_network(torch.from_numpy(volume.values))
    if len(x) < prior.block_slices:
        return None
    partition = prior.config.type.partition(volume.grid.shape, prior.config.block_slices)
    n_blocks = len(partition.blocks)
    chosen = min(MOST_BLOCKS, max(1, n_blocks // 2))
    numbers = [(2 * i + 1) * n_blocks // (2 * chosen) for i in range(chosen)]
    denoiser, generator = prior.for_grid(volume.grid), torch.Generator().manual_seed(0)
    unit = volume.grid.spacing_mm[0] if prior.code_unit == "mm" else 1.0
    abar = float(prior.schedule.alpha_bar[TIMESTEP])
    squares = count = 0.0
    with torch.no_grad():
        for number in numbers:  # one at a time: there may be little memory
            block = partition.gather(x, partition.blocks[number : number + 1])
            noise = torch.randn(block.shape, generator=generator)
            noisy = (abar**0.5 * block + (1 - abar) ** 0.5 * noise).to(prior.device)
            found, _ = denoiser.denoise(noisy, TIMESTEP, partition.code * unit)
            clean = block[:, prior.config.output_slices]
            inside = clean > AIR_BELOW
            squares += float((found.cpu() - clean)[inside].double().square().sum())
            count += float(inside.sum())
    return math.sqrt(squares / count / ((1 - abar) / abar)) if count else None


def unfamiliar_note(error: float | None, highest: float | None, prior: Prior) -> str | None:
    """A sentence where an error is above what patients have; None elsewhere.

    highest: of the calibration's patients; None where that is not known.
    """
    if error is None or highest is None or error <= LIMIT * highest:
        return None
    return (
        f"this looks unlike what {prior.source or 'the prior'} has seen: it denoises it with "
        f"{error / highest:.1f} times the largest error of the patients of its calibration "
        f"({LIMIT:g} is the limit). Where the projections leave a choice it shows what patients "
        "look like; compare with a method without a prior (--method admm-tv)"
    )
