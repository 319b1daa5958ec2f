"""Images of the data to start from: what each of them is, and that a run uses it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.methods.diffusion.diffusionblend_pp import reconstruct_diffusionblend_pp
from diffusionblend.methods.diffusion.init import STARTS, warm_start
from diffusionblend.methods.problem import Measurement
from diffusionblend.methods.settings import PRESETS, Dds2dSettings, DiffusionBlendPPSettings
from small_scan import scan, small_volume
from tiny_network import random_prior

VOLUME = small_volume((4, 16, 16))
PROJECTIONS = scan(VOLUME, n_views=12)


@pytest.mark.parametrize("name", STARTS)
def test_a_start_is_an_image_of_the_data_in_the_network_range(name: str) -> None:
    start = warm_start(name, PROJECTIONS, Measurement.of(PROJECTIONS)).numpy()
    truth = VOLUME.values / 1000
    assert start.shape == truth.shape
    assert np.corrcoef(start.ravel(), truth.ravel())[0, 1] > 0.8
    slope, offset = np.polyfit(truth.ravel(), start.ravel(), 1)
    assert 0.5 < slope < 1.2
    assert abs(offset) < 0.3


def test_fbp_to_start_from_does_not_hang_on_the_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for slices in (4, 6, 8):  # as the transforms are shared out
                projections = scan(small_volume((slices, 16, 16)), n_views=8)
                found.append(warm_start("fbp", projections, Measurement.of(projections)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found[:3] * 2, found[3:], strict=True):
        assert torch.equal(one, other)


def test_cg_and_tv_agree_with_the_data() -> None:
    measurement = Measurement.of(PROJECTIONS)
    for name in ("cg", "tv"):
        start = warm_start(name, PROJECTIONS, measurement)
        assert measurement.relative_residual(start) < 0.05


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(InputError, match="fbp, cg, tv"):
        warm_start("truth", PROJECTIONS, Measurement.of(PROJECTIONS))


@pytest.mark.parametrize("name", STARTS)
def test_a_run_from_late_in_the_schedule_stays_near_its_start(name: str) -> None:
    prior, measurement = random_prior(), Measurement.of(PROJECTIONS)
    settings = DiffusionBlendPPSettings(steps=1, start=name, first_timestep=0, rho=1e6)
    got = reconstruct_diffusionblend_pp(PROJECTIONS, prior, settings).volume.values
    expected = 1000 * warm_start(name, PROJECTIONS, measurement).clamp(min=-1).numpy()
    assert np.abs(got - expected).mean() < 30
    noise = replace(settings, start="noise", first_timestep=None)
    far = reconstruct_diffusionblend_pp(PROJECTIONS, prior, noise).volume.values
    assert np.abs(far - expected).mean() > 100


def test_presets_settle_what_is_not_set_and_nothing_else() -> None:
    for name, values in PRESETS.items():
        filled = DiffusionBlendPPSettings(preset=name).resolved()
        assert {k: getattr(filled, k) for k in values} == values
        mine = DiffusionBlendPPSettings(preset=name, steps=7, eta=0.3, seed=9).resolved()
        assert (mine.steps, mine.eta, mine.seed) == (7, 0.3, 9)
        assert (mine.start, mine.fine_steps) == (values["start"], values["fine_steps"])
        assert mine.first_timestep == values.get("first_timestep")
        assert mine.resolved() == mine
        noise = DiffusionBlendPPSettings(preset=name, start="noise").resolved()
        assert (noise.start, noise.first_timestep) == ("noise", None)
        for start, first in (("tv", 249), ("coarse", 50)):
            image = DiffusionBlendPPSettings(preset=name, start=start)
            assert image.resolved().first_timestep == first
            assert replace(image, first_timestep=120).resolved().first_timestep == 120
        late = DiffusionBlendPPSettings(preset=name, first_timestep=120).resolved()
        assert (late.start, late.first_timestep) == ("coarse", 120)
    steps = [PRESETS[name]["steps"] for name in ("fast", "balanced", "best")]
    assert steps == sorted(steps)


@pytest.mark.parametrize("consistency", ["hard", "dps", "none"])
def test_presets_start_from_noise_without_a_data_step_on_the_estimate(consistency: str) -> None:
    for name in PRESETS:
        settings = DiffusionBlendPPSettings(preset=name, consistency=consistency).resolved()
        assert (settings.start, settings.first_timestep) == ("noise", None)


def test_every_method_starts_from_an_image_with_a_quarter_of_the_schedule_left() -> None:
    assert Dds2dSettings(start="cg").resolved().first_timestep == 249
    assert Dds2dSettings(start="cg", first_timestep=90).resolved().first_timestep == 90
    assert Dds2dSettings().resolved().first_timestep is None


def test_a_first_timestep_needs_an_image_to_start_from() -> None:
    with pytest.raises(InputError, match="--start"):
        DiffusionBlendPPSettings(first_timestep=400, start="noise")
    with pytest.raises(InputError, match="preset"):
        DiffusionBlendPPSettings(preset="quick")
