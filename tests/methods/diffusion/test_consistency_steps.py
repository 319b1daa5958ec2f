"""Total variation along z, the hard step and the gradient step, against dense and finite ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.consistency.cg import ConjugateGradientStep
from diffusionblend.methods.diffusion.consistency.dps import GradientStep
from diffusionblend.methods.diffusion.consistency.hard import HardStep
from diffusionblend.methods.diffusion.consistency.scaled_state import OnScaledState
from diffusionblend.methods.diffusion.consistency.tv_z import (
    TotalVariationAlongZ,
    slopes_adjoint,
    slopes_along_z,
)
from diffusionblend.methods.problem import Problem
from diffusionblend.priors.partition import make_partition, neighbour_partition, slice_partition
from diffusionblend.solvers import iterative_proximal, proximal
from gaussian_prior import GaussianPrior
from gaussian_recursion import ABAR, denoiser
from reverse_process import reverse_process
from small_scan import dense_system, scan, small_volume
from tiny_network import random_prior

SHAPE = (5, 8, 8)
ALL = slice(0, 5)


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.of(scan(small_volume(SHAPE), n_views=4))


@pytest.fixture(scope="module")
def system(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """A of one slice (rays, pixels) in pixels and y (rays, slices), float64."""
    operator = problem.operator
    dense = dense_system(operator.geometry, operator.grid) / operator.grid.spacing_mm[2]
    y = problem.y.double().numpy().transpose(0, 2, 1).reshape(len(dense), -1)
    return dense, y


def random_volume(seed: int = 0) -> torch.Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed)) * 0.5


def columns(x: torch.Tensor) -> np.ndarray:
    """(z, y, x) as (pixels, slices) in float64."""
    return x.reshape(len(x), -1).T.double().numpy()


def test_slopes_are_numpy_s_and_their_adjoint_is_exact() -> None:
    x, s = random_volume(), random_volume(1)
    np.testing.assert_allclose(slopes_along_z(x)[:-1], np.diff(x.numpy(), axis=0))
    assert not slopes_along_z(x)[-1].any()
    forward, back = (slopes_along_z(x) * s).sum(), (x * slopes_adjoint(s)).sum()
    assert float(forward) == pytest.approx(float(back), rel=1e-5)


def along_z(n: int) -> np.ndarray:
    return np.eye(n, k=1) - np.diag([*[1.0] * (n - 1), 0.0])


def test_one_step_is_the_quadratic_problem_of_admm_solved(
    problem: Problem, system: tuple[np.ndarray, np.ndarray]
) -> None:
    """(A'A + rho D'D) x = A'y + rho D's, s the shrunk slopes of x0, whole volume at once."""
    dense, y = system
    weight, rho, x0 = 0.2, 0.7, random_volume()
    d = along_z(SHAPE[0])
    slopes = columns(x0) @ d.T
    slopes = np.sign(slopes) * np.maximum(np.abs(slopes) - weight / rho, 0)
    whole = np.kron(np.eye(SHAPE[0]), dense.T @ dense) + rho * np.kron(d.T @ d, np.eye(64))
    right = (dense.T @ y + rho * slopes @ d).T.ravel()
    step = TotalVariationAlongZ(problem, weight=weight, penalty=rho, cg_iterations=400)
    residual = whole @ columns(step(x0, ALL)).T.ravel() - right
    assert np.linalg.norm(residual) < 1e-3 * np.linalg.norm(right)


def objective(x: np.ndarray, dense: np.ndarray, y: np.ndarray, weight: float) -> float:
    misfit = 0.5 * np.square(dense @ x - y).sum()
    return float(misfit + weight * np.abs(np.diff(x, axis=1)).sum())


def test_many_steps_minimise_the_sum_kept_or_in_one_go(
    problem: Problem, system: tuple[np.ndarray, np.ndarray]
) -> None:
    weight, x0 = 0.3, random_volume()
    options = {"weight": weight, "penalty": 2.0, "cg_iterations": 15}
    at_once = TotalVariationAlongZ(problem, **options, iterations=150)(x0, ALL)
    kept = TotalVariationAlongZ(problem, **options, keeps=True)
    x = x0
    for _ in range(150):
        x = kept(x, ALL)
    torch.testing.assert_close(x, at_once, atol=1e-4, rtol=1e-4)
    best = objective(columns(x), *system, weight)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-2, 0.1):
        other = columns(x) + size * rng.normal(size=(64, SHAPE[0]))
        assert objective(other, *system, weight) > best
    fresh = TotalVariationAlongZ(problem, **options)
    y = x0
    for _ in range(150):
        y = fresh(y, ALL)
    assert objective(columns(y), *system, weight) > best


def test_kept_variables_are_handed_over_and_forgotten(problem: Problem) -> None:
    options = {"weight": 0.3, "penalty": 2.0, "cg_iterations": 3, "keeps": True}
    step, other = (TotalVariationAlongZ(problem, **options) for _ in range(2))
    assert step.variables() == {}
    first = step(random_volume(), ALL)
    other.restore(step.variables())
    torch.testing.assert_close(other(random_volume(1), ALL), step(random_volume(1), ALL))
    step.restore({})
    torch.testing.assert_close(step(random_volume(), ALL), first)
    assert TotalVariationAlongZ(problem, **(options | {"keeps": False})).variables() == {}


@pytest.mark.parametrize("few_rays", [True, False])
@pytest.mark.parametrize("weight", [0.02, 0.5, 0.95])
def test_the_hard_step_is_its_minimiser(
    problem: Problem,
    system: tuple[np.ndarray, np.ndarray],
    weight: float,
    few_rays: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not few_rays:
        monkeypatch.setattr(proximal, "MAX_EIGEN", 0)
        monkeypatch.setattr(proximal, "MAX_DENSE", 0)
        monkeypatch.setattr(iterative_proximal, "TOLERANCE", 1e-5)
    (dense, y), x, noise, abar = system, random_volume(), random_volume(1), 0.37
    y_t = abar**0.5 * y + (1 - abar) ** 0.5 * dense @ columns(noise)
    normal = weight * np.eye(64) + (1 - weight) * dense.T @ dense
    expected = np.linalg.solve(normal, weight * columns(x) + (1 - weight) * dense.T @ y_t)
    step = HardStep(problem, weight)
    np.testing.assert_allclose(columns(step.on_state(x, ALL, abar, noise)), expected, atol=3e-3)
    part = step.on_state(x[1:3], slice(1, 3), abar, noise[1:3])
    np.testing.assert_allclose(columns(part), expected[:, 1:3], atol=3e-3)


def test_hard_with_the_state_s_own_noise_is_the_proximal_step_on_the_estimate(
    problem: Problem, system: tuple[np.ndarray, np.ndarray]
) -> None:
    """Why the noise of the data is one of its own: there would be nothing new otherwise."""
    (dense, y), x0, noise, abar, weight = system, random_volume(), random_volume(1), 0.6, 0.3
    rho = weight / (1 - weight)
    x = abar**0.5 * x0 + (1 - abar) ** 0.5 * noise
    normal = dense.T @ dense + rho * np.eye(64)
    nearest = np.linalg.solve(normal, dense.T @ y + rho * columns(x0))
    expected = abar**0.5 * nearest + (1 - abar) ** 0.5 * columns(noise)
    got = HardStep(problem, weight).on_state(x, ALL, abar, noise)
    np.testing.assert_allclose(columns(got), expected, atol=3e-3)


def test_on_the_scaled_state_is_the_step_for_the_exploding_process(
    problem: Problem,
) -> None:
    step = ConjugateGradientStep(problem, 2, rho=0.0)
    scaled, x = OnScaledState(step), random_volume()
    assert scaled.moves_state and not scaled.couples_slices and not scaled.couples_state
    assert torch.equal(scaled(x, ALL), x)
    got = scaled.on_state(x, ALL, 0.25, random_volume(1))
    torch.testing.assert_close(got, 0.5 * step(2 * x, ALL))
    coupled = OnScaledState(
        TotalVariationAlongZ(problem, weight=1, penalty=1, cg_iterations=1, keeps=True)
    )
    assert coupled.couples_state and not coupled.couples_slices
    coupled.on_state(x, ALL, 0.25, x)
    assert set(coupled.variables()) == {"slopes", "slopes_dual"}


class Noted(GradientStep):
    """Notes what it is moved along."""

    def moved(self, x: torch.Tensor, gradient: torch.Tensor, misfit: torch.Tensor) -> torch.Tensor:
        SEEN.append((gradient.clone(), misfit.clone()))
        return super().moved(x, gradient, misfit)


SEEN: list[tuple[torch.Tensor, torch.Tensor]] = []

PARTITIONS = [make_partition(5, 3, 1, 1), make_partition(5, 2, 2, 0), slice_partition(5)] + [
    slice_partition(8, axis=1, depth=5),
    neighbour_partition(5, 3),
]


def residual_norm(prior, partition, problem, x_t: torch.Tensor, t: int, clamp: bool) -> float:
    """|y - A x0(x_t)| of the whole volume, block by block by hand."""
    executor = reverse_process(
        prior, ConsistencyStep(), [t], [partition], coronal_prior=prior
    ).executor
    with torch.no_grad():
        x0, _ = executor._denoised(x_t, 0, partition)
        x0 = x0.clamp(min=-1.0) if clamp else x0
        return float((problem.operator.forward(x0) - problem.y).double().norm())


@pytest.mark.parametrize("clamp", [True, False])
def test_the_gradient_is_the_finite_difference_through_a_network(clamp: bool) -> None:
    from dataclasses import replace

    from tiny_network import TINY

    prior = random_prior(config=replace(TINY, block_slices=2))
    shape = (4, 16, 16)
    scanned = Problem.of(scan(small_volume(shape), n_views=4))
    partition, t = make_partition(4, 2, 1, 0), 400
    x_t = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    lowest = -1.0 if clamp else None
    process = reverse_process(
        prior, Noted(scanned, 0.5), [t], [partition], 0.0, batch_blocks=1, lowest=lowest
    )
    SEEN.clear()
    with torch.no_grad():
        state = process.start(shape, torch.Generator().manual_seed(0))
        state.x = x_t.clone()
        moved = process.run(state)
        plain, _ = process.executor._denoised(x_t, 0, partition)
    gradient, misfit = SEEN[0]
    norm = residual_norm(prior, partition, scanned, x_t, t, clamp)
    assert float(misfit) ** 0.5 == pytest.approx(norm, rel=1e-5)
    slope = gradient / norm
    plain = plain.clamp(min=-1.0) if clamp else plain
    torch.testing.assert_close(moved, plain - 0.5 * slope, atol=1e-5, rtol=1e-4)
    others = [torch.randn(shape, generator=torch.Generator().manual_seed(s)) for s in (3, 4)]
    for direction in (slope / slope.norm(), *(o / o.norm() + slope / slope.norm() for o in others)):
        h = 2e-2
        ends = [
            residual_norm(prior, partition, scanned, x_t + s * h * direction, t, clamp)
            for s in (1, -1)
        ]
        expected = (ends[0] - ends[1]) / (2 * h)
        assert float((slope * direction).sum()) == pytest.approx(expected, rel=0.02, abs=1e-3)


@pytest.mark.parametrize("partition", PARTITIONS, ids=["k3", "jump", "slices", "coronal", "middle"])
@pytest.mark.parametrize("batch_blocks", [1, 100])
def test_the_gradient_of_a_gaussian_prior_is_its_matrix_transposed(
    problem: Problem,
    system: tuple[np.ndarray, np.ndarray],
    partition,
    batch_blocks: int,
) -> None:
    """For x0 = W x_t + o along z: grad |r|^2 / 2 = A'(A x0 - y) W, whatever the slabs."""
    dense, y = system
    middle, t, step = partition.output_slices != slice(None), 300, 0.7
    prior = GaussianPrior(block_slices=partition.blocks.shape[1], middle_alone=middle)
    rows = GaussianPrior(along_rows=True)
    times, partitions = [t, 100], [partition, partition]
    process = reverse_process(
        prior, GradientStep(problem, step), times, partitions, 0.0, batch_blocks,
        coronal_prior=rows,
    )  # fmt: skip
    x_t = random_volume(5)
    w, o = denoiser(rows if partition.axis else prior, partition, ABAR[t], 5)
    x0 = columns(x_t) @ w.T + o
    eps = (columns(x_t) - ABAR[t] ** 0.5 * x0) / (1 - ABAR[t]) ** 0.5
    residual = dense @ x0 - y
    gradient = (dense.T @ residual) @ w / np.linalg.norm(residual)
    expected = ABAR[100] ** 0.5 * x0 + (1 - ABAR[100]) ** 0.5 * eps - step * gradient
    state = process.start(SHAPE, torch.Generator().manual_seed(0))
    state.x, after = x_t.clone(), []
    process.run(state, lambda s: after.append(s.x.clone()))
    np.testing.assert_allclose(columns(after[0]), expected, atol=2e-4)
