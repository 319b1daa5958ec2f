"""DiffusionBlend++: joint block prior, random partitions, position code (Song et al. 2024)."""

from __future__ import annotations

import torch

from diffusionblend.geometry import Projections
from diffusionblend.methods.diffusion import Scheme, sample_volume
from diffusionblend.methods.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.sampler import Execution
from diffusionblend.methods.settings import DiffusionBlendPPSettings
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.priors.prior import Prior


def reconstruct_diffusionblend_pp(
    projections: Projections,
    prior: Prior,
    settings: DiffusionBlendPPSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU: the slices are cut afresh at every step into blocks, denoised jointly."""
    partitions = draw_partitions(
        projections.grid.shape[0],
        prior.block_slices,
        kind=settings.partition,
        jump_stride=settings.jump_stride,
        jump_every=settings.jump_every,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    return sample_volume(projections, prior, settings, Scheme(partitions), on_step, execution)
