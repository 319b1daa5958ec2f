"""Partitions of a volume's slices into blocks, drawn afresh at every reverse step.

A partition covers every slice. Adjacent partitions have stride 1; jump partitions of stride j join
slices j apart, so that the borders of the adjacent blocks lie inside a jump block. The stride is
the relative position code, the input of the positional embedding. Slices left over at the two ends
are covered by extra blocks that overlap their neighbours; a slice that several blocks cover takes
their mean.

Priors of single slices, of a slice between its neighbours, and of coronal slices have partitions of
their own, without randomness.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import count

import torch

from diffusionblend.errors import InputError

KINDS = ("alternating", "adjacent", "jump", "fixed")


AXIAL, CORONAL = 0, 1
"""Axes of a volume (z, y, x) along which slices are counted."""


@dataclass(frozen=True)
class Partition:
    """Blocks of slices: `blocks` (n_blocks, k) slice numbers, and their position `code`.

    output_slices: the places within a block whose slices the prior returns. axis: along which
    slices are counted. depth: axial slices of the volume, for slices along another axis.
    """

    blocks: torch.Tensor
    code: int
    output_slices: slice = field(default_factory=lambda: slice(None))
    axis: int = AXIAL
    depth: int = 0

    def gather(self, volume: torch.Tensor, blocks: torch.Tensor | None = None) -> torch.Tensor:
        """The blocks of a volume, all or some of them, (z, y, x) to (n_blocks, k, ...)."""
        blocks = self.blocks if blocks is None else blocks
        return volume.movedim(self.axis, 0)[blocks.to(volume.device, non_blocking=True)]

    def scatter(self, blocks: torch.Tensor, n_slices: int) -> torch.Tensor:
        """A volume (z, y, x) of `n_slices` along `axis` from what the prior returned of the blocks.

        (n_blocks, output slices, ...), or all slices of which those are taken; the mean where two
        cover a slice, 0 where none does.
        """
        if blocks.shape[1] == self.blocks.shape[1]:
            blocks = blocks[:, self.output_slices]
        slices = self.blocks[:, self.output_slices].reshape(-1)
        places = slices.to(blocks.device, non_blocking=True)
        flat = blocks.reshape(len(places), *blocks.shape[2:])
        total = flat.new_zeros(n_slices, *flat.shape[1:]).index_add_(0, places, flat)
        # counted on the host, where that waits for nothing
        count = torch.bincount(slices, minlength=n_slices).clamp(min=1)
        count = count.to(flat, non_blocking=True)
        return (total / count[:, None, None]).movedim(0, self.axis)

    def slabs(self, most_blocks: int) -> list[Slab]:
        """The partition cut where no block joins the two sides, `most_blocks` or fewer in a slab.

        Slabs touch and cover every slice. One holds more blocks only where they cannot be parted;
        slices along another axis than z are one slab.
        """
        if self.axis != AXIAL:
            return [Slab(slice(0, self.depth), self)]
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
                part = replace(self, blocks=blocks)
                slabs.append(Slab(slice(start, last + 1), part))
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


def slice_partition(n_slices: int, *, axis: int = AXIAL, depth: int = 0) -> Partition:
    """Every slice by itself, along z or along `axis` of a volume of `depth` axial slices."""
    return Partition(torch.arange(n_slices)[:, None], 1, axis=axis, depth=depth)


def neighbour_partition(n_slices: int, block_slices: int) -> Partition:
    """Every slice in the middle of a block of its neighbours, and returned alone.

    Beyond the ends the slices are mirrored, so that the first lies between two copies of the
    second. Raises InputError where there are too few slices for that, or `block_slices` is even.
    """
    half = block_slices // 2
    if block_slices % 2 == 0 or n_slices <= half:
        raise InputError(
            f"A slice among its neighbours was asked for in blocks of {block_slices}, with "
            f"{n_slices} slices.",
            f"an odd block, and at least {half + 1} slices",
        )
    neighbours = range(-half, half + 1)
    blocks = [[mirrored(middle + i, n_slices) for i in neighbours] for middle in range(n_slices)]
    return Partition(torch.tensor(blocks), 1, output_slices=slice(half, half + 1))


def mirrored(place: int, n_slices: int) -> int:
    """A slice number, up to n_slices - 1 beyond either end, mirrored at the end slices."""
    last = n_slices - 1
    return last - abs(last - abs(place))


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
