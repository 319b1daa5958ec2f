"""A wrong object in Python: an InputError that says what was got, expected and what to try."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import diffusionblend as db
from diffusionblend.operators import FiniteDifferences, stack
from small_scan import scan, small_volume

VOLUME = small_volume((3, 12, 12))
SCAN = scan(VOLUME)
GEOMETRY, GRID = SCAN.geometry, SCAN.grid
A = db.XRayTransform(GEOMETRY, GRID)

WRONG = {
    "a volume to reconstruct": (lambda: db.reconstruct(VOLUME, "fbp"), "simulate(volume"),
    "a path to reconstruct": (lambda: db.reconstruct("scan.h5", "fbp"), "read_projections(path)"),
    "a volume to a method": (lambda: db.Fbp()(VOLUME), "simulate(volume"),
    "a volume to sample": (lambda: db.sample(VOLUME), "simulate(volume"),
    "simulate, swapped": (lambda: db.simulate(GEOMETRY, VOLUME), "the volume first"),
    "simulate of an array": (lambda: db.simulate(VOLUME.values, GEOMETRY), "Volume(values, grid)"),
    "simulate by a class": (lambda: db.simulate(VOLUME, db.ParallelBeam), "fitting(grid"),
    "an array to evaluate": (lambda: db.evaluate(VOLUME.values, VOLUME), "Volume(values, grid)"),
    "a result to evaluate": (
        lambda: db.evaluate(db.reconstruct(SCAN, "fbp"), VOLUME),
        "result.volume",
    ),
    "a volume to fit": (lambda: db.ParallelBeam.fitting(VOLUME, 8), "volume.grid"),
    "a volume to fit a fan": (lambda: db.FanBeam.fitting(VOLUME, 8), "volume.grid"),
    "a volume to fit a cone": (lambda: db.ConeBeam.fitting(VOLUME, 8), "volume.grid"),
    "write_volume, swapped": (lambda: db.write_volume("a.nii", VOLUME), "first, then the path"),
    "write_projections, swapped": (lambda: db.write_projections(Path("a.h5"), SCAN), "path"),
    "a stack of volumes": (lambda: stack(VOLUME, A), ""),
    "differences of a grid": (lambda: FiniteDifferences(GRID), "grid.shape"),
    "a transform, swapped": (lambda: db.XRayTransform(GRID, GEOMETRY), ""),
    "a transform of a volume": (lambda: db.XRayTransform(GEOMETRY, VOLUME), "volume.grid"),
    "a volume on a shape": (lambda: db.Volume(VOLUME.values, (3, 12, 12)), "Grid(shape="),
    "projections of a volume": (
        lambda: db.Projections(SCAN.values, GEOMETRY, VOLUME, 0.02),
        "grid",
    ),
    "an operator on a volume": (lambda: A @ VOLUME, "diffusionblend.units.hu_to_mu"),
}


@pytest.mark.parametrize("case", WRONG)
def test_it_says_what_to_give(case):
    call, advice = WRONG[case]
    with pytest.raises(db.InputError) as raised:
        call()
    assert raised.value.expected and advice in raised.value.try_


def test_nothing_is_written_for_swapped_arguments(tmp_path):
    with pytest.raises(db.InputError):
        db.write_volume(tmp_path / "a.nii.gz", VOLUME)
    assert not list(tmp_path.iterdir())


def test_stack_takes_a_list_as_numpy_does():
    x = torch.from_numpy(VOLUME.values)
    both = stack([A, 2 * A])
    assert torch.equal(both @ x, stack(A, 2 * A) @ x)
    assert both.range_shape == (2 * A.range_shape[0], *A.range_shape[1:])


def test_the_advice_on_an_operator_holds():
    assert db.units.hu_to_mu(np.float32(0.0)) == pytest.approx(db.units.MU_WATER_PER_MM)
    lines = A @ db.units.hu_to_mu(VOLUME.values, SCAN.mu_water_per_mm)
    np.testing.assert_allclose(lines, SCAN.values, atol=1e-4)
