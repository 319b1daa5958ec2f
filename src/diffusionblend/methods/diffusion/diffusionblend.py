"""DiffusionBlend: every slice denoised given its two neighbours (Song et al. 2024)."""

from __future__ import annotations

from itertools import repeat

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.diffusion.method import Scheme, sample_volume
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.settings import DiffusionBlendSettings
from diffusionblend.priors.partition import neighbour_partition
from diffusionblend.priors.prior import Prior


def reconstruct_diffusionblend(
    projections: Projections,
    prior: Prior,
    settings: DiffusionBlendSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU: grad log p(x) as the sum over i of grad log p(x[i] | x[i-1], x[i+1])."""
    partition = neighbour_partition(projections.grid.shape[0], prior.block_slices)
    scheme = Scheme(repeat(partition))
    return sample_volume(projections, prior, settings, scheme, on_step, execution)
