"""Coarse-to-fine initialisation: a reconstruction at fewer pixels first; no part of the papers.

Few views settle the coarse structure of a volume more than its fine one, and a prior of small
slices knows that best for its size. So most steps are taken there, on slices of half the pixels and
the same projections, and the last ones, with little noise, at full size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.volume import Volume
from diffusionblend.methods.base import Execution, Solution
from diffusionblend.methods.diffusion.run import EVALUATIONS, added
from diffusionblend.methods.problem import Problem
from diffusionblend.priors.resolve import coarse_factor
from diffusionblend.units import network_to_hu

if TYPE_CHECKING:
    from diffusionblend.geometry.grid import Grid
    from diffusionblend.methods.diffusion.base import DiffusionMethod
    from diffusionblend.methods.diffusion.state import State
    from diffusionblend.priors.prior import Prior


def coarse_scan(scan: Projections, coarse_prior: Prior) -> Projections:
    """The same projections with a grid whose slices have the pixels of the coarse prior."""
    return replace(scan, grid=scan.grid.coarser(coarse_factor(coarse_prior, scan.grid)))


def sample_from_coarse(
    coarse: DiffusionMethod,
    fine: DiffusionMethod,
    problem: Problem,
    priors: Mapping[str, Prior],
    execution: Execution,
) -> Solution:
    """The fine volume, with the cost of both runs.

    Steps, also those of the states that are kept, count through both.
    """
    before, total = coarse.steps, coarse.steps + fine.steps
    resumed, first = execution.resume, None
    if resumed is not None and tuple(resumed.x.shape) == problem.shape:
        resumed = replace(resumed, done=resumed.done - before)
    else:
        scan = coarse_scan(problem.projections, priors["coarse_prior"])
        smaller = Problem.of(scan, problem.device, with_noise=coarse.needs_noise)
        first = coarse.sampled(
            smaller, {"prior": priors["coarse_prior"]}, _counted(execution, 0, total)
        )
        resumed = None
        coarse_volume = Volume(network_to_hu(first.x).cpu().numpy(), scan.grid)
    start = None if first is None else refined(coarse_volume, problem.projections.grid)
    cost = {} if first is None else {**first.seconds, EVALUATIONS: first.network_evaluations}
    counted = replace(_counted(execution, before, total, cost), resume=resumed)
    second = fine.sampled(problem, {"prior": priors["prior"]}, counted, start)
    return second if first is None else _with_cost_of(first, second)


def _counted(
    execution: Execution, before: int, total: int, cost: Mapping[str, float] = MappingProxyType({})
) -> Execution:
    """The execution of one run of two, whose steps count from `before` of `total`.

    cost: of the run before it.
    """
    keep, see = execution.on_state, execution.on_estimate

    def on_state(state: State) -> None:
        if keep is not None:
            keep(replace(state, done=state.done + before, spent=added(cost, state.spent)))

    def on_estimate(done: int, _: int, volume: Volume) -> None:
        if see is not None:
            see(before + done, total, volume)

    on_step: Callable[[int, int], None] = lambda done, _: execution.on_step(before + done, total)  # noqa: E731
    return replace(
        execution,
        on_step=on_step,
        on_state=None if keep is None else on_state,
        on_estimate=None if see is None else on_estimate,
    )


def refined(volume: Volume, grid: Grid) -> Volume:
    """A volume in HU on a grid of the same slices with more pixels, by cubic interpolation.

    With antialias, which upwards only means Keys' kernel, a ramp stays a ramp.
    """
    values = torch.from_numpy(volume.values)[:, None]
    fine = torch.nn.functional.interpolate(
        values, size=grid.in_plane_shape, mode="bicubic", align_corners=False, antialias=True
    )
    return Volume(fine[:, 0].numpy(), grid)


def _with_cost_of(first: Solution, second: Solution) -> Solution:
    evaluations = first.network_evaluations + second.network_evaluations
    seconds = added(first.seconds, second.seconds)
    return replace(second, network_evaluations=evaluations, seconds=seconds)
