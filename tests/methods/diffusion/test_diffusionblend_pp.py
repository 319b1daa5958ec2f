"""DiffusionBlend++ from projections to a volume, with a tiny network of random weights."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.methods import DiffusionBlendPP
from diffusionblend.methods.api import reconstruct
from diffusionblend.methods.base import Execution, Method
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.resolve import check_prior_fits
from small_scan import residual_by_hand, scan, small_volume
from tiny_network import TINY, random_prior

SETTINGS = DiffusionBlendPP(steps=6, seed=11)


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume())


@pytest.fixture(scope="module")
def prior() -> Prior:
    return random_prior()


def values(projections: Projections, prior: Prior, **changes: object) -> np.ndarray:
    return reconstruct(projections, SETTINGS, prior=prior, **changes).volume.values


def test_it_returns_a_volume_with_what_it_cost(projections: Projections, prior: Prior) -> None:
    seen = []
    result = reconstruct(
        projections, SETTINGS, prior=prior, on_step=lambda *done: seen.append(done)
    )
    assert result.volume.grid == projections.grid
    assert np.isfinite(result.volume.values).all()
    assert result.network_evaluations == 6
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
    cg = {"prior": prior, "consistency": "cg"}
    weak = reconstruct(projections, SETTINGS, **cg, rho=1e6)
    five = reconstruct(projections, SETTINGS, **cg)
    many = reconstruct(projections, SETTINGS, **cg, cg_iterations=200)
    prox = reconstruct(projections, SETTINGS, prior=prior, rho=1e-4)
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
        {"noise_fraction": 0.2},
        {"ddim_eta": 0.2},
        {"nonnegative": False},
        {"steps": 5},
        {"partition": "fixed"},
        {"partition": "jump"},
        {"jump_every": 3},
        {"jump_stride": 2},
        {"rho": 5.0},
        {"consistency": "cg", "cg_iterations": 1},
    ):
        assert np.abs(values(projections, prior, **change) - base).max() > 0.1, change


@pytest.mark.parametrize("batch_blocks", [1, 2, 100])
def test_batch_size_does_not_change_the_volume(
    projections: Projections, prior: Prior, batch_blocks: int
) -> None:
    base = values(projections, prior)
    got = reconstruct(
        projections, SETTINGS, prior=prior, execution=Execution(batch_blocks=batch_blocks)
    ).volume.values
    np.testing.assert_allclose(got, base, atol=1e-4 * np.abs(base).max())


def test_a_prior_of_another_size_is_refused(projections: Projections, prior: Prior) -> None:
    with pytest.raises(InputError, match="16 x 16"):
        check_prior_fits(random_prior(config=replace(TINY, image_size=32)), projections.grid)
    with pytest.raises(InputError, match="3 x 3"):
        reconstruct(scan(small_volume((3, 3, 3))), SETTINGS, prior=prior)


def test_a_prior_that_counts_in_mm_gets_the_distance_in_mm(prior: Prior) -> None:
    projections = scan(small_volume((9, 16, 16)))
    codes = {"slices": [], "mm": []}
    for unit, seen in codes.items():
        other = replace(prior, code_unit=unit)
        denoise = other.denoise
        other.denoise = lambda x, t, code, d=denoise, s=seen: s.append(code) or d(x, t, code)
        reconstruct(projections, SETTINGS, prior=other, steps=2)
    spacing_mm = projections.grid.spacing_mm[0]
    assert codes["slices"] == [1, 3]
    assert codes["mm"] == [spacing_mm, 3 * spacing_mm]


def test_too_few_slices_are_refused(prior: Prior) -> None:
    with pytest.raises(InputError, match="2 slices"):
        reconstruct(scan(small_volume((2, 16, 16))), SETTINGS, prior=prior)


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
        reconstruct(projections, SETTINGS, prior=prior, **bad)


@pytest.mark.parametrize(
    "bad", [{"steps": 0}, {"noise_fraction": -0.1}, {"noise_fraction": 1.1}, {"ddim_eta": 1.1}]
)
def test_settings_that_make_no_sense_are_refused(bad: dict) -> None:
    with pytest.raises(InputError):
        DiffusionBlendPP(**bad)


def test_the_method_takes_no_reference() -> None:
    called, run = (inspect.signature(f).parameters for f in (Method.__call__, DiffusionBlendPP.run))
    priors = {"prior", "coarse_prior", "coronal_prior"}
    assert set(called) == {"self", "scan", "device", "execution"} | priors
    assert set(run) == {"self", "problem", "priors", "execution"}
