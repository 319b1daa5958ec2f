"""The solved data-consistency step: its weight, and that it minimises what it says."""

from __future__ import annotations

import math

import pytest
import torch

from diffusionblend.methods.data_variance import variance_of_data
from diffusionblend.methods.diffusion.consistency import prox
from diffusionblend.methods.diffusion.consistency.prox import Prox, weight
from diffusionblend.methods.diffusion.consistency.scaled_state import OnScaledState
from diffusionblend.methods.problem import Problem
from diffusionblend.simulation import simulate
from small_scan import scan, small_volume

SHAPE, VIEWS = (3, 16, 16), 7
ABARS = [0.2, 0.6, 0.9, 0.999]


@pytest.fixture
def problem() -> Problem:
    volume = small_volume(SHAPE)
    return Problem.of(simulate(volume, scan(volume, VIEWS).geometry, photons=1e4, seed=1))


def test_the_weight_grows_as_the_noise_level_falls(problem: Problem) -> None:
    step, rhos = Prox().step(problem), []
    for abar in ABARS:
        step.begin(abar)
        rhos.append(step.rho)
    assert rhos == sorted(rhos)
    assert rhos[-1] > rhos[0]


def test_the_weight_is_a_ratio_of_variances_to_a_factor_of_two(problem: Problem) -> None:
    step = Prox().step(problem)
    for abar in ABARS:
        step.begin(abar)
        error = prox.ERROR_AT_UNIT_NOISE**2 * math.sqrt((1 - abar) / abar)
        rays = VIEWS * problem.operator.range_shape[2] / SHAPE[1] ** 2
        wanted = prox.WORTH * min(1, rays) * variance_of_data(problem) / error
        assert 0.5 <= step.rho / wanted <= 2.0 + 1e-9


def test_data_without_noise_get_the_smallest_weight() -> None:
    volume = small_volume(SHAPE)
    clean = Problem.of(simulate(volume, scan(volume, VIEWS).geometry))
    step = Prox().step(clean)
    step.begin(0.5)
    assert step.rho == step.least > 0
    wanted = torch.zeros(SHAPE)
    found = step(wanted, slice(0, SHAPE[0]))
    misfit = clean.operator.forward(found) - clean.y
    assert misfit.norm() < 1e-3 * clean.y.norm()


def test_a_weight_that_is_given_stays(problem: Problem) -> None:
    step = Prox(rho=2.5).step(problem)
    for abar in ABARS:
        step.begin(abar)
        assert step.rho == 2.5


def test_the_gradient_of_the_objective_vanishes(problem: Problem) -> None:
    step = Prox().step(problem)
    step.begin(0.9)
    x0 = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    z = step(x0, slice(0, SHAPE[0]))
    slope = problem.operator.adjoint(problem.operator.forward(z) - problem.y) + step.rho * (z - x0)
    start = problem.operator.adjoint(problem.operator.forward(x0) - problem.y)
    assert slope.norm() < 1e-3 * start.norm()


def test_on_the_state_the_error_is_its_noise(problem: Problem) -> None:
    inner = Prox().step(problem)
    OnScaledState(inner).begin(0.5)
    on_state = inner.rho
    inner.begin(0.5)
    assert on_state < inner.rho / 40  # noise as large as the image, against a tenth, squared


def test_weights_are_powers_of_four_above_the_least() -> None:
    assert weight(3.0, 1.0, 1e-3) == 4.0
    assert weight(1.9, 1.0, 1e-3) == 1.0
    assert weight(1e-5, 1.0, 1e-3) == 1e-3


def test_few_rays_are_weighed_by_their_share_of_the_pixels() -> None:
    volume = small_volume((2, 32, 32))
    rhos = []
    for views in (2, 32):
        measured = simulate(volume, scan(volume, views).geometry, photons=1e4, seed=1)
        step = Prox().step(Problem.of(measured))
        step.begin(0.5)
        rhos.append(step.rho)
    assert rhos[0] < rhos[1] / 4


def test_a_trial_of_its_speed_makes_no_factor(problem: Problem, monkeypatch) -> None:
    from diffusionblend.solvers import dense_proximal, proximal

    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)

    def fail(*_: object) -> None:
        raise AssertionError("a factor was made")

    monkeypatch.setattr(dense_proximal, "_factor", fail)
    step = Prox().for_timing().step(problem)
    step.begin(0.5)
    x0 = torch.ones(SHAPE)
    torch.testing.assert_close(step(x0, slice(0, SHAPE[0])), x0)


def test_the_cost_of_the_factor_is_reported(problem: Problem, monkeypatch) -> None:
    from diffusionblend.solvers import proximal

    assert Prox().setup_cost(problem.projections) == (0.0, 0)  # by eigenvectors
    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)
    seconds, n_bytes = Prox().setup_cost(problem.projections)
    assert seconds > 0
    assert n_bytes > 4 * 2 * 2 * (VIEWS * 10) ** 2


def test_too_little_memory_for_the_factor_is_reported_and_cg_taken(
    problem: Problem, monkeypatch
) -> None:
    from diffusionblend.solvers import proximal
    from diffusionblend.solvers.iterative_proximal import IterativeProximal

    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)
    monkeypatch.setattr(prox, "total_memory_bytes", lambda: 1000)
    with pytest.warns(UserWarning, match="conjugate gradients are run in its place"):
        step = Prox().step(problem)
    assert isinstance(step.proximal, IterativeProximal)
