"""The prior type of DiffusionBlend++: blocks of slices denoised together (Song et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusionblend.priors.prior_types.base import PriorType
from diffusionblend.priors.prior_types.places import AxialPlace, draw_axial_run

if TYPE_CHECKING:
    import numpy as np

    from diffusionblend.priors.partition import Partition


class Joint(PriorType):
    """Blocks of k axial slices, neighbours or further apart, denoised together."""

    name = "joint"
    summary = "blocks of axial slices, denoised together"
    uses_strides = True

    def partition(self, shape: tuple[int, int, int], block_slices: int) -> Partition:
        """Adjacent blocks from the first slice on; the sampler draws others as well."""
        from diffusionblend.priors.partition import make_partition

        return make_partition(shape[0], block_slices, stride=1, offset=0)

    def mean_blocks(self, n_slices: int, block_slices: int) -> float:
        """Blocks that cover the slices, the mean over random offsets."""
        return (n_slices + block_slices - 1) / block_slices

    def draw_place(
        self,
        shape: tuple[int, int, int],
        block_slices: int,
        strides: Sequence[int],
        rng: np.random.Generator,
    ) -> AxialPlace:
        """A random run of axial slices at one of the strides."""
        return draw_axial_run(shape[0], block_slices, strides, rng)
