"""DiffusionBlend: every slice denoised given its two neighbours (Song et al. 2024)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, ClassVar

from diffusionblend.methods.diffusion.base import EstimateMethod
from diffusionblend.priors.resolve import PriorSpec

if TYPE_CHECKING:
    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class DiffusionBlend(EstimateMethod):
    """The score as the sum over i of grad log p(x[i] | x[i-1], x[i+1])."""

    name: ClassVar[str] = "diffusionblend"
    summary: ClassVar[str] = "every slice given its two neighbours, CG"
    when: ClassVar[str] = "comparison with diffusionblend++"
    prior: ClassVar[PriorSpec | None] = PriorSpec("conditional")

    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """Every slice in the middle of its neighbours."""
        from diffusionblend.priors.partition import neighbour_partition

        return repeat(neighbour_partition(shape[0], prior.block_slices))
