"""The reverse loop with a Gaussian prior, for which all that it does has a closed form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.sampler import denoise_volume, sample, sampling_timesteps
from diffusionblend.priors.partition import Partition, draw_partitions, make_partition
from gaussian_prior import GaussianPrior, covariance, posterior_mean
from tiny_network import random_prior

Z = 7
SHAPE = (Z, 64, 64)
"""Each of the 4096 pixels is an independent draw of Z slices."""

ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


def unchanged(x0: torch.Tensor) -> torch.Tensor:
    return x0


GAIN = 0.6 * np.eye(Z) + 0.15 * np.eye(Z, k=1) - 0.1 * np.eye(Z, k=-2)
SHIFT = np.linspace(-0.5, 1.0, Z)


def towards_data(x0: torch.Tensor) -> torch.Tensor:
    """An affine consistency step that mixes the slices."""
    gain, shift = (torch.as_tensor(a, dtype=x0.dtype) for a in (GAIN, SHIFT))
    return torch.einsum("ij,jyx->iyx", gain, x0) + shift[:, None, None]


CONSISTENCIES = {
    "unchanged": (unchanged, np.eye(Z), np.zeros(Z)),
    "affine": (towards_data, GAIN, SHIFT),
}


def drawn_partitions(n: int, k: int = 3, n_slices: int = Z) -> list[Partition]:
    generator = torch.Generator().manual_seed(99)
    drawn = draw_partitions(
        n_slices, k, kind="alternating", jump_stride=2, jump_every=2, generator=generator
    )
    return list(islice(drawn, n))


def run(
    prior: GaussianPrior,
    partitions: list[Partition],
    consistency: Callable[[torch.Tensor], torch.Tensor] = unchanged,
    *,
    eta: float = 0.85,
    seed: int = 5,
    batch_blocks: int = 100,
    shape: tuple[int, int, int] = SHAPE,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> torch.Tensor:
    x, cost = sample(
        prior,
        shape,
        iter(partitions),
        consistency,
        steps=len(partitions),
        eta=eta,
        generator=torch.Generator().manual_seed(seed),
        batch_blocks=batch_blocks,
        on_step=on_step,
    )
    assert cost.network_calls == len(partitions)
    return x


def denoiser_matrix(prior: GaussianPrior, partition: Partition, abar: float) -> np.ndarray:
    """W (Z, Z) of a whole partition: block by block, slices of several blocks averaged."""
    total, count = np.zeros((Z, Z)), np.zeros(Z)
    for block in partition.blocks.numpy():
        w = posterior_mean(covariance(block, prior.variance, prior.correlation), abar)
        total[np.ix_(block, block)] += w
        count[block] += 1
    return total / count[:, None]


def closed_form(
    prior: GaussianPrior,
    partitions: list[Partition],
    gain: np.ndarray,
    shift: np.ndarray,
    eta: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (Z,) and covariance (Z, Z) of the sampler's result, carried from step to step."""
    mean, cov = np.zeros(Z), np.eye(Z)
    n = len(partitions)
    times = [round(999 - i * 1000 / n) for i in range(n)]
    for i, partition in enumerate(partitions):
        abar = ABAR[times[i]]
        w = denoiser_matrix(prior, partition, abar)
        offset = prior.mean * (np.ones(Z) - abar**0.5 * w @ np.ones(Z))
        to_eps = (np.eye(Z) - abar**0.5 * w) / (1 - abar) ** 0.5
        eps_offset = -(abar**0.5) * offset / (1 - abar) ** 0.5
        matrix, vector, fresh = gain @ w, gain @ offset + shift, 0.0
        if i + 1 < n:
            after = ABAR[times[i + 1]]
            kept = (1 - after) ** 0.5 * (1 - eta**2) ** 0.5
            matrix = after**0.5 * matrix + kept * to_eps
            vector = after**0.5 * vector + kept * eps_offset
            fresh = (1 - after) * eta**2
        mean, cov = matrix @ mean + vector, matrix @ cov @ matrix.T + fresh * np.eye(Z)
    return mean, cov


def assert_distribution(x: torch.Tensor, mean: np.ndarray, cov: np.ndarray, slack: float) -> None:
    """Mean and covariance over the pixels within 5 standard errors (and `slack`)."""
    pixels = x.reshape(Z, -1).double().numpy()
    n = pixels.shape[1]
    variance = np.diag(cov)
    mean_error = np.sqrt(variance / n)
    cov_error = np.sqrt((np.outer(variance, variance) + cov**2) / n)
    assert (np.abs(pixels.mean(1) - mean) < 5 * mean_error + slack).all()
    assert (np.abs(np.cov(pixels) - cov) < 5 * cov_error + slack).all()


