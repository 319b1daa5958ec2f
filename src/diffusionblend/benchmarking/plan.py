"""What a benchmark's runs will cost, before any of them starts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from diffusionblend.data.projections import Projections
    from diffusionblend.methods.base import Method, OnStep
    from diffusionblend.methods.cost import Plan
    from diffusionblend.priors.prior import Prior

BYTES_PER_VALUE = 4


@dataclass(frozen=True, kw_only=True)
class Work:
    """Runs of one cell in one setup that are still to be made.

    scan: gives the projections. scan_kind: scans of one kind cost the same, but for their slices.
    grid_shape: voxels (z, y, x). steps: of each run, None for the method's own. samples:
    reconstructions in each.
    """

    setup: str
    label: str
    scan: Callable[[], Projections]
    scan_kind: Hashable
    grid_shape: tuple[int, int, int]
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
        return BYTES_PER_VALUE * math.prod(self.grid_shape)

    @property
    def kind(self) -> Hashable:
        """What the time of a step depends on: weights and other fractions change results alone."""
        settings = self.method.resolved(frozenset(self.priors)).settings()
        words = [(n, v) for n, v in settings.items() if n != "seed" and not isinstance(v, float)]
        priors = [(role, id(prior)) for role, prior in self.priors.items()]
        return self.method.name, repr(words), tuple(priors), self.scan_kind


@dataclass(frozen=True)
class BenchmarkPlan:
    """The cost of what is left: seconds and runs by setup and label, memory and disk in bytes.

    disk_bytes: of all volumes, if they are kept. trials: that were made.
    """

    seconds: dict[tuple[str, str], float]
    runs: dict[tuple[str, str], int]
    memory_bytes: int
    disk_bytes: int
    trials: int


def plan_benchmark(
    work: Sequence[Work], *, device: str, on_step: OnStep | None = None
) -> BenchmarkPlan:
    """What the runs will cost together.

    Runs of one kind are timed once; other volumes are taken to cost as their voxels. Libraries and
    kernels are loaded by the first trial of each method and beam. on_step: called with the trials
    made, and with all.
    """
    from diffusionblend.methods.base import ignore_progress
    from diffusionblend.methods.cost import plan_reconstruction

    on_step = on_step or ignore_progress
    trials = len({item.kind for item in work})
    plans: dict[Hashable, tuple[Plan, int]] = {}
    loaded: set[tuple[str, type]] = set()
    seconds: dict[tuple[str, str], float] = {}
    runs: dict[tuple[str, str], int] = {}
    for _, of_scan in groupby(work, key=lambda item: item.scan_kind):
        scan: Projections | None = None
        for item in of_scan:
            if item.kind not in plans:
                scan = item.scan() if scan is None else scan
                user = item.method.name, type(scan.geometry)
                plan = plan_reconstruction(
                    scan, item.method, item.priors, device=device, loaded=user in loaded
                )
                loaded.add(user)
                plans[item.kind] = plan, BYTES_PER_VALUE * math.prod(scan.grid.shape)
                on_step(len(plans), trials)
            plan, size = plans[item.kind]
            steps = sum(plan.steps if n is None else n for n in item.steps)
            of_each = item.runs * plan.begin_seconds + steps * plan.step_seconds
            cell = item.setup, item.label
            of_all = item.samples * of_each * item.volume_bytes / size
            seconds[cell] = seconds.get(cell, 0.0) + of_all
            runs[cell] = runs.get(cell, 0) + item.runs
    memory = max((plan.memory_bytes for plan, _ in plans.values()), default=0)
    disk = sum(item.volume_bytes * item.runs for item in work)
    return BenchmarkPlan(seconds, runs, memory, disk, len(plans))
