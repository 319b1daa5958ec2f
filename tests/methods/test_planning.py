"""What a run is said to cost: by the clock of a made-up method exactly, of real ones loosely."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from diffusionblend.methods.memory import (
    BATCH_BYTES_PER_PIXEL,
    LIBRARIES_BYTES,
    NO_PRIOR_BYTES,
    planned_bytes,
)
from diffusionblend.methods.planning import (
    LEAST_SLICES,
    is_long,
    middle_slices,
    plan_reconstruction,
)
from diffusionblend.methods.registry import METHODS, reconstruct
from diffusionblend.methods.settings import (
    AdmmTvSettings,
    DiffusionBlendPPSettings,
    FbpSettings,
    SamplingSettings,
)

from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ConeBeam, ParallelBeam, equally_spaced_angles
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods import planning
from diffusionblend.priors.prior import load_prior
from tiny_network import TINY, random_prior

LOOSELY = 5.0
"""By which factor an estimate of some milliseconds may be wrong on a busy machine."""


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


@pytest.fixture
def made_up(monkeypatch) -> list[int]:
    """A method of 10 s a slice before its first step and 2 s a slice a step, twice that at first.

    Returns the slices of each of its runs.
    """
    clock, runs = Clock(), []

    def run(projections, *, on_step, **_):
        slices = projections.grid.shape[0]
        runs.append(slices)
        clock.now += 10 * slices * (2 if len(runs) == 1 else 1)
        for step in range(40):
            clock.now += 2 * slices
            on_step(step + 1, 40)

    monkeypatch.setattr(planning, "BEYOND_CACHE_BYTES", 4 * 16 * 16 * LEAST_SLICES)
    monkeypatch.setattr(planning, "reconstruct", run)
    monkeypatch.setattr(planning, "time", clock)
    return runs


def test_time_goes_with_slices_and_steps(made_up, monkeypatch) -> None:
    monkeypatch.setattr(planning, "PATIENCE_SECONDS", 1e6)
    plan = plan_reconstruction(a_scan(), method="fbp", settings=FbpSettings())
    assert made_up == [LEAST_SLICES] * 2  # the first run warms up
    assert plan.steps == 40 and plan.step_seconds == pytest.approx(200)
    assert plan.begin_seconds == pytest.approx(1000)
    assert plan.seconds() == pytest.approx(1000 + 40 * 200)
    assert plan.seconds(30) == pytest.approx(10 * 200)
    assert (plan.timed_slices, plan.slices) == (LEAST_SLICES, 100)


def test_a_slow_first_step_is_taken_for_all(made_up) -> None:
    plan = plan_reconstruction(a_scan(), method="fbp", settings=FbpSettings())
    assert made_up == [LEAST_SLICES]
    assert plan.seconds() == pytest.approx(40 * (2 * 1000 + 200))


@pytest.mark.parametrize(("size", "timed"), [(16, 100), (256, 62), (512, LEAST_SLICES)])
def test_without_a_network_more_is_timed_than_a_cache_holds(
    made_up, monkeypatch, size, timed
) -> None:
    monkeypatch.setattr(planning, "BEYOND_CACHE_BYTES", 16e6)
    plan_reconstruction(a_scan(size=size), method="fbp", settings=FbpSettings())
    assert made_up == [timed]


def test_coupled_slices_are_timed_together(made_up) -> None:
    scan = a_scan(40, cone=True)
    assert middle_slices(scan, 3) is scan
    plan_reconstruction(scan, method="fbp", settings=FbpSettings())
    assert made_up == [40]


def test_the_middle_of_a_scan_is_that_of_the_whole() -> None:
    scan = a_scan(10)
    part = middle_slices(scan, 4)
    np.testing.assert_array_equal(part.values, scan.values[:, 3:7])
    whole, few = (reconstruct(s, method="fbp").volume.values for s in (scan, part))
    np.testing.assert_allclose(few, whole[3:7], atol=1e-3)
    assert middle_slices(scan, 10) is scan and middle_slices(scan, 99) is scan


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("diffusionblend++", DiffusionBlendPPSettings(steps=12, batch_blocks=8)),
        ("diffusionblend++", DiffusionBlendPPSettings(steps=6, start="tv", first_timestep=400)),
        ("admm-tv", AdmmTvSettings(iterations=40)),
    ],
)
def test_estimates_are_near_the_truth(tiny_prior: Path, method, settings) -> None:
    """The better of two tries, since the machine may be busy in either."""
    prior = load_prior(tiny_prior) if method == "diffusionblend++" else None
    scan, ratios = a_scan(90), []
    for _ in range(2):
        arguments = {"method": method, "settings": settings, "prior": prior}
        plan = plan_reconstruction(scan, **arguments)
        started = time.perf_counter()
        reconstruct(scan, **arguments)
        ratios.append(plan.seconds() / (time.perf_counter() - started))
        if 1 / LOOSELY < ratios[-1] < LOOSELY:
            return
    raise AssertionError(f"estimates over the truth: {ratios}")


def test_only_long_runs_are_worth_an_estimate() -> None:
    best = DiffusionBlendPPSettings(preset="best")
    assert is_long(a_scan(100, 128), best)
    assert not is_long(a_scan(10, 128), best)
    assert not is_long(a_scan(100, 128), DiffusionBlendPPSettings(preset="fast"))
    assert not is_long(a_scan(100, 128), FbpSettings())


def test_memory_goes_with_the_method_and_the_views() -> None:
    volume = 4 * 100 * 16 * 16
    by_method = {m: planned_bytes(a_scan(), m) for m in ("fbp", "admm-tv", "diffusionblend++")}
    assert by_method["admm-tv"] - by_method["fbp"] == pytest.approx(33 * volume, abs=2)
    more_views = planned_bytes(a_scan(views=60)) - planned_bytes(a_scan(views=6))
    extra_lines = 4 * 4 * (54 * 100 * a_scan().geometry.n_columns)
    assert more_views == pytest.approx(extra_lines, abs=2)
    cone = a_scan(40, cone=True)
    held = 4 * cone.values.nbytes
    voxels = 40 * 16 * 16
    parts = BATCH_BYTES_PER_PIXEL * voxels + 5 * 4 * voxels + held
    assert planned_bytes(cone) == pytest.approx(LIBRARIES_BYTES + parts, abs=2)
    assert planned_bytes(cone, "fbp") < NO_PRIOR_BYTES + 6 * 4 * 40 * 256 + held


def test_coronal_slices_are_timed_whole(made_up) -> None:
    plan_reconstruction(a_scan(), method="fbp", settings=FbpSettings(), perpendicular_prior="one")
    assert made_up == [100]


@pytest.mark.parametrize("name", METHODS)
def test_every_method_can_be_planned(name: str) -> None:
    method = METHODS[name]
    has_steps = issubclass(method.settings, SamplingSettings)
    settings = method.settings(steps=3) if has_steps else method.settings()
    layouts = {"prior": method.layout, "perpendicular_prior": method.perpendicular}
    priors = {
        option: random_prior(config=replace(TINY, layout=layout))
        for option, layout in layouts.items()
        if layout is not None
    }
    for prior in priors.values():
        prior.trained["settings"] = {"views": 6, "arc_degrees": 180.0}
    plan = plan_reconstruction(a_scan(30), method=name, settings=settings, **priors)
    assert plan.seconds() > 0 and plan.memory_bytes > 1e8
    if has_steps:
        assert plan.steps == 3
