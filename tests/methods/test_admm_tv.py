"""ADMM-TV as a method: it fits the data, smooths with its weight and keeps its bound."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods import AdmmTv
from diffusionblend.methods.api import reconstruct
from small_scan import residual_by_hand, scan, small_volume

SETTINGS = AdmmTv(weight=0.02, iterations=60)


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume(), n_views=8)


def rms_hu(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean((values - small_volume().values) ** 2)))


def total_variation(hu: np.ndarray) -> float:
    u = hu / 1000.0
    slopes = [np.diff(u, axis=a, append=np.take(u, [-1], axis=a)) for a in range(3)]
    return float(np.sqrt(sum(s**2 for s in slopes)).sum())


def test_it_is_closer_to_the_truth_than_fbp_and_reports_its_residual(
    projections: Projections,
) -> None:
    seen = []
    result = reconstruct(projections, SETTINGS, on_step=lambda *done: seen.append(done))
    fbp = reconstruct(projections, "fbp")
    assert rms_hu(result.volume.values) < 0.6 * rms_hu(fbp.volume.values)
    expected = residual_by_hand(projections, result.volume.values)
    assert result.relative_residual == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert expected < 0.05
    assert seen == [(i, 60) for i in range(1, 61)]
    assert result.volume.grid == projections.grid


def test_a_larger_weight_gives_less_variation_and_a_larger_residual(
    projections: Projections,
) -> None:
    results = [reconstruct(projections, replace(SETTINGS, weight=w)) for w in (0.01, 0.3, 10)]
    variations = [total_variation(r.volume.values) for r in results]
    residuals = [r.relative_residual for r in results]
    assert variations == sorted(variations, reverse=True)
    assert residuals == sorted(residuals)
    assert variations[2] < 0.8 * variations[0]


def test_the_objective_is_lower_than_at_the_truth_and_at_other_weights(
    projections: Projections,
) -> None:
    """What minimises 1/2 |Ax - y|^2 + weight TV beats every other volume at its own weight."""
    weight = 0.5
    result = reconstruct(projections, replace(SETTINGS, weight=weight, iterations=80))
    y_norm = np.linalg.norm(projections.values) / (
        projections.mu_water_per_mm * projections.grid.spacing_mm[2]
    )

    def objective(hu: np.ndarray) -> float:
        misfit = residual_by_hand(projections, hu) * y_norm
        return 0.5 * misfit**2 + weight * total_variation(hu)

    best = objective(result.volume.values)
    others = [small_volume().values]
    for other in (weight / 3, weight * 3):
        settings = replace(SETTINGS, weight=other, iterations=80)
        others.append(reconstruct(projections, settings).volume.values)
    rng = np.random.default_rng(0)
    others.append(result.volume.values + rng.normal(0, 5, projections.grid.shape))
    assert all(best < objective(hu) for hu in others)


def test_attenuation_stays_at_or_above_zero_by_default(
    projections: Projections,
) -> None:
    bounded = reconstruct(projections, SETTINGS)
    free = reconstruct(projections, replace(SETTINGS, nonnegative=False))
    assert bounded.volume.values.min() >= -1000
    assert free.volume.values.min() < -1000


def test_values_stay_at_or_below_the_highest_that_is_given(projections: Projections) -> None:
    free = reconstruct(projections, SETTINGS).volume.values
    highest = float(free.max()) / 2
    bounded = reconstruct(projections, replace(SETTINGS, highest_hu=highest))
    assert bounded.volume.values.max() <= highest + 1e-3
    assert bounded.volume.values.min() >= -1000
    out_of_reach = reconstruct(projections, replace(SETTINGS, highest_hu=1e5))
    np.testing.assert_array_equal(out_of_reach.volume.values, free)


@pytest.mark.parametrize(
    "bad",
    [
        {"weight": -1.0},
        {"penalty": 0.0},
        {"iterations": 0},
        {"inner_iterations": 0},
        {"highest_hu": -1000.0},
        {"highest_hu": math.nan},
    ],
)
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        AdmmTv(**bad)
