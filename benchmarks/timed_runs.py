"""Reconstructions with a clock inside: what each part of a reverse step costs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from common import TINY_NETWORK
from diffusionblend import (
    DiffusionBlendPP,
    Execution,
    Grid,
    Projections,
    Volume,
    equally_spaced_angles,
    load_prior,
)
from diffusionblend.methods.base import reconstruct_with
from diffusionblend.priors.network import build_unet
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.priors.prior import Prior
from diffusionblend.units import hu_to_network, network_to_hu
from network_speed import synchronizer
from published_loop import RotateAndSum, published_loop


class Clock:
    """Wall time of a reverse loop from its first network evaluation on, and the blocks denoised."""

    def __init__(self, device: torch.device) -> None:
        self._synchronize = synchronizer(device)
        self.first: float | None = None
        self.last = 0.0
        self.steps = 0
        self.blocks = 0

    def now(self) -> float:
        """The time, once the device has done all its work."""
        self._synchronize()
        return time.perf_counter()

    def denoised(self, n_blocks: int) -> None:
        """The network is about to be given so many blocks."""
        if self.first is None:
            self.first = self.now()
        self.blocks += n_blocks

    def step(self, done: int, total: int) -> None:
        """A reverse step has ended; only after the last one the device is waited for."""
        self.steps = done
        if done == total:
            self.last = self.now()


class ClockedPrior:
    """A prior that reports its network evaluations to a clock; else the prior itself."""

    def __init__(self, prior: Prior, clock: Clock) -> None:
        self._prior, self._clock = prior, clock

    def __getattr__(self, name: str) -> object:
        return getattr(self._prior, name)

    def for_grid(self, grid: Grid) -> ClockedPrior:
        """As the prior's own, with the same clock."""
        return ClockedPrior(self._prior.for_grid(grid), self._clock)

    def denoise(self, x_t: torch.Tensor, t: int, code: int) -> tuple[torch.Tensor, torch.Tensor]:
        """As the prior's own."""
        self._clock.denoised(len(x_t))
        return self._prior.denoise(x_t, t, code)


@dataclass(frozen=True)
class TimedRun:
    """Seconds a reverse step, in all and by part (network, consistency, rest), and the volume."""

    step_seconds: float
    parts: dict[str, float]
    blocks: int
    total_seconds: float
    volume: Volume


def our_run(
    prior: Prior,
    projections: Projections,
    method: DiffusionBlendPP,
    batch_blocks: int | None = None,
) -> TimedRun:
    """DiffusionBlend++ as users run it.

    Network and consistency are the method's own times; the rest is what they leave of the loop's
    wall time. What is set up before the loop is in `total_seconds` alone. Raises RuntimeError where
    the method passes the clock.
    """
    clock = Clock(prior.device)
    started = clock.now()
    priors = {"prior": ClockedPrior(prior, clock)}
    execution = Execution(on_step=clock.step, batch_blocks=batch_blocks)
    result = reconstruct_with(method, projections, priors, str(prior.device), execution)
    total = clock.now() - started
    if clock.first is None or not clock.last:
        raise RuntimeError(
            "The method did not report its network evaluations and steps to the clock."
        )
    step_seconds = (clock.last - clock.first) / clock.steps
    parts = {name: result.seconds[name] / clock.steps for name in ("network", "consistency")}
    parts["rest"] = step_seconds - sum(parts.values())
    return TimedRun(step_seconds, parts, clock.blocks, total, result.volume)


@dataclass(frozen=True)
class PublishedScan:
    """The published loop's own projections of a volume, in the network's range."""

    operator: RotateAndSum
    y: torch.Tensor
    truth: Volume

    @classmethod
    def of(cls, truth: Volume, n_views: int, device: torch.device) -> PublishedScan:
        """Noiseless projections of square slices, views equally spaced over 180 degrees."""
        slices, size, _ = truth.grid.shape
        angles = equally_spaced_angles(n_views)
        operator = RotateAndSum(slices, size, angles, device=device)
        x = hu_to_network(torch.from_numpy(np.array(truth.values)).to(device))
        with torch.inference_mode():
            return cls(operator, operator.forward(x), truth)


def published_run(prior: Prior, scan: PublishedScan, method: DiffusionBlendPP) -> TimedRun:
    """The published loop on the same weights and partitions, with steps and seed of `method`."""
    synchronize = synchronizer(prior.device)
    generator = torch.Generator().manual_seed(method.seed)
    partitions = draw_partitions(
        scan.truth.grid.shape[0],
        prior.block_slices,
        kind=method.partition,
        jump_stride=method.jump_stride,
        jump_every=method.jump_every,
        generator=torch.Generator().manual_seed(method.seed),
    )
    drawn = []

    def counted() -> Iterator:
        for partition in partitions:
            drawn.append(len(partition.blocks))
            yield partition

    started = time.perf_counter()
    with torch.inference_mode():
        x, spent = published_loop(
            prior.for_grid(scan.truth.grid),
            scan.operator,
            scan.y,
            counted(),
            steps=method.steps,
            generator=generator,
            synchronize=synchronize,
        )
    total = time.perf_counter() - started
    network, consistency = np.mean(spent.network), np.mean(spent.consistency)
    step_seconds = float(np.mean(spent.total))
    parts = {"network": float(network), "consistency": float(consistency)}
    parts["rest"] = step_seconds - sum(parts.values())
    volume = scan.truth.with_values(network_to_hu(x).cpu().numpy())
    return TimedRun(step_seconds, parts, sum(drawn), total, volume)


def prior_at(name_or_folder: str | Path, size: int, device: str) -> Prior:
    """A prior for slices of size x size, whatever size it was trained at (for timing)."""
    prior = load_prior(name_or_folder, device)
    if prior.config.image_size == size:
        return prior
    return replace(prior, config=replace(prior.config, image_size=size))


def tiny_prior(device: str) -> Prior:
    """A small network of random weights, for the tests."""
    torch.manual_seed(0)
    return Prior(build_unet(TINY_NETWORK), TINY_NETWORK, trained={"seed": 0}).to(device)


def tiled(volume: Volume, n_slices: int) -> Volume:
    """The volume with n slices: cut, or repeated, every second copy upside down."""
    copies = -(-n_slices // len(volume.values))
    stack = [volume.values[:: -1 if i % 2 else 1] for i in range(copies)]
    values = np.concatenate(stack)[:n_slices]
    return Volume(values, volume.grid.with_slices(n_slices))
