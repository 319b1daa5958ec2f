"""A picture of unconditional samples, to watch a prior learn during `train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.io.atomic import atomic_output
from diffusionblend.units import network_to_hu

if TYPE_CHECKING:
    import numpy as np
    import torch

    from diffusionblend.priors.prior import Prior

SAMPLES_FOLDER = "samples"
N_BLOCKS = 4
STEPS = 25
SEED = 7
LOWEST_HU, HIGHEST_HU = -1000.0, 400.0
"""Grey values of the picture: from air to bone."""


def sample_blocks(prior: Prior, code: float) -> np.ndarray:
    """Blocks (n, k, size, size) in HU drawn from the prior alone, the same noise every time."""
    import torch

    from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
    from diffusionblend.methods.diffusion.executor import Executor
    from diffusionblend.methods.diffusion.loop import ReverseLoop
    from diffusionblend.methods.diffusion.state import State
    from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
    from diffusionblend.priors.partition import Partition

    k, size = prior.block_slices, prior.config.image_size
    apart = Partition(torch.arange(N_BLOCKS * k).reshape(N_BLOCKS, k), 1)
    times = sampling_timesteps(STEPS, prior.schedule.n_timesteps)
    executor = Executor(
        prior,
        times,
        [apart] * STEPS,
        batch_blocks=N_BLOCKS,
        device=prior.device,
        position_unit=code,
    )
    abar = [float(prior.schedule.alpha_bar[t]) for t in times]
    loop = ReverseLoop(abar, ConsistencyStep(), noise_fraction=1.0)
    generator = torch.Generator().manual_seed(SEED)

    def noise() -> torch.Tensor:
        return torch.randn(N_BLOCKS * k, size, size, generator=generator).to(prior.device)

    with torch.no_grad():
        state = State(0, loop.start(noise()), generator.get_state())
        volume = loop.run(state, executor, noise, lambda state: None)
    return network_to_hu(volume.cpu().numpy()).reshape(N_BLOCKS, k, size, size)


def write_samples(folder: Path, prior: Prior, code: float, step: int) -> Path:
    """Write samples/step-<step>.png into a folder, a row a block. Raises OutputWriteError."""
    import numpy as np
    from matplotlib.image import imsave

    blocks = sample_blocks(prior, code)
    picture = np.concatenate([np.concatenate(list(block), axis=1) for block in blocks])
    path = Path(folder) / SAMPLES_FOLDER / f"step-{step:08d}.png"
    with atomic_output(path, force=True) as temporary:
        imsave(temporary, picture, cmap="gray", vmin=LOWEST_HU, vmax=HIGHEST_HU)
    return path
