"""DDS, and DDS 2D: slices denoised one by one (Chung et al., ICLR 2024).

The two differ by their data-consistency step alone: ADMM with total variation along z, or CG slice
by slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.base import EstimateMethod, axial_slices
from diffusionblend.methods.diffusion.consistency.base import Consistency
from diffusionblend.methods.diffusion.consistency.tv_z import TvZ
from diffusionblend.methods.validation import AtLeastOne
from diffusionblend.priors.resolve import PriorSpec

if TYPE_CHECKING:
    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior import Prior

TV_Z_WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
TV_Z_PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)


@dataclass(frozen=True, kw_only=True)
class Dds2d(EstimateMethod):
    """Slices denoised one by one, conjugate gradients slice by slice."""

    name: ClassVar[str] = "dds-2d"
    summary: ClassVar[str] = "prior of single slices, CG"
    when: ClassVar[str] = "a single slice; a stack shows stripes along z"
    prior: ClassVar[PriorSpec | None] = PriorSpec("slices")

    steps: Annotated[int, AtLeastOne] = 50
    """Reverse steps; each takes one network evaluation of the whole volume."""

    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """Single axial slices."""
        return axial_slices(shape)


@dataclass(frozen=True, kw_only=True)
class Dds(Dds2d):
    """Slices denoised one by one, coupled by ADMM with total variation along z."""

    name: ClassVar[str] = "dds"
    summary: ClassVar[str] = "prior of single slices, total variation along z"
    when: ClassVar[str] = "a stack, with only a prior of single slices"
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "tv_z_penalty": TV_Z_PENALTIES,
        "tv_z_weight": TV_Z_WEIGHTS,
    }

    consistency: Consistency = field(
        default_factory=lambda: TvZ(tv_z_weight=3.0, tv_z_penalty=10.0)
    )
    """Data-consistency step."""
