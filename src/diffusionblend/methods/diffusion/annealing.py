"""The loop of annealed Langevin sampling: its rounds, the data's part and the prior's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import TYPE_CHECKING

import torch

from diffusionblend.methods.base import Execution, Solution
from diffusionblend.methods.data_variance import Trust, variance_of_data
from diffusionblend.methods.diffusion.consistency.prox import ProximalStep, memory_for_factors
from diffusionblend.methods.diffusion.executor import Executor
from diffusionblend.methods.diffusion.init import initial_image
from diffusionblend.methods.diffusion.run import EVALUATIONS, Reporter, begun, denoising
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.problem import NO_ATTENUATION, Problem
from diffusionblend.priors.partition import Partition, neighbour_partition
from diffusionblend.priors.resolve import check_prior_fits

if TYPE_CHECKING:
    from diffusionblend.methods.diffusion.langevin import Langevin
    from diffusionblend.priors.prior import BlockDenoiser, Prior
    from diffusionblend.priors.schedule import NoiseSchedule

Draw = Callable[[Sequence[int]], torch.Tensor]
"""White noise of a shape, fresh at every call."""
Clean = Callable[[torch.Tensor], torch.Tensor]
"""From noisy slices to their denoised estimate, by the next network evaluation."""
FLOW_SHARE = 2.0
"""The variance of the data counts so many times: the way back to the prior follows half of its
gradient and adds no noise, so that the data's gradient has to be halved too (docs/method.md)."""


@dataclass(frozen=True)
class Round:
    """A round of a run: the timesteps and the levels at which each group is denoised in it.

    levels: of the noise, those of the timesteps; a start and a middle of each piece of the way.
    """

    timesteps: tuple[int, ...]
    levels: tuple[float, ...]

    @property
    def level(self) -> float:
        """Of the noise that the round adds."""
        return self.levels[0]


def wanted_levels(method: Langevin) -> list[tuple[float, ...]]:
    """The levels at which each group is denoised in each round, in order."""
    levels, found = method.levels, []
    for i in range(method.rounds):
        place = len(levels) * i // method.rounds
        level, halvings = levels[place], min(method.halvings, len(levels) - 1 - place)
        starts = [level * 0.5**n for n in range(halvings)]
        last = level * 0.5**halvings
        passed = [at for start in starts for at in (start, 0.75 * start)]
        found.append((*passed, last, 0.5 * last))
    return found


def rounds_of(method: Langevin, schedule: NoiseSchedule) -> list[Round]:
    """The rounds of a run, in order, at the levels nearest to the wanted ones that timesteps have.

    Between two timesteps the prior would take the noise for more or less than it is.
    """
    found = []
    for wanted in wanted_levels(method):
        times = tuple(timestep_of(level, schedule) for level in wanted)
        found.append(Round(times, tuple((1 / schedule.alpha_bar[list(times)] - 1).sqrt().tolist())))
    return found


def groups_of(n_slices: int, block_slices: int, *, clean: bool) -> list[Partition]:
    """Every slice among its neighbours, in the groups that are renewed one after the other.

    clean: whether the neighbours have to be; then no two slices of a group are in one block: of
    three, the even slices and the odd ones. Otherwise all slices are renewed together. Raises
    InputError for a single slice.
    """
    whole = neighbour_partition(n_slices, block_slices)
    groups = block_slices // 2 + 1 if clean else 1
    return [replace(whole, blocks=whole.blocks[group::groups]) for group in range(groups)]


def timestep_of(level: float, schedule: NoiseSchedule) -> int:
    """The timestep whose noise over signal, sqrt(1 / abar - 1), is nearest to a level."""
    levels = (1 / schedule.alpha_bar - 1).log() / 2
    return int((levels - math.log(level)).abs().argmin())


@dataclass(frozen=True)
class AnnealedLangevin:
    """Rounds of noise, data and prior.

    n_groups: of slices that are renewed one after the other. data: makes volumes fit the data.
    lowest: denoised slices are clipped at it.
    """

    rounds: list[Round]
    schedule: NoiseSchedule
    n_groups: int
    data: DataDraw
    lowest: float | None = None

    def executor(
        self, prior: BlockDenoiser, partitions: list[Partition], **given: object
    ) -> Executor:
        """What denoises at the timesteps of all rounds, group by group."""
        passed = [(t, p) for r in self.rounds for p in partitions for t in r.timesteps]
        times = [t for t, _ in passed]
        return Executor(prior, times, [p for _, p in passed], **given)  # type: ignore[arg-type]

    def run(
        self, state: State, executor: Executor, draw: Draw, on_step: Callable[[State], None]
    ) -> torch.Tensor:
        """The volume (z, y, x), network range, from a state on, which is changed in place."""
        done = sum(self.n_groups * len(r.timesteps) for r in self.rounds[: state.done])
        numbers = count(done)
        for now in self.rounds[state.done :]:
            drawn = self._by_data(state.x, now.level, executor, draw)
            for group in range(self.n_groups):
                mine = torch.arange(len(state.x)) % self.n_groups == group
                clean = self._clean(state.x, mine, executor, numbers)
                state.x[mine] = back_to_prior(drawn[mine], now, clean)
            state.done += 1
            on_step(state)
        return state.x

    def _by_data(
        self, x: torch.Tensor, level: float, executor: Executor, draw: Draw
    ) -> torch.Tensor:
        """A volume given the data, and that it lies a level of noise away from x."""
        drawn, apart, noise = x.clone(), draw(x.shape), draw(self.data.shape)
        with executor.stopwatch.part("consistency"):
            executor.move_slices(
                drawn,
                lambda of_x, part: self.data(of_x, part, level, apart[part], noise),
                whole=self.data.couples_slices,
            )
        return drawn

    def _clean(
        self, x: torch.Tensor, mine: torch.Tensor, executor: Executor, numbers: Iterator[int]
    ) -> Clean:
        """The denoiser of a group's slices among the others of x, which are clean."""

        def clean(noisy: torch.Tensor) -> torch.Tensor:
            i = next(numbers)
            abar = float(self.schedule.alpha_bar[executor.times[i]])
            volume = x.clone()
            volume[mine] = abar**0.5 * noisy
            executor.denoise(volume, i, lambda x0, eps, part: x0)
            return volume[mine] if self.lowest is None else volume[mine].clamp(min=self.lowest)

        return clean


