"""A training run of milliseconds a step on volumes that are easy to learn."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.training.dataset import VolumeBank
from diffusionblend.training.log import METRICS_FILE
from diffusionblend.training.settings import TrainSettings
from tiny_network import TINY

EASY_SETTINGS = TrainSettings(
    network=TINY,
    steps=24,
    batch_size=4,
    learning_rate=3e-3,
    warmup_steps=4,
    decay_steps=8,
    strides=(1, 2),
    validate_every=8,
    checkpoint_minutes=60,
    precision="float32",
    seed=7,
)


def easy_bank(seed: int = 0) -> VolumeBank:
    """A volume of bright and dark columns that run through all slices."""
    rng = np.random.default_rng(seed)
    columns = np.kron(rng.choice([-1000.0, 1000.0], (4, 4)), np.ones((4, 4)))
    values = np.broadcast_to(columns, (12, 16, 16)) + rng.normal(0, 20, (12, 16, 16))
    grid = Grid(shape=values.shape, spacing_mm=(1.0, 1.0, 1.0))
    return VolumeBank.of([Volume(values, grid)], block_slices=3)


def metrics_of(folder: Path) -> list[dict]:
    """The lines of a run's metrics."""
    return [json.loads(line) for line in (folder / METRICS_FILE).read_text().splitlines()]


def environment_of_a_script(*folders: Path) -> dict[str, str]:
    """The environment in which a script finds what the tests do, and the modules of `folders`."""
    paths = [*map(str, folders), *sys.path]
    return os.environ | {"PYTHONPATH": os.pathsep.join(p for p in paths if p)}
