"""How long a reconstruction will take, by a few of its steps on a few of its slices.

The method itself is run on the middle slices of the scan and stopped after some steps, so that the
network's batches and the data step are timed as they are, whatever the method. Time goes with the
slices; where the geometry couples them the whole scan is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from diffusionblend.data.projections import Projections
from diffusionblend.methods.diffusion.coarse_init import stages
from diffusionblend.methods.memory import batch_that_fits, planned_bytes
from diffusionblend.methods.registry import reconstruct
from diffusionblend.methods.settings import MethodSettings
from diffusionblend.priors.prior import Prior

LEAST_SLICES = 24
"""Slices that are timed, at least (of shorter scans all), so that the two ends count for little."""
BEYOND_CACHE_BYTES = 32e6
"""Without a network a step's time is that of moving volumes; so many bytes of one are timed, since
what fits a cache is twice as fast."""
TIMED_STEPS = 2
TIMED_SECONDS = 0.5
"""Steps that are timed: at least so many, and for so long; always an even number, since the kinds
of a diffusion method's steps alternate."""
PATIENCE_SECONDS = 5.0
"""A first step that takes longer is taken for all: nothing is repeated."""
LONG_RUN_VOXEL_STEPS = 1e8
"""Steps times voxels from which on a run is worth an estimate of its own."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a reconstruction will cost.

    step_seconds: of one step of the whole scan. begin_seconds: before the first one. steps: in all.
    memory_bytes: of the process. gpu_bytes: on the GPU, None without one. timed_slices, slices: how
    many the steps were timed on, and how many there are.
    """

    step_seconds: float
    begin_seconds: float
    steps: int
    memory_bytes: int
    gpu_bytes: int | None
    timed_slices: int
    slices: int

    def seconds(self, steps_done: int = 0) -> float:
        """Of the steps that are left, once so many are done."""
        left = max(0, self.steps - steps_done)
        return (0.0 if steps_done else self.begin_seconds) + left * self.step_seconds


class _Enough(Exception):
    """Raised within a method to stop it."""


def plan_reconstruction(
    projections: Projections,
    *,
    method: str,
    settings: MethodSettings,
    prior: Prior | None = None,
    perpendicular_prior: Prior | None = None,
    coarse_prior: Prior | None = None,
    device: str = "cpu",
) -> Plan:
    """What `reconstruct` with the same arguments will cost; takes seconds and writes nothing.

    Raises InputError where the method would.
    """
    if coarse_prior is not None:
        coarse, fine = stages(projections, prior, coarse_prior, settings)
        from_noise = replace(fine.settings, start="noise", first_timestep=None)
        start_bytes = 4 * math.prod(projections.grid.shape)
        return _one_after_another(
            planned_bytes(projections, method) + start_bytes,
            *(
                plan_reconstruction(
                    stage.projections,
                    method=method,
                    settings=stage.settings,
                    prior=stage.prior,
                    device=device,
                )
                for stage in (coarse, replace(fine, settings=from_noise))
            ),
        )
    n_slices = projections.grid.shape[0]
    count = _slices_to_time(projections, settings, prior)
    whole = perpendicular_prior is not None  # which sees slices across all axial ones
    part = projections if whole else middle_slices(projections, count)
    arguments = {"method": method, "settings": settings, "prior": prior, "device": device}
    arguments["perpendicular_prior"] = perpendicular_prior
    cuda = device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    ends, steps = _step_ends(part, arguments, lambda ends: True, cuda)
    if ends[-1] < PATIENCE_SECONDS:
        ends, steps = _step_ends(part, arguments, _are_enough, cuda)
    step = ends[0] if len(ends) == 1 else (ends[-1] - ends[0]) / (len(ends) - 1)
    timed = part.grid.shape[0]
    share = _blocks(n_slices, prior) / _blocks(timed, prior)
    return Plan(
        step_seconds=step * share,
        begin_seconds=max(0.0, ends[0] - step) * share,
        steps=steps,
        memory_bytes=planned_bytes(projections, method),
        gpu_bytes=torch.cuda.max_memory_allocated() if cuda else None,
        timed_slices=timed,
        slices=n_slices,
    )


def _one_after_another(memory_bytes: int, first: Plan, second: Plan) -> Plan:
    """What two runs cost together, their steps taken as equally long."""
    steps = first.steps + second.steps
    spent = sum(plan.steps * plan.step_seconds for plan in (first, second))
    gpu = [plan.gpu_bytes for plan in (first, second) if plan.gpu_bytes is not None]
    return replace(
        second,
        step_seconds=spent / steps,
        begin_seconds=first.begin_seconds + second.begin_seconds,
        steps=steps,
        memory_bytes=memory_bytes,
        gpu_bytes=max(gpu, default=None),
    )


def is_long(projections: Projections, settings: MethodSettings) -> bool:
    """Whether a run is long enough to be planned before it starts."""
    resolved = settings.resolved() if hasattr(settings, "resolved") else settings
    steps = getattr(resolved, "steps", None) or getattr(resolved, "iterations", 1)
    z, y, x = projections.grid.shape
    return float(steps) * z * y * x >= LONG_RUN_VOXEL_STEPS


def middle_slices(projections: Projections, count: int) -> Projections:
    """The projections of the middle slices of a scan; of one that couples slices all."""
    n_slices = projections.grid.shape[0]
    if projections.geometry.couples_slices or count >= n_slices:
        return projections
    first = (n_slices - count) // 2
    return Projections(
        projections.values[:, first : first + count],
        projections.geometry,
        projections.grid.with_slices(count),
        projections.mu_water_per_mm,
    )


def _slices_to_time(projections: Projections, settings: MethodSettings, prior: Prior | None) -> int:
    """As many slices as one batch of the network holds, or as no cache does, within reason."""
    _, y, x = projections.grid.shape
    if prior is None:
        return max(LEAST_SLICES, math.ceil(BEYOND_CACHE_BYTES / (4 * y * x)))
    chosen = getattr(settings, "batch_blocks", None)
    batch = chosen or batch_that_fits(prior, projections.grid.shape)
    return max(LEAST_SLICES, batch * prior.block_slices)


def _step_ends(
    projections: Projections,
    arguments: dict[str, object],
    is_enough: Callable[[list[float]], bool],
    cuda: bool,
) -> tuple[list[float], int]:
    """Seconds from a run's start to the end of each of its first steps, and its steps in all."""
    ends, steps = [], []

    def on_step(done: int, total: int) -> None:
        if cuda:
            torch.cuda.synchronize()
        ends.append(time.perf_counter() - started)
        steps.append(total)
        if is_enough(ends):
            raise _Enough

    started = time.perf_counter()
    with suppress(_Enough):
        reconstruct(projections, on_step=on_step, **arguments)
    return ends, steps[-1]


def _are_enough(ends: list[float]) -> bool:
    """Whether an even number of steps after the first has been timed for long enough."""
    timed = len(ends) - 1
    long_enough = ends[-1] - ends[0] >= TIMED_SECONDS
    return timed >= TIMED_STEPS and timed % 2 == 0 and long_enough


def _blocks(n_slices: int, prior: Prior | None) -> float:
    """What time goes with: slices, or the blocks that cover them (a mean over random offsets)."""
    if prior is None or prior.config.layout != "joint":
        return n_slices
    return (n_slices + prior.block_slices - 1) / prior.block_slices
