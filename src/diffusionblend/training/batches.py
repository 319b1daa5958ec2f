"""Training batches: each a function of the seed and the step alone, on any number of processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from diffusionblend.methods.fbp_unet import fbp_of_slices
from diffusionblend.training.dataset import VolumeBank, draw_blocks
from diffusionblend.training.settings import Augmentation, TrainSettings

MAX_WORKERS = 8


@dataclass(frozen=True)
class Batch:
    """Blocks x0 (n, k, H, W), network range, codes (n,), noise eps like x0, timesteps t (n,).

    With layout fbp-unet eps is the FBP of x0, and t and the codes are 0.
    """

    x0: torch.Tensor
    codes: torch.Tensor
    eps: torch.Tensor
    t: torch.Tensor

    def __len__(self) -> int:
        return len(self.x0)

    def part(self, blocks: slice) -> Batch:
        """Some of the blocks."""
        return Batch(self.x0[blocks], self.codes[blocks], self.eps[blocks], self.t[blocks])

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; a copy to a GPU goes on while the caller does."""
        parts = (self.x0, self.codes, self.eps, self.t)
        if device.type == "cuda":
            parts = tuple(p.pin_memory() for p in parts)
        return Batch(*(p.to(device, non_blocking=True) for p in parts))


def draw_batch(
    bank: VolumeBank,
    settings: TrainSettings,
    *,
    seed: int,
    step: int,
    n_blocks: int,
    n_timesteps: int,
    augmentation: Augmentation | None,
    share: slice = slice(None),
) -> Batch:
    """The `share` of a batch of `n_blocks`, on the CPU; the timesteps are stratified."""
    rng = np.random.default_rng([seed, step])
    x0, codes = draw_blocks(
        bank,
        n_blocks=n_blocks,
        block_slices=settings.network.slices_seen,
        strides=settings.strides,
        layout=settings.network.layout,
        rng=rng,
        augmentation=augmentation,
        code=settings.code,
        share=share,
    )
    if settings.network.layout == "fbp-unet":
        image = fbp_of_slices(x0[:, 0], settings.views, settings.arc_degrees)[:, None]
        nothing = torch.zeros(len(x0), dtype=torch.long)
        return Batch(x0, nothing, image, nothing)
    noise_generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    eps = torch.randn(n_blocks, *x0.shape[1:], generator=noise_generator)
    strata = (np.arange(n_blocks) + rng.random(n_blocks)) / n_blocks
    t = torch.from_numpy((strata * n_timesteps).astype(np.int64))
    return Batch(x0, codes, eps[share], t[share])


class TrainingBatches:
    """One process's share of every training batch, drawn ahead in threads where a GPU waits.

    share: the blocks of each batch that are this process's. device: where they are used.
    """

    def __init__(
        self,
        bank: VolumeBank,
        settings: TrainSettings,
        n_timesteps: int,
        share: slice,
        device: torch.device,
    ) -> None:
        self._bank, self._settings, self._n_timesteps = bank, settings, n_timesteps
        self._share, self._device = share, device

    def draw(self, step: int) -> Batch:
        """The batch of a step, on the CPU."""
        return draw_batch(
            self._bank,
            self._settings,
            seed=self._settings.seed,
            step=step,
            n_blocks=self._settings.batch_size,
            n_timesteps=self._n_timesteps,
            augmentation=self._settings.augmentation,
            share=self._share,
        )

    def from_step(self, first: int) -> Iterator[Batch]:
        """The batches of the steps from `first` on, on the device; close it when done."""
        steps = range(first, self._settings.steps)
        if self._device.type != "cuda":  # the cores are busy with the network anyway
            yield from map(self.draw, steps)
            return
        workers = _worker_count()
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            ahead: list[Future[Batch]] = []
            try:
                for step in steps:
                    while len(ahead) <= 2 * workers and step + len(ahead) < steps.stop:
                        ahead.append(pool.submit(self.draw, step + len(ahead)))
                    yield ahead.pop(0).result().to(self._device)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _worker_count() -> int:
    """Threads that this process may use: its share of the machine's cores, one left for itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MAX_WORKERS, (cores or 1) // processes - 1))
