"""The solved data-consistency step: its weight, and that it minimises what it says."""

from __future__ import annotations

import math
import re
from dataclasses import replace

import pytest
import torch

from diffusionblend.geometry import FanBeam, ParallelBeam
from diffusionblend.methods.data_variance import NOISE_WORTH, trust_in_rays
from diffusionblend.methods.diffusion.consistency import prox
from diffusionblend.methods.diffusion.consistency.prox import Prox, weight
from diffusionblend.methods.diffusion.consistency.scaled_state import OnScaledState
from diffusionblend.methods.problem import Problem
from diffusionblend.phantom import synthetic_chest
from diffusionblend.simulation import simulate
from diffusionblend.solvers import iterative_proximal
from diffusionblend.solvers.iterative_proximal import IterativeProximal
from diffusionblend.solvers.proximal import proximal_of
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
    """Of the ray that most photons pass, which counts fully."""
    step = Prox().step(problem)
    lines = torch.from_numpy(problem.projections.values)
    pixel_mm = problem.projections.mu_water_per_mm * problem.projections.grid.spacing_mm[2]
    noise = NOISE_WORTH * float(lines.min().exp()) / 1e4 / pixel_mm**2
    for abar in ABARS:
        step.begin(abar)
        error = prox.ERROR_AT_UNIT_NOISE**2 * math.sqrt((1 - abar) / abar)
        assert 0.4 <= step.rho / (noise / error) <= 2.5


@pytest.mark.parametrize(("rho", "share"), [(1e-30, 1e-7), (1e30, 1e7)])
def test_a_weight_beyond_rounding_is_the_nearest_that_counts(problem, rho, share) -> None:
    """Of |A|^2, whose largest eigenvalue a dense matrix has."""
    with pytest.warns(UserWarning, match=re.escape(f"rho is {rho:g}, beyond the")):
        step = Prox(rho=rho).step(problem)
    one = problem.operator.with_slices(1)
    columns = [one.forward(p.reshape(1, *SHAPE[1:])).flatten() for p in torch.eye(SHAPE[1] ** 2)]
    norm = float(torch.linalg.matrix_norm(torch.stack(columns, dim=1).double(), 2)) ** 2
    assert step.rho == pytest.approx(share * norm, rel=0.1)
    step.begin(0.5)
    assert torch.isfinite(step(torch.zeros(SHAPE), slice(0, SHAPE[0]))).all()


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


def test_its_facts_are_solver_weights_and_the_variance_of_the_data(problem: Problem) -> None:
    free, given = Prox().step(problem), Prox(rho=2.5).step(problem)
    rhos = set()
    for abar in ABARS:
        free.begin(abar)
        given.begin(abar)
        rhos.add(free.rho)
    assert len(rhos) > 1
    variance = trust_in_rays(problem).variance
    assert OnScaledState(free).facts() == {
        "solver": "eigenvectors",
        "rho": sorted(rhos),
        "starved_rays": False,
        "data_variance_pixels2": variance,
        "rays_weighed": True,
    }
    assert given.facts() == {"solver": "eigenvectors", "rho": [2.5], "starved_rays": False}


def test_the_gradient_of_the_objective_vanishes(problem: Problem) -> None:
    step = Prox().step(problem)
    step.begin(0.9)
    x0 = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    z = step(x0, slice(0, SHAPE[0]))
    weights = trust_in_rays(problem).alike()
    pull = problem.operator.adjoint(weights * (problem.operator.forward(z) - problem.y))
    start = problem.operator.adjoint(weights * (problem.operator.forward(x0) - problem.y))
    slope = pull + step.rho * (z - x0)
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


def test_few_rays_of_another_grid_are_weighed_by_their_share_of_the_pixels() -> None:
    """The misfit of an edge is alike in neighbouring views; noise is not."""
    volume = small_volume((2, 32, 32))
    for simulated, least, most in (([2, 64, 64], 4, 65), ([2, 32, 32], 0.9, 1.1)):
        rhos = []
        for views in (2, 32):
            measured = simulate(volume, scan(volume, views).geometry, photons=1e6, seed=1)
            notes = {**measured.notes, "simulated_shape": simulated}
            step = Prox().step(Problem.of(replace(measured, notes=notes)))
            step.begin(0.5)
            rhos.append(step.rho)
        assert least < rhos[1] / rhos[0] < most


