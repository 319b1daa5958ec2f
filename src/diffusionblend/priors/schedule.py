"""The variance-preserving noise schedule and the exact changes between v, eps and x0."""

from __future__ import annotations

import torch

N_TIMESTEPS = 1000
BETA_FIRST, BETA_LAST = 1e-4, 0.02


class NoiseSchedule:
    """Linear VP schedule: x_t = sqrt(abar_t) x0 + sqrt(1 - abar_t) eps (Ho et al. 2020, Eq. 4).

    `alpha_bar`: (T,) float64, decreasing, entry t for timestep t = 0 .. T - 1.
    """

    def __init__(self, n_timesteps: int = N_TIMESTEPS) -> None:
        from diffusers import DDPMScheduler

        scheduler = DDPMScheduler(
            num_train_timesteps=n_timesteps,
            beta_start=BETA_FIRST,
            beta_end=BETA_LAST,
            beta_schedule="linear",
        )
        self.n_timesteps = n_timesteps
        self.alpha_bar = scheduler.alphas_cumprod.double()  # type: ignore[attr-defined]
        self._alpha_bar_on: dict[torch.device, torch.Tensor] = {}

    def alpha_bar_at(self, t: torch.Tensor) -> torch.Tensor:
        """abar_t (B,) float64 for t (B,), where t is; nothing is copied from there to the host."""
        if t.device not in self._alpha_bar_on:
            self._alpha_bar_on[t.device] = self.alpha_bar.to(t.device)
        return self._alpha_bar_on[t.device][t]

    def signal_and_noise(
        self, t: torch.Tensor, like: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """sqrt(abar_t) and sqrt(1 - abar_t) for t (B,), shaped to multiply `like` (B, ...).

        With t on the device of `like` nothing is copied between host and device.
        """
        abar = self.alpha_bar_at(t.to(like.device))
        shape = (-1,) + (1,) * (like.ndim - 1)
        return (
            abar.sqrt().to(like.dtype).reshape(shape),
            (1 - abar).sqrt().to(like.dtype).reshape(shape),
        )

    def add_noise(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x_t from x0 and eps, each (B, ...), at t (B,)."""
        a, s = self.signal_and_noise(t, x0)
        return a * x0 + s * eps

    def v_target(self, x0: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """v = sqrt(abar) eps - sqrt(1 - abar) x0 (Salimans and Ho 2022, section 4)."""
        a, s = self.signal_and_noise(t, x0)
        return a * eps - s * x0

    def x0_and_eps_from_v(
        self, x_t: torch.Tensor, v: torch.Tensor, t: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Tweedie's x0 and the noise from a predicted v: exact inverse of `v_target`."""
        a, s = self.signal_and_noise(t, x_t)
        return a * x_t - s * v, s * x_t + a * v

    def x0_from_eps(self, x_t: torch.Tensor, eps: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        """x0 = (x_t - sqrt(1 - abar) eps) / sqrt(abar): exact inverse of `add_noise`."""
        a, s = self.signal_and_noise(t, x_t)
        return (x_t - s * eps) / a
