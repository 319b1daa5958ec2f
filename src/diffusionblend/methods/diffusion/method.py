"""What all diffusion methods share: from projections, a prior and settings to a volume in HU."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.data.result import OnStep, Reconstruction
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods.consistencies import make_consistency
from diffusionblend.methods.diffusion.consistency import Consistency, OnScaledState
from diffusionblend.methods.diffusion.init import warm_start
from diffusionblend.methods.diffusion.sampler import Execution, Sampler, SamplerState
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.methods.memory import batch_that_fits, home_of_volume
from diffusionblend.methods.problem import NO_ATTENUATION, Measurement
from diffusionblend.methods.settings import SamplingSettings
from diffusionblend.priors.partition import Partition
from diffusionblend.priors.prior import Prior
from diffusionblend.ranks import Ranks
from diffusionblend.units import hu_to_network, network_to_hu


@dataclass(frozen=True)
class Scheme:
    """What makes one diffusion method another.

    partitions: of the slices, one drawn for each step. perpendicular: the prior of coronal slices,
    for partitions into those. corrector_snr: of a Langevin step after each reverse step, 0 for
    none. on_state: whether the data step is taken on the noisy state, scaled, not on x0. start: a
    volume in HU that the run starts from, noised, in place of what the settings say.
    """

    partitions: Iterator[Partition]
    perpendicular: Prior | None = None
    corrector_snr: float = 0.0
    on_state: bool = False
    start: Volume | None = None


def sample_volume(
    projections: Projections,
    prior: Prior,
    settings: SamplingSettings,
    scheme: Scheme,
    on_step: OnStep,
    execution: Execution | None,
) -> Reconstruction:
    """A volume in HU sampled from the prior given the projections; it sees no reference.

    Raises InputError where the prior's slice size is not the grid's.
    """
    execution = execution or Execution()
    for one in (prior, scheme.perpendicular):
        if one is not None:
            check_prior_fits(one, projections)
    settings, started = settings.resolved(), time.perf_counter()
    shape = projections.grid.shape
    with torch.no_grad():
        knows_noise = settings.weighted or settings.to_noise
        measurement = Measurement.of(projections, prior.device, with_noise=knows_noise)
        generator = torch.Generator(home_of_volume(prior, shape)).manual_seed(settings.seed)
        consistency = _consistency(settings, scheme, measurement)
        sampler = _sampler(settings, scheme, prior, consistency, projections.grid, execution.ranks)
        state = execution.resume
        if state is None:
            state = sampler.start(
                shape, generator, _warm(settings, scheme, projections, measurement)
            )
        state.move(generator.device)

        def after_step(state: SamplerState) -> None:
            on_step(state.done, len(sampler.times))
            execution.on_state(state)

        x, cost = sampler.run(state, after_step)
        residual = measurement.relative_residual(x)
    seconds = {**cost.seconds, "total": time.perf_counter() - started}
    volume = Volume(network_to_hu(x).cpu().numpy(), projections.grid)
    return Reconstruction(volume, residual, cost.network_calls, seconds)


def check_prior_fits(prior: Prior, projections: Projections) -> None:
    """Raise InputError unless the prior was trained for slices of the projections' size."""
    size = prior.config.image_size
    found = projections.grid.in_plane_shape
    if found != (size, size):
        raise InputError(
            f"The projections are of slices of {found[0]} x {found[1]} pixels.",
            f"{size} x {size}, the size of the prior",
            f"'diffusionblend import ... --size {size}' before simulating, --prior with one of "
            "that size ('diffusionblend priors'), or a method without one (--method admm-tv)",
        )


def _warm(
    settings: SamplingSettings, scheme: Scheme, projections: Projections, measurement: Measurement
) -> torch.Tensor | None:
    """The volume (z, y, x), network range, that a run starts from; None for pure noise."""
    if scheme.start is not None:
        return hu_to_network(torch.from_numpy(scheme.start.values))
    if settings.start == "noise":
        return None
    return warm_start(settings.start, projections, measurement)


def _sampler(
    settings: SamplingSettings,
    scheme: Scheme,
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
    return Sampler(
        prior,
        consistency,
        times,
        list(islice(scheme.partitions, len(times))),
        eta=settings.eta,
        batch_blocks=settings.batch_blocks or batch_that_fits(prior, grid.shape),
        device=prior.device,
        ranks=ranks,
        code_scale=grid.spacing_mm[0] if prior.code_unit == "mm" else 1.0,
        renewal=settings.renewal,
        perpendicular=scheme.perpendicular,
        corrector_snr=scheme.corrector_snr,
        dual_decay=settings.dual_decay,
        average_below=settings.average_below,
        lowest=NO_ATTENUATION if settings.nonnegative else None,
    )


def _consistency(
    settings: SamplingSettings, scheme: Scheme, measurement: Measurement
) -> Consistency:
    step = make_consistency(settings, measurement)
    return OnScaledState(step) if scheme.on_state else step
