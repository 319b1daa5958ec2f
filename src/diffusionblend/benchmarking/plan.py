"""What a benchmark's runs will cost, told before any of them starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from diffusionblend.cli.common import say
from diffusionblend.cli.plan import (
    MEGABYTE,
    in_words,
    tell_disk,
    tell_memory,
    volume_file_bytes,
)

if TYPE_CHECKING:
    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.planning import Plan
    from diffusionblend.methods.settings import MethodSettings


@dataclass(frozen=True, kw_only=True)
class Work:
    """Runs of one method in one setting that are still to be made.

    steps: of each of them, None for the method's own.
    """

    setting: str
    method: str
    projections: Projections
    settings: MethodSettings
    options: dict[str, object]
    steps: tuple[int | None, ...]


def tell_benchmark(
    work: Sequence[Work], output: Path, *, device: str, keeps_volumes: bool
) -> dict[str, float]:
    """Say what the runs will cost together, and return it: runs, seconds, memory_mb.

    A method is timed once in each setting; other volumes are taken to cost as their voxels.
    """
    from diffusionblend.methods.planning import plan_reconstruction

    plans: dict[tuple[str, str], tuple[Plan, int]] = {}
    told: dict[tuple[str, str], float] = {}
    for item in work:
        cell = item.setting, item.method
        if cell not in plans:
            settings, options = item.settings, item.options
            plan = plan_reconstruction(
                item.projections, method=item.method, settings=settings, device=device, **options
            )
            plans[cell] = plan, volume_file_bytes(item.projections)
        plan, size = plans[cell]
        steps = sum(plan.steps if n is None else n for n in item.steps)
        seconds = len(item.steps) * plan.begin_seconds + steps * plan.step_seconds
        told[cell] = told.get(cell, 0.0) + seconds * volume_file_bytes(item.projections) / size
    for (setting, method), seconds in told.items():
        runs = sum(len(w.steps) for w in work if (w.setting, w.method) == (setting, method))
        say(f"{setting}, {method}: about {in_words(seconds)} ({runs} runs)")
    runs, total = sum(len(w.steps) for w in work), sum(told.values())
    memory = max((plan.memory_bytes for plan, _ in plans.values()), default=0)
    say(f"all {runs} runs: about {in_words(total)}")
    tell_memory(memory)
    kept = sum(volume_file_bytes(w.projections) * len(w.steps) for w in work)
    tell_disk(output, kept if keeps_volumes else 0)
    return {"runs": runs, "seconds": total, "memory_mb": memory / MEGABYTE}
