"""What a run is said to cost, by clocks that the work of a method moves on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ConeBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods import (
    METHODS,
    AdmmTv,
    DiffusionBlendPP,
    DiffusionMethod,
    Execution,
    Fbp,
    cost,
)
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.cost import (
    BATCH_BYTES_IN_BFLOAT16,
    BATCH_BYTES_PER_PIXEL,
    LEAST_SLICES,
    LIBRARIES_BYTES,
    NO_PRIOR_BYTES,
    Plan,
    is_long,
    middle_slices,
    plan_reconstruction,
    planned_bytes,
)
from diffusionblend.operators.slicewise import SliceRays
from diffusionblend.priors.prior import Prior, load_prior
from diffusionblend.simulation import simulate
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior


class Clock:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


def a_scan(slices: int = 100, size: int = 16, views: int = 6, *, cone: bool = False) -> Projections:
    grid = Grid(shape=(slices, size, size), spacing_mm=(2.0, 2.0, 2.0))
    angles = equally_spaced_angles(views)
    geometry = ParallelBeam.fitting(grid, angles_rad=angles)
    if cone:
        distances = {"source_to_axis_mm": 600.0, "source_to_detector_mm": 1000.0}
        geometry = ConeBeam.fitting(grid, angles_rad=angles, **distances)
    shape = (views, geometry.detector_rows(grid), geometry.n_columns)
    values = np.random.default_rng(0).uniform(0.1, 1, shape)
    return Projections(values, geometry, grid, 0.02)


@dataclass
class MadeUp:
    """A method of 10 s a slice before its first step and 2 s a slice a step, twice that at first.

    runs: the slices of each of its runs.
    """

    clock: Clock = field(default_factory=Clock)
    runs: list[int] = field(default_factory=list)

    def run(self, method, projections, priors, device, execution) -> None:
        slices = projections.grid.shape[0]
        self.runs.append(slices)
        self.clock.now += 10 * slices * (2 if len(self.runs) == 1 else 1)
        for step in range(40):
            self.clock.now += 2 * slices
            execution.on_step(step + 1, 40)

    def plan(self, scan: Projections, priors: dict | None = None, **more: bool) -> Plan:
        clock = self.clock.perf_counter
        return plan_reconstruction(scan, Fbp(), priors or {}, clock=clock, **more)


@pytest.fixture
def made_up(monkeypatch) -> MadeUp:
    method = MadeUp()
    monkeypatch.setattr(cost, "BEYOND_CACHE_BYTES", 4 * 16 * 16 * LEAST_SLICES)
    monkeypatch.setattr(cost, "reconstruct_with", method.run)
    return method


def test_time_goes_with_slices_and_steps(made_up, monkeypatch) -> None:
    monkeypatch.setattr(cost, "PATIENCE_SECONDS", 1e6)
    plan = made_up.plan(a_scan())
    assert made_up.runs == [LEAST_SLICES] * 2  # the first run warms up
    assert plan.steps == 40 and plan.step_seconds == pytest.approx(200)
    assert plan.begin_seconds == pytest.approx(1000)
    assert plan.seconds() == pytest.approx(1000 + 40 * 200)
    assert plan.seconds(30) == pytest.approx(10 * 200)
    assert (plan.timed_slices, plan.slices) == (LEAST_SLICES, 100)


def test_a_slow_start_is_not_repeated_and_not_taken_for_every_step(made_up) -> None:
    plan = made_up.plan(a_scan())
    assert made_up.runs == [LEAST_SLICES]
    assert plan.step_seconds == pytest.approx(200)
    assert plan.seconds() == pytest.approx(2 * 1000 + 40 * 200)  # the first start is twice as slow


def test_what_is_loaded_is_run_once_and_timed_beyond_a_slow_start(made_up) -> None:
    made_up.runs.append(0)  # the first run, twice as slow
    plan = made_up.plan(a_scan(), loaded=True)
    assert made_up.runs == [0, LEAST_SLICES]
    assert plan.seconds() == pytest.approx(1000 + 40 * 200)


@pytest.mark.parametrize(("size", "timed"), [(16, 100), (256, 62), (512, LEAST_SLICES)])
def test_without_a_network_more_is_timed_than_a_cache_holds(
    made_up, monkeypatch, size, timed
) -> None:
    monkeypatch.setattr(cost, "BEYOND_CACHE_BYTES", 16e6)
    made_up.plan(a_scan(size=size))
    assert made_up.runs == [timed]


def test_coupled_slices_are_timed_together(made_up) -> None:
    scan = a_scan(40, cone=True)
    assert middle_slices(scan, 3) is scan
    made_up.plan(scan)
    assert made_up.runs == [40]


def test_the_middle_of_a_scan_is_that_of_the_whole() -> None:
    scan = a_scan(10)
    part = middle_slices(scan, 4)
    np.testing.assert_array_equal(part.values, scan.values[:, 3:7])
    whole, few = (reconstruct(s, "fbp").volume.values for s in (scan, part))
    np.testing.assert_allclose(few, whole[3:7], atol=1e-3)
    assert middle_slices(scan, 10) is scan and middle_slices(scan, 99) is scan


@pytest.fixture
def work(monkeypatch) -> Clock:
    """A clock that goes on by the work done: 1 ms a block of the network, 0.1 ms a slice's rays."""
    clock = Clock()

    def counted(kind: type, name: str, seconds: float, axis: int) -> None:
        compute = getattr(kind, name)

        def call(self: object, x: torch.Tensor, *rest: object) -> object:
            clock.now += seconds * x.shape[axis]
            return compute(self, x, *rest)

        monkeypatch.setattr(kind, name, call)

    counted(Prior, "denoise", 1e-3, 0)
    counted(SliceRays, "forward", 1e-4, 0)
    counted(SliceRays, "adjoint", 1e-4, 1)
    monkeypatch.setattr(cost, "BEYOND_CACHE_BYTES", 4 * 16 * 16 * LEAST_SLICES)
    return clock


