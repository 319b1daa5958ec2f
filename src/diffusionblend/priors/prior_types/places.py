"""Where in a training volume a block of slices lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from diffusionblend.units import AIR_HU

if TYPE_CHECKING:
    import numpy as np


class Place(Protocol):
    """The place of a block; stride: the distance between its slices, counted in slices."""

    @property
    def stride(self) -> int:
        """Slices from one of its slices to the next."""
        ...

    def read(self, volume: np.ndarray) -> np.ndarray:
        """The block (k, size, size) of a volume (z, size, size), in HU."""
        ...


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
        import numpy as np

        block = np.full((1, self.size, self.size), AIR_HU, volume.dtype)
        inside = slice(max(0, self.first), min(len(volume), self.first + self.size))
        begin = inside.start - self.first
        block[0, begin : begin + inside.stop - inside.start] = volume[inside, self.row]
        return block


def draw_axial_run(
    n_slices: int, block_slices: int, strides: Sequence[int], rng: np.random.Generator
) -> AxialPlace:
    """A random run of equally distant axial slices, at the longest stride that fits or a shorter.

    strides: drawn from evenly.
    """
    longest = max(1, (n_slices - 1) // max(1, block_slices - 1))
    stride = min(int(rng.choice(strides)), longest)
    first = int(rng.integers(n_slices - stride * (block_slices - 1)))
    return AxialPlace(tuple(range(first, first + stride * block_slices, stride)), stride)
