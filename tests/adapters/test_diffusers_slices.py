"""A diffusers network of slices in its own range, against the exact denoiser of a Gaussian."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

from diffusionblend.adapters.diffusers import slice_prior
from diffusionblend.errors import InputError
from diffusionblend.methods.api import reconstruct
from small_scan import scan, small_volume

LOW, HIGH = -1200.0, 2800.0
MEAN, VARIANCE = -0.4, 0.09
"""Of the pixels, in the network's range."""


def saved(folder, **changes):
    torch.manual_seed(0)
    settings = {
        "sample_size": 16,
        "in_channels": 1,
        "out_channels": 1,
        "layers_per_block": 1,
        "block_out_channels": (8, 16),
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "norm_num_groups": 4,
    }
    scheduler = DDPMScheduler(prediction_type=changes.pop("prediction_type", "epsilon"))
    DDPMPipeline(UNet2DModel(**settings | changes), scheduler).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("pipeline"))


def exact_noise(x_t: torch.Tensor, time: torch.Tensor) -> SimpleNamespace:
    """E[eps | x_t] of pixels N(MEAN, VARIANCE), by the scheduler's own table, linear between."""
    table = DDPMScheduler().alphas_cumprod.double().numpy()
    sigmas = np.sqrt((1 - table) / table)
    sigma = np.exp(np.interp(float(time[0]), np.arange(len(table)), np.log(sigmas)))
    abar = 1 / (1 + sigma**2)
    centred = x_t.double() - abar**0.5 * MEAN
    eps = (1 - abar) ** 0.5 * centred / (abar * VARIANCE + 1 - abar)
    return SimpleNamespace(sample=eps.to(x_t))


@pytest.mark.parametrize("t", [20, 200, 600])
def test_the_range_map_keeps_the_posterior_mean(folder, t, monkeypatch):
    prior = slice_prior(folder, low_hu=LOW, high_hu=HIGH)
    monkeypatch.setattr(prior.unet, "forward", exact_noise)
    x_t = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(t))
    x0, eps = prior.denoise(x_t, t, 1.0)
    half = (HIGH - LOW) / 2000  # HU / 1000 that are 1 in the network's range
    mean, variance = (LOW + HIGH) / 2000 + half * MEAN, half**2 * VARIANCE
    abar = float(prior.schedule.alpha_bar[t])
    expected = mean + variance * abar**0.5 * (x_t - abar**0.5 * mean) / (abar * variance + 1 - abar)
    torch.testing.assert_close(x0, expected, atol=1e-4, rtol=1e-4)
    again = abar**0.5 * x0 + (1 - abar) ** 0.5 * eps
    torch.testing.assert_close(again, x_t, atol=1e-5, rtol=1e-5)


def test_it_reconstructs_by_methods_of_slices(folder):
    prior = slice_prior(folder, low_hu=LOW, high_hu=HIGH)
    result = reconstruct(scan(small_volume((3, 16, 16))), "dds-2d", prior=prior, steps=2)
    assert np.isfinite(result.volume.values).all()
    other = reconstruct(scan(small_volume((3, 24, 20))), "dds-2d", prior=prior, steps=2)
    assert other.volume.shape == (3, 24, 20)


def test_another_range_is_another_prior(folder):
    hashes = {
        slice_prior(folder, low_hu=LOW, high_hu=high).weights_sha256 for high in (HIGH, 3000.0)
    }
    assert len(hashes) == 2 and all(len(h) == 64 for h in hashes)


def test_what_is_no_such_network_is_refused(folder, tmp_path):
    with pytest.raises(InputError, match="low_hu below high_hu"):
        slice_prior(folder, low_hu=5, high_hu=5)
    with pytest.raises(InputError, match="cannot be loaded"):
        slice_prior(tmp_path, low_hu=LOW, high_hu=HIGH)
    three = saved(tmp_path / "three", in_channels=3, out_channels=3)
    with pytest.raises(InputError, match="3 channels"):
        slice_prior(three, low_hu=LOW, high_hu=HIGH)
    v = saved(tmp_path / "v", prediction_type="v_prediction")
    with pytest.raises(InputError, match="v_prediction"):
        slice_prior(v, low_hu=LOW, high_hu=HIGH)
