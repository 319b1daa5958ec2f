"""A network small enough to train and run in tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusionblend.priors import store
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.network import build_unet
from diffusionblend.priors.prior import Prior, make_prior
from diffusionblend.priors.restorer import Restorer

TINY = NetworkConfig(
    image_size=16, unshuffle=1, channels=(8, 16), norm_groups=4, attention_head_channels=8
)


def random_prior(seed: int = 0, config: NetworkConfig = TINY) -> Prior | Restorer:
    """A prior whose weights are random, in float32 throughout."""
    torch.manual_seed(seed)
    return make_prior(build_unet(config), config, {"seed": seed}, precision="float32").to("cpu")


def ship_for_one_size(folder: Path, monkeypatch: pytest.MonkeyPatch, pixels: int = 16) -> str:
    """A prior for slices of one size among the shipped ones, the only one that is a default; its
    name.
    """
    config = replace(TINY, image_size=pixels)
    random_prior(0, config).save(folder / "one-size")
    shipped = store.shipped_priors() | {"one-size": folder / "one-size"}
    monkeypatch.setattr(store, "shipped_priors", lambda: shipped)
    monkeypatch.setattr(store, "DEFAULT_ORDER", ("one-size",))
    return "one-size"
