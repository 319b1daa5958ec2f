"""Settings of every method; no heavy imports, so that the command line can show them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from diffusionblend.errors import InputError
from diffusionblend.units import AIR_HU

MethodName = Literal[
    "fbp",
    "sirt",
    "cgls",
    "admm-tv",
    "fbp-unet",
    "dds-2d",
    "dds",
    "diffusion-mbir",
    "tpdm",
    "diffusionblend",
    "diffusionblend++",
]
"""Those that the registry holds."""


@dataclass(frozen=True, kw_only=True)
class FbpSettings:
    """How FBP filters."""

    window: Literal["ram-lak", "shepp-logan", "cosine", "hamming", "hann"] = "ram-lak"
    """Window of the ramp filter."""


@dataclass(frozen=True, kw_only=True)
class AdmmTvSettings:
    """How ADMM-TV weighs and iterates."""

    weight: float = 1.0
    """Of the total variation, for lengths in pixels and values in HU / 1000; tune it."""
    iterations: int = 150
    """Of ADMM."""
    penalty: float = 3.0
    """ADMM's rho: sets the speed, not the solution."""
    inner_iterations: int = 5
    """CG steps within each iteration."""
    nonnegative: bool = True
    """Keep attenuation at or above zero."""
    highest_hu: float | None = None
    """Keep values at or below this, in HU, where the densest material is known."""

    def __post_init__(self) -> None:
        if not self.weight >= 0 or not self.penalty > 0:
            raise InputError(
                f"The TV weight is {self.weight} and ADMM's penalty {self.penalty}.",
                "a weight not below 0 and a penalty above 0",
            )
        if self.highest_hu is not None and not self.highest_hu > AIR_HU:
            raise InputError(
                f"The highest value is {self.highest_hu} HU.", f"one above air, {AIR_HU:g} HU"
            )
        if min(self.iterations, self.inner_iterations) < 1:
            raise InputError("ADMM-TV was given no iterations.", "at least 1")


@dataclass(frozen=True, kw_only=True)
class SirtSettings:
    """How long SIRT iterates."""

    iterations: int = 50
    """Passes over all views; stopping early is the regularisation, so tune it."""
    nonnegative: bool = True
    """Keep attenuation at or above zero."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError("SIRT was given no iterations.", "at least 1")


@dataclass(frozen=True, kw_only=True)
class CglsSettings:
    """How long CGLS iterates."""

    iterations: int = 12
    """Steps; stopping early is the regularisation, so tune it."""
    nonnegative: bool = True
    """Raise the result to no attenuation where it lies below."""

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise InputError("CGLS was given no iterations.", "at least 1")


@dataclass(frozen=True, kw_only=True)
class FbpUnetSettings:
    """How FBP-UNet runs."""

    batch_slices: int = 16
    """Slices a network batch. Does not change the result."""

    def __post_init__(self) -> None:
        if self.batch_slices < 1:
            raise InputError(f"batch_slices is {self.batch_slices}.", "at least 1")


ConsistencyName = Literal["cg", "prox", "admm-tv-z", "hard", "dps", "none"]
CONSISTENCIES: tuple[str, ...] = get_args(ConsistencyName)
ON_THE_ESTIMATE = ("cg", "prox", "admm-tv-z")
"""Data steps that make the prior's estimate itself fit the data."""


