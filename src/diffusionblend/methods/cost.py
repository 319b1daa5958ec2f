"""What a reconstruction costs: memory by what it holds, time by a few of its steps.

The method itself is run on the middle slices of the scan and stopped after some steps, so that the
network's batches and the data-consistency step are timed as they are, whatever the method. Time
goes with the slices; where the geometry couples them the whole scan is taken.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.methods.base import Execution, Method, reconstruct_with
from diffusionblend.priors.precision import has_bfloat16
from diffusionblend.priors.prior import Prior

CPU_BATCH_PIXELS = 16 * 3 * 128 * 128
GPU_BYTES_PER_PIXEL = 4096
"""Pixels (over all slices) of a network batch on a CPU; memory per such pixel taken on a GPU."""

VOLUMES_HELD = 5
"""Float32 volumes alive at once: the state, its dual variable and sum, a step's noise, a result."""
SHARE_OF_FREE = 0.5

LIBRARIES_BYTES = 770e6
"""A process with the libraries, compiled kernels and a network of some ten million parameters."""
BATCH_BYTES_PER_PIXEL, BATCH_BYTES_IN_BFLOAT16 = 400, 180
"""Of a network's batch on a CPU, over all its slices, in float32 and in bfloat16."""
PROJECTIONS_HELD = 4

NO_PRIOR_BYTES = 560e6
"""A process with the libraries that a method without a prior needs, and their compiler."""
MAPPED_BYTES = 32 << 20
"""From here on glibc gives an array back to the system once it is freed."""

SHARE_OF_BATCH = 0.75
"""Of a batch's slices, that are timed: blocks of distant slices, and those at the ends, are more
than slices alone tell, and a batch that they just overflow is not like those of a whole scan."""
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
"""Where the first step takes longer, with what comes before it, one more is timed and nothing is
repeated."""
LONG_RUN_VOXEL_STEPS = 1e8
"""Steps times voxels from which on a run is worth an estimate of its own."""
COUPLED = 10.0
"""So many times fewer where slices are coupled, as in a cone, whose data steps are long."""
LONG_SETUP_SECONDS = 10.0
"""So is one that takes so long beside its steps."""


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


def planned_bytes(projections: Projections, method: Method) -> int:
    """Host memory that a method's process will take, network on the CPU.

    Linear in slices once they fill a batch; an estimate, which a test holds to within 30% for small
    scans.
    """
    shape = projections.grid.shape
    held = PROJECTIONS_HELD * projections.values.nbytes  # A has no matrix, or a small one
    if method.prior is not None:
        of_pixel = BATCH_BYTES_IN_BFLOAT16 if has_bfloat16("cpu") else BATCH_BYTES_PER_PIXEL
        batch = of_pixel * min(CPU_BATCH_PIXELS, math.prod(shape))
        _, setup = method.setup_cost(projections)
        return int(LIBRARIES_BYTES + batch + volume_bytes(shape) + held + setup)
    volume = 4 * math.prod(shape)
    volumes = method.volumes_held + method.volumes_kept * (volume < MAPPED_BYTES)
    return int(NO_PRIOR_BYTES + volumes * volume + held)


def plan_reconstruction(
    projections: Projections,
    method: Method,
    priors: Mapping[str, Prior],
    *,
    device: str = "cpu",
    execution: Execution | None = None,
    loaded: bool = False,
    clock: Callable[[], float] = time.perf_counter,
) -> Plan:
    """What `reconstruct_with` of the same arguments will cost; takes seconds and writes nothing.

    loaded: whether the process has run the method in such a beam, so that no trial is needed to
    load libraries and kernels. clock: in seconds. Raises InputError where the method would.
    """
    resolved = method.resolved(frozenset(priors))
    parts = resolved.cost_parts(projections, priors)
    if len(parts) > 1:
        plan = partial(
            plan_reconstruction, device=device, execution=execution, loaded=loaded, clock=clock
        )
        start_bytes = 4 * math.prod(projections.grid.shape)
        return _one_after_another(
            planned_bytes(projections, method) + start_bytes,
            [plan(*part) for part in parts],
        )
    n_slices = projections.grid.shape[0]
    whole = "coronal_prior" in priors  # which sees slices across all axial ones
    prior = priors.get("prior")
    batch = (execution or Execution()).batch_blocks
    count = _slices_to_time(projections, batch, prior)
    part = projections if whole else middle_slices(projections, count)
    run = _Trial(part, method.for_timing(), priors, device, batch, clock)
    if run.cuda:
        torch.cuda.reset_peak_memory_stats()
    again = loaded
    if not loaded:
        ends, steps = run.step_ends(_are_slow_or_begun)
        again = ends[0] < PATIENCE_SECONDS
    if again:
        ends, steps = run.step_ends(_are_enough)
    setup_seconds, _ = resolved.setup_cost(projections)  # by the memory that is free by now
    step = ends[0] if len(ends) == 1 else (ends[-1] - ends[0]) / (len(ends) - 1)
    timed = part.grid.shape[0]
    share = _blocks(n_slices, prior) / _blocks(timed, prior)
    return Plan(
        step_seconds=step * share,
        begin_seconds=max(0.0, ends[0] - step) * share + setup_seconds,
        steps=steps,
        memory_bytes=planned_bytes(projections, method),
        gpu_bytes=torch.cuda.max_memory_allocated() if run.cuda else None,
        timed_slices=timed,
        slices=n_slices,
    )