@pytest.mark.parametrize(
    "method",
    [
        DiffusionBlendPP(steps=12),
        DiffusionBlendPP(steps=6, init="tv", init_timestep=400),
        AdmmTv(iterations=40),
    ],
)
def test_estimates_are_near_the_truth(tiny_prior: Path, work: Clock, method) -> None:
    """Of real methods, by the work that they do; nothing here reads the machine's clock."""
    priors = {"prior": load_prior(tiny_prior)} if method.prior is not None else {}
    execution = Execution(batch_blocks=8)
    scan = a_scan(90)
    plan = plan_reconstruction(scan, method, priors, execution=execution, clock=work.perf_counter)
    before = work.now
    reconstruct(scan, method, execution=execution, **priors)
    assert plan.timed_slices < 90
    assert plan.seconds() == pytest.approx(work.now - before, rel=0.1)


def test_a_batch_is_not_just_overflown_by_the_slices_that_are_timed(tiny_prior: Path) -> None:
    """Nor nearly empty: 12 to 16 blocks of three slices, however they lie, in a batch of 16."""
    prior = load_prior(tiny_prior)
    timed = cost._slices_to_time(a_scan(133), 16, prior)
    assert 2 * 16 < timed <= 16 * 3 - 4 * 3 and prior.block_slices == 3
    assert cost._slices_to_time(a_scan(133), 2, prior) == LEAST_SLICES


def test_only_long_runs_are_worth_an_estimate() -> None:
    best, fast = (DiffusionBlendPP(preset=p).resolved() for p in ("best", "fast"))
    assert is_long(a_scan(100, 128), best)
    assert not is_long(a_scan(10, 128), best)
    assert not is_long(a_scan(100, 128), fast)
    assert not is_long(a_scan(100, 128), Fbp())
    assert is_long(a_scan(100, 128, cone=True), fast)
    assert not is_long(a_scan(10, 128, cone=True), Fbp())


