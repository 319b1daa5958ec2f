"""What all diffusion methods share: their settings, and from a problem to a volume."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from diffusionblend.errors import InputError
from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.methods.diffusion.consistency.base import Consistency
from diffusionblend.methods.diffusion.consistency.cg import Cg
from diffusionblend.methods.validation import AtLeastOne, BelowOne, Fraction, NotNegative, Within

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior import Prior

Init = Literal["noise", "fbp", "cg", "tv"]
INIT_TIMESTEPS: dict[str, int | None] = {"noise": None, "fbp": 249, "cg": 249, "tv": 249}
"""The timestep of the first step after each initialisation, unless it is set."""


@dataclass(frozen=True, kw_only=True)
class DiffusionMethod(Method):
    """A method that samples a diffusion prior, data consistency inside the reverse loop."""

    consistency: Consistency = field(default_factory=Cg)
    """Data-consistency step."""
    steps: Annotated[int, AtLeastOne] = 200
    """Reverse steps; each takes one network evaluation of the whole volume."""
    time_power: Annotated[float, Within(1)] = 1.0
    """Spacing of the timesteps: 1 is uniform, larger values are denser towards the end."""
    init: Init = "noise"
    """Initialisation: pure noise, or an image reconstructed from the data and noised to
    init_timestep."""
    init_timestep: int | None = None
    """Timestep of the first step, 0 to 999 (pure noise), for an initialisation by an image; by
    default 249."""
    noise_fraction: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1, as in the DDS and DiffusionBlend code: this fraction of the noise is
    redrawn at every step. Not together with ddim_eta. By default 0.85, unless ddim_eta is set."""
    ddim_eta: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1, as in DDIM: 1 is ancestral sampling, exact in the limit of many steps;
    not with noise_fraction."""
    nonnegative: bool = True
    """Clip the denoised estimate at air (-1000 HU)."""
    seed: Annotated[int, NotNegative] = 0
    """Random seed."""

    default_noise: ClassVar[Mapping[str, float]] = {"noise_fraction": 0.85}
    """Which stochasticity is taken where none is set."""
    basic: ClassVar[tuple[str, ...]] = ("steps", "init", "seed", "consistency")
    has_estimates: ClassVar[bool] = True
    on_scaled_state: ClassVar[bool] = False
    """Whether the data-consistency step is taken on the noisy state, scaled."""

    def __post_init__(self) -> None:
        if isinstance(self.consistency, str | type):
            object.__setattr__(self, "consistency", self._named_step(self.consistency))
        super().__post_init__()
        if self.noise_fraction is not None and self.ddim_eta is not None:
            raise InputError(
                f"noise_fraction {self.noise_fraction} and ddim_eta {self.ddim_eta} were given.",
                "one of them: they are two definitions of the same stochasticity",
            )
        if self.init == "noise" and self.init_timestep is not None:
            raise InputError(
                f"init_timestep is {self.init_timestep}, with no image to start from.",
                "an initialisation by an image",
                "--init fbp",
            )

    def _named_step(self, given: Any) -> Any:
        """The data-consistency step of a name, the method's own where it is that; or of a class."""
        from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
        from diffusionblend.methods.plain import default_of

        step = CONSISTENCY_STEPS[given] if isinstance(given, str) else given
        own = default_of(next(f for f in fields(self) if f.name == "consistency"))
        return own if type(own) is step else step()

    @abstractmethod
    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """Partitions of the slices of a volume (z, y, x) into blocks, one for each step."""

    def resolved(self, roles: frozenset[str] = frozenset()) -> Self:
        """The same with stochasticity and first timestep written out."""
        changes: dict[str, Any] = {}
        if self.noise_fraction is None and self.ddim_eta is None:
            changes |= self.default_noise
        if self.init_timestep is None and self.init != "noise":
            changes["init_timestep"] = INIT_TIMESTEPS[self.init]
        return replace(self, **changes)

    @property
    def usual_residual(self) -> tuple[float, int]:
        """That of the data-consistency step."""
        return self.consistency.highest_residual, 1

    @property
    def needs_noise(self) -> bool:
        """Whether the data-consistency step asks for the noise of the projections."""
        return self.consistency.needs_noise

    @property
    def n_steps(self) -> int:
        """Reverse steps."""
        return self.steps

    @property
    def averaging(self) -> dict[str, float]:
        """Damping of the dual variable and the timestep of tail averaging; none by default."""
        return {"dual_damping": 0.0, "tail_average_below": 0}

    @property
    def langevin_snr(self) -> float:
        """Signal-to-noise ratio of a Langevin step after each reverse step, 0 for none."""
        return 0.0

    def for_timing(self) -> Self:
        """The same with the data-consistency step for timing."""
        return replace(self, consistency=self.consistency.for_timing())

    def setup_cost(self, scan: Projections) -> tuple[float, int]:
        """That of the data-consistency step."""
        return self.consistency.setup_cost(scan)

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """A sample of the prior given the projections."""
        return self.sampled(problem, priors, execution)

    def sampled(
        self,
        problem: Problem,
        priors: Mapping[str, Prior],
        execution: Execution,
        start: Volume | None = None,
    ) -> Solution:
        """One run of the reverse loop. start: a volume in HU in place of the initialisation."""
        from diffusionblend.methods.diffusion.run import sample_volume

        return sample_volume(self, problem, priors, execution, start)


@dataclass(frozen=True, kw_only=True)
class EstimateMethod(DiffusionMethod):
    """A diffusion method whose data-consistency step may act on the denoised estimate."""

    dual_damping: Annotated[float | None, BelowOne] = 0.0
    """Damping of the scaled ADMM dual variable, in [0, 1); 0 disables it, as in the papers."""
    tail_average_below: Annotated[int | None, NotNegative] = 0
    """Tail averaging: the mean of the data-consistent estimates at timesteps below this is
    returned; 0 returns the last estimate, as in the papers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.dual_damping or self.tail_average_below) and not self.consistency.on_estimate:
            raise InputError(
                f"dual_damping {self.dual_damping} and tail_average_below "
                f"{self.tail_average_below} were given with the data-consistency step "
                f"{self.consistency.name!r}.",
                "a step on the denoised estimate, such as cg, prox or admm-tv-z",
                "--dual-damping 0 --tail-average-below 0",
            )

    @property
    def averaging(self) -> dict[str, float]:
        """Damping of the dual variable and the timestep of tail averaging."""
        return {
            "dual_damping": self.dual_damping or 0.0,
            "tail_average_below": self.tail_average_below or 0,
        }


def axial_slices(shape: tuple[int, int, int]) -> Iterator[Any]:
    """The partition of a volume (z, y, x) into single axial slices, for every step."""
    from itertools import repeat

    from diffusionblend.priors.partition import slice_partition

    return repeat(slice_partition(shape[0]))
