"""Training batches: each a function of the seed and the step alone, on any number of processes."""

from __future__ import annotations

import os
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch

from diffusionblend.priors.prior_types.batches import Batch, Draw
from diffusionblend.priors.scans import draw_scans
from diffusionblend.ranks import local_count
from diffusionblend.solvers.fbp_of_slices import fbp_of_slices
from diffusionblend.training.dataset import VolumeBank, draw_blocks
from diffusionblend.training.multi_size import draw_of_every_size
from diffusionblend.training.settings import Augmentation, TrainSettings

MAX_WORKERS = 8
LOW_NOISE_MORE = 0.1
"""More of the timesteps are low where pixels are fine: there only the last steps are taken."""
MOST_LOW_NOISE = 0.95


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
    """The `share` of a batch of `n_blocks`, on the CPU, as the prior type forms it.

    augmentation: None for a batch of validation, with even timesteps. With blocks of every size the
    batch is one process's, and has as many blocks as its slices' size allows.
    """
    rng = np.random.default_rng([seed, step])
    network = settings.network
    low_share = 0.0 if augmentation is None else settings.low_noise_share
    if settings.multi_size:
        x0, codes, fine = draw_of_every_size(bank, settings, n_blocks, rng, augmentation)
        n_blocks, share = len(x0), slice(None)
        low_share += LOW_NOISE_MORE if low_share and fine else 0.0
    else:
        x0, codes = draw_blocks(
            bank,
            n_blocks=n_blocks,
            block_slices=network.slices_seen,
            strides=settings.strides,
            prior_type=network.type,
            rng=rng,
            augmentation=augmentation,
            code=settings.code,
            share=share,
            with_lengths=network.length_codes > 0,
        )
    any_scan = settings.any_scan
    one = (settings.views, settings.arc_degrees)
    scans = draw_scans(rng, n_blocks) if any_scan else [one] * n_blocks
    low_share = min(low_share, MOST_LOW_NOISE)
    draw = Draw(n_blocks, share, rng, n_timesteps, scans, any_scan, fbp_of_slices, low_share)
    return network.type.draw_batch(x0, codes, draw)


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

    def from_step(self, first: int) -> Generator[Batch, None, None]:
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
    processes = local_count()
    return max(1, min(MAX_WORKERS, (cores or 1) // processes - 1))