@dataclass(frozen=True, kw_only=True)
class ConsistencySettings:
    """Which data step a diffusion method takes, and its numbers; lengths are in pixels."""

    consistency: ConsistencyName = "cg"
    """Data step: conjugate gradients, the exact proximal point, ADMM with total variation along z,
    the noisy state projected onto noisy data, the gradient through the network, or no data."""
    cg_iterations: int = 5
    """CG steps at every reverse step, for 'cg' and 'admm-tv-z'."""
    rho: float | None = None
    """Pull towards the prior's estimate, for 'cg' and 'prox'; by default 0 and 0.1."""
    weighted: bool = False
    """Weigh rays by their photons, for 'cg'; the scan must tell how many."""
    to_noise: bool = False
    """Stop CG where the data are fitted as well as their noise allows, for 'cg'; as 'weighted'."""
    tv_z_weight: float = 0.1
    """Of the total variation along z, for 'admm-tv-z'; tune it."""
    tv_z_penalty: float = 1.0
    """ADMM's rho, for 'admm-tv-z'; tune it too where the variables are not kept."""
    tv_z_keeps: bool = False
    """Keep ADMM's variables from one reverse step to the next, for 'admm-tv-z'."""
    hard_weight: float = 0.1
    """Of the state against the data, between 0 and 1, for 'hard'."""
    dps_step: float = 1.0
    """Step along the gradient of the residual's norm, for 'dps'; tune it."""

    def __post_init__(self) -> None:
        if self.cg_iterations < 1:
            raise InputError(
                f"cg_iterations is {self.cg_iterations}, which would switch the data off.",
                "at least 1",
            )
        if not self.tv_z_weight >= 0 or not self.tv_z_penalty > 0:
            raise InputError(
                f"tv_z_weight is {self.tv_z_weight} and tv_z_penalty {self.tv_z_penalty}.",
                "a weight not below 0 and a penalty above 0",
            )
        if (self.weighted or self.to_noise) and self.consistency != "cg":
            raise InputError(
                f"The data step {self.consistency!r} was asked to know the noise.",
                "equal weights, or the step that can have others",
                "--consistency cg",
            )
        if not 0 < self.hard_weight < 1:
            raise InputError(f"hard_weight is {self.hard_weight}.", "above 0 and below 1")
        if not self.dps_step > 0:
            raise InputError(f"dps_step is {self.dps_step}.", "a number above 0")


FROM_NOISE = {"start": "noise", "first_timestep": None}
FIRST_TIMESTEPS = {"noise": None, "fbp": 249, "cg": 249, "tv": 249, "coarse": 50}
"""Where the steps begin after each start, unless it is set."""

PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps": 20, "start": "fbp", "first_timestep": 349, "fine_steps": 10},
    "balanced": {"steps": 50, "start": "fbp", "first_timestep": 249, "fine_steps": 20},
    "best": {"steps": 200, "start": "noise", "fine_steps": 20},
}
"""What each preset settles, unless it is set."""

MEETING = {"dual_decay": 0.85, "average_below": 100}
"""How DiffusionBlend++ lets prior and data meet, for a data step on the estimate."""

ALIKE: dict[str, dict[str, Any]] = {
    "published": {"dual_decay": 0.0, "average_below": 0, "eta": 0.85, **FROM_NOISE},
    "equal": {**MEETING, "eta": 1.0, **FROM_NOISE},
}
"""Settings that methods of one loop can share, for comparisons of their priors alone."""

