"""Training batches as prior types form them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from typing import Self

    import numpy as np


@dataclass(frozen=True)
class Batch:
    """Clean blocks x0 (n, k, H, W) in the network's range, and their position codes (n,).

    A subclass adds tensors, with the n blocks along the first axis.
    """

    x0: torch.Tensor
    codes: torch.Tensor

    def __len__(self) -> int:
        return len(self.x0)

    def part(self, blocks: slice) -> Self:
        """Some of the blocks."""
        return type(self)(*(tensor[blocks] for tensor in self._tensors()))

    def to(self, device: torch.device) -> Self:
        """The batch on a device; a copy to a GPU runs while the caller goes on."""
        tensors = self._tensors()
        if device.type == "cuda":
            tensors = [tensor.pin_memory() for tensor in tensors]
        return type(self)(*(tensor.to(device, non_blocking=True) for tensor in tensors))

    def _tensors(self) -> list[torch.Tensor]:
        return [getattr(self, field.name) for field in fields(self)]


@dataclass(frozen=True)
class NoisyBatch(Batch):
    """Of a diffusion prior: the noise eps, like x0, and the timesteps t (n,)."""

    eps: torch.Tensor
    t: torch.Tensor


@dataclass(frozen=True)
class RestorationBatch(Batch):
    """Of a restorer: the degraded image, like x0, and the views of its scan (n,), 0 if no input."""

    image: torch.Tensor
    views: torch.Tensor


@dataclass(frozen=True)
class Draw:
    """What a batch is formed with.

    n_blocks: of the whole batch, over all processes. share: the blocks of this process, whose x0 it
    has. rng: the batch's own generator; a type draws the same from it whatever the share. scans:
    views and arc in degrees of a simulated scan of each block of the whole batch. tells_scans:
    whether they are inputs of the network. fbp: the FBP of such scans of slices (n, size, size).
    low_share: of the timesteps, drawn from the low ones alone.
    """

    n_blocks: int
    share: slice
    rng: np.random.Generator
    n_timesteps: int
    scans: Sequence[tuple[int, float]]
    tells_scans: bool
    fbp: Callable[[torch.Tensor, Sequence[tuple[int, float]]], torch.Tensor]
    low_share: float = 0.0
