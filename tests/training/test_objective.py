"""What the network is taught, against the definitions of v, eps, SNR and their weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import pretended_device
from diffusionblend.priors.prior import load_prior
from diffusionblend.priors.prior_types.batches import NoisyBatch
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.training.loop import Trainer
from diffusionblend.training.objective import Objective
from diffusionblend.training.settings import TrainSettings
from easy_training import EASY_SETTINGS, easy_bank
from tiny_network import random_prior

T = torch.tensor([0, 100, 250, 500, 900, 999])


def objective(**changes: object) -> Objective:
    return Objective(replace(EASY_SETTINGS, **changes), NoiseSchedule())


def snr() -> np.ndarray:
    abar = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))[T.numpy()]
    return abar / (1 - abar)


def batch() -> NoisyBatch:
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(6, 3, 16, 16, generator=generator) for _ in range(2))
    return NoisyBatch(x0, torch.ones(6), eps, T)


@pytest.mark.parametrize("predict", ["v", "eps"])
def test_min_snr_weighs_the_error_of_x0_alike_in_either_prediction(predict: str) -> None:
    weights = objective(predict=predict).weights(T).numpy()
    # |x0 - x0'|^2 = (1 - abar) |v - v'|^2 = |eps - eps'|^2 / SNR
    of_x0 = weights * (1 + snr() if predict == "v" else snr())
    np.testing.assert_allclose(of_x0, np.minimum(snr(), 5.0), rtol=1e-3)


def test_weighing_waits_for_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    own = objective(loss_weighting="min-snr", predict="v")
    expected = own.weights(T)
    with pretended_device.pretended_device(monkeypatch):
        t = pretended_device.on_device(T)
        pretended_device.waits.clear()
        weights = own.weights(t)
        errors = own.eps_error(t.float()[:, None], NoisyBatch(t, t, t, t))
        assert not pretended_device.waits
        torch.testing.assert_close(weights.cpu(), expected)
        torch.testing.assert_close(errors.cpu(), T * NoiseSchedule().alpha_bar[T].float())


@pytest.mark.parametrize("predict", ["v", "eps"])
def test_the_loss_is_the_weighted_error_of_the_prediction(predict: str) -> None:
    unet, given = random_prior().unet, batch()
    schedule = NoiseSchedule()
    noisy = schedule.add_noise(given.x0, given.eps, given.t)
    with torch.no_grad():
        out = unet(noisy, T, class_labels=given.codes).sample
        target = given.eps if predict == "eps" else schedule.v_target(given.x0, given.eps, T)
        errors = (out - target).square().mean((1, 2, 3)).numpy()
        plain = objective(predict=predict).loss(unet, given).item()
        weighted = objective(predict=predict, loss_weighting="min-snr").loss(unet, given).item()
    assert plain == pytest.approx(errors.mean(), rel=1e-5)
    divisor = snr() if predict == "eps" else snr() + 1
    assert weighted == pytest.approx((np.minimum(snr(), 5) / divisor * errors).mean(), rel=1e-3)


def test_the_error_of_eps_is_the_same_whatever_is_predicted() -> None:
    given, schedule = batch(), NoiseSchedule()
    wrong_eps = given.eps + 0.1 * torch.randn(6, 3, 16, 16)
    x_t = schedule.add_noise(given.x0, given.eps, T)
    wrong_v = schedule.v_target(schedule.x0_from_eps(x_t, wrong_eps, T), wrong_eps, T)
    of_v = (wrong_v - schedule.v_target(given.x0, given.eps, T)).square()
    of_eps = (wrong_eps - given.eps).square()
    one = objective(predict="v").eps_error(of_v, given)
    other = objective(predict="eps").eps_error(of_eps, given)
    torch.testing.assert_close(one, other, rtol=1e-2, atol=0)


def test_a_run_of_eps_in_mm_gives_such_a_prior(tmp_path: Path) -> None:
    changes = {"predict": "eps", "code": "mm", "loss_weighting": "min-snr", "steps": 40}
    settings: TrainSettings = replace(EASY_SETTINGS, validate_every=20, **changes)
    losses = []
    Trainer(settings, easy_bank(), easy_bank(1), tmp_path).run(lambda p: losses.append(p.loss))
    prior = load_prior(tmp_path)
    assert (prior.prediction, prior.code_unit) == ("eps", "mm")
    assert prior.trained["validation_loss"] == pytest.approx(prior.trained["validation_eps_loss"])
    assert np.mean(losses[-5:]) < np.mean(losses[:5])
