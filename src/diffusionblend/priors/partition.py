"""Partitions of a volume's slices into blocks, drawn afresh at every reverse step.

A partition covers every slice. Adjacent partitions have stride 1; jump partitions of stride j join
slices j apart, so that the borders of the adjacent blocks lie inside a jump block. The stride is
the relative position code. Slices left over at the two ends are covered by extra blocks that
overlap their neighbours; a slice that several blocks cover takes their mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch

from diffusionblend.errors import InputError

KINDS = ("alternating", "adjacent", "jump", "fixed")


@dataclass(frozen=True)
class Partition:
    """Blocks of slices: `blocks` (n_blocks, k) slice numbers, and their position `code`."""

    blocks: torch.Tensor
    code: int

    def gather(self, volume: torch.Tensor) -> torch.Tensor:
        """The blocks of a volume, (z, y, x) to (n_blocks, k, y, x)."""
        return volume[self.blocks.to(volume.device)]

    def scatter(self, blocks: torch.Tensor, n_slices: int) -> torch.Tensor:
        """A volume (z, y, x) from blocks (n_blocks, k, y, x), the mean where two cover a slice."""
        places = self.blocks.to(blocks.device).reshape(-1)
        flat = blocks.reshape(len(places), *blocks.shape[2:])
        total = flat.new_zeros(n_slices, *flat.shape[1:]).index_add_(0, places, flat)
        count = torch.bincount(places, minlength=n_slices).to(flat)
        return total / count[:, None, None]

    def slabs(self, most_blocks: int) -> list[Slab]:
        """The partition cut where no block joins the two sides, `most_blocks` or fewer in a slab.

        Slabs touch and cover every slice. One holds more blocks only where they cannot be parted.
        """
        order = torch.argsort(self.blocks.amin(1), stable=True)
        groups: list[tuple[int, list[int]]] = []
        for i in order.tolist():
            first, last = int(self.blocks[i].min()), int(self.blocks[i].max())
            if groups and first <= groups[-1][0]:
                groups[-1] = (max(last, groups[-1][0]), [*groups[-1][1], i])
            else:
                groups.append((last, [i]))
        slabs, start, members = [], 0, []
        for n, (last, group) in enumerate(groups):
            members += group
            if n + 1 == len(groups) or len(members) + len(groups[n + 1][1]) > most_blocks:
                blocks = self.blocks[torch.tensor(members)] - start
                slabs.append(Slab(slice(start, last + 1), Partition(blocks, self.code)))
                start, members = last + 1, []
        return slabs


@dataclass(frozen=True)
class Slab:
    """Neighbouring slices that no block shares with others, and their own partition.

    `partition` numbers the slab's slices from 0.
    """

    slices: slice
    partition: Partition


def make_partition(n_slices: int, block_slices: int, stride: int, offset: int) -> Partition:
    """The partition whose first full run of block_slices * stride slices starts at `offset`.

    A volume shorter than one run takes the longest stride that fits, and its code. Raises
    InputError where there are fewer slices than a block has, or the offset is not one of
    `offset_count`.
    """
    k = block_slices
    n_offsets = offset_count(n_slices, k, stride)
    if not 0 <= offset < n_offsets:
        raise InputError(f"The partition's offset is {offset}.", f"0 to {n_offsets - 1}")
    stride = min(stride, n_slices // k)
    run = k * stride
    starts = list(range(offset, n_slices - run + 1, run))
    blocks = [_run_blocks(start, k, stride) for start in starts]
    covered = range(offset, starts[-1] + run)
    for start in (0, n_slices - run):
        extra = _run_blocks(start, k, stride)
        needed = [any(int(i) not in covered for i in block) for block in extra]
        blocks.append(extra[torch.tensor(needed)])
    return Partition(torch.cat(blocks), stride)


def offset_count(n_slices: int, block_slices: int, stride: int) -> int:
    """Offsets that give different partitions, from 0: a run's length, or fewer if no run fits then.

    Raises InputError where there are fewer slices than a block has.
    """
    k = block_slices
    if n_slices < k:
        raise InputError(f"The volume has {n_slices} slices.", f"at least {k}, one block")
    run = k * min(stride, n_slices // k)
    return min(run, n_slices - run + 1)


def _run_blocks(start: int, k: int, stride: int) -> torch.Tensor:
    """The `stride` interleaved blocks of one run: row i is start + i, start + i + stride, ..."""
    return start + torch.arange(stride)[:, None] + stride * torch.arange(k)[None, :]


def draw_partitions(
    n_slices: int,
    block_slices: int,
    *,
    kind: str,
    jump_stride: int,
    jump_every: int,
    generator: torch.Generator,
) -> Iterator[Partition]:
    """An endless run of partitions, one for each reverse step.

    kind: "alternating" (every `jump_every`-th step a jump step, the others adjacent, each with a
    random offset), "adjacent" or "jump" alone, or "fixed" (adjacent, offset 0 always: no blending).
    Raises InputError on an unknown kind.
    """
    if kind not in KINDS:
        raise InputError(f"The partition is {kind!r}.", f"one of {', '.join(KINDS)}")
    if jump_stride < 2 or jump_every < 1:
        raise InputError(
            f"jump_stride is {jump_stride} and jump_every {jump_every}.",
            "jump_stride at least 2, jump_every at least 1",
        )

    def endless() -> Iterator[Partition]:
        for step in count(1):
            jump = kind == "jump" or (kind == "alternating" and step % jump_every == 0)
            stride = jump_stride if jump else 1
            offsets = offset_count(n_slices, block_slices, stride)
            draw = int(torch.randint(offsets, (), generator=generator))
            offset = 0 if kind == "fixed" else draw
            yield make_partition(n_slices, block_slices, stride, offset)

    return endless()
