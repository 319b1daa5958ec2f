"""Settings of a training run."""

from __future__ import annotations

from dataclasses import dataclass, field

from diffusionblend.errors import InputError
from diffusionblend.priors.config import NetworkConfig


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """What a training run does; written beside the weights."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    """Size of the network."""
    steps: int = 10_000
    """Optimiser steps in all."""
    batch_size: int = 8
    """Blocks a step."""
    learning_rate: float = 4e-4
    """Of AdamW, after the warm-up."""
    warmup_steps: int = 300
    """Steps over which the learning rate rises."""
    decay_steps: int = 2_000
    """Last steps, over which it falls to zero."""
    weight_decay: float = 0.01
    """Of AdamW."""
    gradient_clip: float = 1.0
    """Largest norm of a step's gradient."""
    ema_decay: float = 0.999
    """Largest decay of the averaged weights, which are the ones kept."""
    strides: tuple[int, ...] = (1, 1, 2, 3, 3)
    """Distances in slices between the slices of a block, drawn evenly; repeat one to weight it."""
    synthetic_volumes: int = 16
    """Procedural chests added to the data; 0 for none."""
    synthetic_share: float = 0.12
    """Share of blocks drawn from them, 0 to 1."""
    validate_every: int = 500
    """Steps between validation losses."""
    checkpoint_minutes: float = 3.0
    """Minutes between checkpoints."""
    bf16: bool = True
    """Run the network in bfloat16; weights and optimiser stay in float32."""
    seed: int = 0
    """Every batch and its noise follow from it and the step: a resumed run is the same run."""

    def __post_init__(self) -> None:
        if min(self.steps, self.batch_size, self.validate_every) < 1:
            raise InputError(
                f"steps, batch_size and validate_every are {self.steps}, {self.batch_size} and "
                f"{self.validate_every}.",
                "at least 1 each",
            )
        if not 0 <= self.synthetic_share < 1 or self.synthetic_volumes < 0:
            raise InputError(
                f"Asked for {self.synthetic_volumes} synthetic volumes, a share of "
                f"{self.synthetic_share} of the blocks.",
                "0 or more volumes, and a share from 0 to below 1",
            )
        if not self.strides or min(self.strides) < 1:
            raise InputError(f"strides are {self.strides}.", "one or more whole numbers from 1")

    def learning_rate_at(self, step: int) -> float:
        """Learning rate at a step: linear warm-up, constant, linear decay to zero.

        A short run warms up over at most a tenth of its steps and decays over at most half.
        """
        warmup = min(self.warmup_steps, self.steps // 10)
        decay = min(self.decay_steps, self.steps // 2)
        rise = min(1.0, (step + 1) / max(1, warmup))
        fall = min(1.0, (self.steps - step) / max(1, decay))
        return self.learning_rate * rise * max(0.0, fall)
