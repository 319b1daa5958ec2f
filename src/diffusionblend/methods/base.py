"""What a method is: its settings, and all that others ask of it.

A method is one frozen dataclass in one file. Its fields are its settings; the class carries name,
summary, when to choose it, the prior it needs and what is tuned; `run` does the work. Command line,
run records, benchmark, cost estimates and documentation are derived from it. Nothing heavy is
imported with this module.
"""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from diffusionblend.errors import InputError, check_kind
from diffusionblend.methods.validation import Settings
from diffusionblend.priors.resolve import PriorLike, PriorSpec, resolve_priors
from diffusionblend.ranks import Ranks

if TYPE_CHECKING:
    import torch

    from diffusionblend.data.projections import Projections
    from diffusionblend.data.result import Reconstruction
    from diffusionblend.data.volume import Volume
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.methods.diffusion.state import State
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.prior import Prior

OnStep = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""
OnEstimate = Callable[[int, int, "Volume"], None]
"""Called with the steps done, the steps in all, and the present estimate in HU."""


def ignore_progress(done: int, total: int) -> None:
    """The progress report of a caller who wants none."""


@dataclass(frozen=True, repr=False)
class Execution:
    """How a run is carried out; its result does not depend on any of it.

    on_step: called after each step. on_estimate: the same with the present estimate. resume: the
    state to go on from. on_state: called with the state after each step; it may keep a copy. ranks:
    processes that share the work, each of which ends with the whole volume. batch_blocks: blocks in
    a network batch, by default as many as suit the memory.
    """

    on_step: OnStep = ignore_progress
    on_estimate: OnEstimate | None = None
    resume: State | None = None
    on_state: Callable[[State], None] | None = None
    ranks: Ranks = field(default_factory=Ranks)
    batch_blocks: int | None = None

    def __repr__(self) -> str:
        default = Execution()
        told = [
            f"{f.name}={getattr(value, '__name__', None) or _short(value)}"
            for f in fields(self)
            if (value := getattr(self, f.name)) != getattr(default, f.name)
        ]
        return f"Execution({', '.join(told)})"


def _short(value: object) -> str:
    """A number or the ranks as they are, and of other objects the class."""
    return repr(value) if isinstance(value, int | Ranks) else type(value).__name__


