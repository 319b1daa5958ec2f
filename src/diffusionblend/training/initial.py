"""Weights of another prior to start from."""

from __future__ import annotations

import re

import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.restorer import Restorer
from diffusionblend.training.settings import TrainSettings

DOWN_LEVEL = re.compile(r"^down_blocks\.(\d+)\.")


def take_weights(
    unet: torch.nn.Module, initial: Prior | Restorer, settings: TrainSettings
) -> float:
    """Copy the weights of a prior's network that fit into `unet`; the share of `unet` they fill.

    A layer is taken where its name and shape are the same; the others stay as they are, so that the
    image size, the prior type, the stem, the levels and the attention may differ. Raises InputError
    where one predicts v and the other eps, or nothing fits.
    """
    predictions = {initial.prediction, settings.prediction}
    if len(predictions) > 1 and "residual" not in predictions:
        raise InputError(
            f"The initial prior predicts {initial.prediction}, and this run {settings.predict}.",
            "the same prediction",
            f"--predict {initial.prediction}",
        )
    further = len(settings.network.channels) - len(initial.config.channels)
    theirs = {_moved(k, further): v for k, v in initial.unet.state_dict().items()}
    ours = unet.state_dict()
    fitting = {k: v for k, v in theirs.items() if k in ours and ours[k].shape == v.shape}
    if fitting and settings.network.refine and not initial.config.refine:
        fitting |= _with_further_rows(ours, theirs)
    if not fitting:
        raise InputError(
            "No layer of the initial prior fits the network.", "a network like the prior's"
        )
    unet.load_state_dict(fitting, strict=False)
    return sum(v.numel() for v in fitting.values()) / sum(v.numel() for v in ours.values())


def _with_further_rows(
    ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The last layer where ours gives features beside their output: its first rows theirs."""
    found = {}
    for name in ("conv_out.weight", "conv_out.bias"):
        own, their = ours[name], theirs[name]
        if own.shape[1:] == their.shape[1:] and len(own) > len(their):
            found[name] = torch.cat([their, own[len(their) :]])
    return found


def _moved(name: str, further: int) -> str:
    """A layer's name in a network with so many further fine levels; those going up count anyway."""
    return DOWN_LEVEL.sub(lambda found: f"down_blocks.{int(found[1]) + further}.", name)