Start = Literal["noise", "fbp", "cg", "tv"]


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(ConsistencySettings):
    """How a diffusion method samples."""

    steps: int = 200
    """Reverse steps; each passes the whole volume through the network once."""
    time_power: float = 1.0
    """Spacing of the timesteps: 1 equal, above 1 denser towards the end."""
    start: Start = "noise"
    """Pure noise, or an image of the data noised to first_timestep."""
    first_timestep: int | None = None
    """Timestep of the first step, 0 to 999 (pure noise), where the start is an image; by default
    249."""
    eta: float = 0.85
    """How much of the noise is renewed, 0 to 1, as 'renewal' counts it."""
    renewal: Literal["share", "ddim"] = "share"
    """What eta is: the share of the noise renewed at every step, as in DDS and DiffusionBlend, or
    that of DDIM's own sigma, which shrinks with the step (1 is then the ancestral sampler)."""
    dual_decay: float = 0.0
    """Share of ADMM's dual variable kept from step to step, 0 to below 1; for 'cg', 'prox' and
    'admm-tv-z'."""
    average_below: int = 0
    """The result is the mean of the estimates at timesteps below this, for the same data steps; 0:
    the last."""
    nonnegative: bool = True
    """Raise the prior's estimate to no attenuation (-1000 HU) where below, before the data step."""
    batch_blocks: int | None = None
    """Blocks a network batch; by default sized to the memory. Does not change the result."""
    seed: int = 0
    """Of all randomness."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps is {self.steps}.", "at least 1")
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta is {self.eta}.", "a share of the noise, 0 to 1")
        if not 0 <= (self.dual_decay or 0) < 1:
            raise InputError(f"dual_decay is {self.dual_decay}.", "0 to below 1")
        if (self.average_below or 0) < 0:
            raise InputError(f"average_below is {self.average_below}.", "0 or a timestep")
        if (self.dual_decay or self.average_below) and self.consistency not in ON_THE_ESTIMATE:
            raise InputError(
                f"dual_decay {self.dual_decay} and average_below {self.average_below} were given "
                f"with the data step {self.consistency!r}.",
                f"a data step on the estimate: {', '.join(ON_THE_ESTIMATE)}",
                "--dual-decay 0 --average-below 0",
            )
        if self.batch_blocks is not None and self.batch_blocks < 1:
            raise InputError(f"batch_blocks is {self.batch_blocks}.", "at least 1")
        if self.start == "noise" and self.first_timestep is not None:
            raise InputError(
                f"first_timestep is {self.first_timestep}, with no image to start from.",
                "a start from an image of the data, or a coarse one",
                "--start tv",
            )

    def resolved(self) -> SamplingSettings:
        """The same settings with what a preset or another setting settles written out."""
        first = self.first_timestep
        return replace(self, first_timestep=FIRST_TIMESTEPS[self.start] if first is None else first)

    def alike(self, sampling: Literal["own", "published", "equal"]) -> SamplingSettings:
        """The same, as all methods that renew a share of the noise and fit their estimate have it.

        'published': as DDS and DiffusionBlend were. 'equal': as DiffusionBlend++ is here. 'own', or
        another kind of method: unchanged.
        """
        of_the_kind = self.renewal == "share" and self.consistency in ON_THE_ESTIMATE
        return replace(self, **ALIKE[sampling]) if of_the_kind and sampling != "own" else self


@dataclass(frozen=True, kw_only=True)
class Dds2dSettings(SamplingSettings):
    """How DDS 2D samples: slices one by one, CG."""

    steps: int = 50
    """Reverse steps; each passes the whole volume through the network once."""


@dataclass(frozen=True, kw_only=True)
class DdsSettings(SamplingSettings):
    """How DDS samples: slices one by one, ADMM with total variation along z."""

    steps: int = 50
    """Reverse steps; each passes the whole volume through the network once."""
    consistency: ConsistencyName = "admm-tv-z"
    """Data step, see above."""
    tv_z_weight: float = 3.0
    """Of the total variation along z; tune it after the penalty."""
    tv_z_penalty: float = 10.0
    """ADMM's rho: the larger, the smoother along z; tune it."""


@dataclass(frozen=True, kw_only=True)
class DiffusionMbirSettings(SamplingSettings):
    """How DiffusionMBIR samples: predictor and corrector, one ADMM step on the state."""

    consistency: ConsistencyName = "admm-tv-z"
    """Data step, taken on the noisy state over sqrt(abar); not 'hard' or 'dps'."""
    cg_iterations: int = 1
    """CG steps at every reverse step."""
    tv_z_weight: float = 3.0
    """Of the total variation along z; tune it."""
    tv_z_keeps: bool = True
    """Keep ADMM's variables from one reverse step to the next."""
    eta: float = 1.0
    """How much of the noise is renewed, 0 to 1, as 'renewal' counts it."""
    renewal: Literal["share", "ddim"] = "ddim"
    """What eta is; 1 with 'ddim' is the ancestral predictor."""
    corrector_snr: float = 0.16
    """Signal-to-noise ratio of the Langevin corrector; 0 leaves it out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.consistency in ("hard", "dps"):
            raise InputError(
                f"DiffusionMBIR was given the data step {self.consistency!r}.",
                "one that moves an estimate: cg, prox, admm-tv-z or none",
            )
        if not 0 <= self.corrector_snr <= 1:
            raise InputError(f"corrector_snr is {self.corrector_snr}.", "0 to 1")


@dataclass(frozen=True, kw_only=True)
class TpdmSettings(SamplingSettings):
    """How TPDM samples: axial or coronal slices at each step, the gradient of the residual."""

    consistency: ConsistencyName = "dps"
    """Data step, see above."""
    eta: float = 1.0
    """How much of the noise is renewed, 0 to 1, as 'renewal' counts it."""
    renewal: Literal["share", "ddim"] = "ddim"
    """What eta is; 1 with 'ddim' is the ancestral sampler."""
    plane_ratio: int = 2
    """One step in this many, drawn at random, denoises coronal slices, the others axial ones."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.plane_ratio < 1:
            raise InputError(f"plane_ratio is {self.plane_ratio}.", "at least 1")