@dataclass(frozen=True)
class Solution:
    """What `Method.run` returns: x (z, y, x) in the network's range, and what it cost.

    seconds: of each part that the method times itself. data_consistency: how its steps towards the
    data were taken, plain values.
    """

    x: torch.Tensor
    network_evaluations: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    data_consistency: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Method(Settings, ABC):
    """A reconstruction method with its settings.

    name: on the command line. summary, when: one line each. prior: the priors it needs, None for
    none. tuned: settings that are searched on a training patient, in this order, with the values
    tried. basic: the settings that the short help shows. volumes_held: float32 volumes that it
    holds at once, without a network. volumes_kept: more of them, of small ones alone, that the
    system's allocator keeps once freed. has_estimates: whether its steps hand out a running
    estimate. highest_residual: the relative residual that it leaves at most of a noiseless scan,
    and from how many views on.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    when: ClassVar[str]
    prior: ClassVar[PriorSpec | None] = None
    tuned: ClassVar[Mapping[str, tuple[float, ...]]] = {}
    basic: ClassVar[tuple[str, ...]] = ()
    volumes_held: ClassVar[int] = 25
    volumes_kept: ClassVar[int] = 0
    has_estimates: ClassVar[bool] = False
    highest_residual: ClassVar[tuple[float, int]] = (math.inf, 1)

    @abstractmethod
    def run(self, problem: Problem, priors: Mapping[str, Prior], execution: Execution) -> Solution:
        """Reconstruct; the settings are resolved. priors: by their roles, see `PriorSpec`."""

    def resolved(self, roles: frozenset[str] = frozenset()) -> Self:
        """The same method with every default that depends on others written out.

        roles: of the priors that there are. Called once, before `run`. Raises InputError.
        """
        return self

    def with_seed(self, seed: int) -> Self:
        """The same method with another random seed; unchanged where it draws nothing."""
        return replace(self, seed=seed) if self.is_random else self  # type: ignore[call-arg]

    def for_ensemble(self, seed: int, roles: frozenset[str] = frozenset()) -> Self:
        """The method that draws one sample of an ensemble, with a seed of its own."""
        return self.with_seed(seed)

    @property
    def is_random(self) -> bool:
        """Whether runs with other seeds are other samples."""
        return any(f.name == "seed" for f in fields(self))

    @property
    def first_seed(self) -> int:
        """Its random seed, 0 where it draws nothing."""
        return int(getattr(self, "seed", 0))

    @property
    def usual_residual(self) -> tuple[float, int]:
        """The relative residual that it leaves at most with its settings, and from which views."""
        return self.highest_residual

    @property
    def needs_noise(self) -> bool:
        """Whether it asks for the noise of the projections."""
        return False

    @property
    def n_steps(self) -> int:
        """Steps that a run reports, of resolved settings."""
        return int(getattr(self, "iterations", 1))

    def cost_parts(
        self, scan: Projections, priors: Mapping[str, Prior]
    ) -> list[tuple[Projections, Method, Mapping[str, Prior]]]:
        """The runs that a run of resolved settings consists of, for an estimate of its cost."""
        return [(scan, self, priors)]

    def for_timing(self) -> Self:
        """The same for timing its steps: what is made once for all slices may be left out."""
        return self

    def setup_cost(self, scan: Projections) -> tuple[float, int]:
        """Seconds and bytes of what is made once for all slices, and `for_timing` leaves out."""
        return 0.0, 0

    def settings(self) -> dict[str, Any]:
        """The settings as plain values, nested ones in the same mapping under their own names."""
        from diffusionblend.methods.plain import plain_settings

        return plain_settings(self)

    def __call__(
        self,
        scan: Projections,
        *,
        prior: PriorLike = None,
        coronal_prior: PriorLike = None,
        coarse_prior: PriorLike = None,
        device: str = "auto",
        execution: Execution | None = None,
    ) -> Reconstruction:
        """A volume in HU from projections. Raises InputError.

        prior: a loaded one, a shipped name, a folder or a hub id; None the shipped one for the
        slices' size. coronal_prior, coarse_prior: likewise, for methods that take one. device:
        "auto", "cpu" or "cuda".
        """
        from diffusionblend.devices import choose_device

        check_is_scan(scan)
        chosen = choose_device(device)
        given = {"prior": prior, "coronal_prior": coronal_prior, "coarse_prior": coarse_prior}
        priors = self.load_priors(given, grid=scan.grid, device=chosen)
        return reconstruct_with(self, scan, priors, chosen, execution or Execution())

    def load_priors(
        self, given: Mapping[str, PriorLike], *, grid: Grid, device: str
    ) -> dict[str, Prior]:
        """The priors that it runs with, by their roles, loaded. Raises InputError.

        given: by roles, None for what is taken by default. grid: of the volume.
        """
        return resolve_priors(
            self.prior,
            given,
            method=self.name,
            grid=grid,
            device=device,
            coarse_from_pixels=self.coarse_from_pixels,
        )

    @property
    def coarse_from_pixels(self) -> int | None:
        """Where no coarse prior is given, the pixels from which one is looked for; None: never."""
        return None


def check_is_scan(scan: object) -> None:
    """Raise InputError for what are no projections."""
    from diffusionblend.data.projections import Projections

    check_kind(scan, Projections, "The scan to reconstruct")


def reconstruct_with(
    method: Method,
    scan: Projections,
    priors: Mapping[str, Prior],
    device: str,
    execution: Execution,
) -> Reconstruction:
    """A volume in HU by a method and loaded priors: resolve, normalise, run, convert.

    A grid that no prior serves is replaced by the prior's, and the result is interpolated to the
    scan's (`Reach`); the residual is that of the result. Raises InputError as the method does,
    and where a running estimate is asked for of a method that has none. Values are returned as they
    are; a relative residual that is not finite reveals NaN.
    """
    import torch

    from diffusionblend.data.resample import regridded
    from diffusionblend.data.result import Reconstruction
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.problem import Problem
    from diffusionblend.priors.reach import on_prior_grid
    from diffusionblend.units import hu_to_network, network_to_hu

    if execution.on_estimate is not None and not method.has_estimates:
        raise InputError(
            f"{method.name} was asked for its estimate at every step; it has no running estimate.",
            "a method that samples a prior, such as diffusionblend++",
            "on_step, for the steps alone",
        )
    started = time.perf_counter()
    resolved = method.resolved(frozenset(priors))
    spent = {} if execution.resume is None else execution.resume.spent
    before = sum(cost for name, cost in spent.items() if name != "network_evaluations")
    work = on_prior_grid(scan, priors)
    with torch.no_grad():
        problem = Problem.of(work, device, with_noise=resolved.needs_noise)
        solution = resolved.run(problem, priors, _handing_back(execution, scan, work))
        volume = Volume(network_to_hu(solution.x).cpu().numpy(), work.grid)
        if work is not scan:
            volume = regridded(volume, scan.grid)
            problem = Problem.of(scan, device)
            solution = replace(solution, x=hu_to_network(torch.from_numpy(volume.values)))
        total = time.perf_counter() - started + before
        seconds = {**solution.seconds, "total": total}
        residual = problem.relative_residual(solution.x)
    steps = dict(solution.data_consistency)
    return Reconstruction(volume, residual, solution.network_evaluations, seconds, steps)


def _handing_back(execution: Execution, scan: Projections, work: Projections) -> Execution:
    """The execution whose running estimates, of `work`, are seen on the grid of the scan."""
    see = execution.on_estimate
    if see is None or work is scan:
        return execution
    from diffusionblend.data.resample import regridded

    def on_estimate(done: int, total: int, volume: Volume) -> None:
        see(done, total, regridded(volume, scan.grid))

    return replace(execution, on_estimate=on_estimate)
