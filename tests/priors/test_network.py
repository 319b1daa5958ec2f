"""The network: shapes, what it depends on, and the Fourier embedding of the position code."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.network import apply_unet, build_unet
from tiny_network import TINY, random_prior


def run(
    unet: torch.nn.Module, x: torch.Tensor, t: int, code: int, unshuffle: int = 1
) -> torch.Tensor:
    times, codes = torch.full((len(x),), t), torch.full((len(x),), code)
    with torch.no_grad():
        return apply_unet(unet, x, times, codes, unshuffle=unshuffle, bf16=False)


def blocks(n: int = 2, k: int = 3, size: int = 16) -> torch.Tensor:
    return torch.randn(n, k, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("k", "unshuffle"), [(1, 1), (3, 2), (5, 2)])
def test_output_has_the_shape_of_its_input(k: int, unshuffle: int) -> None:
    config = replace(TINY, block_slices=k, unshuffle=unshuffle)
    out = run(build_unet(config), blocks(k=k), 500, 1, unshuffle)
    assert out.shape == (2, k, 16, 16)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


def test_position_code_timestep_and_every_slice_change_the_output() -> None:
    unet, x = random_prior().unet, blocks()
    base = run(unet, x, 500, 1)
    torch.testing.assert_close(run(unet, x, 500, 1), base)
    scale = base.std()
    for t, code in [(500, 2), (500, 3), (100, 1), (501, 1)]:
        assert (run(unet, x, t, code) - base).abs().max() > 1e-4 * scale
    assert (run(unet, x, 1, 3) - run(unet, x, 3, 1)).abs().max() > 1e-4 * scale
    for i in range(3):
        moved = x.clone()
        moved[:, i] += 1
        changed = (run(unet, moved, 500, 1) - base).abs().amax((0, 2, 3))
        assert (changed > 1e-3 * scale).all()


def test_code_goes_through_its_own_network_on_its_fourier_embedding() -> None:
    unet = random_prior().unet
    seen = []
    hook = unet.class_embedding.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    run(unet, blocks(), 500, 3)
    hook.remove()
    half = TINY.channels[0] // 2
    angles = [3 * math.exp(-math.log(10_000) * i / half) for i in range(half)]
    expected = torch.tensor([math.cos(a) for a in angles] + [math.sin(a) for a in angles])
    torch.testing.assert_close(seen[0], expected.expand(2, -1), atol=1e-6, rtol=1e-5)
    ours = {id(p) for p in unet.class_embedding.parameters()}
    assert ours.isdisjoint(id(p) for p in unet.time_embedding.parameters())


def test_each_block_of_a_batch_has_its_own_code_and_timestep() -> None:
    unet, x = random_prior().unet, blocks(3)
    t, codes = torch.tensor([10, 500, 900]), torch.tensor([1, 3, 2])
    with torch.no_grad():
        together = apply_unet(unet, x, t, codes, unshuffle=1, bf16=False)
    for i in range(3):
        alone = run(unet, x[i : i + 1], int(t[i]), int(codes[i]))
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-5, rtol=1e-5)


def test_bfloat16_stays_close_and_returns_float32() -> None:
    unet, x = random_prior().unet, blocks()
    exact = run(unet, x, 500, 1)
    times, codes = torch.full((2,), 500), torch.full((2,), 1)
    with torch.no_grad():
        half = apply_unet(unet, x, times, codes, unshuffle=1, bf16=True)
    assert half.dtype == torch.float32
    assert not torch.equal(half, exact)
    assert (half - exact).abs().max() < 0.05 * exact.abs().max()
    assert all(p.dtype == torch.float32 for p in unet.parameters())


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": 18, "unshuffle": 2},
        {"image_size": 0},
        {"image_size": 16.0},
        {"unshuffle": 0},
        {"norm_groups": 0},
        {"norm_groups": 3},
        {"block_slices": -1},
        {"layers": "1"},
        {"channels": ()},
        {"attention_head_channels": 32},
        {"attention_levels": -1},
        {"attention_levels": 3},
        {"attention_levels": 2, "attention_head_channels": 16},
    ],
)
def test_a_network_that_cannot_be_built_is_refused(change: dict) -> None:
    with pytest.raises(InputError):
        replace(TINY, **change)


def test_default_network_can_be_built_for_larger_slices() -> None:
    assert NetworkConfig().pixel_multiple == 16
    assert NetworkConfig(image_size=256).image_size == 256


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_attention_lies_in_the_coarsest_levels(levels: int) -> None:
    config = NetworkConfig(
        **(vars(TINY) | {"channels": (8, 8, 16), "attention_levels": levels, "image_size": 16})
    )
    unet = build_unet(config)
    attended = [hasattr(block, "attentions") for block in unet.down_blocks]
    assert attended == [False] * (3 - levels) + [True] * levels
    assert [hasattr(block, "attentions") for block in unet.up_blocks] == attended[::-1]
    assert run(unet, blocks(), 500, 1).isfinite().all()
