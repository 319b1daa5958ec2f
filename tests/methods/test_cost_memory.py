"""The memory plan: linear in slices, and near what a process really takes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.geometry import ParallelBeam
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods import DiffusionBlendPP
from diffusionblend.methods.cost import batch_that_fits, home_of_volume, planned_bytes
from tiny_network import random_prior

RUN = """
import json, sys
import h5py, scipy.sparse, SimpleITK  # as the command line does, to read and write
import numpy as np
from diffusionblend import Grid, ParallelBeam, Projections, load_prior, make_method
from diffusionblend.methods.cost import planned_bytes
from diffusionblend.runs.record import peak_memory_mb

name, (slices, size, views) = sys.argv[1], map(int, sys.argv[2:])
prior = load_prior("chest") if name == "diffusionblend++" else None
method = make_method(name, **({"steps": 1} if prior else {"iterations": 1}))
grid = Grid(shape=(slices, size, size), spacing_mm=(2.0, 1.0, 1.0))
geometry = ParallelBeam.fitting(grid, views)
values = np.ones((views, slices, geometry.n_columns), np.float32)
scan = Projections(values, geometry, grid, 0.02)
method(scan, prior=prior)
print(json.dumps([planned_bytes(scan, method), 1e6 * peak_memory_mb()["process"]]))
"""


def a_scan(slices: int, size: int, views: int) -> Projections:
    grid = Grid(shape=(slices, size, size), spacing_mm=(2.0, 1.0, 1.0))
    geometry = ParallelBeam.fitting(grid, views)
    return Projections(
        np.ones((views, slices, geometry.n_columns), np.float32), geometry, grid, 0.02
    )


def test_the_plan_grows_linearly_with_the_slices() -> None:
    plans = [planned_bytes(a_scan(n, 64, 8), DiffusionBlendPP()) for n in (200, 300, 400)]
    assert plans[2] - plans[1] == pytest.approx(plans[1] - plans[0], abs=2)
    assert plans[1] > plans[0] + 3 * 4 * 100 * 64 * 64


@pytest.mark.parametrize(
    "case",
    [
        "diffusionblend++ 12 128 28",
        "diffusionblend++ 48 128 8",
        "admm-tv 48 128 30",
        "admm-tv 64 256 8",
        "cgls 96 256 8",
        "sirt 64 256 60",
    ],
)
def test_a_process_takes_about_what_is_planned(case: str) -> None:
    """With the shipped prior: loosely, since libraries differ between machines."""
    command = [sys.executable, "-c", RUN, *case.split()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)
    planned, taken = json.loads(result.stdout)
    assert planned == pytest.approx(taken, rel=0.3)


def test_batches_are_of_at_least_one_block_and_grow_as_slices_shrink() -> None:
    prior = random_prior()
    assert batch_that_fits(prior, (100, 4096, 4096)) == 1
    assert batch_that_fits(prior, (100, 128, 128)) == 16
    assert batch_that_fits(prior, (100, 64, 64)) == 64


def test_a_volume_lies_with_the_network_on_a_cpu() -> None:
    assert home_of_volume(random_prior(), (10_000, 512, 512)).type == "cpu"
