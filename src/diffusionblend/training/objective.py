"""What the network is taught: to predict v or eps, each block weighted by its noise level."""

from __future__ import annotations

from typing import Any

import torch

from diffusionblend.priors.network import apply_unet
from diffusionblend.priors.precision import runs_bfloat16
from diffusionblend.priors.schedule import NoiseSchedule
from diffusionblend.training.settings import TrainSettings
from diffusionblend.training.teaching import Teachers

MIN_SNR_GAMMA = 5.0
"""Of Hang et al. 2023, who found little difference between 1 and 20."""


class Objective:
    """The error of a network's prediction, as a run's settings weigh it.

    Batches are of the class that the prior type forms them in.
    """

    def __init__(
        self, settings: TrainSettings, schedule: NoiseSchedule, teachers: Teachers | None = None
    ) -> None:
        self._settings, self._schedule, self._teachers = settings, schedule, teachers

    def loss(self, unet: torch.nn.Module, batch: Any) -> torch.Tensor:
        """The weighted mean squared error of the blocks, a scalar."""
        squares = self.squared_error(unet, batch, self._teachers)
        if self._settings.loss_weighting == "none":
            return squares.mean()
        return (squares.flatten(1).mean(1) * self.weights(batch.t)).mean()

    def squared_error(
        self, unet: torch.nn.Module, batch: Any, teachers: Teachers | None = None
    ) -> torch.Tensor:
        """The squared error of the prediction for each pixel of the output slices.

        teachers: whose answers stand for the true ones at high noise.
        """
        settings, network = self._settings, self._settings.network
        blocks, t = network.type.network_input(batch, self._schedule)
        predicted = apply_unet(
            unet,
            blocks,
            t,
            batch.codes,
            unshuffle=network.unshuffle,
            bf16=runs_bfloat16(settings.precision, batch.x0.device),
        )
        target = network.type.target(
            batch, self._schedule, settings.prediction, network.output_slices
        )
        if teachers is not None:
            target = teachers.taught(target, blocks, t, batch.codes)
        return (predicted - target).square()

    def eps_error(self, squares: torch.Tensor, batch: Any) -> torch.Tensor:
        """The squared error of eps that goes with that of the prediction, for each block (n,).

        eps = sqrt(1 - abar) x_t + sqrt(abar) v, so an error of v is one of eps times sqrt(abar): a
        measure that is the same for both predictions. That of a restored FBP is left as it is.
        """
        errors = squares.flatten(1).mean(1)
        if self._settings.prediction != "v":
            return errors
        return errors * self._schedule.alpha_bar_at(batch.t).to(errors)

    def weights(self, t: torch.Tensor) -> torch.Tensor:
        """Min-SNR weights (n,) of blocks at timesteps t (n,) (Hang et al. 2023, section 3.4).

        With SNR = abar / (1 - abar) the error of x0 is weighed by min(SNR, gamma); in terms of the
        prediction that is min(SNR, gamma) / SNR for eps and min(SNR, gamma) / (SNR + 1) for v.
        """
        abar = self._schedule.alpha_bar_at(t)
        snr = abar / (1 - abar)
        divisor = snr if self._settings.predict == "eps" else snr + 1
        return (snr.clamp(max=MIN_SNR_GAMMA) / divisor).float()
