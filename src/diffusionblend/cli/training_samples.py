"""A picture of unconditional samples, to watch a prior learn during `train`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from diffusionblend.io.atomic import atomic_output
from diffusionblend.methods.diffusion.consistency import Unconditional
from diffusionblend.methods.diffusion.sampler import Sampler
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.priors.partition import Partition
from diffusionblend.priors.prior import Prior
from diffusionblend.units import network_to_hu

SAMPLES_FOLDER = "samples"
N_BLOCKS = 4
STEPS = 25
SEED = 7
LOWEST_HU, HIGHEST_HU = -1000.0, 400.0
"""Grey values of the picture: from air to bone."""


def sample_blocks(prior: Prior, code: float) -> np.ndarray:
    """Blocks (n, k, size, size) in HU drawn from the prior alone, the same noise every time."""
    k, size = prior.block_slices, prior.config.image_size
    apart = Partition(torch.arange(N_BLOCKS * k).reshape(N_BLOCKS, k), 1)
    sampler = Sampler(
        prior,
        Unconditional(),
        sampling_timesteps(STEPS, prior.schedule.n_timesteps),
        [apart] * STEPS,
        eta=1.0,
        batch_blocks=N_BLOCKS,
        device=prior.device,
        code_scale=code,
    )
    with torch.no_grad():
        start = sampler.start((N_BLOCKS * k, size, size), torch.Generator().manual_seed(SEED))
        volume, _ = sampler.run(start)
    return network_to_hu(volume.cpu().numpy()).reshape(N_BLOCKS, k, size, size)


def write_samples(folder: Path, prior: Prior, code: float, step: int) -> Path:
    """Write samples/step-<step>.png into a folder, a row a block. Raises OutputWriteError."""
    from matplotlib.image import imsave

    blocks = sample_blocks(prior, code)
    picture = np.concatenate([np.concatenate(list(block), axis=1) for block in blocks])
    path = Path(folder) / SAMPLES_FOLDER / f"step-{step:08d}.png"
    with atomic_output(path, force=True) as temporary:
        imsave(temporary, picture, cmap="gray", vmin=LOWEST_HU, vmax=HIGHEST_HU)
    return path
