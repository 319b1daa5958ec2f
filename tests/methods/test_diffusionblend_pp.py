"""DiffusionBlend++ from projections to a volume, with a tiny network of random weights."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.diffusionblend_pp import reconstruct_diffusionblend_pp
from diffusionblend.methods.diffusion.method import check_prior_fits
from diffusionblend.methods.settings import DiffusionBlendPPSettings
from diffusionblend.priors.prior import Prior
from small_scan import residual_by_hand, scan, small_volume
from tiny_network import TINY, random_prior

SETTINGS = DiffusionBlendPPSettings(steps=6, seed=11)


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume())


@pytest.fixture(scope="module")
def prior() -> Prior:
    return random_prior()


def values(projections: Projections, prior: Prior, **changes: object) -> np.ndarray:
    settings = replace(SETTINGS, **changes)
    return reconstruct_diffusionblend_pp(projections, prior, settings).volume.values


def test_it_returns_a_volume_with_what_it_cost(projections: Projections, prior: Prior) -> None:
    seen = []
    result = reconstruct_diffusionblend_pp(
        projections, prior, SETTINGS, on_step=lambda *done: seen.append(done)
    )
    assert result.volume.grid == projections.grid
    assert np.isfinite(result.volume.values).all()
    assert result.network_calls == 6
    assert seen == [(i, 6) for i in range(1, 7)]
    assert 0 < result.network_share < 1
    parts = result.seconds["network"] + result.seconds["consistency"]
    assert 0 < parts <= result.seconds["total"]
    expected = residual_by_hand(projections, result.volume.values)
    assert result.relative_residual == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("partition", ["alternating", "adjacent", "jump", "fixed"])
@pytest.mark.parametrize("n_slices", [3, 5, 10])
def test_any_number_of_slices_and_every_partition(
    prior: Prior, n_slices: int, partition: str
) -> None:
    measured = scan(small_volume((n_slices, 16, 16)))
    got = values(measured, prior, partition=partition, steps=3)
    assert got.shape == (n_slices, 16, 16)
    assert np.isfinite(got).all()


def test_data_consistency_reaches_the_result(projections: Projections, prior: Prior) -> None:
    weak = reconstruct_diffusionblend_pp(projections, prior, replace(SETTINGS, rho=1e6))
    five = reconstruct_diffusionblend_pp(projections, prior, SETTINGS)
    many = reconstruct_diffusionblend_pp(projections, prior, replace(SETTINGS, cg_iterations=200))
    prox = reconstruct_diffusionblend_pp(
        projections, prior, replace(SETTINGS, consistency="prox", rho=1e-4)
    )
    assert five.relative_residual < 0.3 * weak.relative_residual
    assert many.relative_residual < 1e-3
    assert prox.relative_residual < 1e-3


def test_seed_and_settings_decide_the_volume(prior: Prior) -> None:
    projections = scan(small_volume((9, 16, 16)))
    base = values(projections, prior)
    torch.manual_seed(123)
    assert np.array_equal(values(projections, prior), base)
    for change in (
        {"seed": 12},
        {"eta": 0.2},
        {"nonnegative": False},
        {"steps": 5},
        {"partition": "fixed"},
        {"partition": "jump"},
        {"jump_every": 3},
        {"jump_stride": 2},
        {"rho": 5.0},
        {"cg_iterations": 1},
    ):
        assert np.abs(values(projections, prior, **change) - base).max() > 0.1, change


@pytest.mark.parametrize("batch_blocks", [1, 2, 100])
def test_batch_size_does_not_change_the_volume(
    projections: Projections, prior: Prior, batch_blocks: int
) -> None:
    base = values(projections, prior)
    got = values(projections, prior, batch_blocks=batch_blocks)
    np.testing.assert_allclose(got, base, atol=1e-4 * np.abs(base).max())


def test_a_prior_of_another_size_is_refused(projections: Projections, prior: Prior) -> None:
    with pytest.raises(InputError, match="16 x 16"):
        check_prior_fits(random_prior(config=replace(TINY, image_size=32)), projections)
    with pytest.raises(InputError, match="16 x 12"):
        reconstruct_diffusionblend_pp(scan(small_volume((3, 16, 12))), prior, SETTINGS)


def test_a_prior_that_counts_in_mm_is_told_the_distance_in_mm(prior: Prior) -> None:
    projections = scan(small_volume((9, 16, 16)))
    codes = {"slices": [], "mm": []}
    for unit, seen in codes.items():
        other = replace(prior, code_unit=unit)
        denoise = other.denoise
        other.denoise = lambda x, t, code, d=denoise, s=seen: s.append(code) or d(x, t, code)
        reconstruct_diffusionblend_pp(projections, other, replace(SETTINGS, steps=2))
    spacing_mm = projections.grid.spacing_mm[0]
    assert codes["slices"] == [1, 3]
    assert codes["mm"] == [spacing_mm, 3 * spacing_mm]


def test_too_few_slices_are_refused(prior: Prior) -> None:
    with pytest.raises(InputError, match="2 slices"):
        reconstruct_diffusionblend_pp(scan(small_volume((2, 16, 16))), prior, SETTINGS)


@pytest.mark.parametrize(
    "bad",
    [
        {"partition": "random"},
        {"consistency": "magic"},
        {"consistency": "prox", "rho": 0.0},
        {"jump_stride": 1},
        {"jump_every": 0},
        {"steps": 1001},
    ],
)
def test_settings_that_cannot_be_followed_are_refused(
    projections: Projections, prior: Prior, bad: dict
) -> None:
    with pytest.raises(InputError):
        reconstruct_diffusionblend_pp(projections, prior, replace(SETTINGS, **bad))


@pytest.mark.parametrize("bad", [{"steps": 0}, {"eta": -0.1}, {"eta": 1.1}, {"batch_blocks": 0}])
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        DiffusionBlendPPSettings(**bad)


def test_the_method_takes_no_reference() -> None:
    parameters = inspect.signature(reconstruct_diffusionblend_pp).parameters
    priors = {"prior", "coarse_prior"}
    assert set(parameters) == {"projections", "settings", "on_step", "execution"} | priors
