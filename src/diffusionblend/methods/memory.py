"""How much memory a reconstruction takes, and how it is divided to fit."""

from __future__ import annotations

import torch

from diffusionblend.geometry import Projections
from diffusionblend.priors.prior import Prior

CPU_BATCH_PIXELS = 16 * 3 * 128 * 128
GPU_BYTES_PER_PIXEL = 4096
"""Pixels (over all slices) of a network batch on a CPU; memory per such pixel taken on a GPU."""

VOLUMES_HELD = 5
"""Float32 volumes alive at once: the state, its dual variable and sum, a step's noise, a result."""
SHARE_OF_FREE = 0.5

LIBRARIES_BYTES = 620e6
"""A process with the libraries, a network of some ten million parameters and one batch."""
BYTES_PER_ENTRY = 30
"""Of the sparse matrix of A while it is built; a ray has two entries in each row it crosses."""
PROJECTIONS_HELD = 4


def planned_bytes(projections: Projections) -> int:
    """Host memory that a diffusion method's process will take, network on the CPU.

    Linear in slices; an estimate, which a test holds to within 30% for a small scan.
    """
    shape = projections.grid.shape
    entries = projections.geometry.n_views * shape[1] * shape[2] * 2
    held = PROJECTIONS_HELD * projections.values.nbytes
    return int(LIBRARIES_BYTES + volume_bytes(shape) + held + BYTES_PER_ENTRY * entries)


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
