"""How much memory a reconstruction takes, and how it is divided to fit."""

from __future__ import annotations

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.methods.registry import find_method
from diffusionblend.priors.prior import Prior

CPU_BATCH_PIXELS = 16 * 3 * 128 * 128
GPU_BYTES_PER_PIXEL = 4096
"""Pixels (over all slices) of a network batch on a CPU; memory per such pixel taken on a GPU."""

VOLUMES_HELD = 5
"""Float32 volumes alive at once: the state, its dual variable and sum, a step's noise, a result."""
SHARE_OF_FREE = 0.5

LIBRARIES_BYTES = 770e6
"""A process with the libraries, compiled kernels and a network of some ten million parameters."""
BATCH_BYTES_PER_PIXEL = 180
"""Of a network's batch on a CPU, over all its slices."""
PROJECTIONS_HELD = 4

NO_PRIOR_BYTES = 560e6
"""A process with the libraries that a method without a prior needs, and their compiler."""
NO_PRIOR_VOLUMES = {"fbp": 5, "admm-tv": 38}
MOST_VOLUMES = 25
"""Float32 volumes that methods without a prior take; total variation has a gradient, its multiplier
and CG's vectors, and about half as many again where freed memory is kept, as on the command line.
Methods that are not listed take no more than MOST_VOLUMES."""


def planned_bytes(projections: Projections, method: str = "diffusionblend++") -> int:
    """Host memory that a method's process will take, network on the CPU.

    Linear in slices once they fill a batch; an estimate, which a test holds to within 30% for small
    scans.
    """
    shape = projections.grid.shape
    held = PROJECTIONS_HELD * projections.values.nbytes  # A has no matrix, or a small one
    if find_method(method).needs_prior:
        batch = BATCH_BYTES_PER_PIXEL * min(CPU_BATCH_PIXELS, shape[0] * shape[1] * shape[2])
        return int(LIBRARIES_BYTES + batch + volume_bytes(shape) + held)
    volumes = NO_PRIOR_VOLUMES.get(method, MOST_VOLUMES)
    return int(NO_PRIOR_BYTES + volumes * 4 * shape[0] * shape[1] * shape[2] + held)


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
