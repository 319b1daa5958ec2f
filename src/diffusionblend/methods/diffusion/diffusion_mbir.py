"""DiffusionMBIR: slices one by one, predictor and corrector, ADMM-TV along z (CVPR 2023).

Chung et al. published it for a variance-exploding prior, sigma from 0.01 to 378. Ours preserves the
variance; x / sqrt(abar) is then the state of an exploding process with sigma from 0.01 to 157, on
which the data-consistency step is taken, as published.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, ClassVar

from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.base import DiffusionMethod, axial_slices
from diffusionblend.methods.diffusion.consistency.base import Consistency
from diffusionblend.methods.diffusion.consistency.tv_z import TvZ
from diffusionblend.methods.diffusion.dds import TV_Z_WEIGHTS
from diffusionblend.methods.validation import Fraction
from diffusionblend.priors.resolve import PriorSpec

if TYPE_CHECKING:
    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior import Prior


SLOW_RESIDUAL = 0.25
"""What a few steps leave, even of a network that knows nothing."""


@dataclass(frozen=True, kw_only=True)
class DiffusionMbir(DiffusionMethod):
    """At each step a reverse step, a Langevin step, then ADMM on the noisy state."""

    name: ClassVar[str] = "diffusion-mbir"
    summary: ClassVar[str] = (
        "prior of single slices, predictor and corrector, total variation along z"
    )
    when: ClassVar[str] = "comparison; many steps"
    prior: ClassVar[PriorSpec | None] = PriorSpec("slices")
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {"tv_z_weight": TV_Z_WEIGHTS}
    default_noise: ClassVar[Mapping[str, float]] = {"ddim_eta": 1.0}
    on_scaled_state: ClassVar[bool] = True

    consistency: Consistency = field(
        default_factory=lambda: TvZ(cg_iterations=1, tv_z_weight=3.0, tv_z_keep=True)
    )
    """Data-consistency step, applied to the noisy state over sqrt(abar)."""
    noise_fraction: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1, as in the DDS and DiffusionBlend code: this fraction of the noise is
    redrawn at every step. Not together with ddim_eta."""
    ddim_eta: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1, as in DDIM. By default 1, the ancestral predictor, unless
    noise_fraction is set."""
    corrector_snr: Annotated[float, Fraction] = 0.16
    """Signal-to-noise ratio of the Langevin corrector; 0 disables the corrector."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.consistency.on_scaled_state:
            raise InputError(
                f"DiffusionMBIR was given the data-consistency step {self.consistency.name!r}.",
                "one that moves an estimate: cg, prox, admm-tv-z or none",
            )

    @property
    def usual_residual(self) -> tuple[float, int]:
        """More than elsewhere: the one ADMM pass on the noisy state follows the data slowly."""
        highest, fewest_views = super().usual_residual
        return max(highest, SLOW_RESIDUAL), fewest_views

    @property
    def langevin_snr(self) -> float:
        """Of the corrector."""
        return self.corrector_snr

    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """Single axial slices."""
        return axial_slices(shape)
