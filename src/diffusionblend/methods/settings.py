"""Settings of every method; no heavy imports, so that the command line can show them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from diffusionblend.errors import InputError


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

    def __post_init__(self) -> None:
        if not self.weight >= 0 or not self.penalty > 0:
            raise InputError(
                f"The TV weight is {self.weight} and ADMM's penalty {self.penalty}.",
                "a weight not below 0 and a penalty above 0",
            )
        if min(self.iterations, self.inner_iterations) < 1:
            raise InputError("ADMM-TV was given no iterations.", "at least 1")


PRESETS: dict[str, dict[str, Any]] = {
    "fast": {"steps": 20, "time_power": 1.0, "start": "noise", "first_timestep": None},
    "balanced": {"steps": 50, "time_power": 1.0, "start": "noise", "first_timestep": None},
    "best": {"steps": 200, "time_power": 1.0, "start": "noise", "first_timestep": None},
}
"""What each preset settles, unless it is set."""


@dataclass(frozen=True, kw_only=True)
class DiffusionBlendPPSettings:
    """How DiffusionBlend++ samples."""

    preset: Literal["fast", "balanced", "best"] = "best"
    """20, 50 or 200 reverse steps, from noise and equally spaced; the next four override it."""
    steps: int | None = None
    """Reverse steps; each passes the whole volume through the network once."""
    time_power: float | None = None
    """Spacing of the timesteps: 1 equal, above 1 denser towards the end."""
    start: Literal["noise", "fbp", "cg", "tv"] | None = None
    """Pure noise, or an image of the data noised to first_timestep."""
    first_timestep: int | None = None
    """Timestep of the first step, 0 to 999 (pure noise); needs a start other than noise."""
    eta: float = 1.0
    """Share of the noise renewed at every step, 0 to 1 (not DDIM's own); 0.85 in the paper."""
    consistency: Literal["cg", "prox"] = "cg"
    """Data consistency: a few steps of conjugate gradients, or the exact proximal point."""
    cg_iterations: int = 5
    """CG steps at every reverse step, for 'cg'."""
    rho: float | None = None
    """Pull towards the prior's estimate, lengths in pixels; by default 0 (cg) or 0.1 (prox)."""
    weighted: bool = False
    """Weigh rays by their photons, for 'cg'; the scan must tell how many."""
    to_noise: bool = False
    """Stop CG where the data are fitted as well as their noise allows; as 'weighted'."""
    dual_decay: float = 0.85
    """Share of ADMM's dual variable kept from step to step, 0 to below 1; 0 in the paper."""
    average_below: int = 100
    """The result is the mean of the estimates at timesteps below this; 0 (the paper): the last."""
    nonnegative: bool = True
    """Raise the prior's estimate to no attenuation (-1000 HU) where below, before the data step."""
    partition: Literal["alternating", "adjacent", "jump", "fixed"] = "alternating"
    """How slices are blended: drawn afresh at every step, or 'fixed' blocks (no blending)."""
    jump_every: int = 2
    """Every how many steps a jump step comes, when alternating."""
    jump_stride: int = 3
    """Slices from one to the next in a jump block."""
    batch_blocks: int | None = None
    """Blocks a network batch; by default sized to the memory. Does not change the result."""
    seed: int = 0
    """Of all randomness."""

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"The preset is {self.preset!r}.", f"one of {', '.join(PRESETS)}")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"steps is {self.steps}.", "at least 1")
        if not 0 <= self.eta <= 1:
            raise InputError(f"eta is {self.eta}.", "a share of the noise, 0 to 1")
        if not 0 <= self.dual_decay < 1:
            raise InputError(f"dual_decay is {self.dual_decay}.", "0 to below 1")
        if self.average_below < 0:
            raise InputError(f"average_below is {self.average_below}.", "0 or a timestep")
        if self.cg_iterations < 1:
            raise InputError(
                f"cg_iterations is {self.cg_iterations}, which would switch the data off.",
                "at least 1",
            )
        if self.batch_blocks is not None and self.batch_blocks < 1:
            raise InputError(f"batch_blocks is {self.batch_blocks}.", "at least 1")
        whole = self._filled()
        if whole["start"] == "noise" and whole["first_timestep"] is not None:
            raise InputError(
                f"first_timestep is {whole['first_timestep']}, but the start is pure noise.",
                "a start from an image of the data",
                "--start tv",
            )

    def resolved(self) -> DiffusionBlendPPSettings:
        """The same settings with what the preset settles written out."""
        return replace(self, **self._filled())

    def _filled(self) -> dict[str, Any]:
        """The preset's values, or those that were set in their place."""
        return {
            name: value if getattr(self, name) is None else getattr(self, name)
            for name, value in PRESETS[self.preset].items()
        }