def test_a_trial_of_its_speed_makes_no_factor(problem: Problem, monkeypatch) -> None:
    from diffusionblend.solvers import dense_proximal, direct_proximal, proximal

    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)

    def fail(*_: object) -> None:
        raise AssertionError("a factor was made")

    monkeypatch.setattr(dense_proximal, "_factor", fail)
    step = Prox().for_timing().step(problem)
    step.begin(0.5)
    x0 = torch.ones(SHAPE)
    torch.testing.assert_close(step(x0, slice(0, SHAPE[0])), x0)
    asked = []
    solved = dense_proximal.DenseProximal.solved

    def counted(*given: object) -> torch.Tensor:
        asked.append(1)
        return solved(*given)

    monkeypatch.setattr(dense_proximal.DenseProximal, "solved", counted)
    step.each = torch.full(problem.y.shape, 0.5)
    step(x0, slice(0, SHAPE[0]))
    assert 2 < len(asked) <= 1 + direct_proximal.TRIAL_ITERATIONS


def test_the_cost_of_the_factor_is_reported(problem: Problem, monkeypatch) -> None:
    from diffusionblend.solvers import proximal

    assert Prox().setup_cost(problem.projections) == (0.0, 0)  # by eigenvectors
    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)
    seconds, n_bytes = Prox().setup_cost(problem.projections)
    assert seconds > 0
    assert n_bytes > 4 * 2 * 2 * (VIEWS * 10) ** 2


def test_data_without_noise_take_one_factor_and_others_some(monkeypatch) -> None:
    from diffusionblend.solvers import dense_proximal, proximal

    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)
    monkeypatch.setattr(dense_proximal, "dense_seconds", lambda sizes, n, device: float(n))
    volume = small_volume(SHAPE)
    clean, noisy = (
        simulate(volume, scan(volume, VIEWS).geometry, photons=photons) for photons in (None, 1e5)
    )
    assert Prox().setup_cost(clean)[0] == 1
    assert Prox().setup_cost(noisy)[0] == prox.TYPICAL_LEVELS > 1


def test_too_little_memory_for_the_factor_is_reported_and_cg_taken(
    problem: Problem, monkeypatch
) -> None:
    from diffusionblend.solvers import proximal

    monkeypatch.setattr(proximal, "MAX_EIGEN", 1)
    monkeypatch.setattr(prox, "total_memory_bytes", lambda: 1000)
    with pytest.warns(UserWarning, match="conjugate gradients are run in its place"):
        step = Prox().step(problem)
    assert isinstance(step.proximal, IterativeProximal)


@pytest.mark.parametrize("solver", ["eigenvectors", "dense factor", "conjugate gradients"])
@pytest.mark.parametrize(("accuracy", "most"), [(0.01, 0.03), (1e-4, 5e-4)])
def test_rays_that_count_for_less_are_weighed_as_a_direct_solution_weighs_them(
    problem: Problem, monkeypatch: pytest.MonkeyPatch, accuracy: float, most: float, solver: str
) -> None:
    """By every solver, at the minimiser that dense normal equations with weights have."""
    from diffusionblend.solvers.dense_proximal import DenseProximal

    monkeypatch.setattr(iterative_proximal, "TOLERANCE", accuracy)
    step = Prox(rho=2.0).step(problem)
    for kind in (DenseProximal, IterativeProximal):
        if solver == kind.solver:
            step.proximal = kind(problem.operator)
    assert step.proximal.solver == solver
    drawn = torch.Generator().manual_seed(3)
    trust = torch.rand(problem.y.shape, generator=drawn).clamp(min=0.2)
    x0 = torch.randn(SHAPE, generator=drawn)
    step.each = trust
    found = step(x0, slice(0, SHAPE[0]))
    n_pixels = SHAPE[1] * SHAPE[2]
    one = problem.operator.with_slices(1)
    columns = [one.forward(pixel.reshape(1, *SHAPE[1:])).flatten() for pixel in torch.eye(n_pixels)]
    matrix = torch.stack(columns, dim=1).double()
    for k in range(SHAPE[0]):
        weighed = matrix.T * trust[:, k].flatten().double()
        system = weighed @ matrix + 2.0 * torch.eye(n_pixels, dtype=torch.float64)
        right_side = weighed @ problem.y[:, k].flatten().double() + 2.0 * x0[k].flatten().double()
        expected = torch.linalg.solve(system, right_side).reshape(SHAPE[1:])
        error = (found[k].double() - expected).norm() / (expected - x0[k].double()).norm()
        assert error < most


