"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffusionblend.errors import InputError
from diffusionblend.priors.network import NetworkConfig


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a training run does; written beside the weights.

    steps: optimiser steps in all. warmup_steps and decay_steps: the learning rate rises over the
    first and falls to zero over the last of them. strides: distances, in slices, between the slices
    of a block, drawn uniformly (repeat one to weight it). synthetic_volumes: procedural chests added
    to the data; synthetic_share: the share of blocks drawn from them. seed: every batch and its
    noise is a function of it and the step alone, so that a resumed run is the same run.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    steps: int = 10_000
    batch_size: int = 8
    learning_rate: float = 4e-4
    warmup_steps: int = 300
    decay_steps: int = 2_000
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    strides: tuple[int, ...] = (1, 1, 2, 3, 3)
    synthetic_volumes: int = 16
    synthetic_share: float = 0.12
    validate_every: int = 500
    checkpoint_minutes: float = 3.0
    bf16: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.validate_every) < 1:
            raise InputError(
                f"steps, batch_size and validate_every are {self.steps}, {self.batch_size} and "
                f"{self.validate_every}.",
                "at least 1 each",
            )
        if not self.strides or min(self.strides) < 1:
            raise InputError(f"strides are {self.strides}.", "one or more whole numbers from 1")

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, constant, linear decay to zero."""
        rise = min(1.0, (step + 1) / max(1, self.warmup_steps))
        fall = min(1.0, (self.steps - step) / max(1, self.decay_steps))
        return self.learning_rate * rise * max(0.0, fall)
