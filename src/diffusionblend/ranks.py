"""Processes that work on one volume together, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Item = TypeVar("Item")


def is_main_rank() -> bool:
    """Whether this process is the one that speaks and writes; needs no torch."""
    return os.environ.get("RANK", "0") == "0"


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this one is; alone unless told otherwise.

    Raises nothing; `started` joins the others where `torchrun` says that there are some.
    """

    rank: int = 0
    count: int = 1

    @classmethod
    def started(cls, device: str = "cpu") -> Ranks:
        """The ranks that torchrun's environment tells of, joined by gloo (CPU) or NCCL (CUDA)."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return cls()
        import torch.distributed as distributed

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

    def wait(self) -> None:
        """Wait for the others, so that none reads what another has yet to write."""
        if self.count > 1:
            import torch.distributed as distributed

            distributed.barrier()
