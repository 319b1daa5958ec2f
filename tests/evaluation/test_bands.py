"""Bands against closed forms: errors of known quantiles, by tissue, patients alike."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, t

from diffusionblend.data.volume import Volume
from diffusionblend.errors import InputError
from diffusionblend.evaluation.bands import (
    BAND_TISSUES,
    FEWEST_VOXELS,
    FLOOR_HU,
    Errors,
    coverage,
    fit_factors,
    half_width,
    left_out_coverage,
    mean_half_widths,
    tissue_numbers,
)
from diffusionblend.geometry.grid import Grid

LUNG, SOFT, BONE = -800.0, 40.0, 700.0
N = 40_000


def patient(scales: dict[float, float], n: int = N, seed: int = 0, sd: float = 20.0) -> Errors:
    """A patient of tissues by their HU, with normal errors so many times as large as the sd."""
    rng = np.random.default_rng(seed)
    mean = np.repeat([*scales], n).astype(float)
    error = rng.normal(size=mean.size) * sd * np.repeat([*scales.values()], n)
    width = np.full(mean.size, sd)
    return Errors(tissue_numbers(mean), np.abs(error) / width, width, mean + error)


def test_the_factor_of_normal_errors_is_their_quantile_in_each_tissue() -> None:
    one = patient({LUNG: 1.0, SOFT: 3.0, BONE: 0.5})
    factors = fit_factors([one])
    right = norm.ppf(0.95)
    for name, scale in (("lung", 1.0), ("soft tissue", 3.0), ("bone", 0.5)):
        assert factors[name] == pytest.approx(right * scale, rel=0.03)
    other = coverage(patient({LUNG: 1.0, SOFT: 3.0, BONE: 0.5}, seed=1), factors)
    for share in other["by_mean"].values():
        assert share == pytest.approx(0.9, abs=0.01)
    widths = mean_half_widths([one], factors)
    assert widths["lung"] == pytest.approx(20 * right, rel=0.03) and widths["air"] is None


def test_few_samples_take_the_factor_of_student() -> None:
    """Truth and four samples drawn alike: sqrt(1 + 1/4) times the quantile of Student's t."""
    rng = np.random.default_rng(0)
    draws = 1500 + 50 * rng.normal(size=(5, 20, 60, 60))
    samples, truth = draws[1:], draws[0]
    grid = Grid(shape=truth.shape, spacing_mm=(2.0, 2.0, 2.0))
    volumes = [Volume(v, grid) for v in (samples.mean(0), samples.std(0, ddof=1), truth)]
    factor = fit_factors([Errors.of(*volumes)])["bone"]
    assert factor == pytest.approx(1.25**0.5 * t.ppf(0.95, 3), rel=0.03)


def test_patients_weigh_the_same_whatever_their_size() -> None:
    """The quantile of two patients' averaged distributions, one of ten times as many voxels."""
    large, small = patient({SOFT: 1.0}), patient({SOFT: 4.0}, n=N // 10, seed=1)
    factor = fit_factors([large, small])["soft tissue"]
    held = [2 * norm.cdf(factor / scale) - 1 for scale in (1.0, 4.0)]
    assert np.mean(held) == pytest.approx(0.9, abs=0.01)
    pooled = np.quantile(np.concatenate([large.ratio, small.ratio]), 0.9)
    assert factor > 1.3 * pooled


def test_a_tissue_that_is_hardly_there_takes_the_factor_of_the_body() -> None:
    scarce = patient({BONE: 9.0}, n=FEWEST_VOXELS - 1)
    common = patient({SOFT: 1.0})
    both = Errors(
        *(np.concatenate(pair) for pair in zip(*map(_arrays, (common, scarce)), strict=True))
    )
    factors = fit_factors([both])
    assert factors["bone"] == factors["fat"] == pytest.approx(norm.ppf(0.95), rel=0.05)
    assert "bone" not in coverage(both, factors)["by_mean"]


def _arrays(errors: Errors) -> tuple[np.ndarray, ...]:
    return errors.tissue, errors.ratio, errors.width_hu, errors.truth_hu


def test_a_patient_left_out_is_tried_with_the_others_factors() -> None:
    alike = {f"{i}": patient({SOFT: 1.0}, seed=i) for i in range(2)}
    odd = left_out_coverage(alike | {"odd": patient({SOFT: 2.0}, seed=9)})
    assert odd["odd"]["by_mean"]["whole body"] == pytest.approx(
        2 * norm.cdf(norm.ppf(0.95) / 2) - 1, abs=0.01
    )
    assert odd["0"]["by_mean"]["soft tissue"] > 0.95
    with pytest.raises(InputError, match="two or more patients"):
        left_out_coverage({"0": alike["0"]})


def test_the_reference_s_tissues_are_counted_beside_the_mean_s() -> None:
    """Bone that the mean takes for soft tissue is missed by the reference's HU alone."""
    mean = np.full(2 * N, SOFT)
    truth = np.where(np.arange(2 * N) < N, SOFT, BONE)
    width = np.full(2 * N, 10.0)
    errors = Errors(tissue_numbers(mean), np.abs(truth - mean) / width, width, truth)
    held = coverage(errors, dict.fromkeys((tissue.label for tissue in BAND_TISSUES), 2.0))
    assert held["by_mean"]["soft tissue"] == 0.5
    assert held["by_reference"]["soft tissue"] == 1 and held["by_reference"]["bone"] == 0


def test_every_value_has_a_tissue_and_the_width_is_the_factor_times_the_sd() -> None:
    values = np.array([-1000.0, -700, -300, -100, 0, 200, 900, -950, 300])
    assert tissue_numbers(values).tolist() == [0, 1, 2, 3, 4, 5, 6, 1, 6]
    grid = Grid(shape=(1, 3, 3), spacing_mm=(1.0, 1.0, 1.0))
    sd = np.linspace(0, 40, 9)
    factors = {tissue.label: 1.0 + i for i, tissue in enumerate(BAND_TISSUES)}
    mean, deviation = (Volume(v.reshape(1, 3, 3), grid) for v in (values, sd))
    expected = (tissue_numbers(values) + 1.0) * np.maximum(sd, FLOOR_HU)
    np.testing.assert_allclose(half_width(mean, deviation, factors).values.ravel(), expected)
    del factors["fat"]
    with pytest.raises(InputError, match="lack fat"):
        half_width(mean, deviation, factors)
    with pytest.raises(InputError, match="no patient"):
        fit_factors([])
