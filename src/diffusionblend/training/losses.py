"""The losses of a run's steps, read from a GPU so seldom that it never waits for the host."""

from __future__ import annotations

import math

import torch

from diffusionblend.errors import InputError
from diffusionblend.training.processes import Processes
from diffusionblend.training.settings import TrainSettings

READ_EVERY = 10
"""Steps on a GPU between two looks at what it has computed, each of which waits for it."""


class Losses:
    """The losses since the last line of the metrics; each process adds its share of every step.

    known: of the steps that have been read, over all processes. newest: mean of those read last.
    """

    def __init__(self, processes: Processes) -> None:
        self.known: list[float] = []
        self.newest = math.nan
        self._processes = processes
        self._unread: list[torch.Tensor] = []

    def is_due(self, step: int, log_every: int, settings: TrainSettings) -> bool:
        """Whether to read after a step: each one on a CPU, where there is nothing to wait for."""
        if self._processes.device.type == "cpu" or math.isnan(self.newest):
            return True
        every = READ_EVERY, log_every, settings.validate_every, settings.steps
        return any(step % n == 0 for n in every)

    def add(self, share: torch.Tensor) -> None:
        """Take in this process's share, a scalar on its device, of a step's loss."""
        self._unread.append(share)

    def read(self, step: int) -> None:
        """Read what was added up to a step; waits for the device and for all other processes.

        Raises InputError where a loss is not finite.
        """
        if not self._unread:
            return
        shares = torch.stack(self._unread).tolist()
        losses = self._processes.gathered(*shares).sum(0).tolist()
        self._unread.clear()
        for number, loss in enumerate(losses, step - len(losses) + 1):
            if not math.isfinite(loss):
                raise InputError(
                    f"The loss is {loss} at step {number}.", try_="a lower --learning-rate"
                )
        self.newest = math.fsum(losses) / len(losses)
        self.known += losses
