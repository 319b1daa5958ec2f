"""Data consistency steps against the systems they solve, as dense matrices in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods import Cg, Dds, Dps, Hard, Prox, TvZ
from diffusionblend.methods.api import make_method
from diffusionblend.methods.diffusion.consistency import CONSISTENCY_STEPS
from diffusionblend.methods.diffusion.consistency.base import Consistency
from diffusionblend.methods.problem import Problem
from diffusionblend.simulation import add_noise
from small_scan import dense_system, scan, small_volume

SHAPE = (4, 8, 8)
ALL = slice(0, 4)
SLICEWISE = (Cg(cg_iterations=5, rho=0.2), Prox(rho=0.2))
"""Steps on the estimate that treat every slice alone."""


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.of(scan(small_volume(SHAPE), n_views=4))


@pytest.fixture(scope="module")
def system(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """A (rays, pixels) in pixels and y (rays, slices), float64."""
    operator = problem.operator
    dense = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = problem.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    return dense, y


def start() -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(0)) * 0.5


def columns(x: torch.Tensor) -> np.ndarray:
    """(z, y, x) as (pixels, slices) in float64."""
    return x.reshape(len(x), -1).T.double().numpy()


def minimiser(dense: np.ndarray, y: np.ndarray, x0: np.ndarray, rho: float) -> np.ndarray:
    """argmin |Az - y|^2 + rho |z - x0|^2, by its normal equations."""
    normal = dense.T @ dense + rho * np.eye(dense.shape[1])
    return np.linalg.solve(normal, dense.T @ y + rho * x0)


@pytest.mark.parametrize("rho", [0.05, 1.0, 20.0])
def test_prox_and_converged_cg_are_the_minimiser(
    problem: Problem, system: tuple[np.ndarray, np.ndarray], rho: float
) -> None:
    x0 = start()
    expected = minimiser(*system, columns(x0), rho)
    for chosen in (Cg(cg_iterations=200, rho=rho), Prox(rho=rho)):
        step = chosen.step(problem)
        np.testing.assert_allclose(columns(step(x0, ALL)), expected, atol=2e-3)


@pytest.mark.parametrize("rho", [0.0, 0.5])
@pytest.mark.parametrize("iterations", [1, 3, 5])
def test_cg_steps_are_textbook_steps_of_every_slice_alone(
    problem: Problem,
    system: tuple[np.ndarray, np.ndarray],
    rho: float,
    iterations: int,
) -> None:
    dense, y = system
    x0 = start()
    normal = dense.T @ dense + rho * np.eye(dense.shape[1])
    expected = columns(x0)
    for i in range(SHAPE[0]):
        z = expected[:, i].copy()
        b = dense.T @ y[:, i] + rho * z
        r = b - normal @ z
        p = r.copy()
        for _ in range(iterations):
            alpha = r @ r / (p @ normal @ p)
            z, after = z + alpha * p, r - alpha * normal @ p
            p, r = after + (after @ after) / (r @ r) * p, after
        expected[:, i] = z
    got = Cg(cg_iterations=iterations, rho=rho).step(problem)(x0, ALL)
    np.testing.assert_allclose(columns(got), expected, atol=1e-3)


def test_more_cg_steps_fit_the_data_better(problem: Problem) -> None:
    x0 = start()
    residuals = [problem.relative_residual(x0)]
    for n in (1, 3, 5, 20, 100):
        step = Cg(cg_iterations=n).step(problem)
        residuals.append(problem.relative_residual(step(x0, ALL)))
    assert residuals[1] < 0.6 * residuals[0]
    assert all(b < a for a, b in itertools.pairwise(residuals))
    assert residuals[-1] < 1e-3


def test_what_the_data_do_not_see_is_left_to_the_prior(
    problem: Problem, system: tuple[np.ndarray, np.ndarray]
) -> None:
    dense, _ = system
    _, values, rows = np.linalg.svd(dense)
    unseen = rows[(values > 1e-9).sum() :]
    assert len(unseen) > 0
    x0 = start()
    for chosen in (Cg(cg_iterations=5, rho=0.3), Prox(rho=0.3)):
        moved = chosen.step(problem)(x0, ALL) - x0
        assert np.abs(columns(moved)).max() > 0.1
        if chosen.name == "prox":
            assert np.abs(unseen @ columns(moved)).max() < 1e-4
    moved = Cg(cg_iterations=5).step(problem)(x0, ALL) - x0
    assert np.abs(unseen @ columns(moved)).max() < 1e-4


@pytest.mark.parametrize("chosen", SLICEWISE, ids=lambda chosen: chosen.name)
def test_a_slice_does_not_depend_on_the_others_nor_is_the_input_changed(
    problem: Problem, chosen: Consistency
) -> None:
    step = chosen.step(problem)
    x0 = start()
    base = step(x0, ALL)
    assert torch.equal(x0, start())
    other = x0.clone()
    other[1:] *= -3
    torch.testing.assert_close(step(other, ALL)[0], base[0], atol=1e-5, rtol=1e-5)


def test_every_name_makes_a_step_that_says_where_it_acts(problem: Problem) -> None:
    steps = {n: CONSISTENCY_STEPS[n]().step(problem) for n in CONSISTENCY_STEPS}
    assert {n for n, s in steps.items() if s.couples_slices} == {"admm-tv-z"}
    assert {n for n, s in steps.items() if s.moves_state} == {"hard"}
    assert {n for n, s in steps.items() if s.needs_gradient} == {"dps"}
    x0 = start()
    moves = {n for n, s in steps.items() if not torch.equal(s(x0, ALL), x0)}
    assert moves == {"cg", "prox", "admm-tv-z"}


@pytest.mark.parametrize(
    ("kind", "bad"),
    [
        (TvZ, {"tv_z_weight": -1.0}),
        (TvZ, {"tv_z_penalty": 0.0}),
        (TvZ, {"cg_iterations": 0}),
        (Hard, {"hard_weight": 0.0}),
        (Hard, {"hard_weight": 1.0}),
        (Dps, {"dps_step": 0.0}),
        (Cg, {"cg_iterations": 0}),
    ],
)
def test_numbers_that_make_no_sense_are_refused(kind: type[Consistency], bad: dict) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        kind(**bad)


def test_unknown_names_and_bad_rho_are_refused() -> None:
    with pytest.raises(InputError, match="cg, prox, admm-tv-z, hard, dps, none"):
        make_method("dds", consistency="magic")
    for rho in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match="rho"):
            Prox(rho=rho)
    for rho in (-1.0, float("nan")):
        with pytest.raises(InputError, match="rho"):
            Cg(rho=rho)


@pytest.mark.parametrize("chosen", SLICEWISE, ids=lambda chosen: chosen.name)
def test_slices_by_themselves_come_out_as_in_the_whole_volume(
    problem: Problem, chosen: Consistency
) -> None:
    step = chosen.step(problem)
    x0 = start()
    assert not step.couples_slices
    for slices in (slice(0, 1), slice(1, 3), slice(3, 4)):
        part = step(x0[slices], slices)
        torch.testing.assert_close(part, step(x0, ALL)[slices], atol=1e-5, rtol=1e-5)


def noisy_problem(photons: float = 4e4) -> tuple[Problem, Projections]:
    clean = scan(small_volume(SHAPE), n_views=4)
    rng = np.random.default_rng(2)
    notes = {"photons": photons, "electronic_counts": 3}
    noisy = replace(clean, values=add_noise(clean.values, photons, 3, rng), notes=notes)
    return Problem.of(noisy, with_noise=True), noisy


def test_a_weighted_step_solves_the_weighted_system() -> None:
    """Weights by hand from the counts, of mean 1, in the network's units."""
    measured, projections = noisy_problem()
    grid, rho = projections.grid, 0.7
    dense = dense_system(projections.geometry, grid) / grid.spacing_mm[2]
    lines = projections.values.astype(float)
    counts = 4e4 * np.exp(-lines)
    weights = counts**2 / (counts + 9)
    weights = (weights / weights.mean()).transpose(0, 2, 1).reshape(len(dense), -1)
    y = measured.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    x0 = start()
    step = Cg(cg_iterations=200, rho=rho, weighted=True).step(measured)
    for slices in (ALL, slice(1, 3)):
        found = columns(step(x0[slices], slices))
        for column, i in zip(found.T, range(4)[slices], strict=True):
            weighed = dense.T * weights[:, i]
            normal = weighed @ dense + rho * np.eye(dense.shape[1])
            expected = np.linalg.solve(normal, weighed @ y[:, i] + rho * columns(x0)[:, i])
            np.testing.assert_allclose(column, expected, atol=3e-3)