def _one_after_another(memory_bytes: int, plans: list[Plan]) -> Plan:
    """What runs cost one after another, their steps taken as equally long."""
    steps = sum(plan.steps for plan in plans)
    spent = sum(plan.steps * plan.step_seconds for plan in plans)
    gpu = [plan.gpu_bytes for plan in plans if plan.gpu_bytes is not None]
    return replace(
        plans[-1],
        step_seconds=spent / steps,
        begin_seconds=sum(plan.begin_seconds for plan in plans),
        steps=steps,
        memory_bytes=max(memory_bytes, *(plan.memory_bytes for plan in plans)),
        gpu_bytes=max(gpu, default=None),
    )


def is_long(projections: Projections, method: Method) -> bool:
    """Whether a run of resolved settings is long enough to be planned before it starts."""
    voxel_steps = float(method.n_steps) * math.prod(projections.grid.shape)
    voxel_steps *= COUPLED if projections.geometry.couples_slices else 1.0
    return (
        voxel_steps >= LONG_RUN_VOXEL_STEPS
        or method.setup_cost(projections)[0] >= LONG_SETUP_SECONDS
    )


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
        projections.notes,
        None if projections.measured is None else projections.measured[:, first : first + count],
        _of_rows(projections.photons, slice(first, first + count)),
    )


def _of_rows(photons: np.ndarray | None, rows: slice) -> np.ndarray | None:
    """The photons of some rows, where they differ from row to row."""
    return photons if photons is None or photons.shape[1] == 1 else photons[:, rows]


def _slices_to_time(projections: Projections, batch: int | None, prior: Prior | None) -> int:
    """As many slices as one batch of the network holds, or as no cache does, within reason."""
    _, y, x = projections.grid.shape
    if prior is None:
        return max(LEAST_SLICES, math.ceil(BEYOND_CACHE_BYTES / (4 * y * x)))
    blocks = batch or batch_that_fits(prior, projections.grid.shape)
    return max(LEAST_SLICES, int(SHARE_OF_BATCH * blocks * prior.block_slices))


@dataclass(frozen=True)
class _Trial:
    """A run that is stopped once enough of its steps have been timed."""

    projections: Projections
    method: Method
    priors: Mapping[str, Prior]
    device: str
    batch_blocks: int | None
    clock: Callable[[], float]

    @property
    def cuda(self) -> bool:
        return self.device.startswith("cuda")

    def step_ends(self, is_enough: Callable[[list[float]], bool]) -> tuple[list[float], int]:
        """Seconds from the start to the end of each of the first steps, and the steps in all."""
        ends: list[float] = []
        steps: list[int] = []

        def on_step(_done: int, total: int) -> None:
            if self.cuda:
                torch.cuda.synchronize()
            ends.append(self.clock() - started)
            steps.append(total)
            if is_enough(ends):
                raise _Enough

        started = self.clock()
        execution = Execution(on_step=on_step, batch_blocks=self.batch_blocks)
        with suppress(_Enough):
            reconstruct_with(self.method, self.projections, self.priors, self.device, execution)
        return ends, steps[-1]


def _are_slow_or_begun(ends: list[float]) -> bool:
    """Whether a first step was quick, or a second one has shown what a step takes."""
    return len(ends) > 1 or ends[0] < PATIENCE_SECONDS


def _are_enough(ends: list[float]) -> bool:
    """Whether an even number of steps after the first has been timed for long enough, or one where
    patience ends.
    """
    timed, seconds = len(ends) - 1, ends[-1] - ends[0]
    if timed and ends[-1] >= PATIENCE_SECONDS:
        return True
    return timed >= TIMED_STEPS and timed % 2 == 0 and seconds >= TIMED_SECONDS


def _blocks(n_slices: int, prior: Prior | None) -> float:
    """What time goes with: slices, or the blocks that cover them."""
    if prior is None:
        return n_slices
    return prior.config.type.mean_blocks(n_slices, prior.config.block_slices)


def batch_that_fits(prior: Prior, shape: tuple[int, int, int]) -> int:
    """Blocks a network batch: what a CPU's caches like, or what fits a GPU.

    By all of its memory and not by what is free, so that a run is carried out alike whatever was
    computed before it; the executor takes smaller batches where that proves too much.
    """
    pixels = prior.block_slices * shape[1] * shape[2]
    if prior.device.type != "cuda":
        return max(1, CPU_BATCH_PIXELS // pixels)
    room = SHARE_OF_FREE * gpu_bytes(prior.device)
    return max(1, int(room) // (pixels * GPU_BYTES_PER_PIXEL))


def volume_bytes(shape: tuple[int, int, int]) -> int:
    """Bytes of the volumes that a sampler holds: linear in slices."""
    return VOLUMES_HELD * 4 * shape[0] * shape[1] * shape[2]


def home_of_volume(prior: Prior, shape: tuple[int, int, int]) -> torch.device:
    """Where the noisy volume lies: with the network, or on the host where a GPU has no room.

    By all of its memory, not by what is free (see `batch_that_fits`).
    """
    if prior.device.type != "cuda":
        return prior.device
    room = SHARE_OF_FREE * gpu_bytes(prior.device)
    return prior.device if volume_bytes(shape) < room else torch.device("cpu")


def gpu_bytes(device: torch.device | str) -> int:
    """All the memory of a GPU, whatever of it is taken."""
    return int(torch.cuda.get_device_properties(device).total_memory)
