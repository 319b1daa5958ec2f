"""The loop with a dual variable against its recursion, written out in numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.methods import DiffusionBlendPP
from diffusionblend.methods.diffusion.consistency.base import ConsistencyStep
from diffusionblend.methods.diffusion.loop import ReverseLoop
from diffusionblend.methods.diffusion.timesteps import sampling_timesteps
from gaussian_prior import GaussianPrior, covariance, posterior_mean
from reverse_process import reverse_process

Z = 6
SHAPE = (Z, 8, 8)
STEPS = 9
ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
GAIN = 0.7 * np.eye(Z) + 0.2 * np.eye(Z, k=1)
SHIFT = np.linspace(-0.4, 0.6, Z)


class Affine(ConsistencyStep):
    """A consistency step that is affine in the slices."""

    def __init__(self, gain: np.ndarray, couples_slices: bool) -> None:
        self.gain, self.couples_slices = gain, couples_slices

    def __call__(self, x0: torch.Tensor, slices: slice) -> torch.Tensor:
        gain = torch.as_tensor(self.gain[slices, slices], dtype=x0.dtype)
        shift = torch.as_tensor(SHIFT[slices], dtype=x0.dtype)
        return torch.einsum("ij,jyx->iyx", gain, x0) + shift[:, None, None]


def coupled() -> Affine:
    return Affine(GAIN, couples_slices=True)


def slicewise() -> Affine:
    return Affine(np.diag(np.linspace(0.3, 0.9, Z)), couples_slices=False)


def by_hand(
    prior: GaussianPrior,
    step: Affine,
    start: np.ndarray,
    times: list[int],
    damping: float,
    lowest: float,
    tail_average_below: int,
) -> np.ndarray:
    """The result (Z, pixels), in float64, with adjacent blocks that never change."""
    estimates = []
    w = np.zeros((Z, Z))
    x, u = start.reshape(Z, -1).astype(np.float64), 0.0
    for i, t in enumerate(times):
        a = ABAR[t]
        for first in range(0, Z, 3):
            block = slice(first, first + 3)
            cov = covariance(np.arange(3), prior.variance, prior.correlation)
            w[block, block] = posterior_mean(cov, a)
        x0 = prior.mean + w @ (x - a**0.5 * prior.mean)
        eps = (x - a**0.5 * x0) / (1 - a) ** 0.5
        wanted = np.maximum(x0, lowest) + u
        data = step.gain @ wanted + SHIFT[:, None]
        u = damping * (wanted - data)
        if t < tail_average_below or i + 1 == len(times):
            estimates.append(data)
        if i + 1 == len(times):
            return np.mean(estimates, axis=0)
        after = ABAR[times[i + 1]]
        x = after**0.5 * (data - u) + (1 - after) ** 0.5 * eps
    raise AssertionError


@pytest.mark.parametrize("make", [coupled, slicewise])
@pytest.mark.parametrize("damping", [0.0, 0.5, 0.95])
@pytest.mark.parametrize("lowest", [-10.0, 0.2])
@pytest.mark.parametrize(
    ("batch_blocks", "tail_average_below"), [(1, 0), (1, 500), (100, 500), (100, 1)]
)
def test_every_step_is_the_formula(
    make: Callable[[], Affine],
    damping: float,
    lowest: float,
    batch_blocks: int,
    tail_average_below: int,
) -> None:
    from diffusionblend.priors.partition import make_partition

    prior, step = GaussianPrior(), make()
    times = sampling_timesteps(STEPS, 1000)
    partitions = [make_partition(Z, 3, 1, 0)] * STEPS
    process = reverse_process(
        *(prior, step, times, partitions, 0.0, batch_blocks),
        dual_damping=damping,
        lowest=lowest,
        tail_average_below=tail_average_below,
    )
    state = process.start(SHAPE, torch.Generator().manual_seed(3))
    assert (state.dual is None) == (damping == 0)
    start = state.x.clone().numpy()
    got = process.run(state)
    expected = by_hand(prior, step, start, times, damping, lowest, tail_average_below)
    np.testing.assert_allclose(got.reshape(Z, -1).numpy(), expected, atol=3e-4)


def test_a_step_begins_at_the_estimate_without_the_dual_variable() -> None:
    """Which is nearer to the result than that with it, whatever the dual variable has become."""
    begun: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Told(Affine):
        def begun_at(self, start: torch.Tensor, x0: torch.Tensor, slices: slice) -> torch.Tensor:
            begun.append((start, x0))
            return self(x0, slices)

    step = Told(GAIN, couples_slices=True)
    loop = ReverseLoop([0.1, 0.5, 0.9], step, dual_damping=0.9, lowest=-0.5)
    x0, dual = torch.randn(SHAPE), torch.zeros(SHAPE)
    for _ in range(3):
        before = dual.clone()
        loop._consistent(x0, slice(0, Z), dual)
        start, wanted = begun[-1]
        torch.testing.assert_close(start, x0.clamp(min=-0.5))
        torch.testing.assert_close(wanted, start + before)
    assert before.abs().max() > 0.1


@pytest.mark.parametrize("bad", [-0.1, 1.0, 2.0])
def test_an_impossible_damping_is_refused(bad: float) -> None:
    with pytest.raises(InputError, match="dual_damping"):
        DiffusionBlendPP(dual_damping=bad)
