"""Images of the data to initialise with: what each of them is, and that a run uses it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.methods import Cg, Dds2d, DiffusionBlendPP
from diffusionblend.methods.api import make_method, reconstruct
from diffusionblend.methods.diffusion.diffusionblend_pp import PRESETS
from diffusionblend.methods.diffusion.init import IMAGES, initial_image
from diffusionblend.methods.problem import Problem
from small_scan import scan, small_volume
from tiny_network import random_prior

VOLUME = small_volume((4, 16, 16))
PROJECTIONS = scan(VOLUME, n_views=12)


@pytest.mark.parametrize("name", IMAGES)
def test_an_initialisation_is_an_image_of_the_data_in_the_network_range(name: str) -> None:
    start = initial_image(name, Problem.of(PROJECTIONS)).numpy()
    truth = VOLUME.values / 1000
    assert start.shape == truth.shape
    assert np.corrcoef(start.ravel(), truth.ravel())[0, 1] > 0.8
    slope, offset = np.polyfit(truth.ravel(), start.ravel(), 1)
    assert 0.5 < slope < 1.2
    assert abs(offset) < 0.3


def test_an_initial_fbp_does_not_depend_on_the_number_of_threads() -> None:
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for slices in (4, 6, 8):  # as the transforms are shared out
                projections = scan(small_volume((slices, 16, 16)), n_views=8)
                found.append(initial_image("fbp", Problem.of(projections)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found[:3] * 2, found[3:], strict=True):
        assert torch.equal(one, other)


def test_cg_and_tv_agree_with_the_data() -> None:
    problem = Problem.of(PROJECTIONS)
    for name in ("cg", "tv"):
        start = initial_image(name, problem)
        assert problem.relative_residual(start) < 0.05


def test_an_unknown_initialisation_is_refused() -> None:
    with pytest.raises(InputError, match="fbp, cg, tv"):
        initial_image("truth", Problem.of(PROJECTIONS))


@pytest.mark.parametrize("name", IMAGES)
def test_a_run_from_late_in_the_schedule_stays_near_its_image(name: str) -> None:
    prior, problem = random_prior(), Problem.of(PROJECTIONS)
    settings = DiffusionBlendPP(steps=1, init=name, init_timestep=0, consistency=Cg(rho=1e6))
    got = reconstruct(PROJECTIONS, settings, prior=prior).volume.values
    expected = 1000 * initial_image(name, problem).clamp(min=-1).numpy()
    assert np.abs(got - expected).mean() < 30
    noise = replace(settings, init="noise", init_timestep=None)
    far = reconstruct(PROJECTIONS, noise, prior=prior).volume.values
    assert np.abs(far - expected).mean() > 100


def test_presets_settle_what_is_not_set_and_nothing_else() -> None:
    coarse = frozenset({"prior", "coarse_prior"})
    for name, values in PRESETS.items():
        alone = {k: v for k, v in values.items() if k != "fine_steps"}
        filled = DiffusionBlendPP(preset=name).resolved()
        assert {k: getattr(filled, k) for k in alone} == alone
        assert filled.fine_steps is None
        mine = DiffusionBlendPP(preset=name, steps=7, noise_fraction=0.3, seed=9).resolved()
        assert (mine.steps, mine.noise_fraction, mine.seed) == (7, 0.3, 9)
        assert (mine.init, mine.init_timestep) == (values["init"], values["init_timestep"])
        assert mine.resolved() == mine
        noise = DiffusionBlendPP(preset=name, init="noise").resolved()
        assert (noise.init, noise.init_timestep) == ("noise", None)
        for init, first, roles in (("tv", 249, frozenset()), ("coarse", 50, coarse)):
            image = DiffusionBlendPP(preset=name, init=init)
            assert image.resolved(roles).init_timestep == first
            assert replace(image, init_timestep=120).resolved(roles).init_timestep == 120
        late = DiffusionBlendPP(preset=name, init_timestep=120).resolved(coarse)
        assert (late.init, late.init_timestep) == ("coarse", 120)
        assert (late.coarse_init, late.fine_steps) == (values["init"], values["fine_steps"])
        assert late.resolved(coarse) == late
    steps = [PRESETS[name]["steps"] for name in ("fast", "balanced", "best")]
    assert steps == sorted(steps)


@pytest.mark.parametrize("consistency", ["hard", "dps", "none"])
def test_presets_start_from_noise_unless_the_estimate_is_made_consistent(consistency: str) -> None:
    for name in PRESETS:
        settings = make_method(preset=name, consistency=consistency).resolved()
        assert (settings.init, settings.init_timestep) == ("noise", None)


def test_every_method_starts_from_an_image_with_a_quarter_of_the_schedule_left() -> None:
    assert Dds2d(init="cg").resolved().init_timestep == 249
    assert Dds2d(init="cg", init_timestep=90).resolved().init_timestep == 90
    assert Dds2d().resolved().init_timestep is None


def test_an_initial_timestep_needs_an_image() -> None:
    with pytest.raises(InputError, match='init="fbp"'):
        DiffusionBlendPP(init_timestep=400, init="noise")
    with pytest.raises(InputError, match="preset"):
        DiffusionBlendPP(preset="quick")