def test_direct_solvers_weigh_all_slices_alike_and_cg_each(problem: Problem) -> None:
    """At the minimiser of the weights that all slices have in common, and of those of each."""
    notes = {**problem.projections.notes, "simulated_shape": [3, 32, 32]}
    other = Problem.of(replace(problem.projections, notes=notes))
    trust = trust_in_rays(other)
    assert trust.weights is not None and not trust.starved
    step = Prox().step(other)
    step.begin(0.5)
    by_each = Prox().step(other)
    by_each.proximal, by_each.each = IterativeProximal(other.operator), trust.weights
    by_each.begin(0.5)
    x0 = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    alike = trust.alike()
    assert alike is not None
    for found, weights in ((step, alike), (by_each, trust.weights)):
        z = found(x0, slice(0, SHAPE[0]))
        pull = other.operator.adjoint(weights * (other.operator.forward(z) - other.y))
        start = other.operator.adjoint(weights * (other.operator.forward(x0) - other.y))
        assert (pull + found.rho * (z - x0)).norm() < 0.02 * start.norm()
    facts = step.facts()
    assert facts["rays_weighed"] and facts["data_variance_pixels2"] == trust.variance


def test_starved_rays_change_the_step_of_the_scan_that_has_them(problem: Problem) -> None:
    values = problem.projections.values.copy()
    values[2] = math.log(1e4)
    starved = Problem.of(replace(problem.projections, values=values))
    step = Prox().step(starved)
    assert step.each is not None and Prox().step(problem).each is None
    step.begin(0.5)
    estimate = torch.zeros(SHAPE)
    slices = slice(1, 3)
    whole, part = step(estimate, slice(0, SHAPE[0])), step(estimate[slices], slices)
    torch.testing.assert_close(part, whole[slices], rtol=1e-3, atol=1e-3)
    plain = proximal_of(starved.operator)(estimate, starved.y, step.rho)
    others = [i for i in range(VIEWS) if i != 2]
    misfits = [(starved.operator.forward(z) - problem.y)[others].norm() for z in (whole, plain)]
    assert misfits[0] < 0.8 * misfits[1]


@pytest.mark.parametrize(("kind", "views"), [(ParallelBeam, 70), (FanBeam, 40), (ParallelBeam, 16)])
@pytest.mark.parametrize("photons", [1e8, 1e6, 1e4])
def test_precise_rays_beside_starved_ones_are_solved(kind, views, photons) -> None:
    """On the scan's own grid rho is minute beside |A|^2, and what solves the shared weights at once
    would precondition by rounding alone."""
    volume = synthetic_chest(1, shape=(3, 48, 48), in_plane_mm=7.5)
    geometry = kind.fitting(volume.grid, views, arc_degrees=70.0)
    own = simulate(volume, geometry, photons=photons, seed=1)
    values = own.values.copy()
    values[3] = math.log(photons)
    measured = Problem.of(replace(own, values=values))
    step = Prox().step(measured)
    assert step.trust.starved and step.each is not None
    assert step.proximal.solver == ("eigenvectors" if views == 16 else "dense factor")
    x0 = torch.full(measured.shape, -0.5)
    for abar in (0.5, 0.99):
        step.begin(abar)
        found = step(x0, slice(0, 3))

        def slope(z: torch.Tensor) -> torch.Tensor:
            misfit = step.each * (measured.operator.forward(z) - measured.y)
            return measured.operator.adjoint(misfit) + step.rho * (z - x0)

        assert slope(found).norm() < 0.02 * slope(x0).norm()
