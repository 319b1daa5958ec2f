"""What a benchmark's runs will cost, before any of them starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.base import Method
    from diffusionblend.methods.cost import Plan
    from diffusionblend.priors.prior import Prior

BYTES_PER_VALUE = 4


@dataclass(frozen=True, kw_only=True)
class Work:
    """Runs of one cell in one setup that are still to be made.

    steps: of each of them, None for the method's own. samples: reconstructions in each.
    """

    setup: str
    label: str
    projections: Projections
    method: Method
    priors: Mapping[str, Prior]
    steps: tuple[int | None, ...]
    samples: int = 1

    @property
    def runs(self) -> int:
        """How many they are."""
        return len(self.steps)

    @property
    def volume_bytes(self) -> int:
        """The most that the file of one volume takes, uncompressed."""
        return BYTES_PER_VALUE * math.prod(self.projections.grid.shape)


@dataclass(frozen=True)
class BenchmarkPlan:
    """The cost of what is left: seconds and runs by setup and label, memory and disk in bytes.

    disk_bytes: of all volumes, if they are kept.
    """

    seconds: dict[tuple[str, str], float]
    runs: dict[tuple[str, str], int]
    memory_bytes: int
    disk_bytes: int


def plan_benchmark(work: Sequence[Work], *, device: str) -> BenchmarkPlan:
    """What the runs will cost together.

    A cell is timed once in each setup; other volumes are taken to cost as their voxels.
    """
    from diffusionblend.methods.cost import plan_reconstruction

    plans: dict[tuple[str, str], tuple[Plan, int]] = {}
    seconds: dict[tuple[str, str], float] = {}
    runs: dict[tuple[str, str], int] = {}
    for item in work:
        cell = item.setup, item.label
        if cell not in plans:
            plan = plan_reconstruction(item.projections, item.method, item.priors, device=device)
            plans[cell] = plan, item.volume_bytes
        plan, size = plans[cell]
        steps = sum(plan.steps if n is None else n for n in item.steps)
        of_each = item.runs * plan.begin_seconds + steps * plan.step_seconds
        of_all = item.samples * of_each * item.volume_bytes / size
        seconds[cell] = seconds.get(cell, 0.0) + of_all
        runs[cell] = runs.get(cell, 0) + item.runs
    memory = max((plan.memory_bytes for plan, _ in plans.values()), default=0)
    disk = sum(item.volume_bytes * item.runs for item in work)
    return BenchmarkPlan(seconds, runs, memory, disk)
