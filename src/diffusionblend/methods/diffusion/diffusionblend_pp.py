"""DiffusionBlend++: joint block prior, random partitions, position code (Song et al. 2024)."""

from __future__ import annotations

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.data.volume import Volume
from diffusionblend.methods.diffusion.coarse_init import Stage, sample_from_coarse, stages
from diffusionblend.methods.diffusion.method import Scheme, check_prior_fits, sample_volume
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.settings import DiffusionBlendPPSettings
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.priors.prior import Prior


def reconstruct_diffusionblend_pp(
    projections: Projections,
    prior: Prior,
    settings: DiffusionBlendPPSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
    *,
    coarse_prior: Prior | None = None,
) -> Reconstruction:
    """A volume in HU: the slices are cut afresh at every step into blocks, denoised jointly.

    coarse_prior: for slices of half the pixels (or another whole part), from whose reconstruction
    the run starts.
    """
    execution = execution or Execution()
    if coarse_prior is None:
        return _sample(Stage(projections, prior, settings.resolved()), None, on_step, execution)
    check_prior_fits(prior, projections)
    coarse, fine = stages(projections, prior, coarse_prior, settings)
    return sample_from_coarse(coarse, fine, _sample, on_step, execution)


def _sample(
    stage: Stage, start: Volume | None, on_step: OnStep, execution: Execution
) -> Reconstruction:
    """One run at one size, from noise, from an image of the data, or from `start`."""
    settings = stage.settings
    partitions = draw_partitions(
        stage.projections.grid.shape[0],
        stage.prior.block_slices,
        kind=settings.partition,
        jump_stride=settings.jump_stride,
        jump_every=settings.jump_every,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    scheme = Scheme(partitions, start=start)
    return sample_volume(stage.projections, stage.prior, settings, scheme, on_step, execution)
