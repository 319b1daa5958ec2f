"""What a run will cost, printed before it starts: memory, time and disk."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffusionblend.cli.common import say, shown
from diffusionblend.memory import available_memory_bytes
from diffusionblend.runs.record import RunRecord

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.base import Method
    from diffusionblend.methods.cost import Plan
    from diffusionblend.priors.prior import Prior

GIGABYTE, MEGABYTE = 1e9, 1e6
BYTES_PER_VALUE = 4
STATE_VOLUMES = 3
"""A state file's: the noisy volume, the dual variable, the sum of the late estimates."""
MINUTE, HOUR = 60.0, 3600.0
TOLD_SECONDS = 2.0
"""From which on the time beside the steps is said by itself."""


def volume_file_bytes(projections: Projections) -> int:
    """The most that a reconstruction's file takes, uncompressed."""
    z, y, x = projections.grid.shape
    return BYTES_PER_VALUE * z * y * x


@dataclass(frozen=True)
class Files:
    """What a reconstruction writes beside its output.

    volumes: files that are written and kept. samples: of which each is a file while the run lasts.
    checkpoint_minutes: after which a state is written, None where none is.
    """

    output: Path
    volumes: int = 1
    samples: int = 1
    checkpoint_minutes: float | None = None


def plan_and_report(
    projections: Projections,
    method: Method,
    priors: Mapping[str, Prior],
    record: RunRecord,
    files: Files,
    *,
    always: bool,
    batch_blocks: int | None = None,
    **facts: Any,
) -> None:
    """Print, and record, what a reconstruction will cost, where it is long or `always`.

    Of others the memory alone is printed. method: with resolved settings. facts: as
    `report_reconstruction` takes them. Raises InputError where the method would.
    """
    from diffusionblend.methods.base import Execution
    from diffusionblend.methods.cost import is_long, plan_reconstruction, planned_bytes

    if not always and not is_long(projections, method):
        report_memory(planned_bytes(projections, method), every_rank=facts.get("every_rank", False))
        return
    execution = Execution(batch_blocks=batch_blocks)
    with shown("try a few steps"):
        plan = plan_reconstruction(
            projections, method, priors, device=record.device, execution=execution
        )
    record.results["planned"] = report_reconstruction(plan, projections, files, **facts)


def report_reconstruction(
    plan: Plan,
    projections: Projections,
    files: Files,
    *,
    processes: int = 1,
    samples_left: int = 1,
    steps_done: int = 0,
    every_rank: bool = False,
) -> dict[str, float]:
    """Print what a reconstruction will cost, and warn where there is too little memory or disk.

    Returns the estimate for the run's record: seconds, memory_mb. processes: that share the steps.
    samples_left: that are still to be made. steps_done: of the one that is resumed.
    """
    report_memory(plan.memory_bytes, every_rank=every_rank)
    if plan.gpu_bytes is not None:
        say(f"on the GPU about {plan.gpu_bytes / GIGABYTE:.1f} GB", every_rank=every_rank)
    each = plan.seconds() / processes
    seconds = plan.seconds(steps_done) / processes + (samples_left - 1) * each
    steps = f"{plan.steps} steps of {in_words(plan.step_seconds / processes)}"
    of = f"; {samples_left} samples of {in_words(each)}" if files.samples > 1 else ""
    left = f", {plan.steps - steps_done} of them left" if steps_done else ""
    if not steps_done and plan.begin_seconds / processes >= TOLD_SECONDS:
        left += f" and {in_words(plan.begin_seconds / processes)} beside them"
    tried = f"tried on {plan.timed_slices} of {plan.slices} slices"
    say(f"about {in_words(seconds)}: {steps}{left}{of} ({tried})", every_rank=every_rank)
    volume, volumes, minutes = (
        volume_file_bytes(projections),
        files.volumes,
        files.checkpoint_minutes,
    )
    writes_state = minutes is not None and each > MINUTE * minutes
    passing = 2 * STATE_VOLUMES * volume if writes_state else 0
    if files.samples > 1:
        volumes, passing = volumes + 1, passing + files.samples * volume
    report_disk(files.output, volumes * volume, passing, every_rank=every_rank)
    return {"seconds": seconds, "memory_mb": plan.memory_bytes / MEGABYTE}


def report_memory(planned: int, *, every_rank: bool = False) -> None:
    """Print what a run will take, and warn where the machine has less."""
    available = available_memory_bytes()
    room = f", {available / GIGABYTE:.1f} GB are free" if available else ""
    say(f"takes about {planned / GIGABYTE:.1f} GB of memory{room}", every_rank=every_rank)
    if available and planned > available:
        say("warning: the system may stop this run for lack of memory", every_rank=every_rank)


def report_disk(output: Path, kept: int, passing: int = 0, *, every_rank: bool = False) -> None:
    """Print how many bytes at most are written beside `output`, for good and in passing."""
    folder = next(p for p in (output.absolute(), *output.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    beside = f" and {in_bytes(passing)} that pass" if passing else ""
    say(f"disk: up to {in_bytes(kept)}{beside}, {in_bytes(free)} are free", every_rank=every_rank)
    if kept + passing > free:
        say("warning: the disk is too full for this run", every_rank=every_rank)


def in_bytes(count: float) -> str:
    """A number of bytes in MB or GB (powers of ten)."""
    if count < GIGABYTE:
        return f"{count / MEGABYTE:.3g} MB"
    return f"{count / GIGABYTE:.3g} GB" if count < 1000 * GIGABYTE else f"{count / GIGABYTE:.0f} GB"


def counted(n: int, what: str) -> str:
    """A number of things: "1 run", "2 runs"."""
    return f"{n} {what}" + "s" * (n != 1)


def in_words(seconds: float) -> str:
    """A time in the unit that suits it: "0.45 s", "12 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < MINUTE:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < HOUR:
        whole = round(seconds)
        return f"{whole // 60} min {whole % 60} s"
    minutes = round(seconds / MINUTE)
    return f"{minutes // 60} h {minutes % 60} min"
