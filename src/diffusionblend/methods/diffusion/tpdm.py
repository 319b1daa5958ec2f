"""TPDM: two priors of slices, axial and coronal, one of them at each step (Lee et al., ICCV 2023).

Published for a variance-exploding prior; here with the ancestral steps of the project's schedule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.methods.diffusion.base import EstimateMethod
from diffusionblend.methods.diffusion.consistency.base import Consistency
from diffusionblend.methods.diffusion.consistency.dps import Dps
from diffusionblend.methods.diffusion.noise import generator_of
from diffusionblend.methods.validation import AtLeastOne, Fraction
from diffusionblend.priors.resolve import PriorSpec

if TYPE_CHECKING:
    import torch

    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior import Prior


@dataclass(frozen=True, kw_only=True)
class Tpdm(EstimateMethod):
    """Axial or coronal slices at each step, the gradient of the residual."""

    name: ClassVar[str] = "tpdm"
    summary: ClassVar[str] = "priors of axial and of coronal slices, gradient of the residual"
    when: ClassVar[str] = "comparison; needs gradients through the network"
    prior: ClassVar[PriorSpec | None] = PriorSpec("slices", coronal=True)
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {
        "dps_step": (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
    }
    default_noise: ClassVar[Mapping[str, float]] = {"ddim_eta": 1.0}

    consistency: Consistency = field(default_factory=Dps)
    """Data-consistency step."""
    noise_fraction: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1, as in the DDS and DiffusionBlend code: this fraction of the noise is
    redrawn at every step. Not together with ddim_eta."""
    ddim_eta: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1, as in DDIM. By default 1, ancestral sampling, unless noise_fraction is
    set."""
    plane_ratio: Annotated[int, AtLeastOne] = 2
    """One step in this many, drawn at random, denoises coronal slices, the others axial ones."""

    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """Axial slices, and at random steps coronal ones."""
        return draw_planes(shape, self.plane_ratio, generator_of(self.seed))


def draw_planes(
    shape: tuple[int, int, int], ratio: int, generator: torch.Generator
) -> Iterator[Partition]:
    """An endless run of partitions, one step in `ratio` (by chance) into coronal slices."""
    import torch

    from diffusionblend.priors.partition import CORONAL, slice_partition

    axial = slice_partition(shape[0])
    coronal = slice_partition(shape[CORONAL], axis=CORONAL, depth=shape[0])
    while True:
        drawn = int(torch.randint(ratio, (), generator=generator))
        yield coronal if drawn == 0 else axial
