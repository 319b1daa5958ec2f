"""What a run will cost, estimated before it starts."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from diffusionblend.io.foreign.reader import reads_foreign
from diffusionblend.priors.network import build_unet
from diffusionblend.priors.prior_types.batches import Batch, Draw
from diffusionblend.priors.schedule import N_TIMESTEPS, NoiseSchedule
from diffusionblend.training.objective import Objective
from diffusionblend.training.optimizer import make_optimizer
from diffusionblend.training.processes import Processes
from diffusionblend.training.settings import TrainSettings

TIMED_STEPS = 2
CHECKPOINT_COPIES = 4
"""Weights, their average, and AdamW's two moments, float32."""
PRIOR_BYTES_A_WEIGHT = 2
VOLUME_BYTES_A_PIXEL = 2
NO_SLICES = (".", "DICOMDIR")


@dataclass(frozen=True)
class Estimate:
    """The cost of a run: parameters, seconds of a step's network, steps, bytes on disk."""

    parameters: int
    seconds_a_step: float
    steps: int
    volume_bytes: int

    @property
    def hours(self) -> float:
        """Of all steps, drawing the blocks and validation left out."""
        return self.seconds_a_step * self.steps / 3600

    @property
    def checkpoint_bytes(self) -> int:
        """Of a checkpoint; two are kept, and a third lies beside them while it is written."""
        return CHECKPOINT_COPIES * 4 * self.parameters

    def lines(self, peak_memory_mb: float) -> list[str]:
        """The estimate as sentences, with the peak memory of the steps that were tried."""
        hours = self.hours
        time = f"{hours:.2g} h" if hours >= 1 else f"{60 * hours:.2g} min"
        time = time if hours >= 1 / 60 else f"{3600 * hours:.2g} s"
        return [
            f"{self.parameters / 1e6:.2f} M parameters; about {peak_memory_mb / 1e3:.1f} GB of "
            "memory a process",
            f"about {self.seconds_a_step:.3g} s a step (of {TIMED_STEPS} tried); "
            f"{self.steps} steps in {time}",
            f"disk: {self.volume_bytes / 1e6:.0f} MB for the volumes made ready, "
            f"{self.checkpoint_bytes / 1e6:.0f} MB for a checkpoint (two are kept, and a "
            "third while it is written), "
            f"{PRIOR_BYTES_A_WEIGHT * self.parameters / 1e6:.0f} MB for the prior",
        ]


def estimate_run(settings: TrainSettings, processes: Processes, n_slices: int) -> Estimate:
    """The cost of a run on `n_slices` slices, by a few steps on noise with a network of its own."""
    unet = build_unet(settings.network).to(processes.device)
    unet.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # not in its stubs
    optimizer = make_optimizer(unet, settings)
    objective = Objective(settings, NoiseSchedule())
    parts = processes.shares(settings.batch_size, settings.accumulate)
    started = 0.0
    for step in range(1 + TIMED_STEPS):
        if step == 1:  # the first one warms up
            started = _now(processes.device)
        for part in parts:
            batch = _noise(part.stop - part.start, settings).to(processes.device)
            objective.loss(unet, batch).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return Estimate(
        parameters=sum(p.numel() for p in unet.parameters()),
        seconds_a_step=(_now(processes.device) - started) / TIMED_STEPS,
        steps=settings.steps,
        volume_bytes=VOLUME_BYTES_A_PIXEL * n_slices * settings.volume_size**2,
    )


@reads_foreign
def count_slices(path: Path) -> int:
    """About how many slices a volume has, by its header alone; 0 where that cannot be read."""
    import SimpleITK as sitk

    if path.is_dir():
        return sum(p.is_file() and not p.name.startswith(NO_SLICES) for p in path.iterdir())
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        return 0
    return reader.GetSize()[2] if reader.GetDimension() > 2 else 0


def _noise(n_blocks: int, settings: TrainSettings) -> Batch:
    """A batch of noise in place of slices, as the prior type forms it."""
    size, rng = settings.network.image_size, np.random.default_rng(0)
    x0 = torch.randn(n_blocks, settings.network.slices_seen, size, size)
    scans = [(settings.views, settings.arc_degrees)] * n_blocks
    draw = Draw(n_blocks, slice(None), rng, N_TIMESTEPS, scans, False, lambda slices, scans: slices)
    codes = torch.ones(n_blocks, 3) if settings.network.length_codes else torch.ones(n_blocks)
    return settings.network.type.draw_batch(x0, codes, draw)


def _now(device: torch.device) -> float:
    """The time, once the device has done its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
