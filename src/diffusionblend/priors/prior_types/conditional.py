"""The prior type of DiffusionBlend: a slice given its neighbours (Song et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusionblend.errors import InputError
from diffusionblend.priors.prior_types.base import PriorType
from diffusionblend.priors.prior_types.places import AxialPlace

if TYPE_CHECKING:
    import numpy as np

    from diffusionblend.priors.partition import Partition


class Conditional(PriorType):
    """The middle slice of a block of axial neighbours, denoised given all of them.

    Beyond the first and the last slice of a volume the neighbours are mirrored.
    """

    name = "conditional"
    summary = "the middle axial slice of a block, denoised given its neighbours"
    samples_by_itself = False

    def output_slices(self, block_slices: int) -> slice:
        """The middle slice alone."""
        half = block_slices // 2
        return slice(half, half + 1)

    def check(self, block_slices: int) -> None:
        """Raise InputError unless there is a middle slice with a neighbour on either side."""
        if block_slices < 3 or block_slices % 2 == 0:
            raise InputError(
                f"The prior type {self.name} was given blocks of {block_slices} slices.",
                "an odd number from 3, a slice and its neighbours",
            )

    def partition(self, shape: tuple[int, int, int], block_slices: int) -> Partition:
        """Every axial slice in the middle of its neighbours."""
        from diffusionblend.priors.partition import neighbour_partition

        return neighbour_partition(shape[0], block_slices)

    def draw_place(
        self,
        shape: tuple[int, int, int],
        block_slices: int,
        strides: Sequence[int],
        rng: np.random.Generator,
    ) -> AxialPlace:
        """A random axial slice and its neighbours, mirrored at the ends as the sampler does."""
        from diffusionblend.priors.partition import mirrored

        half, middle = block_slices // 2, int(rng.integers(shape[0]))
        slices = [mirrored(middle + i, shape[0]) for i in range(-half, half + 1)]
        return AxialPlace(tuple(slices), 1)
