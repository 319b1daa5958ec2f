"""Starting from the weights of another prior, of the same or another network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.network import build_unet
from diffusionblend.training.initial import take_weights
from diffusionblend.training.loop import Trainer
from easy_training import EASY_SETTINGS, easy_bank
from tiny_network import TINY, random_prior


def test_a_network_of_another_image_size_takes_all_weights(tmp_path: Path) -> None:
    initial = random_prior(seed=3, config=replace(TINY, image_size=32))
    run = Trainer(EASY_SETTINGS, easy_bank(), None, tmp_path, initial=initial)
    assert run.initial_share == 1
    state = initial.unet.state_dict()
    assert all(torch.equal(v, state[k]) for k, v in run.unet.state_dict().items())
    for average, weight in zip(
        run.averages.models[0].shadow_params, initial.unet.parameters(), strict=True
    ):
        assert torch.equal(average, weight)
    run.run(lambda progress: None)
    fresh = Trainer(EASY_SETTINGS, easy_bank(), None, tmp_path, initial=initial)
    assert fresh.step == EASY_SETTINGS.steps
    assert any(not torch.equal(v, state[k]) for k, v in fresh.unet.state_dict().items())


def test_layers_of_another_shape_start_fresh() -> None:
    initial = random_prior(seed=3)
    config = replace(TINY, unshuffle=2)
    torch.manual_seed(5)
    unet = build_unet(config)
    before = {k: v.clone() for k, v in unet.state_dict().items()}
    share = take_weights(unet, initial, EASY_SETTINGS)
    theirs, after = initial.unet.state_dict(), unet.state_dict()
    fresh = {k for k in after if after[k].shape != theirs[k].shape}
    assert fresh == {"conv_in.weight", "conv_out.weight", "conv_out.bias"}
    for name, value in after.items():
        assert torch.equal(value, before[name] if name in fresh else theirs[name])
    n_fresh = sum(after[k].numel() for k in fresh)
    assert share == pytest.approx(1 - n_fresh / sum(v.numel() for v in after.values()))


@pytest.mark.parametrize("finer", [(8, 8, 16), (16,)])
def test_levels_are_counted_from_the_coarsest(finer: tuple[int, ...]) -> None:
    """With a level more or less before the others, the two coarse ones keep their weights."""
    initial, config = random_prior(seed=3), replace(TINY, channels=finer)
    torch.manual_seed(5)
    unet = build_unet(config)
    take_weights(unet, initial, replace(EASY_SETTINGS, network=config))
    theirs, ours = initial.unet, unet
    coarse = [(theirs.mid_block, ours.mid_block), (theirs.up_blocks[0], ours.up_blocks[0])]
    coarse = coarse if len(finer) == 3 else coarse[:1]
    last = theirs.down_blocks[-1].resnets[-1].conv2, ours.down_blocks[-1].resnets[-1].conv2
    for old, new in (*coarse, last):
        for name, value in old.state_dict().items():
            if value.shape == new.state_dict()[name].shape:
                assert torch.equal(value, new.state_dict()[name]), name
    assert torch.equal(last[0].weight, last[1].weight)


def test_a_prior_of_another_prediction_is_refused() -> None:
    with pytest.raises(InputError, match="predicts v"):
        take_weights(build_unet(TINY), random_prior(), replace(EASY_SETTINGS, predict="eps"))
