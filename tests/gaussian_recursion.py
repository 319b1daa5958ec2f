"""Mean and covariance of a sampler's result for a Gaussian prior, carried through its recursion.

Every step is affine in the state and the noise, so both follow in closed form. A state is one
column of a volume, (Z,); pixels are independent. Written from the papers' formulas, not the code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from diffusionblend.priors.partition import Partition
from gaussian_prior import GaussianPrior, covariance, posterior_mean

ABAR = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))


@dataclass(frozen=True)
class AffineStep:
    """x -> gain x + shift + spread n, n white: (Z, Z), (Z,), (Z, Z)."""

    gain: np.ndarray
    shift: np.ndarray
    spread: np.ndarray


def nothing(n_slices: int) -> AffineStep:
    return AffineStep(np.eye(n_slices), np.zeros(n_slices), np.zeros((n_slices, n_slices)))


def equal_times(steps: int) -> list[int]:
    return [round(999 - i * 1000 / steps) for i in range(steps)]


def denoiser(
    prior: GaussianPrior, partition: Partition, abar: float, n_slices: int
) -> tuple[np.ndarray, np.ndarray]:
    """W (Z, Z) and o (Z,) in E[x0 | x_t] = W x_t + o, slices of several blocks averaged."""
    if prior.along_rows:
        c = covariance(np.arange(n_slices), prior.variance, prior.correlation)
        w = posterior_mean(c, abar)
        return w, prior.mean * (1 - abar**0.5 * w.sum(1))
    total, count = np.zeros((n_slices, n_slices)), np.zeros(n_slices)
    k = prior.block_slices
    c = covariance(partition.code * np.arange(k), prior.variance, prior.correlation)
    w = posterior_mean(c, abar)
    for block in partition.blocks.numpy():
        for place, i in enumerate(block):
            if prior.middle_alone and place != k // 2:
                continue
            count[i] += 1
            for j, weight in zip(block, w[place], strict=True):
                total[i, j] += weight
    w = total / count[:, None]
    return w, prior.mean * (1 - abar**0.5 * w.sum(1))


def carried(
    prior: GaussianPrior,
    partitions: Sequence[Partition],
    n_slices: int,
    *,
    noise_fraction: float = 0.0,
    ddim_eta: float | None = None,
    estimate: AffineStep | None = None,
    on_state: Callable[[float], AffineStep] | None = None,
    snr: float = 0.0,
    coronal_prior: GaussianPrior | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (Z,) and covariance (Z, Z) of the result, from white noise, at equal times."""
    mean, cov, one = np.zeros(n_slices), np.eye(n_slices), np.eye(n_slices)
    estimate = estimate or nothing(n_slices)
    times = equal_times(len(partitions))
    for i, partition in enumerate(partitions):
        last = i + 1 == len(times)
        abar, after = ABAR[times[i]], 1.0 if last else ABAR[times[i + 1]]
        chosen = coronal_prior if partition.axis else prior
        w, o = denoiser(chosen, partition, abar, n_slices)
        to_eps, eps_o = (one - abar**0.5 * w) / (1 - abar) ** 0.5, -(abar**0.5) * o
        eps_o = eps_o / (1 - abar) ** 0.5
        if ddim_eta is not None:
            variance = ddim_eta**2 * (1 - after) / (1 - abar) * (1 - abar / after)
        else:
            variance = noise_fraction**2 * (1 - after)
        kept = (1 - after - variance) ** 0.5
        m = after**0.5 * estimate.gain @ w + kept * to_eps
        v = after**0.5 * (estimate.gain @ o + estimate.shift) + kept * eps_o
        mean, cov = m @ mean + v, m @ cov @ m.T + variance * one
        if snr and not last:
            w, o = denoiser(chosen, partition, after, n_slices)
            width = (1 - after) ** 0.5
            score, score_o = (after**0.5 * w - one) / width**2, after**0.5 * o / width**2
            h = 2 * (snr * width) ** 2
            m = one + h * score
            mean, cov = m @ mean + h * score_o, m @ cov @ m.T + 2 * h * one
        if on_state is not None:
            step = on_state(after)
            mean = step.gain @ mean + step.shift
            cov = step.gain @ cov @ step.gain.T + step.spread @ step.spread.T
    return mean, cov
