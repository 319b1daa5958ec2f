"""Mean and standard deviation of samples against numpy's own."""

from __future__ import annotations

import numpy as np
import pytest

from diffusionblend.data.ensemble import mean_and_deviation
from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid

GRID = Grid(shape=(3, 4, 5), spacing_mm=(1.0, 1.0, 1.0))


def samples(n: int) -> list[Volume]:
    rng = np.random.default_rng(1)
    return [Volume(1000 + rng.normal(0, 3, GRID.shape), GRID) for _ in range(n)]


@pytest.mark.parametrize("n", [2, 3, 10])
def test_mean_and_deviation_are_those_of_numpy(n: int) -> None:
    volumes = samples(n)
    mean, deviation = mean_and_deviation(iter(volumes))
    stacked = np.stack([v.values for v in volumes]).astype(np.float64)
    np.testing.assert_allclose(mean.values, stacked.mean(0), rtol=1e-6)
    np.testing.assert_allclose(deviation.values, stacked.std(0, ddof=1), rtol=1e-5)


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_samples_are_refused(n: int) -> None:
    with pytest.raises(InputError, match="two or more"):
        mean_and_deviation(samples(n))


def test_samples_of_other_grids_are_refused() -> None:
    other = Volume(np.zeros((3, 4, 6)), Grid(shape=(3, 4, 6), spacing_mm=(1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match="different grids"):
        mean_and_deviation([*samples(1), other])
