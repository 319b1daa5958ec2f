"""The prior type of the second prior of TPDM: coronal slices (Lee et al., ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from diffusionblend.priors.prior_types.base import PriorType
from diffusionblend.priors.prior_types.places import CoronalPlace

if TYPE_CHECKING:
    import numpy as np
    import torch

    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.schedule import NoiseSchedule


class Coronal(PriorType):
    """Coronal slices, denoised one by one; `block_slices` is ignored.

    A volume may have any number of axial slices: its coronal slices are padded with air.
    """

    name = "coronal"
    summary = "coronal slices, denoised one by one"
    is_axial = False

    def slices_seen(self, block_slices: int) -> int:
        """One."""
        return 1

    def padded(
        self, x_t: torch.Tensor, t: int, multiple: int, schedule: NoiseSchedule
    ) -> torch.Tensor:
        """x_t with air, noised like it, below and right, up to a multiple of pixels."""
        from diffusionblend.priors.prior_types.padding import padded_with_air

        return padded_with_air(x_t, t, multiple, schedule)

    def partition(self, shape: tuple[int, int, int], block_slices: int) -> Partition:
        """Every coronal slice by itself."""
        from diffusionblend.priors.partition import CORONAL, slice_partition

        return slice_partition(shape[CORONAL], axis=CORONAL, depth=shape[0])

    def draw_place(
        self,
        shape: tuple[int, int, int],
        block_slices: int,
        strides: Sequence[int],
        rng: np.random.Generator,
    ) -> CoronalPlace:
        """A random coronal slice, cut to a square at random along z, or filled up with air."""
        n_slices, size, _ = shape
        free = n_slices - size
        first = int(rng.integers(min(0, free), max(0, free) + 1))
        return CoronalPlace(int(rng.integers(size)), first, size)