def test_memory_goes_with_the_method_and_the_views(monkeypatch) -> None:
    volume = 4 * 100 * 16 * 16
    of_fbp, of_tv = (planned_bytes(a_scan(), m) for m in (Fbp(), AdmmTv()))
    assert of_tv - of_fbp == pytest.approx(33 * volume, abs=2)
    sampled = DiffusionBlendPP()
    few, many = (planned_bytes(a_scan(views=n), sampled) for n in (6, 60))
    extra_lines = 4 * 4 * (54 * 100 * a_scan().geometry.n_columns)
    assert many - few == pytest.approx(extra_lines, abs=2)
    cone = a_scan(40, cone=True)
    held = 4 * cone.values.nbytes
    voxels = 40 * 16 * 16
    for has_it, of_pixel in ((True, BATCH_BYTES_IN_BFLOAT16), (False, BATCH_BYTES_PER_PIXEL)):
        monkeypatch.setattr("diffusionblend.methods.cost.has_bfloat16", lambda _, has=has_it: has)
        parts = of_pixel * voxels + 5 * 4 * voxels + held
        assert planned_bytes(cone, sampled) == pytest.approx(LIBRARIES_BYTES + parts, abs=2)
    assert planned_bytes(cone, Fbp()) < NO_PRIOR_BYTES + 6 * 4 * 40 * 256 + held


def test_coronal_slices_are_timed_whole(made_up) -> None:
    made_up.plan(a_scan(), {"coronal_prior": "one"})
    assert made_up.runs == [100]


def test_a_batch_size_holds_for_the_runs_of_a_coarse_initialisation_too(monkeypatch) -> None:
    seen = []
    whole = cost.reconstruct_with

    def run(method, projections, priors, device, execution):
        seen.append(execution.batch_blocks)
        return whole(method, projections, priors, device, execution)

    monkeypatch.setattr(cost, "reconstruct_with", run)
    fine, coarse = random_prior(), random_prior(config=replace(TINY, image_size=8))
    method, priors = (
        DiffusionBlendPP(steps=2, fine_steps=2),
        {"prior": fine, "coarse_prior": coarse},
    )
    plan_reconstruction(a_scan(30), method, priors, execution=Execution(batch_blocks=7))
    assert set(seen) == {7}


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_can_be_planned(name: str) -> None:
    kind = METHODS[name]
    has_steps = issubclass(kind, DiffusionMethod)
    method = kind(steps=3) if has_steps else kind()
    types = {"prior": kind.prior.prior_type} if kind.prior is not None else {}
    if kind.prior is not None and kind.prior.coronal:
        types["coronal_prior"] = "coronal"
    priors = {
        role: random_prior(config=replace(TINY, prior_type=prior_type))
        for role, prior_type in types.items()
    }
    for prior in priors.values():
        prior.trained["settings"] = {"views": 6, "arc_degrees": 180.0}
    plan = plan_reconstruction(a_scan(30), method, priors)
    assert plan.seconds() > 0 and plan.memory_bytes > 1e8
    if has_steps:
        assert plan.steps == 3


def test_a_factor_is_planned_by_the_memory_that_is_free_when_the_network_is_loaded(
    monkeypatch,
) -> None:
    order, whole = [], cost.reconstruct_with

    def run(*given):
        order.append("trial")
        return whole(*given)

    def setup_cost(*_: object) -> tuple[float, int]:
        order.append("setup")
        return 60.0, 0

    monkeypatch.setattr(cost, "reconstruct_with", run)
    monkeypatch.setattr(cost, "planned_bytes", lambda *_: 1)
    monkeypatch.setattr(DiffusionBlendPP, "setup_cost", setup_cost)
    plan = plan_reconstruction(a_scan(6), DiffusionBlendPP(steps=2), {"prior": random_prior()})
    assert order[0] == "trial" and order[-1] == "setup" and plan.begin_seconds >= 60


def test_a_run_with_a_slow_factor_is_long_however_few_slices_it_has(monkeypatch) -> None:
    volume = small_volume((3, 16, 16))
    taken = simulate(volume, scan(volume, 8).geometry)
    method = DiffusionBlendPP().resolved(frozenset({"prior"}))
    assert not cost.is_long(taken, method)
    monkeypatch.setattr(DiffusionBlendPP, "setup_cost", lambda self, scan: (60.0, 0))
    assert cost.is_long(taken, method)
