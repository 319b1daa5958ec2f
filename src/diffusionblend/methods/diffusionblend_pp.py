"""DiffusionBlend++: joint block prior, random partitions, position code (Song et al. 2024)."""

from __future__ import annotations

import time
from itertools import islice

import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry import Projections
from diffusionblend.methods.consistency import NO_ATTENUATION, Consistency, make_consistency
from diffusionblend.methods.measurement import Measurement
from diffusionblend.methods.memory import batch_that_fits, home_of_volume
from diffusionblend.methods.result import OnStep, Reconstruction, ignore_progress
from diffusionblend.methods.sampler import Execution, Sampler, SamplerState, sampling_timesteps
from diffusionblend.methods.settings import DiffusionBlendPPSettings
from diffusionblend.methods.warm_start import warm_start
from diffusionblend.priors.partition import draw_partitions
from diffusionblend.priors.prior import Prior
from diffusionblend.ranks import Ranks
from diffusionblend.units import network_to_hu
from diffusionblend.volume import Grid, Volume


def reconstruct_diffusionblend_pp(
    projections: Projections,
    prior: Prior,
    settings: DiffusionBlendPPSettings,
    on_step: OnStep = ignore_progress,
    execution: Execution | None = None,
) -> Reconstruction:
    """A volume in HU sampled from the prior given the projections; it sees no reference.

    Raises InputError where the prior's slice size is not the grid's.
    """
    execution = execution or Execution()
    check_prior_fits(prior, projections)
    settings, started = settings.resolved(), time.perf_counter()
    shape = projections.grid.shape
    with torch.inference_mode():
        knows_noise = settings.weighted or settings.to_noise
        measurement = Measurement.of(projections, prior.device, with_noise=knows_noise)
        generator = torch.Generator(home_of_volume(prior, shape)).manual_seed(settings.seed)
        consistency = make_consistency(
            settings.consistency,
            measurement,
            cg_iterations=settings.cg_iterations,
            rho=settings.rho,
            weighted=settings.weighted,
            to_noise=settings.to_noise,
        )
        sampler = _sampler(settings, prior, consistency, projections.grid, execution.ranks)
        state = execution.resume
        if state is None:
            begins_at_data = settings.start != "noise"
            warm = warm_start(settings.start, projections, measurement) if begins_at_data else None
            state = sampler.start(shape, generator, warm)
        state.x = state.x.to(generator.device)
        for name in ("dual", "total"):
            kept = getattr(state, name)
            setattr(state, name, None if kept is None else kept.to(generator.device))

        def after_step(state: SamplerState) -> None:
            on_step(state.done, len(sampler.times))
            execution.on_state(state)

        x, cost = sampler.run(state, after_step)
        residual = measurement.relative_residual(x)
    seconds = {**cost.seconds, "total": time.perf_counter() - started}
    volume = Volume(network_to_hu(x).cpu().numpy(), projections.grid)
    return Reconstruction(volume, residual, cost.network_calls, seconds)


def _sampler(
    settings: DiffusionBlendPPSettings,
    prior: Prior,
    consistency: Consistency,
    grid: Grid,
    ranks: Ranks,
) -> Sampler:
    """The sampler that the (resolved) settings describe."""
    times = sampling_timesteps(
        settings.steps,
        prior.schedule.n_timesteps,
        first=settings.first_timestep,
        power=settings.time_power,
    )
    partitions = draw_partitions(
        grid.shape[0],
        prior.block_slices,
        kind=settings.partition,
        jump_stride=settings.jump_stride,
        jump_every=settings.jump_every,
        generator=torch.Generator().manual_seed(settings.seed),
    )
    return Sampler(
        prior,
        consistency,
        times,
        list(islice(partitions, len(times))),
        eta=settings.eta,
        batch_blocks=settings.batch_blocks or batch_that_fits(prior, grid.shape),
        device=prior.device,
        ranks=ranks,
        code_scale=grid.spacing_mm[0] if prior.code_unit == "mm" else 1.0,
        dual_decay=settings.dual_decay,
        average_below=settings.average_below,
        lowest=NO_ATTENUATION if settings.nonnegative else None,
    )


def check_prior_fits(prior: Prior, projections: Projections) -> None:
    """Raise InputError unless the prior was trained for slices of the projections' size."""
    size = prior.config.image_size
    found = projections.grid.in_plane_shape
    if found != (size, size):
        raise InputError(
            f"The projections are of slices of {found[0]} x {found[1]} pixels.",
            f"{size} x {size}, the size of the prior",
            f"'diffusionblend import ... --size {size}' before simulating, or a prior of that size",
        )
