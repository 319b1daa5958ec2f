"""The prior type of most 2D diffusion methods: axial slices, each by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusionblend.priors.prior_types.base import PriorType
from diffusionblend.priors.prior_types.places import AxialPlace, draw_axial_run

if TYPE_CHECKING:
    import numpy as np

    from diffusionblend.priors.partition import Partition


class Slices(PriorType):
    """Axial slices, denoised one by one; `block_slices` is ignored."""

    name = "slices"
    summary = "axial slices, denoised one by one"

    def slices_seen(self, block_slices: int) -> int:
        """One."""
        return 1

    def partition(self, shape: tuple[int, int, int], block_slices: int) -> Partition:
        """Every axial slice by itself."""
        from diffusionblend.priors.partition import slice_partition

        return slice_partition(shape[0])

    def draw_place(
        self,
        shape: tuple[int, int, int],
        block_slices: int,
        strides: Sequence[int],
        rng: np.random.Generator,
    ) -> AxialPlace:
        """A random axial slice."""
        return draw_axial_run(shape[0], 1, (1,), rng)
