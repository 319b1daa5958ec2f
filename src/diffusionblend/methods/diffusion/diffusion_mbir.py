"""DiffusionMBIR: slices one by one, predictor and corrector, ADMM-TV along z (CVPR 2023).

Chung et al. published it for a variance-exploding prior, sigma from 0.01 to 378. Ours preserves the
variance; x / sqrt(abar) is then the state of an exploding process with sigma from 0.01 to 157, on
which the data step is taken, as published.
"""

from __future__ import annotations

from itertools import repeat

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.diffusion.method import Scheme, sample_volume
from diffusionblend.methods.diffusion.sampler import Execution
from diffusionblend.methods.settings import DiffusionMbirSettings
from diffusionblend.priors.partition import slice_partition
from diffusionblend.priors.prior import Prior


def reconstruct_diffusion_mbir(
    projections: Projections,
    prior: Prior,
    settings: DiffusionMbirSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU: at each step a reverse step, a Langevin step, then ADMM on the state."""
    scheme = Scheme(
        repeat(slice_partition(projections.grid.shape[0])),
        corrector_snr=settings.corrector_snr,
        on_state=True,
    )
    return sample_volume(projections, prior, settings, scheme, on_step, execution)
