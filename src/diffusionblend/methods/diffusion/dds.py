"""DDS, and DDS 2D: slices denoised one by one (Chung et al., ICLR 2024).

The two differ by their data step alone: ADMM with total variation along z, or CG slice by slice.
"""

from __future__ import annotations

from itertools import repeat

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.diffusion.method import Scheme, sample_volume
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.settings import SamplingSettings
from diffusionblend.priors.partition import slice_partition
from diffusionblend.priors.prior import Prior


def reconstruct_dds(
    projections: Projections,
    prior: Prior,
    settings: SamplingSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU from a prior of single slices, coupled along z by the data step if at all."""
    scheme = Scheme(repeat(slice_partition(projections.grid.shape[0])))
    return sample_volume(projections, prior, settings, scheme, on_step, execution)
