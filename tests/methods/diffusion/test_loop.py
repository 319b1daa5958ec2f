"""The reverse loop with a Gaussian prior, for which all that it does has a closed form."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import pytest
import torch

from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.executor import Executor
from diffusionblend.methods.diffusion.loop import ReverseLoop
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from diffusionblend.priors.partition import Partition, draw_partitions, make_partition
from gaussian_prior import GaussianPrior, covariance, posterior_mean
from reverse_process import ReverseProcess, reverse_process
from tiny_network import random_prior

Z = 7
SHAPE = (Z, 64, 64)
"""Each of the 4096 pixels is an independent draw of Z slices."""

KEEPING = {"dual_damping": 0.6, "tail_average_below": 400}
"""A dual variable and a sum, which a resumed run and other ranks need too."""

ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


@dataclass
class Affine(ConsistencyStep):
    """A consistency step that is affine in the slices; notes what it returned."""

    gain: np.ndarray
    shift: np.ndarray
    couples_slices: bool
    returned: list[torch.Tensor] = field(default_factory=list)

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        gain = torch.as_tensor(self.gain[slices, slices], dtype=x0.dtype)
        shift = torch.as_tensor(self.shift[slices], dtype=x0.dtype)
        moved = torch.einsum("ij,jyx->iyx", gain, x0) + shift[:, None, None]
        self.returned.append(moved)
        return moved


SHIFT = np.linspace(-0.5, 1.0, Z)
MIXING = 0.6 * np.eye(Z) + 0.15 * np.eye(Z, k=1) - 0.1 * np.eye(Z, k=-2)
SCALING = np.diag(np.linspace(0.4, 0.8, Z))


def unchanged() -> Affine:
    return Affine(np.eye(Z), np.zeros(Z), couples_slices=False)


def coupled() -> Affine:
    """Mixes the slices."""
    return Affine(MIXING, SHIFT, couples_slices=True)


def slicewise() -> Affine:
    """Treats every slice alone, each in its own way."""
    return Affine(SCALING, SHIFT, couples_slices=False)


def drawn_partitions(n: int, k: int = 3, n_slices: int = Z) -> list[Partition]:
    generator = torch.Generator().manual_seed(99)
    drawn = draw_partitions(
        n_slices, k, kind="alternating", jump_stride=2, jump_every=2, generator=generator
    )
    return list(islice(drawn, n))


def process(
    prior: GaussianPrior,
    partitions: list[Partition],
    consistency: Affine | None = None,
    *,
    noise_fraction: float = 0.85,
    batch_blocks: int = 100,
    **options: float,
) -> ReverseProcess:
    times = sampling_timesteps(len(partitions), 1000)
    step = consistency or unchanged()
    return reverse_process(prior, step, times, partitions, noise_fraction, batch_blocks, **options)


def run(
    prior: GaussianPrior,
    partitions: list[Partition],
    consistency: Affine | None = None,
    *,
    seed: int = 5,
    shape: tuple[int, int, int] = SHAPE,
    **options: float,
) -> torch.Tensor:
    whole = process(prior, partitions, consistency, **options)
    x = whole.run(whole.start(shape, torch.Generator().manual_seed(seed)))
    assert whole.executor.evaluations == len(partitions)
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
    """Mean (Z,) and covariance (Z, Z) of the loop's result, carried from step to step."""
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
@pytest.mark.parametrize("make", [unchanged, coupled, slicewise])
@pytest.mark.parametrize("steps", [4, 25])
def test_mean_and_covariance_follow_the_closed_form(
    eta: float, make: Callable[[], Affine], steps: int
) -> None:
    consistency = make()
    prior, partitions = GaussianPrior(), drawn_partitions(steps)
    mean, cov = closed_form(prior, partitions, consistency.gain, consistency.shift, eta)
    x = run(prior, partitions, consistency, noise_fraction=eta)
    assert_distribution(x, mean, cov, slack=1e-4)


def test_closed_form_detects_wrong_noise() -> None:
    """The statistical test has the power that it needs."""
    prior, partitions = GaussianPrior(), drawn_partitions(25)
    mean, cov = closed_form(prior, partitions, np.eye(Z), np.zeros(Z), (1 - 0.85**2) ** 0.5)
    with pytest.raises(AssertionError):
        assert_distribution(run(prior, partitions), mean, cov, slack=1e-4)


def volume_of(partition: Partition, blocks: torch.Tensor) -> torch.Tensor:
    """The volume that the blocks of one call were gathered from."""
    (slab,) = partition.slabs(len(blocks))
    x = torch.full((Z, *blocks.shape[2:]), float("nan"), dtype=blocks.dtype)
    for block, numbers in zip(blocks, slab.partition.blocks.tolist(), strict=True):
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
    last = run(prior, partitions, coupled(), noise_fraction=0.0)
    for x0, eps, following, abar in steps_of(prior, partitions, last, MIXING, SHIFT):
        expected = x0 if abar is None else abar**0.5 * x0 + (1 - abar) ** 0.5 * eps
        np.testing.assert_allclose(following, expected, atol=2e-4, rtol=0)


