"""Projections simulated from a volume: line integrals, and noise by Beer's law."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from diffusionblend.errors import InputError
from diffusionblend.geometry import Geometry, Projections
from diffusionblend.units import MU_WATER_PER_MM, hu_to_mu
from diffusionblend.volume import Volume

PAPER_PHOTONS = 1.11e6
PAPER_ELECTRONIC_COUNTS = 5.0
FEWEST_COUNTS = 1.0
MOST_PHOTONS = 1e15
"""Above this a bin's noise is lost in float32, and NumPy's Poisson draws end at 9e18."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Photons counted in an unattenuated bin (Poisson), and electronic noise in counts (Gauss)."""

    photons: float = PAPER_PHOTONS
    electronic_counts: float = PAPER_ELECTRONIC_COUNTS

    def __post_init__(self) -> None:
        if not 0 < self.photons <= MOST_PHOTONS:
            raise InputError(
                f"Asked for {self.photons} photons a bin.",
                f"a number above 0 and up to {MOST_PHOTONS:g}",
                "no noise at all instead",
            )
        if not 0 <= self.electronic_counts < np.inf:
            raise InputError(
                f"The electronic noise is {self.electronic_counts} counts.", "a number from 0"
            )


def simulate_projections(
    volume: Volume,
    geometry: Geometry,
    *,
    noise: Noise | None = None,
    seed: int = 0,
    mu_water_per_mm: float = MU_WATER_PER_MM,
) -> Projections:
    """Line integrals (view, row, bin) of a volume in HU, by the operator that reconstructs.

    Attenuation below zero (HU under -1000) counts as none. With `noise` the seed decides it.
    """
    import torch

    from diffusionblend.operators import make_transform

    mu = hu_to_mu(volume.values, mu_water_per_mm).clip(min=0)
    operator = make_transform(geometry, volume.grid)
    lines = operator.forward(torch.from_numpy(mu)).numpy()
    notes: dict[str, object] = {
        "source": "simulated",
        "simulator": type(operator).__name__,
        "rays": operator.description,
    }
    if noise is not None:
        lines = add_noise(lines, noise, np.random.default_rng(seed))
        notes |= {
            "photons": noise.photons,
            "electronic_counts": noise.electronic_counts,
            "seed": seed,
        }
    return Projections(lines, geometry, volume.grid, mu_water_per_mm, notes)


def add_noise(lines: np.ndarray, noise: Noise, rng: np.random.Generator) -> np.ndarray:
    """Noisy line integrals -log(counts / I0), counts ~ Poisson(I0 exp(-line)) + N(0, sigma^2).

    Counts below one are taken as one, so that every value is finite.
    """
    counts = rng.poisson(noise.photons * np.exp(-lines.astype(np.float64))).astype(np.float64)
    counts += rng.normal(0.0, noise.electronic_counts, size=counts.shape)
    return -np.log(np.maximum(counts, FEWEST_COUNTS) / noise.photons).astype(np.float32)