@pytest.mark.parametrize("eta", [0.0, 0.85, 1.0])
@pytest.mark.parametrize("name", CONSISTENCIES)
@pytest.mark.parametrize("steps", [4, 25])
def test_mean_and_covariance_follow_the_closed_form(eta: float, name: str, steps: int) -> None:
    consistency, gain, shift = CONSISTENCIES[name]
    prior, partitions = GaussianPrior(), drawn_partitions(steps)
    mean, cov = closed_form(prior, partitions, gain, shift, eta)
    x = run(prior, partitions, consistency, eta=eta)
    assert_distribution(x, mean, cov, slack=1e-4)


def test_closed_form_tells_wrong_noise_apart() -> None:
    """The statistical test has the power that it needs."""
    prior, partitions = GaussianPrior(), drawn_partitions(25)
    _, gain, shift = CONSISTENCIES["unchanged"]
    mean, cov = closed_form(prior, partitions, gain, shift, (1 - 0.85**2) ** 0.5)
    with pytest.raises(AssertionError):
        assert_distribution(run(prior, partitions), mean, cov, slack=1e-4)


def volume_of(partition: Partition, blocks: torch.Tensor) -> torch.Tensor:
    """The volume that blocks were gathered from."""
    x = torch.full((Z, *blocks.shape[2:]), float("nan"), dtype=blocks.dtype)
    for block, numbers in zip(blocks, partition.blocks.tolist(), strict=True):
        x[numbers] = block
    assert x.isfinite().all()
    return x


def steps_of(
    prior: GaussianPrior,
    partitions: list[Partition],
    last: torch.Tensor,
    gain: np.ndarray,
    shift: np.ndarray,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, float | None]]:
    """For each step: consistent x0', eps, the next volume (Z, pixels), and its abar in float64."""
    volumes = [volume_of(p, x) for p, (x, *_) in zip(partitions, prior.seen, strict=True)]
    n = len(volumes)
    times = [round(999 - i * 1000 / n) for i in range(n)]
    flat = [v.reshape(Z, -1).double().numpy() for v in (*volumes, last)]
    for i, partition in enumerate(partitions):
        abar = ABAR[times[i]]
        w = denoiser_matrix(prior, partition, abar)
        x0 = prior.mean + w @ (flat[i] - abar**0.5 * prior.mean)
        eps = (flat[i] - abar**0.5 * x0) / (1 - abar) ** 0.5
        consistent = gain @ x0 + shift[:, None]
        yield consistent, eps, flat[i + 1], ABAR[times[i + 1]] if i + 1 < n else None


def test_without_fresh_noise_every_step_is_the_formula_exactly() -> None:
    prior, partitions = GaussianPrior(), drawn_partitions(20)
    last = run(prior, partitions, towards_data, eta=0.0)
    for x0, eps, following, abar in steps_of(prior, partitions, last, GAIN, SHIFT):
        expected = x0 if abar is None else abar**0.5 * x0 + (1 - abar) ** 0.5 * eps
        np.testing.assert_allclose(following, expected, atol=2e-4, rtol=0)


def test_fresh_noise_of_every_step_is_white_and_of_the_right_size() -> None:
    eta = 0.85
    prior, partitions = GaussianPrior(), drawn_partitions(10)
    last = run(prior, partitions, towards_data, eta=eta)
    drawn = []
    for x0, eps, following, abar in steps_of(prior, partitions, last, GAIN, SHIFT):
        if abar is None:
            np.testing.assert_allclose(following, x0, atol=2e-4, rtol=0)
            continue
        kept = abar**0.5 * x0 + (1 - abar) ** 0.5 * (1 - eta**2) ** 0.5 * eps
        z = (following - kept) / ((1 - abar) ** 0.5 * eta)
        n = z.shape[1]
        assert abs(z.mean()) < 5 / (Z * n) ** 0.5
        assert (np.abs(np.cov(z) - np.eye(Z)) < 5 * (2 / n) ** 0.5).all()
        for earlier in (x0, eps, *drawn):
            rows = [np.corrcoef(a, b)[0, 1] for a, b in zip(z, earlier, strict=True)]
            assert np.abs(rows).max() < 5 / n**0.5
        drawn.append(z)
    assert len(drawn) == 9


def test_one_block_of_all_slices_samples_the_prior_itself() -> None:
    prior = GaussianPrior(block_slices=Z)
    target = covariance(np.arange(Z), prior.variance, prior.correlation)
    partition = make_partition(Z, Z, 1, 0)
    gaps = []
    for steps in (10, 40, 400):
        _, cov = closed_form(prior, [partition] * steps, np.eye(Z), np.zeros(Z), 0.0)
        gaps.append(np.abs(cov - target).max())
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 0.02 * prior.variance
    x = run(prior, [partition] * 400, eta=0.0)
    assert_distribution(x, np.full(Z, prior.mean), target, slack=0.02 * prior.variance)


