"""DiffusionBlend++: joint block prior, random partitions, position code (Song et al. 2024)."""

from __future__ import annotations

import time

import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import Projections
from diffusionblend.methods.consistency import (
    after_nonnegativity,
    make_consistency,
)
from diffusionblend.methods.measurement import Measurement
from diffusionblend.methods.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.sampler import sample
from diffusionblend.methods.settings import DiffusionBlendPPSettings
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.priors.prior import Prior
from diffusionblend.units import network_to_hu
from diffusionblend.volume import Volume

CPU_BATCH_PIXELS = 16 * 3 * 128 * 128
GPU_BYTES_PER_PIXEL = 4096
"""Pixels (over all slices) of a network batch on a CPU; memory per such pixel taken on a GPU."""


def reconstruct_diffusionblend_pp(
    projections: Projections,
    prior: Prior,
    settings: DiffusionBlendPPSettings,
    on_step: OnStep = ignore_progress,
) -> Reconstruction:
    """A volume in HU sampled from the prior given the projections; it sees no reference.

    Raises InputError where the prior's slice size is not the grid's.
    """
    check_prior_fits(prior, projections)
    started = time.perf_counter()
    device = prior.device
    measurement = Measurement(projections, device)
    generator = torch.Generator().manual_seed(settings.seed)
    shape = projections.grid.shape
    partitions = draw_partitions(
        shape[0],
        prior.block_slices,
        kind=settings.partition,
        jump_stride=settings.jump_stride,
        jump_every=settings.jump_every,
        generator=generator,
    )
    consistency = make_consistency(
        settings.consistency,
        measurement,
        cg_iterations=settings.cg_iterations,
        rho=settings.rho,
    )
    if settings.nonnegative:
        consistency = after_nonnegativity(consistency)
    with torch.inference_mode():
        x, cost = sample(
            prior,
            shape,
            partitions,
            consistency,
            steps=settings.steps,
            eta=settings.eta,
            generator=generator,
            batch_blocks=settings.batch_blocks or default_batch_blocks(prior, shape),
            device=device,
            on_step=on_step,
        )
    seconds = {**cost.seconds, "total": time.perf_counter() - started}
    volume = Volume(network_to_hu(x).cpu().numpy(), projections.grid)
    return Reconstruction(volume, measurement.relative_residual(x), cost.network_calls, seconds)


def check_prior_fits(prior: Prior, projections: Projections) -> None:
    """Raise InputError unless the prior was trained for slices of the projections' size."""
    size = prior.config.image_size
    found = projections.grid.in_plane_shape
    if found != (size, size):
        raise InputError(
            f"The projections are of slices of {found[0]} x {found[1]} pixels.",
            f"{size} x {size}, the size of the prior",
            f"'diffusionblend import ... --size {size}' before simulating, or a prior of that size",
        )


def default_batch_blocks(prior: Prior, shape: tuple[int, int, int]) -> int:
    """Blocks a network batch: what a CPU's caches like, or what fits a GPU's free memory."""
    pixels = prior.block_slices * shape[1] * shape[2]
    if prior.device.type != "cuda":
        return max(1, CPU_BATCH_PIXELS // pixels)
    free, _ = torch.cuda.mem_get_info(prior.device)
    return max(1, int(free * 0.5) // (pixels * GPU_BYTES_PER_PIXEL))