def test_a_step_to_the_noise_ends_at_it_and_leaves_what_fits_alone() -> None:
    measured, _ = noisy_problem()
    expected = measured.variance.sum((0, 2))

    def misfit(x: torch.Tensor) -> torch.Tensor:
        return (measured.operator.forward(x) - measured.y).square().sum((0, 2)) / expected

    step = Cg(cg_iterations=60, stop_at_noise=True).step(measured)
    x0 = start()
    assert misfit(x0).min() > 10
    reached = step(x0, ALL)
    assert misfit(reached).max() <= 1.05
    assert misfit(reached).min() > 0.2
    torch.testing.assert_close(step(reached, ALL), reached, rtol=0, atol=0)
    further = Cg(cg_iterations=60).step(measured)(x0, ALL)
    assert misfit(further).max() < 0.5 * misfit(reached).min()


def test_a_scan_must_contain_its_noise_and_prox_takes_none() -> None:
    with pytest.raises(InputError, match="photons"):
        Problem.of(scan(small_volume(SHAPE), n_views=4), with_noise=True)
    for known in ("weighted", "stop_at_noise"):
        with pytest.raises(InputError, match=f"'prox' has no setting '{known}'"):
            make_method("dds", consistency="prox", **{known: True})
        assert Dds(consistency=Cg(**{known: True})).needs_noise
    assert not Dds(consistency=Cg()).needs_noise
