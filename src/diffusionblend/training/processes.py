"""The processes of a run: one, or several under torchrun or `accelerate launch`."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta

import torch

from diffusionblend.errors import InputError
from diffusionblend.ranks import rank_and_count

LONGEST_WAIT = timedelta(hours=24)
"""For the first process, which alone reads the volumes before all others go on."""


class Processes:
    """This process among those of the run: process group, device and sharing, by accelerate.

    rank, count: this process's number from 0, and how many there are. device: its own.
    """

    def __init__(self, device: str = "cpu") -> None:
        from accelerate import Accelerator, InitProcessGroupKwargs
        from accelerate.state import AcceleratorState

        if rank_and_count()[1] == 1:  # else a process keeps its first device
            AcceleratorState._reset_state(reset_partial_state=True)
        self._accelerator = Accelerator(
            cpu=torch.device(device).type == "cpu",
            mixed_precision="no",  # the network has an autocast of its own
            kwargs_handlers=[InitProcessGroupKwargs(timeout=LONGEST_WAIT)],
        )
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes
        device_here = self._accelerator.device
        self.device = torch.device("cpu") if device_here.type == "cpu" else device_here

    @property
    def is_first(self) -> bool:
        """Whether this process is the one that writes files and speaks."""
        return self.rank == 0

    def wait(self) -> None:
        """Go on once every process is here."""
        if self.count > 1:
            self._accelerator.wait_for_everyone()

    def wrapped(self, network: torch.nn.Module) -> torch.nn.Module:
        """The network whose backward pass takes the mean of the gradients over all processes."""
        return self._accelerator.prepare_model(network) if self.count > 1 else network

    def unsynchronised(self, network: torch.nn.Module) -> AbstractContextManager:
        """A context in which a wrapped network adds up gradients without sharing them."""
        return self._accelerator.no_sync(network) if self.count > 1 else nullcontext()

    def gathered(self, *numbers: float) -> torch.Tensor:
        """The numbers of every process, (count, n) float64, the same on each."""
        mine = torch.tensor([numbers], dtype=torch.float64)
        return self._accelerator.gather(mine.to(self.device)).cpu() if self.count > 1 else mine

    def shares(self, n_blocks: int, parts: int) -> list[slice]:
        """This process's share of a batch of blocks, in so many parts of nearly equal size.

        Raises InputError where there are fewer blocks than parts of all processes.
        """
        edges = _edges(n_blocks, self.count * parts)
        if 0 in (b - a for a, b in itertools.pairwise(edges)):
            raise InputError(
                f"A batch of {n_blocks} blocks is to be cut into {parts} part(s) for each of "
                f"{self.count} process(es).",
                "at least one block a part",
                "a larger --batch-size, or fewer processes",
            )
        mine = edges[self.rank * parts : (self.rank + 1) * parts + 1]
        return [slice(a, b) for a, b in itertools.pairwise(mine)]


def _edges(n: int, parts: int) -> list[int]:
    return [n * i // parts for i in range(parts + 1)]