def test_it_starts_from_white_noise() -> None:
    prior = GaussianPrior()
    partition = make_partition(Z, 3, 1, 0)
    run(prior, [partition])
    assert_distribution(volume_of(partition, prior.seen[0][0]), np.zeros(Z), np.eye(Z), slack=0)


@pytest.mark.parametrize("batch_blocks", [1, 2, 3])
def test_batch_size_does_not_change_the_result(batch_blocks: int) -> None:
    prior, partitions = GaussianPrior(), drawn_partitions(12)
    together = run(prior, partitions)
    assert len(prior.seen) == 12
    prior.seen.clear()
    assert torch.equal(run(prior, partitions, batch_blocks=batch_blocks), together)
    assert max(len(x) for x, *_ in prior.seen) <= batch_blocks


def test_batch_size_changes_a_network_result_by_rounding_alone() -> None:
    prior, shape = random_prior(), (8, 16, 16)
    partitions = drawn_partitions(4, n_slices=8)
    one, many = (run(prior, partitions, shape=shape, batch_blocks=b) for b in (1, 100))
    torch.testing.assert_close(one, many, atol=1e-5 * float(many.abs().max()), rtol=0)


def test_a_seed_decides_the_volume() -> None:
    prior, partitions = GaussianPrior(), drawn_partitions(5)
    one, again, other = (run(prior, partitions, seed=s) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert (one - other).abs().mean() > 0.1


def test_global_randomness_is_neither_used_nor_changed() -> None:
    prior, partitions = GaussianPrior(), drawn_partitions(5)
    torch.manual_seed(1)
    one = run(prior, partitions)
    torch.manual_seed(2)
    before = torch.get_rng_state()
    assert torch.equal(run(prior, partitions), one)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_last_step_returns_the_consistent_estimate_itself() -> None:
    returned = []

    def consistency(x0: torch.Tensor) -> torch.Tensor:
        returned.append(towards_data(x0))
        return returned[-1]

    x = run(GaussianPrior(), drawn_partitions(5), consistency)
    assert len(returned) == 5
    assert torch.equal(x, returned[-1])


def test_codes_timesteps_and_progress_come_in_order() -> None:
    prior, partitions, steps = GaussianPrior(), drawn_partitions(8), []
    run(prior, partitions, on_step=lambda done, total: steps.append((done, total)))
    assert [code for _, _, code in prior.seen] == [1, 2] * 4
    assert [t for _, t, _ in prior.seen] == [999, 874, 749, 624, 499, 374, 249, 124]
    assert steps == [(i, 8) for i in range(1, 9)]


def test_overlapping_blocks_are_averaged() -> None:
    prior = GaussianPrior()
    partition = make_partition(Z, 3, 1, 2)
    assert partition.blocks.numel() > Z
    x = torch.randn(Z, 4, 4, generator=torch.Generator().manual_seed(0))
    x0, eps = denoise_volume(prior, x, 300, partition, 2)
    w = denoiser_matrix(prior, partition, ABAR[300])
    expected = prior.mean + np.einsum("ij,jyx->iyx", w, x.numpy() - ABAR[300] ** 0.5 * prior.mean)
    np.testing.assert_allclose(x0.numpy(), expected, atol=1e-5)
    recombined = ABAR[300] ** 0.5 * x0 + (1 - ABAR[300]) ** 0.5 * eps
    torch.testing.assert_close(recombined, x, atol=1e-5, rtol=0, check_dtype=False)


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 200, 667, 999, 1000])
def test_timesteps_fall_evenly_from_the_last_and_never_repeat(steps: int) -> None:
    times = sampling_timesteps(steps, 1000)
    assert times[0] == 999
    assert len(times) == steps
    assert times[-1] == pytest.approx(1000 / steps - 1, abs=0.51)
    gaps = -np.diff([*times, -1])
    assert (np.abs(gaps - 1000 / steps) <= 1).all()
    assert (gaps >= 1).all()


@pytest.mark.parametrize("steps", [0, -1, 1001, 3000])
def test_impossible_numbers_of_steps_are_refused(steps: int) -> None:
    with pytest.raises(InputError, match="steps"):
        sampling_timesteps(steps, 1000)


def test_the_sampler_takes_no_reference() -> None:
    assert set(inspect.signature(sample).parameters) == {
        "prior", "shape", "partitions", "consistency", "steps", "eta", "generator",
        "batch_blocks", "device", "on_step",
    }  # fmt: skip
