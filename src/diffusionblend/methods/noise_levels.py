"""A prior as a denoiser of volumes at any noise level, for algorithms that ask for nothing else."""

from __future__ import annotations

import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.partition import Partition
from diffusionblend.priors.prior import Prior

BATCH_BLOCKS = 8


def timestep_of(prior: Prior, sigma: float) -> int:
    """The timestep whose noise is nearest, as a ratio, to sigma in HU / 1000.

    x_t / sqrt(abar_t) is the clean volume with noise of sigma_t = sqrt((1 - abar_t) / abar_t).
    Raises InputError for what is no noise level.
    """
    if not 0 < sigma < float("inf"):
        raise InputError(f"The noise level is {sigma}.", "a positive standard deviation")
    abar = prior.schedule.alpha_bar
    levels = ((1 - abar) / abar).sqrt().log()
    return int((levels - torch.tensor(sigma, dtype=torch.float64).log()).abs().argmin())


def denoised_volume(
    prior: Prior, x: torch.Tensor, sigma: float, partition: Partition, slice_mm: float = 1.0
) -> torch.Tensor:
    """The expected clean volume of x (z, y, x) in HU / 1000 with white noise of sigma.

    partition: into the blocks that are denoised. slice_mm: the distance of slices, for priors whose
    position code counts in mm. Raises InputError as `timestep_of`.
    """
    t = timestep_of(prior, sigma)
    code = partition.code * (slice_mm if prior.code_unit == "mm" else 1.0)
    x_t = prior.schedule.alpha_bar[t].sqrt().to(x) * x
    parts = [
        prior.denoise(partition.gather(x_t, blocks), t, code)[0]
        for blocks in partition.blocks.split(BATCH_BLOCKS)
    ]
    return partition.scatter(torch.cat(parts), len(x))
