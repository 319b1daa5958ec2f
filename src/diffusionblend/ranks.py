"""Processes that work on one volume together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")


def rank_and_count() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun's environment says."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))


def local_rank() -> int | None:
    """The number of this process on its machine, which is its GPU's; None outside torchrun."""
    text = os.environ.get("LOCAL_RANK")
    return None if text is None else int(text)


def local_count() -> int:
    """How many processes run on this machine, as torchrun's environment says."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is; alone by default."""

    rank: int = 0
    count: int = 1

    @classmethod
    def started(cls, device: str = "cpu") -> Ranks:
        """The ranks in torchrun's environment, joined by gloo (CPU) or NCCL (CUDA)."""
        if rank_and_count()[1] == 1:
            return cls()
        import torch
        import torch.distributed as distributed

        if device.startswith("cuda"):
            torch.cuda.set_device(device)  # NCCL and all that names no card go by it
        if not distributed.is_initialized():
            distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def share(self, items: Sequence[Item], weights: Sequence[int]) -> list[list[Item]]:
        """Neighbouring items dealt to the ranks so that their weights are as even as may be."""
        total, before = sum(weights), 0
        shares: list[list[Item]] = [[] for _ in range(self.count)]
        for item, weight in zip(items, weights, strict=True):
            middle = before + weight / 2
            shares[min(self.count - 1, int(middle * self.count / total))].append(item)
            before += weight
        return shares

    def of_first(self, value: Item) -> Item:
        """The first process's value, so that all decide alike what memory or machine decides."""
        if self.count == 1:
            return value
        import torch.distributed as distributed

        values = [value]
        distributed.broadcast_object_list(values, src=0)
        return values[0]

    def gather_slices(self, volume: torch.Tensor, owned: Sequence[range]) -> None:
        """Fill `volume` (z, y, x) in place with the slices `owned` by each rank from that rank."""
        if self.count == 1:
            return
        import torch.distributed as distributed

        longest = max(len(r) for r in owned)
        mine = volume.new_zeros((longest, *volume.shape[1:]))
        own = owned[self.rank]
        mine[: len(own)] = volume[own.start : own.stop]
        parts = [mine.new_empty(mine.shape) for _ in owned]
        distributed.all_gather(parts, mine)
        for part, slices in zip(parts, owned, strict=True):
            volume[slices.start : slices.stop] = part[: len(slices)]


def leave_ranks() -> None:
    """Part from the other processes, once all have what they need; nothing for one alone."""
    if rank_and_count()[1] == 1:
        return
    import torch.distributed as distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()
