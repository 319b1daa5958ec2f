"""Where in a training volume a block of slices lies, for each layout of prior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from diffusionblend.units import AIR_HU


@dataclass(frozen=True)
class AxialPlace:
    """The axial slices of a block, in order, and their distance in slices."""

    slices: tuple[int, ...]
    stride: int

    def read(self, volume: np.ndarray) -> np.ndarray:
        """The block (k, size, size) of a volume (z, size, size)."""
        return volume[list(self.slices)]


@dataclass(frozen=True)
class CoronalPlace:
    """A coronal slice: its row, and the first of the `size` axial slices that it is cut from.

    `first` is below 0 where the volume is too short; air fills what lies outside.
    """

    row: int
    first: int
    size: int
    stride: int = 1

    def read(self, volume: np.ndarray) -> np.ndarray:
        """The block (1, size, size), rows along z, of a volume (z, size, size)."""
        block = np.full((1, self.size, self.size), AIR_HU, volume.dtype)
        inside = slice(max(0, self.first), min(len(volume), self.first + self.size))
        begin = inside.start - self.first
        block[0, begin : begin + inside.stop - inside.start] = volume[inside, self.row]
        return block


Place = AxialPlace | CoronalPlace


def draw_place(
    layout: str,
    shape: tuple[int, int, int],
    block_slices: int,
    strides: Sequence[int],
    rng: np.random.Generator,
) -> Place:
    """A random place in a volume (z, size, size) for a block of `block_slices`.

    The neighbours of an end slice are mirrored for the layout "conditional", as the sampler does.
    """
    n_slices, size, _ = shape
    if layout == "coronal":
        free = n_slices - size
        first = int(rng.integers(min(0, free), max(0, free) + 1))
        return CoronalPlace(int(rng.integers(size)), first, size)
    if layout == "conditional":
        half = block_slices // 2
        places = np.arange(-half, half + 1) + int(rng.integers(n_slices))
        last = n_slices - 1
        mirrored = last - np.abs(last - np.abs(places))
        return AxialPlace(tuple(int(i) for i in mirrored), 1)
    longest = max(1, (n_slices - 1) // max(1, block_slices - 1))
    stride = min(int(rng.choice(strides)), longest)
    first = int(rng.integers(n_slices - stride * (block_slices - 1)))
    return AxialPlace(tuple(range(first, first + stride * block_slices, stride)), stride)