def back_to_prior(x: torch.Tensor, now: Round, clean: Clean) -> torch.Tensor:
    """Slices x (z, y, x) = clean + level * noise, carried along the probability flow to no noise.

    dx / dsigma = (x - clean(x)) / sigma (Song et al. 2021, of exploding variance): by the midpoint
    rule from the start of each piece to that of the next. The last one goes to 0, where the slope
    is 0: by the parabola through that and its two slopes, which is Simpson's rule where the middle
    is halfway.
    """
    pieces = list(zip(now.levels[::2], now.levels[1::2], strict=True))
    for (start, middle), (end, _) in pairwise(pieces):
        halfway = x + (middle - start) / start * (x - clean(x))
        x = x + (end - start) / middle * (halfway - clean(halfway))
    start, middle = pieces[-1]
    slope = (x - clean(x)) / start
    halfway = x + (middle - start) * slope
    second = (halfway - clean(halfway)) / middle
    curve = (slope / start - second / middle) / (start - middle)
    rise = second / middle - curve * middle
    return x - (rise / 2 + curve * start / 3) * start**2


class DataDraw:
    """z given the data y = A z + noise and x = z + level * noise: perturb and solve.

    argmin over z of |A z - y'|^2 + rho |z - x'|^2 with x' = x + level n, y' = y + sd n' and rho =
    sd^2 / level^2 is such a draw (Papandreou and Yuille 2010). sd is that of the data (see
    FLOW_SHARE), the same for all rays, or more where the solver needs a larger rho.
    """

    def __init__(self, problem: Problem) -> None:
        self.variance = variance_of_data(problem)
        self.step = ProximalStep(problem, None, trust=Trust(self.variance))
        self.couples_slices = self.step.couples_slices
        self.shape = tuple(problem.y.shape)

    def __call__(
        self,
        x: torch.Tensor,
        slices: slice,
        level: float,
        apart: torch.Tensor,
        noise: torch.Tensor,
    ) -> torch.Tensor:
        """Of the given slices' x (z, y, x). apart: white, of these; noise: of the whole scan."""
        rho = max(self.step.least, FLOW_SHARE * self.variance / level**2)
        y = self.step.problem.of_slices(slices).y
        fresh = noise if self.couples_slices else noise[:, slices]
        return self.step.proximal(x + level * apart.to(x), y + rho**0.5 * level * fresh.to(y), rho)


def sample_by_langevin(
    method: Langevin, problem: Problem, prior: Prior, execution: Execution
) -> Solution:
    """A sample of the posterior; it sees no reference.

    Raises InputError where the prior's slice size is not the grid's, and for a single slice.
    """
    grid, ranks = problem.operator.grid, execution.ranks
    check_prior_fits(prior, grid)
    noisy = prior.config.type.noisy_slices(prior.block_slices)
    clean = len(range(prior.block_slices)[noisy]) < prior.block_slices
    partitions = groups_of(problem.shape[0], prior.block_slices, clean=clean)
    memory = ranks.of_first(memory_for_factors(problem.device))
    loop = AnnealedLangevin(
        rounds_of(method, prior.schedule),
        prior.schedule,
        len(partitions),
        DataDraw(replace(problem, factor_bytes=memory)),
        NO_ATTENUATION if method.nonnegative else None,
    )
    executor = loop.executor(
        prior.for_grid(grid), partitions, **denoising(problem, prior, execution)
    )

    def start(generator: torch.Generator) -> State:
        x = torch.randn(problem.shape, generator=generator)
        if method.init != "noise":
            x = initial_image(method.init, problem).cpu()
        return State(0, x, generator.get_state())

    state, generator = begun(method.seed, problem, prior, execution, start)
    reporter = Reporter(execution, generator, problem, method.rounds, executor, state.spent)

    def draw(shape: Sequence[int]) -> torch.Tensor:
        return torch.randn(tuple(shape), generator=generator).to(state.x)

    with executor.stopwatch.part("rest"):
        x = loop.run(state, executor, draw, reporter.after_step)
    seconds = reporter.spent()
    evaluations = int(seconds.pop(EVALUATIONS)) // len(partitions)
    return Solution(x, evaluations, seconds, {"solver": loop.data.step.proximal.solver})
