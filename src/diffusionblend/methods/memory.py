"""How much memory a reconstruction takes, and how it is divided to fit."""

from __future__ import annotations

import torch

from diffusionblend.priors.prior import Prior

CPU_BATCH_PIXELS = 16 * 3 * 128 * 128
GPU_BYTES_PER_PIXEL = 4096
"""Pixels (over all slices) of a network batch on a CPU; memory per such pixel taken on a GPU."""

VOLUMES_HELD = 3
"""Float32 volumes alive at once: the state, a step's noise, and the result or a state's copy."""
SHARE_OF_FREE = 0.5


def batch_that_fits(prior: Prior, shape: tuple[int, int, int]) -> int:
    """Blocks a network batch: what a CPU's caches like, or what fits a GPU's free memory."""
    pixels = prior.block_slices * shape[1] * shape[2]
    if prior.device.type != "cuda":
        return max(1, CPU_BATCH_PIXELS // pixels)
    free, _ = torch.cuda.mem_get_info(prior.device)
    return max(1, int(free * SHARE_OF_FREE) // (pixels * GPU_BYTES_PER_PIXEL))


def volume_bytes(shape: tuple[int, int, int]) -> int:
    """Bytes of the volumes that a sampler holds: linear in slices."""
    return VOLUMES_HELD * 4 * shape[0] * shape[1] * shape[2]


def home_of_volume(prior: Prior, shape: tuple[int, int, int]) -> torch.device:
    """Where the noisy volume lies: with the network, or on the host where a GPU has no room."""
    if prior.device.type != "cuda":
        return prior.device
    free, _ = torch.cuda.mem_get_info(prior.device)
    return prior.device if volume_bytes(shape) < SHARE_OF_FREE * free else torch.device("cpu")
