"""The posterior that methods are compared with is the true one, and the figures tell the truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from gaussian_prior import GaussianPrior, covariance, power_law
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


def test_a_power_law_and_a_short_arc_change_the_posterior_as_conditioning_does() -> None:
    """The mean fits the data and lies in the range of C A^T from the prior's."""
    short, prior = Posterior.of(8, arc_degrees=90.0, exponent=2.75), GaussianPrior()
    c = of_waves(SHAPE[1], SHAPE[2], 2.75)
    a = short.problem.operator.matrix.to_dense().double().numpy()
    y = short.problem.y.double().numpy().transpose(1, 0, 2).reshape(Z, -1)
    moved = (short.mean - prior.mean).reshape(Z, -1).T
    np.testing.assert_allclose(a @ (moved + prior.mean), y.T, atol=3e-3)
    weights = np.linalg.lstsq(c @ a.T, moved, rcond=1e-12)[0]
    np.testing.assert_allclose(c @ a.T @ weights, moved, atol=1e-3)
    nearly_exact = a @ c @ a.T + 1e-9 * np.eye(len(a))  # of data with noise of so small a variance
    cov = c - c @ a.T @ np.linalg.solve(nearly_exact, a @ c)
    np.testing.assert_allclose(short.sd[0].ravel() ** 2, np.diag(cov), atol=1e-3)
    assert np.square(short.sd[0]).sum() == pytest.approx(np.trace(cov), rel=0.02)
    root = np.linalg.cholesky(cov + 1e-9 * np.eye(PIXELS))
    white = np.random.default_rng(0).normal(size=(60, Z, PIXELS))
    off = 0.5 * short.sd.mean()
    draws = [short.mean + off + (w @ root.T).reshape(SHAPE) for w in white]
    figures = short.compared(draws)
    assert figures["in_plane"] == pytest.approx(short.in_plane, abs=0.03)
    expected_db = 10 * np.log10(1 + off**2 / np.square(short.sd).mean())
    assert figures["loss_db"] == pytest.approx(expected_db, abs=0.1)


def of_waves(height: int, width: int, exponent: float) -> np.ndarray:
    """The covariance of pixels that are sums of cosines, their powers falling as (1 + f)^-e."""
    waves, powers = [], []
    for f in np.ndindex(height, width):
        both = [
            np.cos(np.pi * k * (np.arange(n) + 0.5) / n)
            for k, n in zip(f, (height, width), strict=True)
        ]
        waves.append(np.outer(*both).ravel() / np.linalg.norm(np.outer(*both)))
        powers.append((1 + np.hypot(*f)) ** -exponent)
    scaled = np.array(powers) * GaussianPrior().variance / np.mean(powers)
    return np.einsum("fi,f,fj->ij", waves, scaled, waves)


@pytest.mark.parametrize("kind", ["joint", "one between clean ones", "one beside a clean one"])
def test_scores_of_a_spectrum_are_those_of_bayes(kind: str) -> None:
    t, of_slice, n = 400, of_waves(4, 5, 2.75), 20
    prior = GaussianPrior(
        spectrum=power_law((4, 5), 2.75, GaussianPrior().variance),
        clean_neighbours=kind != "joint",
    )
    abar = float(prior.schedule.alpha_bar[t])
    x = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    if kind == "one beside a clean one":
        x[:, 2] = x[:, 0]
    known = [0, 1] if kind == "one beside a clean one" else [0, 1, 2]
    noisy = [kind == "joint" or i == 1 for i in known]
    c = np.kron(covariance(np.array(known), 1.0, prior.correlation), of_slice)
    gain = np.repeat([abar**0.5 if one else 1.0 for one in noisy], n)
    noise = np.repeat([1 - abar if one else 1e-12 for one in noisy], n)
    weights = c * gain @ np.linalg.inv(gain[:, None] * c * gain + np.diag(noise))
    seen = x[:, known].flatten(1).numpy() - gain * prior.mean
    expected = (prior.mean + seen @ weights.T).reshape(2, len(known), 4, 5)
    expected = expected if kind == "joint" else expected[:, 1:2]
    np.testing.assert_allclose(prior.denoise(x, t, 1)[0].numpy(), expected, atol=1e-4)


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
