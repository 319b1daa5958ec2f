"""A block prior whose score is exact: every pixel of a volume is a Gaussian process along z.

Pixels are independent; the slices of one have the mean m and the covariance C_ij = v r^|i - j| (an
AR(1) process). A block of slices i, i + code, ... then has C_ij = v r^(code |i - j|), and the
denoiser is linear. A coronal slice has that process along its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.fft import dct

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

    middle_alone: give back the middle slice of each block. clean_neighbours: likewise, the other
    two being clean, and one alone where they are equal. spectrum: variances (y, x) of the
    coefficients of a slice's cosine transform, in place of those of its pixels. along_rows: each
    slice by itself, the process running along its rows.
    """

    block_slices: int = 3
    mean: float = 0.3
    variance: float = 0.5
    correlation: float = 0.8
    middle_alone: bool = False
    clean_neighbours: bool = False
    spectrum: np.ndarray | None = None
    along_rows: bool = False
    schedule: NoiseSchedule = field(default_factory=NoiseSchedule)
    seen: list[tuple[torch.Tensor, int, int]] = field(default_factory=list)

    def denoise(self, x_t: torch.Tensor, t: int, code: int) -> tuple[torch.Tensor, torch.Tensor]:
        """x0 and eps of blocks x_t (B, k, H, W); every voxel by the same sums, whatever B."""
        self.seen.append((x_t.clone(), t, code))
        abar = float(self.schedule.alpha_bar[t])
        n = x_t.shape[-2] if self.along_rows else self.block_slices
        if self.clean_neighbours:
            x0 = x_t.clone()
            x0[:, 1] = self.mean + self._given_neighbours(x_t, abar)
        elif self.spectrum is not None:
            x0 = self.mean + self._by_frequency(x_t - abar**0.5 * self.mean, abar, code)
        else:
            w = posterior_mean(
                covariance(code * np.arange(n), self.variance, self.correlation), abar
            )
            x0 = self.mean + self._alike(x_t - abar**0.5 * self.mean, w)
        eps = (x_t - abar**0.5 * x0) / (1 - abar) ** 0.5
        alone = self.middle_alone or self.clean_neighbours
        given = slice(n // 2, n // 2 + 1) if alone else slice(None)
        return x0[:, given], eps[:, given]

    def _alike(self, centred: torch.Tensor, w: np.ndarray) -> torch.Tensor:
        """W applied along the slices of blocks, or along the rows, of every pixel alike."""
        if self.along_rows:
            return torch.einsum("ij,bkjx->bkix", torch.as_tensor(w).to(centred), centred)
        found = torch.zeros_like(centred)
        for i in range(len(w)):
            for j in range(len(w)):
                found[:, i] += float(w[i, j]) * centred[:, j]
        return found

    def _by_frequency(self, centred: torch.Tensor, abar: float, code: int) -> torch.Tensor:
        """The same for every coefficient of the slices' cosine transform, by its variance."""
        c = covariance(code * np.arange(self.block_slices), 1.0, self.correlation)
        values, vectors = (torch.as_tensor(part).to(centred) for part in np.linalg.eigh(c))
        own = torch.einsum("ji,bjyx->biyx", vectors, cosine_transform(centred))
        variance = values[:, None, None] * torch.as_tensor(self.spectrum).to(centred)
        own = own * (abar**0.5 * variance / (abar * variance + 1 - abar))
        return cosine_transform(torch.einsum("ij,bjyx->biyx", vectors, own), inverse=True)

    def _given_neighbours(self, x_t: torch.Tensor, abar: float) -> torch.Tensor:
        """The middle slice less the mean, given both others clean, or one where they are equal."""
        r = self.correlation
        below, above = x_t[:, 0] - self.mean, x_t[:, 2] - self.mean
        one = (below == above).flatten(1).all(1)[:, None, None]
        expected = torch.where(one, r * below, r / (1 + r**2) * (below + above))
        left = torch.where(one, 1 - r**2, (1 - r**2) / (1 + r**2))
        seen = x_t[:, 1] / abar**0.5 - self.mean - expected  # of noise (1 - abar) / abar
        if self.spectrum is None:
            gain = left * self.variance / (left * self.variance + (1 - abar) / abar)
            return expected + gain * seen
        variance = left * torch.as_tensor(self.spectrum).to(x_t)
        gain = variance / (variance + (1 - abar) / abar)
        return expected + cosine_transform(gain * cosine_transform(seen), inverse=True)


def cosine_transform(x: torch.Tensor, *, inverse: bool = False) -> torch.Tensor:
    """The orthonormal cosine transform of the last two axes, or its inverse."""
    rows, columns = (
        torch.as_tensor(dct(np.eye(n), norm="ortho", axis=0)).to(x) for n in x.shape[-2:]
    )
    return rows.T @ x @ columns if inverse else rows @ x @ columns.T


def power_law(shape: tuple[int, int], exponent: float, variance: float) -> np.ndarray:
    """Variances (y, x) falling as (1 + f)^-exponent with the frequency, of so much a pixel."""
    f = np.hypot(*np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"))
    spectrum = (1.0 + f) ** -exponent
    return spectrum * variance / spectrum.mean()
