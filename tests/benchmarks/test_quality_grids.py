"""The grids of benchmarks/quality: each is one, and says what the stored rows were made with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from diffusionblend.benchmarking.grid import Grid, read_grid
from diffusionblend.methods import METHODS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
GRIDS = sorted((BENCHMARKS / "quality").glob("*.toml"))


def grid_of(name: str) -> Grid:
    return read_grid(BENCHMARKS / "quality" / f"{name}.toml")


@pytest.mark.parametrize("path", GRIDS, ids=lambda path: path.stem)
def test_every_grid_can_be_read_and_says_how_it_is_run(path: Path) -> None:
    grid = read_grid(path)
    for cell in grid.cells:
        cell.method.resolved(frozenset())
    assert f"--grid benchmarks/quality/{path.name}" in path.read_text()


def test_fewer_steps_has_every_run_that_is_stored() -> None:
    lines = (BENCHMARKS / "results" / "fewer_steps.jsonl").read_text().splitlines()
    stored = {(row["views"], row["method"]) for row in map(json.loads, lines)}
    grid = grid_of("fewer-steps")
    assert grid.slices == 15
    asked = set()
    for setup in grid.setups:
        for cell in grid.cells:
            method = cell.method
            label = f"{method.init}, power {method.time_power:g}"
            if method.init_timestep is not None:
                label += f", from {(method.init_timestep + 1) / 1000:g} T"
            asked.add((setup.views, f"{label}, {method.steps} steps"))
    assert stored <= asked


def test_every_method_that_estimates_is_in_the_grid_of_all() -> None:
    """Samples of langevin are none."""
    cells = grid_of("every-method").cells
    assert {cell.method.name for cell in cells} == {*METHODS} - {"langevin"}
    published = next(c.method for c in cells if c.label == "dds, as published")
    assert published.steps == 50 and published.averaging["dual_damping"] == 0
    joint = next(c.method for c in cells if c.label == "diffusionblend++, as published")
    assert joint.consistency.name == "cg" and joint.averaging["dual_damping"] == 0


@pytest.mark.parametrize("name", ["fewer-steps", "partitions", "calibration", "measured"])
def test_grids_of_older_results_take_the_step_and_the_prior_that_these_had(name: str) -> None:
    """Five CG iterations, which were the default of DiffusionBlend++ then, and its own priors."""
    grid = grid_of(name)
    assert grid.priors == ("chest-128",)
    cells = [cell for cell in grid.cells if cell.method.name == "diffusionblend++"]
    assert cells
    for cell in cells:
        assert cell.method.consistency.name == "cg"
        assert cell.method.consistency.cg_iterations == 5
