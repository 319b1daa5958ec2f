"""DiffusionBlend++: joint block prior, random partitions, positional embedding (Song et al. 2024).

The dual variable, tail averaging, the initialisations by an image and coarse-to-fine are not in the
paper, nor is a data-consistency step that is solved; `--consistency cg --dual-damping 0
--tail-average-below 0 --init noise --noise-fraction 0.85` is its loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from diffusionblend.errors import InputError
from diffusionblend.methods.base import Execution, Method, Solution
from diffusionblend.methods.diffusion.base import (
    INIT_TIMESTEPS,
    DiffusionMethod,
    EstimateMethod,
    Init,
)
from diffusionblend.methods.diffusion.consistency.base import Consistency
from diffusionblend.methods.diffusion.consistency.prox import Prox
from diffusionblend.methods.diffusion.noise import generator_of
from diffusionblend.methods.validation import AtLeastOne, BelowOne, Fraction, NotNegative, Within
from diffusionblend.priors.resolve import PriorSpec, check_prior_fits

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.partition import Partition
    from diffusionblend.priors.prior import Prior

COARSE_FROM_PIXELS = 256
"""Along x: smaller slices have no coarse reconstruction unless it is asked for."""
COARSE_TIMESTEP = 50
"""Of the first step at full size, after a coarse reconstruction."""
PRESETS: dict[str, dict[str, Any]] = {
    name: dict(
        zip(("steps", "init", "init_timestep", "fine_steps", "dual_damping"), values, strict=True)
    )
    for name, values in {
        "fast": (20, "fbp", 349, 10, 0.85),
        "balanced": (50, "fbp", 249, 20, 0.95),
        "best": (200, "noise", None, 20, 0.95),
    }.items()
}
"""What each preset sets, unless it is given."""
TAIL_AVERAGE_BELOW = 100


@dataclass(frozen=True, kw_only=True)
class DiffusionBlendPP(EstimateMethod):
    """Blocks of slices denoised jointly, the slices partitioned afresh at every step."""

    name: ClassVar[str] = "diffusionblend++"
    summary: ClassVar[str] = "joint block prior, blended over random partitions"
    when: ClassVar[str] = "few views or a short arc, and training volumes"
    prior: ClassVar[PriorSpec | None] = PriorSpec("joint", coarse=True)
    default_noise: ClassVar[Mapping[str, float]] = {"noise_fraction": 1.0}
    basic: ClassVar[tuple[str, ...]] = ("preset", "steps", "seed", "consistency")

    preset: Literal["fast", "balanced", "best"] = "balanced"
    """Preset of 20 steps from FBP, 50 from FBP, or 200 from noise; settings that are given override
    it."""
    steps: Annotated[int | None, AtLeastOne] = None  # type: ignore[assignment]
    """Reverse steps; each takes one network evaluation of the whole volume. By default the
    preset's."""
    consistency: Consistency = field(default_factory=Prox)
    """Data-consistency step; the paper uses cg."""
    fine_steps: Annotated[int | None, AtLeastOne] = None
    """Reverse steps at full size after a coarse initialisation, which takes 'steps'. By default the
    preset's."""
    init: Init | Literal["coarse"] | None = None  # type: ignore[assignment]
    """Initialisation: pure noise, or an image noised to init_timestep: from the data, or 'coarse',
    at half the pixels. By default coarse where a prior allows it, else the preset's."""
    coarse_init: Init | None = None
    """Initialisation of the coarse stage, as for init. By default the preset's."""
    init_timestep: int | None = None
    """First timestep, 0 to 999 (pure noise), from an image. By default the preset's; 50 after a
    coarse run, else 249."""
    noise_fraction: Annotated[float | None, Fraction] = None
    """Stochasticity, 0 to 1: this fraction of the noise is redrawn at every step; not with
    ddim_eta. By default 1; 0.85 in the paper."""
    dual_damping: Annotated[float | None, BelowOne] = None
    """Damping of the scaled ADMM dual variable, in [0, 1); 0 disables it. By default the
    preset's."""
    tail_average_below: Annotated[int | None, NotNegative] = None
    """The result is the mean of the estimates below this timestep (0: the last one, as in the
    paper). By default 100."""
    partition: Literal["alternating", "adjacent", "jump", "fixed"] = "alternating"
    """Partitions into blocks, drawn afresh at every step, or fixed ones."""
    jump_every: Annotated[int, AtLeastOne] = 2
    """Steps between jump partitions, with partition alternating."""
    jump_stride: Annotated[int, Within(2)] = 3
    """Distance in slices within a jump block, with partition alternating or jump."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_jumps()

    def _check_jumps(self) -> None:
        """Raise InputError for a jump setting that the partition ignores."""
        used = {"alternating": ("jump_every", "jump_stride"), "jump": ("jump_stride",)}
        for name, default in (("jump_every", 2), ("jump_stride", 3)):
            if getattr(self, name) != default and name not in used.get(self.partition, ()):
                raise InputError(
                    f"{name} was given with the partition {self.partition!r}, which ignores it.",
                    "a partition with jump steps",
                    "--partition alternating",
                )

    def resolved(self, roles: frozenset[str] = frozenset()) -> Self:
        """The same with what preset, priors and data-consistency step decide written out.

        Without a step on the estimate it begins with noise. A first timestep without an
        initialisation is that of a coarse one. Raises InputError.
        """
        coarse = "coarse_prior" in roles
        self._check_coarse(coarse)
        values = PRESETS[self.preset] | {"tail_average_below": TAIL_AVERAGE_BELOW}
        if not self.consistency.on_estimate:
            values |= {"dual_damping": 0.0, "tail_average_below": 0}
            values |= {"init": "noise", "init_timestep": None}
        if coarse:
            values |= {
                "coarse_init": values["init"],
                "init": "coarse",
                "init_timestep": COARSE_TIMESTEP,
            }
        else:
            del values["fine_steps"]
            if self.init is not None:
                values["init_timestep"] = INIT_TIMESTEPS[self.init]
        if self.noise_fraction is None and self.ddim_eta is None:
            values |= self.default_noise
        return replace(self, **{n: v for n, v in values.items() if getattr(self, n) is None})

    def _check_coarse(self, there_is_one: bool) -> None:
        """Raise InputError for settings of a coarse run without one, or the reverse."""
        if there_is_one and self.init not in (None, "coarse"):
            raise InputError(
                f"A prior for a coarse initialisation was given, and init is {self.init!r}.",
                "an initialisation by that prior's reconstruction, or no such prior",
                "--init coarse, or no --coarse-prior",
            )
        if there_is_one:
            return
        asked = self.init == "coarse" or (self.init is None and self.init_timestep is not None)
        if asked:
            raise InputError(
                "A coarse initialisation was asked for (a first timestep without an "
                "initialisation means one), and there is no prior for fewer pixels.",
                "a prior for half the pixels, or another initialisation",
                "--coarse-prior, or --init fbp",
            )
        if self.fine_steps is not None or self.coarse_init is not None:
            raise InputError(
                f"fine_steps {self.fine_steps} and coarse_init {self.coarse_init} were given, and "
                "there is no prior for slices of half the pixels.",
                "neither of them, or a prior for a coarse initialisation",
                "--steps for the number of steps, or --coarse-prior",
            )

    @property
    def coarse_from_pixels(self) -> int | None:
        """Where it starts from a coarse reconstruction, if there is a prior for that."""
        if self.init is None:
            return COARSE_FROM_PIXELS
        return 0 if self.init == "coarse" else None

    @property
    def n_steps(self) -> int:
        """Reverse steps of both runs together."""
        return (self.steps or 0) + (self.fine_steps or 0)

    def for_ensemble(self, seed: int, roles: frozenset[str] = frozenset()) -> Self:
        """One sample: begun with noise unless another initialisation was given.

        Samples that all start from one image of the data differ by half of what they should.
        """
        one = replace(self, seed=seed)
        if "coarse_prior" in roles:
            return one if self.coarse_init is not None else replace(one, coarse_init="noise")
        return replace(one, init="noise") if self.init is None else one

    def stages(self) -> tuple[DiffusionMethod, DiffusionMethod]:
        """The coarse run and the one at full size, of resolved settings with a coarse prior."""
        first = None if self.coarse_init == "noise" else self._coarse_timestep()
        coarse = replace(
            self, init=self.coarse_init, coarse_init=None, init_timestep=first, fine_steps=None
        )
        return coarse, replace(self, steps=self.fine_steps, fine_steps=None, coarse_init=None)

    def _coarse_timestep(self) -> int | None:
        preset = PRESETS[self.preset]
        same = self.coarse_init == preset["init"]
        return preset["init_timestep"] if same else INIT_TIMESTEPS[str(self.coarse_init)]

    def cost_parts(
        self, scan: Projections, priors: Mapping[str, Prior]
    ) -> list[tuple[Projections, Method, Mapping[str, Prior]]]:
        """The coarse run and the one at full size, the latter timed from noise."""
        if "coarse_prior" not in priors:
            return [(scan, self, priors)]
        from diffusionblend.methods.diffusion.coarse_init import coarse_scan

        coarse, fine = self.stages()
        smaller = coarse_scan(scan, priors["coarse_prior"])
        at_full_size = replace(fine, init="noise", init_timestep=None)
        return [
            (smaller, coarse, {"prior": priors["coarse_prior"]}),
            (scan, at_full_size, {"prior": priors["prior"]}),
        ]

    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """A sample; with a coarse prior, begun with its reconstruction."""
        if "coarse_prior" not in priors:
            return self.sampled(problem, priors, execution)
        from diffusionblend.methods.diffusion.coarse_init import sample_from_coarse

        check_prior_fits(priors["prior"], problem.operator.grid)
        coarse, fine = self.stages()
        return sample_from_coarse(coarse, fine, problem, priors, execution)

    def partitions(self, shape: tuple[int, int, int], prior: Prior) -> Iterator[Partition]:
        """Random partitions into blocks, one for each step."""
        from diffusionblend.priors.partition import draw_partitions

        return draw_partitions(
            shape[0],
            prior.block_slices,
            kind=self.partition,
            jump_stride=self.jump_stride,
            jump_every=self.jump_every,
            generator=generator_of(self.seed),
        )
