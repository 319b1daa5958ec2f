"""The posterior that methods are compared with is the true one, and the figures tell the truth."""

from __future__ import annotations

import numpy as np
import pytest

from gaussian_prior import GaussianPrior, covariance
from posterior_distance import SCHEMES, SHAPE, Posterior

Z, PIXELS = SHAPE[0], SHAPE[1] * SHAPE[2]


@pytest.fixture(scope="module")
def problem() -> Posterior:
    return Posterior.of(4, without_data=False)


def exact_posterior(problem: Posterior) -> tuple[np.ndarray, np.ndarray]:
    """Mean (z y x,) and covariance by conditioning the whole prior on all projections at once."""
    prior = GaussianPrior()
    c = np.kron(covariance(np.arange(Z), prior.variance, prior.correlation), np.eye(PIXELS))
    one = problem.problem.operator.matrix.to_dense().double().numpy()
    a = np.kron(np.eye(Z), one)
    y = problem.problem.y.double().numpy().transpose(1, 0, 2).ravel()
    gain = c @ a.T @ np.linalg.pinv(a @ c @ a.T, rcond=1e-9, hermitian=True)
    return prior.mean + gain @ (y - prior.mean * a.sum(1)), c - gain @ a @ c


def test_mean_spread_and_correlation_are_those_of_the_conditioned_gaussian(
    problem: Posterior,
) -> None:
    mean, cov = exact_posterior(problem)
    np.testing.assert_allclose(problem.mean.ravel(), mean, atol=2e-3)
    np.testing.assert_allclose(problem.sd.ravel(), np.diag(cov).clip(0) ** 0.5, atol=2e-2)
    values, vectors = np.linalg.eigh(cov)
    root = vectors * values.clip(0) ** 0.5
    rng = np.random.default_rng(0)
    draws = [(mean + root @ rng.normal(size=len(mean))).reshape(SHAPE) for _ in range(60)]
    figures = problem.compared(draws)
    assert figures["mean_error"] < 0.03
    assert figures["sd_ratio"] == pytest.approx(1, abs=0.03)
    assert figures["correlation"] == pytest.approx(GaussianPrior().correlation, abs=0.03)
    assert figures["residual"] < 1e-3
    shifted = [d + 0.5 * GaussianPrior().variance ** 0.5 for d in draws]
    assert problem.compared(shifted)["mean_error"] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("name", SCHEMES)
def test_every_method_draws_a_volume(name: str, problem: Posterior) -> None:
    x = problem.sample(SCHEMES[name], 4, seed=1)
    assert x.shape == SHAPE and np.isfinite(x).all()
    np.testing.assert_array_equal(problem.sample(SCHEMES[name], 4, seed=1), x)
    assert np.abs(problem.sample(SCHEMES[name], 4, seed=2) - x).max() > 0.01


def test_without_data_one_block_draws_from_the_prior_itself() -> None:
    free = Posterior.of(4, without_data=True)
    draws = [free.sample(SCHEMES["one block, ancestral"], 100, seed) for seed in range(6)]
    figures = free.compared(draws)
    assert figures["sd_ratio"] == pytest.approx(1, abs=0.06)
    assert figures["correlation"] == pytest.approx(GaussianPrior().correlation, abs=0.05)
