"""Teachers: which blocks they answer for, and what, against the priors' own denoising."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.prior_types.batches import NoisyBatch
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.training.objective import Objective
from diffusionblend.training.teaching import MIRRORS, Teachers
from easy_training import EASY_SETTINGS
from tiny_network import TINY, random_prior

SETTINGS = replace(EASY_SETTINGS, network=TINY, taught_from=500)
SCHEDULE = NoiseSchedule()
LOW, HIGH = 499, 500


def batch(*timesteps: int) -> NoisyBatch:
    generator = torch.Generator().manual_seed(0)
    shape = (len(timesteps), 3, 16, 16)
    x0, eps = (torch.randn(shape, generator=generator) for _ in range(2))
    return NoisyBatch(x0, torch.ones(len(timesteps)), eps, torch.tensor(timesteps))


def said_by(prior: Prior, blocks: torch.Tensor, t: int) -> torch.Tensor:
    """v = sqrt(abar) eps - sqrt(1 - abar) x0 of what the prior denoises (Salimans and Ho 2022)."""
    x0, eps = prior.denoise(blocks, t, 1.0)
    abar = float(np.prod(1 - np.linspace(1e-4, 0.02, 1000)[: t + 1]))
    return abar**0.5 * eps - (1 - abar) ** 0.5 * x0


def test_every_teacher_answers_for_high_noise_in_every_mirror_and_for_no_other() -> None:
    priors = [random_prior(seed) for seed in (0, 1)]
    teachers = Teachers(priors, SETTINGS)
    met = set()
    for t in range(HIGH, HIGH + 16):
        given = batch(LOW, t)
        noisy = SCHEDULE.add_noise(given.x0, given.eps, given.t)
        target = torch.zeros_like(noisy)
        found = teachers.taught(target, noisy, given.t, given.codes)
        assert not found[:1].any() and not target.any()
        ways = {
            (number, axes): said_by(prior, noisy[1:].flip(axes), t).flip(axes)
            for number, prior in enumerate(priors)
            for axes in MIRRORS
        }
        near = [way for way, v in ways.items() if torch.allclose(found[1:], v, atol=1e-4)]
        assert len(near) == 1
        met.update(near)
    assert len(met) == len(priors) * len(MIRRORS) == 8


def test_a_network_that_says_what_its_teacher_does_has_no_loss_at_high_noise() -> None:
    """Its validation is by the data all the same."""
    prior = random_prior(0)
    t = next(t for t in range(HIGH, HIGH + 4) if t % len(MIRRORS) == MIRRORS.index(()))
    objective = Objective(SETTINGS, SCHEDULE, Teachers([prior], SETTINGS))
    assert float(objective.loss(prior.unet, batch(t))) == pytest.approx(0.0, abs=1e-10)
    by_data = Objective(SETTINGS, SCHEDULE).loss(prior.unet, batch(t))
    assert float(objective.squared_error(prior.unet, batch(t)).mean()) == float(by_data) > 0.1
    low = batch(LOW)
    assert float(objective.loss(prior.unet, low)) > 0.1


@pytest.mark.parametrize("other", [{"prior_type": "slices"}, {"length_codes": 4}])
def test_a_teacher_of_another_kind_is_refused(other: dict[str, object]) -> None:
    with pytest.raises(InputError, match="A teacher is of the type"):
        Teachers([random_prior(config=replace(TINY, **other))], SETTINGS)
    with pytest.raises(InputError, match="predicts v"):
        Teachers([random_prior()], replace(SETTINGS, predict="eps"))


def test_a_restorer_is_not_taught() -> None:
    settings = replace(SETTINGS, network=replace(TINY, prior_type="fbp-unet"))
    with pytest.raises(InputError, match="fbp-unet"):
        Teachers([random_prior()], settings)
