"""Procedural chests as training volumes."""

from __future__ import annotations

from collections.abc import Callable

from diffusionblend.phantom import synthetic_chest
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.settings import TrainSettings

FIRST_SEED = 1000
"""Seed of the first training chest; the demo's seeds lie below: none of them is trained on."""
SLICES = 96


def synthetic_bank(settings: TrainSettings, on_step: Callable[[int, int], None]) -> VolumeBank:
    """The synthetic training chests of a run, at its slice size."""
    size, n = settings.volume_size, settings.synthetic_volumes
    volumes = []
    for i in range(n):
        volumes.append(synthetic_chest(FIRST_SEED + i, shape=(SLICES, size, size)))
        on_step(i + 1, n)
    return VolumeBank.of(volumes, block_slices=settings.network.slices_seen)