def test_fresh_noise_of_every_step_is_white_and_of_the_right_size() -> None:
    eta = 0.85
    prior, partitions = GaussianPrior(), drawn_partitions(10)
    last = run(prior, partitions, coupled(), noise_fraction=eta)
    drawn = []
    for x0, eps, following, abar in steps_of(prior, partitions, last, MIXING, SHIFT):
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
    x = run(prior, [partition] * 400, noise_fraction=0.0)
    assert_distribution(x, np.full(Z, prior.mean), target, slack=0.02 * prior.variance)


def test_it_starts_from_white_noise() -> None:
    prior = GaussianPrior()
    partition = make_partition(Z, 3, 1, 0)
    run(prior, [partition])
    assert_distribution(volume_of(partition, prior.seen[0][0]), np.zeros(Z), np.eye(Z), slack=0)


@pytest.mark.parametrize("make", [coupled, slicewise])
@pytest.mark.parametrize("batch_blocks", [1, 2, 3])
def test_batch_size_does_not_change_the_result(
    batch_blocks: int, make: Callable[[], Affine]
) -> None:
    prior, partitions = GaussianPrior(), drawn_partitions(12)
    together = run(prior, partitions, make())
    prior.seen.clear()
    apart = run(prior, partitions, make(), batch_blocks=batch_blocks)
    torch.testing.assert_close(apart, together, atol=1e-6, rtol=0)
    assert max(len(x) for x, *_ in prior.seen) <= batch_blocks


@pytest.mark.parametrize("make", [coupled, slicewise])
@pytest.mark.parametrize("stopped_after", [1, 4, 11])
def test_a_run_resumed_from_a_state_ends_where_the_whole_run_does(
    make: Callable[[], Affine], stopped_after: int
) -> None:
    partitions = drawn_partitions(12)
    whole = run(GaussianPrior(), partitions, make(), **KEEPING)
    kept: list[State] = []

    def keep(state: State) -> None:
        if state.done == stopped_after:
            kept.append(deepcopy(state))

    first = process(GaussianPrior(), partitions, make(), **KEEPING)
    first.run(first.start(SHAPE, torch.Generator().manual_seed(5)), keep)
    second = process(GaussianPrior(), partitions, make(), **KEEPING)
    assert torch.equal(second.run(kept[0]), whole)
    assert second.executor.evaluations == 12 - stopped_after


def test_an_initial_image_is_noised_to_the_first_timestep() -> None:
    partitions = drawn_partitions(4)
    times = sampling_timesteps(4, 1000, first=299)
    image = torch.linspace(-1, 1, Z)[:, None, None].expand(SHAPE)
    whole = reverse_process(GaussianPrior(), unchanged(), times, partitions, 0.85, 100)
    x = whole.start(SHAPE, torch.Generator().manual_seed(0), image).x
    mean = ABAR[299] ** 0.5 * np.linspace(-1, 1, Z)
    assert_distribution(x, mean, (1 - ABAR[299]) * np.eye(Z), slack=0)


def test_batch_size_changes_a_network_result_by_rounding_alone() -> None:
    prior, shape = random_prior(), (8, 16, 16)
    partitions = drawn_partitions(4, n_slices=8)
    step = Affine(np.eye(8), np.zeros(8), couples_slices=False)
    one, many = (run(prior, partitions, step, shape=shape, batch_blocks=b) for b in (1, 100))
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
    consistency = coupled()
    x = run(GaussianPrior(), drawn_partitions(5), consistency)
    assert len(consistency.returned) == 5
    assert torch.equal(x, consistency.returned[-1])


def test_codes_timesteps_and_progress_come_in_order() -> None:
    prior, partitions, steps = GaussianPrior(), drawn_partitions(8), []
    whole = process(prior, partitions)
    start = whole.start(SHAPE, torch.Generator().manual_seed(5))
    whole.run(start, lambda state: steps.append(state.done))
    assert [code for _, _, code in prior.seen] == [1, 2] * 4
    assert [t for _, t, _ in prior.seen] == [999, 874, 749, 624, 499, 374, 249, 124]
    assert steps == list(range(1, 9))


def test_overlapping_blocks_are_averaged() -> None:
    prior = GaussianPrior()
    partition = make_partition(Z, 3, 1, 2)
    assert partition.blocks.numel() > Z
    x = run(prior, [partition], shape=(Z, 4, 4))
    w = denoiser_matrix(prior, partition, ABAR[999])
    noise = volume_of(partition, prior.seen[0][0]).numpy()
    expected = prior.mean + np.einsum("ij,jyx->iyx", w, noise - ABAR[999] ** 0.5 * prior.mean)
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-5)


def test_neither_loop_nor_executor_takes_a_reference() -> None:
    assert set(inspect.signature(ReverseLoop).parameters) == {
        "abar", "consistency", "noise_fraction", "ddim_eta", "dual_damping", "lowest", "averaged",
        "corrector_snr",
    }  # fmt: skip
    assert set(inspect.signature(Executor).parameters) == {
        "prior", "times", "partitions", "batch_blocks", "device", "ranks", "position_unit",
        "coronal_prior", "evaluations",
    }  # fmt: skip
