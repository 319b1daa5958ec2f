"""A block prior whose score is exact: every pixel of a volume is a Gaussian process along z.

Pixels are independent; the slices of one have the mean m and the covariance C_ij = v r^|i - j| (an
AR(1) process). A block of slices i, i + code, ... then has C_ij = v r^(code |i - j|), and the
denoiser is linear. A coronal slice has that process along its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from diffusionblend.priors.schedule import NoiseSchedule


def covariance(slices: np.ndarray, variance: float, correlation: float) -> np.ndarray:
    """C of the given slice numbers (n,), shape (n, n)."""
    slices = np.asarray(slices)
    return variance * correlation ** np.abs(slices[:, None] - slices[None, :])


def posterior_mean(c: np.ndarray, abar: float) -> np.ndarray:
    """W (n, n) in E[x0 | x_t] = m + W (x_t - sqrt(abar) m) for x0 ~ N(m, c), by Bayes."""
    return abar**0.5 * c @ np.linalg.inv(abar * c + (1 - abar) * np.eye(len(c)))


@dataclass
class GaussianPrior:
    """A `BlockDenoiser` with the exact posterior mean; `seen` notes every call's input.

    middle_alone: give back the middle slice of each block. along_rows: each slice by itself, the
    process running along its rows.
    """

    block_slices: int = 3
    mean: float = 0.3
    variance: float = 0.5
    correlation: float = 0.8
    middle_alone: bool = False
    along_rows: bool = False
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    seen: list[tuple[torch.Tensor, int, int]] = field(default_factory=list)

    def denoise(self, x_t: torch.Tensor, t: int, code: int) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps of blocks x_t (B, k, H, W); every voxel by the same sums, whatever B."""
        self.seen.append((x_t.clone(), t, code))
        abar = float(self.schedule.alpha_bar[t])
        n = x_t.shape[-2] if self.along_rows else self.block_slices
        numbers = code * np.arange(n)
        w = posterior_mean(covariance(numbers, self.variance, self.correlation), abar)
        centred = x_t - abar**0.5 * self.mean
        x0 = torch.full_like(x_t, self.mean)
        if self.along_rows:
            x0 = x0 + torch.einsum("ij,bkjx->bkix", torch.as_tensor(w).to(x_t), centred)
        else:
            for i in range(n):
                for j in range(n):
                    x0[:, i] += float(w[i, j]) * centred[:, j]
        eps = (x_t - abar**0.5 * x0) / (1 - abar) ** 0.5
        given = slice(n // 2, n // 2 + 1) if self.middle_alone else slice(None)
        return x0[:, given], eps[:, given]
