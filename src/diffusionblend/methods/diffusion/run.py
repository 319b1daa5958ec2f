"""From a diffusion method, a problem and priors to a volume: the loop, put together."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from diffusionblend.methods.base import Execution, Solution
from diffusionblend.methods.cost import batch_that_fits, home_of_volume
from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.consistency.prox import memory_for_factors
from diffusionblend.methods.diffusion.consistency.scaled_state import OnScaledState
from diffusionblend.methods.diffusion.executor import Executor
from diffusionblend.methods.diffusion.init import initial_image
from diffusionblend.methods.diffusion.loop import ReverseLoop
from diffusionblend.methods.diffusion.noise import generator_of
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.diffusion.stopwatch import Stopwatch
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.methods.problem import NO_ATTENUATION, Problem
from diffusionblend.priors.resolve import check_prior_fits
from diffusionblend.units import hu_to_network

if TYPE_CHECKING:
    from diffusionblend.data.volume import Volume
    from diffusionblend.methods.diffusion.base import DiffusionMethod
    from diffusionblend.priors.prior import Prior

EVALUATIONS = "network_evaluations"
"""Among the costs of a run, beside the seconds of its parts."""


def sample_volume(
    method: DiffusionMethod,
    problem: Problem,
    priors: Mapping[str, Prior],
    execution: Execution,
    start: Volume | None = None,
) -> Solution:
    """A volume sampled from the prior given the projections; it sees no reference.

    method: with resolved settings. start: a volume in HU in place of its initialisation. Raises
    InputError where the prior's slice size is not the grid's.
    """
    for prior in priors.values():
        check_prior_fits(prior, problem.operator.grid)
    executor = _executor(method, problem, priors, execution)
    loop = _loop(method, problem, priors["prior"], executor)
    state, generator = begun(
        method.seed,
        problem,
        priors["prior"],
        execution,
        lambda generator: _started(method, loop, problem, generator, start),
    )
    if execution.on_estimate is not None:
        state.estimate = torch.zeros_like(state.x)
    loop.consistency.restore(state.variables)
    report = Reporter(execution, generator, problem, len(loop.abar), executor, state.spent)

    def noise() -> torch.Tensor:
        return torch.randn(problem.shape, generator=generator).to(state.x)

    with executor.stopwatch.part("rest"):
        x = loop.run(state, executor, noise, report.after_step)
    seconds = added(report.before, _seconds(executor.seconds()))
    evaluations = executor.evaluations + int(seconds.pop(EVALUATIONS, 0))
    return Solution(x, evaluations, seconds, loop.consistency.facts())


def begun(
    seed: int,
    problem: Problem,
    prior: Prior,
    execution: Execution,
    start: Callable[[torch.Generator], State],
) -> tuple[State, torch.Generator]:
    """The state from which a run goes on, where its volume lives, and the generator of its noise.

    start: makes the state of a run that begins.
    """
    generator = generator_of(seed)
    state = execution.resume
    if state is None:
        state = start(generator)
    else:
        generator.set_state(state.generator.cpu())
    home = torch.device(execution.ranks.of_first(str(home_of_volume(prior, problem.shape))))
    state.move(home if home.type == "cpu" else prior.device)  # each process its own card
    return state, generator


def denoising(problem: Problem, prior: Prior, execution: Execution) -> dict[str, Any]:
    """How an `Executor` denoises a problem's blocks: where, and how many together."""
    batch = execution.batch_blocks or batch_that_fits(prior, problem.shape)
    return {
        "batch_blocks": execution.ranks.of_first(batch),
        "device": prior.device,
        "ranks": execution.ranks,
        "position_unit": problem.operator.grid.spacing_mm[0] if prior.code_unit == "mm" else 1.0,
    }


@dataclass
class Reporter:
    """Passes what a step left behind to those who asked for it.

    before: what the run had cost where it goes on from.
    """

    execution: Execution
    generator: torch.Generator
    problem: Problem
    steps: int
    executor: Executor
    before: dict[str, float]
    started: float = field(default_factory=time.perf_counter)

    def after_step(self, state: State) -> None:
        """Hand out progress, estimate and state."""
        from diffusionblend.data.volume import Volume
        from diffusionblend.units import network_to_hu

        state.generator = self.generator.get_state()
        self.execution.on_step(state.done, self.steps)
        if self.execution.on_estimate is not None and state.estimate is not None:
            values = network_to_hu(state.estimate).cpu().numpy().copy()
            volume = Volume(values, self.problem.operator.grid)
            self.execution.on_estimate(state.done, self.steps, volume)
        if self.execution.on_state is not None:
            state.spent = self.spent()
            self.execution.on_state(state)

    def spent(self) -> dict[str, float]:
        """What the run has cost until now; waits for a GPU."""
        parts = {**self.executor.seconds(), "rest": time.perf_counter() - self.started}
        return added(self.before, _seconds(parts) | {EVALUATIONS: self.executor.evaluations})


