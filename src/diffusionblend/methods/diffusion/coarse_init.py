"""A sampler that starts from its own reconstruction on a coarser grid; no part of the papers.

Few views settle the coarse shapes of a volume more than its fine ones, and a prior of small slices
knows those best for its size. So most steps are taken there, on slices of half the pixels and the
same projections, and the last ones, with little noise, at full size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction
from diffusionblend.data.volume import Volume
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.diffusion.sampler import Execution, SamplerState
from diffusionblend.methods.settings import DiffusionBlendPPSettings
from diffusionblend.priors.prior import Prior


@dataclass(frozen=True)
class Stage:
    """One of the two runs: what is sampled, from which prior, with which (resolved) settings."""

    projections: Projections
    prior: Prior
    settings: DiffusionBlendPPSettings


SampleStage = Callable[[Stage, Volume | None, OnStep, Execution], Reconstruction]
"""Samples a stage from noise, or from a volume on its grid."""


def stages(
    projections: Projections, prior: Prior, coarse_prior: Prior, settings: DiffusionBlendPPSettings
) -> tuple[Stage, Stage]:
    """The coarse run, which starts as its preset would, and the fine one from its volume."""
    factor = projections.grid.shape[2] // coarse_prior.config.image_size
    coarse = replace(projections, grid=projections.grid.coarser(factor))
    fine_steps = settings.resolved().fine_steps
    first, last = (
        replace(settings, start=settings.coarse_start, first_timestep=None),
        replace(settings, start="coarse", steps=fine_steps),
    )
    return (
        Stage(coarse, coarse_prior, first.resolved()),
        Stage(projections, prior, last.resolved()),
    )


def sample_from_coarse(
    coarse: Stage, fine: Stage, sample: SampleStage, on_step: OnStep, execution: Execution
) -> Reconstruction:
    """The fine volume, with the cost of both runs.

    Steps, also those of the states that are kept, count through both.
    """
    before = coarse.settings.steps
    total = before + fine.settings.steps
    resumed, first = execution.resume, None
    if resumed is not None and resumed.x.shape == fine.projections.grid.shape:
        resumed = replace(resumed, done=resumed.done - before)
    else:
        first = sample(coarse, None, lambda done, _: on_step(done, total), execution)
        resumed = None

    def keep(state: SamplerState) -> None:
        execution.on_state(replace(state, done=state.done + before))

    start = None if first is None else refined(first.volume, fine.projections.grid)
    second = sample(
        fine,
        start,
        lambda done, _: on_step(before + done, total),
        replace(execution, resume=resumed, on_state=keep),
    )
    return second if first is None else _with_cost_of(first, second)


def refined(volume: Volume, grid: Grid) -> Volume:
    """A volume in HU on a grid of the same slices with more pixels, by cubic interpolation.

    With antialias, which upwards only means Keys' kernel, a ramp stays a ramp.
    """
    values = torch.from_numpy(volume.values)[:, None]
    fine = torch.nn.functional.interpolate(
        values, size=grid.in_plane_shape, mode="bicubic", align_corners=False, antialias=True
    )
    return Volume(fine[:, 0].numpy(), grid)


def _with_cost_of(first: Reconstruction, second: Reconstruction) -> Reconstruction:
    names = first.seconds.keys() | second.seconds.keys()
    seconds = {n: first.seconds.get(n, 0.0) + second.seconds.get(n, 0.0) for n in names}
    calls = first.network_calls + second.network_calls
    return replace(second, network_calls=calls, seconds=seconds)
