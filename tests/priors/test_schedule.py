"""The noise schedule against its definition, computed with numpy alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from diffusionblend.priors.schedule import NoiseSchedule

BLOCK = (64, 3, 8, 8)


def random_tensors(n: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(BLOCK, generator=generator, dtype=torch.float64) for _ in range(n)]


def timesteps() -> torch.Tensor:
    """Every part of the schedule, both ends included."""
    return torch.linspace(0, 999, BLOCK[0]).long()


def test_abar_is_the_product_of_one_minus_beta() -> None:
    beta = np.linspace(1e-4, 0.02, 1000, dtype=np.float64)
    schedule = NoiseSchedule()
    assert schedule.n_timesteps == 1000
    assert schedule.alpha_bar.dtype == torch.float64
    np.testing.assert_allclose(schedule.alpha_bar.numpy(), np.cumprod(1 - beta), rtol=3e-5)
    assert schedule.alpha_bar[0].item() == pytest.approx(1 - 1e-4, abs=1e-7)
    assert schedule.alpha_bar[-1].item() < 1e-4


def test_add_noise_is_the_definition_and_keeps_the_variance() -> None:
    x0, eps = random_tensors(2)
    schedule, t = NoiseSchedule(), timesteps()
    x_t = schedule.add_noise(x0, eps, t)
    for i in (0, 20, 63):
        abar = float(schedule.alpha_bar[t[i]])
        torch.testing.assert_close(x_t[i], abar**0.5 * x0[i] + (1 - abar) ** 0.5 * eps[i])
    signal, noise = schedule.signal_and_noise(t, x0)
    torch.testing.assert_close(signal**2 + noise**2, torch.ones_like(signal))
    assert x_t.var().item() == pytest.approx(1.0, abs=0.05)


def test_x0_and_eps_come_back_exactly_from_v() -> None:
    x0, eps = random_tensors(2)
    schedule, t = NoiseSchedule(), timesteps()
    v = schedule.v_target(x0, eps, t)
    got_x0, got_eps = schedule.x0_and_eps_from_v(schedule.add_noise(x0, eps, t), v, t)
    torch.testing.assert_close(got_x0, x0, rtol=0, atol=1e-12)
    torch.testing.assert_close(got_eps, eps, rtol=0, atol=1e-12)


def test_any_predicted_v_gives_x0_and_eps_that_obey_tweedie() -> None:
    x_t, v = random_tensors(2)
    schedule, t = NoiseSchedule(), timesteps()
    x0, eps = schedule.x0_and_eps_from_v(x_t, v, t)
    abar = schedule.alpha_bar[t].reshape(-1, 1, 1, 1)
    torch.testing.assert_close(x0 * abar.sqrt(), x_t - (1 - abar).sqrt() * eps)
    torch.testing.assert_close(schedule.v_target(x0, eps, t), v)


def test_nothing_is_fetched_from_the_device() -> None:
    """On torch's device without values, where any look at one would fail."""
    schedule = NoiseSchedule()
    t, x = torch.zeros(4, dtype=torch.long, device="meta"), torch.zeros(4, 3, 8, 8, device="meta")
    for got in (*schedule.signal_and_noise(t, x), *schedule.x0_and_eps_from_v(x, x, t)):
        assert got.device == x.device and got.dtype == x.dtype
    kept = schedule._alpha_bar_on[x.device]
    schedule.add_noise(x, x, t)
    assert schedule._alpha_bar_on[x.device] is kept


def test_x0_comes_back_exactly_from_eps() -> None:
    x0, eps = random_tensors(2)
    schedule, t = NoiseSchedule(), timesteps()
    got = schedule.x0_from_eps(schedule.add_noise(x0, eps, t), eps, t)
    torch.testing.assert_close(got, x0, rtol=0, atol=1e-11)