def added(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    """The sums of what two runs cost, by name."""
    names = dict.fromkeys((*first, *second))
    return {n: first.get(n, 0) + second.get(n, 0) for n in names}


class _Timed(ConsistencyStep):
    """A data-consistency step whose time is taken."""

    def __init__(self, inner: ConsistencyStep, stopwatch: Stopwatch) -> None:
        self._inner, self._stopwatch = inner, stopwatch
        self.couples_slices, self.couples_state = inner.couples_slices, inner.couples_state
        self.moves_state, self.needs_gradient = inner.moves_state, inner.needs_gradient

    def begin(self, abar: float, *, noisy: bool = False) -> None:
        with self._stopwatch.part("consistency"):
            self._inner.begin(abar, noisy=noisy)

    def facts(self) -> dict[str, object]:
        return self._inner.facts()

    def misfit(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        return self._inner.misfit(x0, slices)

    def variables(self) -> dict[str, torch.Tensor]:
        return self._inner.variables()

    def restore(self, variables: dict[str, torch.Tensor]) -> None:
        self._inner.restore(variables)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        with self._stopwatch.part("consistency"):
            return self._inner(x0, slices)

    def begun_at(self, start: torch.Tensor, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        with self._stopwatch.part("consistency"):
            return self._inner.begun_at(start, x0, slices)

    def on_state(
        self, x: torch.Tensor, slices: slice, abar: float, noise: torch.Tensor
    ) -> torch.Tensor:
        with self._stopwatch.part("consistency"):
            return self._inner.on_state(x, slices, abar, noise)

    def moved(self, x: torch.Tensor, gradient: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        with self._stopwatch.part("consistency"):
            return self._inner.moved(x, gradient, misfit)


def _executor(
    method: DiffusionMethod, problem: Problem, priors: Mapping[str, Prior], execution: Execution
) -> Executor:
    prior = priors["prior"]
    times = sampling_timesteps(
        method.steps,
        prior.schedule.n_timesteps,
        first=method.init_timestep,
        power=method.time_power,
    )
    grid, coronal = problem.operator.grid, priors.get("coronal_prior")
    return Executor(
        prior.for_grid(grid),
        times,
        list(islice(method.partitions(problem.shape, prior), len(times))),
        **denoising(problem, prior, execution),
        coronal_prior=None if coronal is None else coronal.for_grid(grid),
    )


def _loop(
    method: DiffusionMethod, problem: Problem, prior: Prior, executor: Executor
) -> ReverseLoop:
    """The loop that the (resolved) settings describe."""
    factor_bytes = executor.ranks.of_first(memory_for_factors(problem.device))
    step = method.consistency.step(replace(problem, factor_bytes=factor_bytes))
    step = _Timed(OnScaledState(step) if method.on_scaled_state else step, executor.stopwatch)
    averaging = method.averaging
    below = averaging["tail_average_below"]
    return ReverseLoop(
        abar=[float(prior.schedule.alpha_bar[t]) for t in executor.times],
        consistency=step,
        noise_fraction=method.noise_fraction or 0.0,
        ddim_eta=method.ddim_eta,
        dual_damping=averaging["dual_damping"],
        lowest=NO_ATTENUATION if method.nonnegative else None,
        averaged=max(1, sum(t < below for t in executor.times)),
        corrector_snr=method.langevin_snr,
    )


def _started(
    method: DiffusionMethod,
    loop: ReverseLoop,
    problem: Problem,
    generator: torch.Generator,
    start: Volume | None,
) -> State:
    """The state before the first step: noise, or an image noised to the first timestep."""
    image = None
    if start is not None:
        image = hu_to_network(torch.from_numpy(start.values))
    elif method.init != "noise":
        image = initial_image(method.init, problem).cpu()
    x = loop.start(torch.randn(problem.shape, generator=generator), image)
    dual = torch.zeros_like(x) if loop.dual_damping else None
    total = torch.zeros_like(x) if loop.averaged > 1 else None
    return State(0, x, generator.get_state(), dual, total)


def _seconds(parts: Mapping[str, float]) -> dict[str, float]:
    """The parts of a run, the rest without what is counted apart."""
    counted = {n: s for n, s in parts.items() if n != "rest"}
    return counted | {"rest": max(0.0, parts.get("rest", 0.0) - sum(counted.values()))}