@dataclass(frozen=True, kw_only=True)
class DiffusionBlendSettings(SamplingSettings):
    """How DiffusionBlend samples: every slice given its two neighbours."""


@dataclass(frozen=True, kw_only=True)
class DiffusionBlendPPSettings(SamplingSettings):
    """How DiffusionBlend++ samples."""

    preset: Literal["fast", "balanced", "best"] = "balanced"
    """20 reverse steps from FBP at timestep 349, 50 from FBP at 249, or 200 from noise (as always
    with 'hard', 'dps' and 'none'); after a coarse start 10, 20 or 20 more at full size; what is set
    overrides it."""
    steps: int | None = None
    """Reverse steps; each passes the whole volume through the network once."""
    fine_steps: int | None = None
    """Reverse steps at full size after a coarse start, whose own are 'steps'."""
    start: Start | Literal["coarse"] | None = None
    """Pure noise; or an image noised to first_timestep: of the data, or 'coarse', the
    reconstruction on a grid of half the pixels. By default coarse where there is a prior for that
    ('--coarse-prior'), else the preset's."""
    coarse_start: Start | None = None
    """What the coarse run starts from, as 'start'; by default the preset's."""
    first_timestep: int | None = None
    """Timestep of the first step, 0 to 999 (pure noise), where the start is an image; by default
    the preset's, or that of the start: 50 for a coarse one, else 249."""
    eta: float = 1.0
    """How much of the noise is renewed, 0 to 1; 0.85 in the paper."""
    dual_decay: float | None = None
    """Share of ADMM's dual variable kept from step to step, 0 to below 1; 0 in the paper. By
    default 0.85 with 'cg', 'prox' and 'admm-tv-z', which alone can have one."""
    average_below: int | None = None
    """The result is the mean of the estimates at timesteps below this; 0 (the paper): the last. By
    default 100, for the same data steps."""
    partition: Literal["alternating", "adjacent", "jump", "fixed"] = "alternating"
    """How slices are blended: drawn afresh at every step, or 'fixed' blocks (no blending)."""
    jump_every: int = 2
    """Every how many steps a jump step comes, when alternating."""
    jump_stride: int = 3
    """Slices from one to the next in a jump block."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"The preset is {self.preset!r}.", f"one of {', '.join(PRESETS)}")
        super().__post_init__()
        if self.fine_steps is not None and self.fine_steps < 1:
            raise InputError(f"fine_steps is {self.fine_steps}.", "at least 1")

    def resolved(self) -> DiffusionBlendPPSettings:
        """The same settings with what preset and data step settle written out.

        Without a data step on the estimate the start is noise. A first timestep without a start is
        that of a coarse one.
        """
        return replace(self, **self._filled())

    def _filled(self) -> dict[str, Any]:
        """What preset and data step settle, or what was set in its place."""
        settled = PRESETS[self.preset] | MEETING
        if self.consistency not in ON_THE_ESTIMATE:
            settled |= dict.fromkeys(MEETING, 0) | FROM_NOISE
        if self.start is not None:
            settled["first_timestep"] = FIRST_TIMESTEPS[self.start]
        elif self.first_timestep is not None:
            settled["start"] = "coarse"
        return {
            name: value if getattr(self, name) is None else getattr(self, name)
            for name, value in settled.items()
        }


MethodSettings = (
    FbpSettings | SirtSettings | CglsSettings | AdmmTvSettings | FbpUnetSettings | SamplingSettings
)
