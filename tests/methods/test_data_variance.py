"""What the projections are worth, against noise that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.methods.data_variance import (
    MISFIT_PIXELS,
    is_simulated_on_its_grid,
    roughness,
    variance_of_data,
)
from diffusionblend.methods.problem import Problem
from diffusionblend.simulation import simulate
from small_scan import scan, small_volume

SHAPE = (4, 24, 24)


def noisy(photons: float | None) -> Projections:
    volume = small_volume(SHAPE)
    return simulate(volume, scan(volume, 20).geometry, photons=photons, seed=2)


def test_lines_of_the_operator_itself_without_noise_are_exact() -> None:
    assert variance_of_data(Problem.of(noisy(None))) == 0.0


@pytest.mark.parametrize("photons", [300.0, 1e4])
def test_the_variance_of_photons_is_that_of_the_noise(photons: float) -> None:
    clean, found = Problem.of(noisy(None)), Problem.of(noisy(photons))
    measured = float((found.y - clean.y).square().mean())
    assert variance_of_data(found) == pytest.approx(measured, rel=0.15)


def test_another_grid_adds_the_misfit_of_the_operator() -> None:
    own = noisy(1e4)
    other = replace(own, notes={**own.notes, "simulated_shape": [4, 48, 48]})
    own_variance, variance = (variance_of_data(Problem.of(s)) for s in (own, other))
    assert variance - own_variance == pytest.approx(MISFIT_PIXELS**2)


def test_rays_that_are_left_out_cast_doubt_on_those_beside_them() -> None:
    own = noisy(1e4)
    seen = np.ones(own.values.shape, bool)
    seen[:, :, 10] = False
    own_variance, variance = (
        variance_of_data(Problem.of(s)) for s in (own, replace(own, measured=seen))
    )
    assert variance == pytest.approx(own_variance + MISFIT_PIXELS**2, rel=1e-3)


def test_a_scan_without_notes_is_judged_by_its_roughness() -> None:
    scan_of_noise = replace(noisy(300.0), notes={})
    clean = replace(noisy(None), notes={})
    rough, smooth = (variance_of_data(Problem.of(s)) for s in (scan_of_noise, clean))
    assert 0 < smooth < rough


def test_a_coarser_grid_is_not_the_one_of_the_simulation() -> None:
    own = noisy(None)
    assert is_simulated_on_its_grid(own)
    assert not is_simulated_on_its_grid(replace(own, grid=own.grid.coarser(2)))
    assert not is_simulated_on_its_grid(replace(own, notes={}))


def test_roughness_of_white_noise_is_its_variance_and_of_a_parabola_zero() -> None:
    rng = np.random.default_rng(0)
    white = torch.from_numpy(3 * rng.standard_normal((40, 20, 200)).astype(np.float32))
    assert roughness(white) == pytest.approx(9.0, rel=0.03)
    parabola = torch.linspace(-1, 1, 30).square().expand(2, 3, 30)
    assert roughness(parabola) < 1e-12
    assert roughness(torch.ones(2, 3, 3)) == 0.0
