"""The reverse loop that every diffusion method shares (Algorithm 1 of DiffusionBlend++)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.partition import Partition
from diffusionblend.priors.prior import BlockDenoiser

Consistency = Callable[[torch.Tensor], torch.Tensor]
"""Moves the estimate x0 (z, y, x), network range, towards the data."""


@dataclass
class SamplerCost:
    """What a run cost: network calls on the whole volume, and seconds of each part."""

    network_calls: int = 0
    seconds: dict[str, float] = field(default_factory=lambda: {"network": 0.0, "consistency": 0.0})


def sampling_timesteps(steps: int, n_timesteps: int) -> list[int]:
    """`steps` timesteps equally spaced from T - 1 down; after the last the volume is clean.

    Raises InputError where there are more steps than timesteps, which would then repeat.
    """
    if not 1 <= steps <= n_timesteps:
        raise InputError(f"steps is {steps}.", f"1 to {n_timesteps}, the timesteps of the prior")
    return [round(n_timesteps - 1 - i * n_timesteps / steps) for i in range(steps)]


def sample(
    prior: BlockDenoiser,
    shape: tuple[int, int, int],
    partitions: Iterator[Partition],
    consistency: Consistency,
    *,
    steps: int,
    eta: float,
    generator: torch.Generator,
    batch_blocks: int,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[torch.Tensor, SamplerCost]:
    """One volume (z, y, x), network range, from pure noise: DDIM with the consistency inside.

    x_{t'} = sqrt(abar') x0' + sqrt(1 - abar') (sqrt(1 - eta^2) eps + eta z), where eta is the share
    of the noise renewed at every step, as in the authors' loop; it is not the eta of DDIM's own
    sigma.
    The generator is on the CPU, so that a seed gives the same volume on every device and for every
    batch size.
    """
    cost = SamplerCost()
    times = sampling_timesteps(steps, prior.schedule.n_timesteps)
    x = torch.randn(shape, generator=generator).to(device)
    for done, (t, following) in enumerate(zip(times, [*times[1:], None], strict=True)):
        started = time.perf_counter()
        x0, eps = denoise_volume(prior, x, t, next(partitions), batch_blocks)
        cost.network_calls += 1
        cost.seconds["network"] += time.perf_counter() - started
        started = time.perf_counter()
        x0 = consistency(x0)
        cost.seconds["consistency"] += time.perf_counter() - started
        if following is None:
            x = x0
        else:
            z = torch.randn(shape, generator=generator).to(device)
            abar = float(prior.schedule.alpha_bar[following])
            noise = (1 - eta**2) ** 0.5 * eps + eta * z
            x = abar**0.5 * x0 + (1 - abar) ** 0.5 * noise
        on_step(done + 1, steps)
    return x, cost


def denoise_volume(
    prior: BlockDenoiser, x_t: torch.Tensor, t: int, partition: Partition, batch_blocks: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """x0 and eps (z, y, x) of a whole volume, its blocks denoised in batches of `batch_blocks`."""
    parts = [
        prior.denoise(batch, t, partition.code)
        for batch in partition.gather(x_t).split(batch_blocks)
    ]
    x0, eps = (torch.cat(part) for part in zip(*parts, strict=True))
    n_slices = x_t.shape[0]
    return partition.scatter(x0, n_slices), partition.scatter(eps, n_slices)
