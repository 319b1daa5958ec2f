"""What a benchmark will cost: alike runs are timed once, and what is said of each is right."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffusionblend.benchmarking.grid import CellSpec, Grid
from diffusionblend.benchmarking.plan import plan_benchmark
from diffusionblend.benchmarking.run import Benchmark
from diffusionblend.benchmarking.setups import Setup
from diffusionblend.io.volumes import write_volume
from diffusionblend.methods import AdmmTv, Cgls, Fbp, Method, cost
from diffusionblend.phantom import synthetic_chest

STEP_SECONDS_A_VIEW = {"admm-tv": 2.0, "cgls": 0.5, "fbp": 3.0}
BEGIN_SECONDS = 7.0
VOLUMES = {"small": (8, 16, 16), "tall": (24, 16, 16)}
"""Voxels (z, y, x)."""


class World:
    """Methods whose steps take a time of their own for each view and slice, by a clock of theirs.

    tried: the method, the views and whether there was noise, of each trial.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self.tried: list[tuple[str, int, bool]] = []

    def run(self, method: Method, scan, priors, device, execution) -> None:
        views, slices = scan.geometry.n_views, scan.grid.shape[0]
        self.tried.append((method.name, views, bool(scan.notes.get("photons"))))
        self.now += BEGIN_SECONDS * slices if method.n_steps > 1 else 0.0
        for step in range(method.n_steps):
            self.now += STEP_SECONDS_A_VIEW[method.name] * views * slices
            execution.on_step(step + 1, method.n_steps)

    def seconds(self, method: Method, views: int, slices: int) -> float:
        """Of a whole run."""
        begin = BEGIN_SECONDS if method.n_steps > 1 else 0.0
        step = STEP_SECONDS_A_VIEW[method.name] * views
        return slices * (begin + method.n_steps * step)


@pytest.fixture
def world(monkeypatch) -> World:
    world = World()
    monkeypatch.setattr(cost, "reconstruct_with", world.run)
    monkeypatch.setattr(cost, "PATIENCE_SECONDS", 1e9)
    whole = cost.plan_reconstruction

    def by_our_clock(*words, **named):
        return whole(*words, **named, clock=lambda: world.now)

    monkeypatch.setattr(cost, "plan_reconstruction", by_our_clock)
    return world


def benchmark(folder: Path, cells: dict[str, Method], setups: list[Setup]) -> Benchmark:
    """Of two volumes, one of them three times as tall."""
    paths = []
    for seed, (name, shape) in enumerate(VOLUMES.items()):
        paths.append(folder / f"{name}.nii.gz")
        write_volume(synthetic_chest(seed, shape=shape), paths[-1])
    specs = tuple(CellSpec(label=label, method=method) for label, method in cells.items())
    grid = Grid(cells=specs, setups=tuple(setups), seeds=(0,))
    return Benchmark.of(grid, paths, folder / "out", device="cpu")


CELLS = {
    "tv": AdmmTv(iterations=20),
    "tv, weight 1": AdmmTv(iterations=20, weight=1.0),
    "tv, longer": AdmmTv(iterations=40),
    "cgls": Cgls(iterations=10),
    "fbp": Fbp(),
}
SETUPS = [
    Setup(views=8),
    Setup(views=8, photons=1e5),
    Setup(views=8, photons=1e4),
    Setup(views=30, arc_degrees=30),
    Setup(views=30, arc_degrees=90),
]


def test_alike_runs_are_timed_once_and_told_right(world, tmp_path) -> None:
    engine = benchmark(tmp_path, CELLS, SETUPS)
    said: list[tuple[int, int]] = []
    work = [*engine.work_left()]
    plan = plan_benchmark(work, device="cpu", on_step=lambda *counts: said.append(counts))
    kinds = {(8, False), (8, True), (30, False)}
    by_method = dict.fromkeys(STEP_SECONDS_A_VIEW, 0)
    for method in ("tv", "tv, longer", "cgls", "fbp"):  # another weight is no other kind
        by_method[CELLS[method].name] += len(kinds)
    assert {(views, noisy) for _, views, noisy in world.tried} == kinds
    tries = {name: sum(tried[0] == name for tried in world.tried) for name in by_method}
    assert tries == {name: count + 1 for name, count in by_method.items()}  # one to load it
    assert plan.trials == sum(by_method.values())
    assert said == [(n, plan.trials) for n in range(1, plan.trials + 1)]
    slices = sum(shape[0] for shape in VOLUMES.values())
    assert set(plan.seconds) == {(s.name, label) for s in SETUPS for label in CELLS}
    for setup in SETUPS:
        for label, method in CELLS.items():
            true = world.seconds(method, setup.views, slices)
            assert plan.seconds[setup.name, label] == pytest.approx(true), (setup.name, label)
            assert plan.runs[setup.name, label] == len(VOLUMES)


def test_a_scan_is_simulated_only_to_be_tried(world, tmp_path, monkeypatch) -> None:
    from diffusionblend.benchmarking import cells

    whole, made = cells.simulated, []

    def counted(volume, setup):
        made.append(setup.name)
        return whole(volume, setup)

    monkeypatch.setattr(cells, "simulated", counted)
    engine = benchmark(tmp_path, CELLS, SETUPS)
    plan_benchmark([*engine.work_left()], device="cpu")
    assert made == [SETUPS[n].name for n in (0, 1, 3)]
