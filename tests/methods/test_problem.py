"""The normalised problem against the attenuation system, as dense matrices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.methods.problem import Problem
from diffusionblend.units import hu_to_network
from small_scan import MU_WATER, dense_system, residual_by_hand, scan, small_volume


@pytest.mark.parametrize("pixel_mm", [0.7, 2.5])
def test_the_truth_solves_the_system_in_the_network_range(pixel_mm: float) -> None:
    volume = small_volume(pixel_mm=pixel_mm)
    problem = Problem.of(scan(volume))
    u = torch.from_numpy(hu_to_network(volume.values))
    scale = (problem.y + problem.water).abs().max()
    assert (problem.operator.forward(u) - problem.y).abs().max() < 1e-5 * scale
    assert problem.relative_residual(u) < 1e-6


def test_operator_and_data_are_those_of_the_attenuation_system_in_pixels() -> None:
    volume = small_volume()
    projections = scan(volume)
    problem = Problem.of(projections)
    pixel_mm = volume.grid.spacing_mm[2]
    dense = dense_system(projections.geometry, volume.grid)
    ours = problem.operator.matrix.to_dense().numpy()
    np.testing.assert_allclose(ours * pixel_mm, dense, atol=1e-5)
    lines = projections.values.astype(np.float64) / (MU_WATER * pixel_mm)
    ones = (dense.sum(1) / pixel_mm).reshape(projections.geometry.n_views, 1, -1)
    np.testing.assert_allclose(problem.y.numpy(), lines - ones, atol=1e-4)


def test_weights_mean_the_same_for_every_pixel_size() -> None:
    one, other = (Problem.of(scan(small_volume(pixel_mm=p))) for p in (0.5, 3.0))
    assert one.y.shape == other.y.shape
    torch.testing.assert_close(one.y, other.y, atol=1e-4, rtol=1e-4)


def test_residual_is_that_of_attenuation() -> None:
    volume = small_volume()
    projections = scan(volume)
    problem = Problem.of(projections)
    hu = np.random.default_rng(0).uniform(-1000, 1000, volume.grid.shape).astype(np.float32)
    got = problem.relative_residual(torch.from_numpy(hu_to_network(hu)))
    assert got == pytest.approx(residual_by_hand(projections, hu), rel=1e-5)
    air = problem.relative_residual(torch.full(volume.grid.shape, -1.0))
    assert air == pytest.approx(1.0, abs=1e-5)
    other = replace(projections, mu_water_per_mm=2 * MU_WATER)
    assert Problem.of(other).relative_residual(torch.full(volume.grid.shape, -0.5)) == (
        pytest.approx(residual_by_hand(projections, np.zeros(volume.grid.shape)), rel=1e-4)
    )
