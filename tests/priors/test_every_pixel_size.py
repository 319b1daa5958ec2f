"""Networks with pixel size and slice spacing as inputs, and the refinement at full resolution."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.priors.card import summarise_prior
from diffusionblend.priors.network import build_unet
from diffusionblend.priors.prior import PRIOR_FILE, Prior, load_prior
from diffusionblend.priors.refinement import N_FEATURES
from diffusionblend.priors.resolve import check_prior_fits, coarse_partner
from diffusionblend.training.initial import take_weights
from easy_training import EASY_SETTINGS
from tiny_network import TINY, random_prior

TOLD = replace(TINY, length_codes=4, refine=6, unshuffle=2)
PLAIN = replace(TINY, unshuffle=2)


def grid(shape: tuple[int, int, int] = (3, 16, 16), mm: float = 2.0, slice_mm: float = 1.5) -> Grid:
    return Grid(shape=shape, spacing_mm=(slice_mm, mm, mm))


def told_prior(seed: int = 0) -> Prior:
    """A prior none of whose layers is at zero, for pixels of 0.5 to 8 mm."""
    prior = random_prior(seed, TOLD)
    generator = torch.Generator().manual_seed(seed + 1)
    for weights in prior.unet.parameters():
        if not weights.any():
            weights.normal_(std=0.3, generator=generator)
    prior.pixel_range_mm = (0.5, 8.0)
    return prior


def blocks(n: int = 2, height: int = 16, width: int = 16) -> torch.Tensor:
    return torch.randn(n, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_length_is_encoded_by_waves_of_its_octaves() -> None:
    """sin and cos of 2 pi f log2(mm), f 1/16 and 1; nothing at all of a length that is unknown."""
    code = build_unet(TOLD).class_embedding.lengths(torch.tensor([[2.0**1.5, 0.0]]))
    angles = [2 * math.pi * f * 1.5 for f in (1 / 16, 1)]
    expected = [1.0, *map(math.sin, angles), *map(math.cos, angles), *[0.0] * 5]
    torch.testing.assert_close(code, torch.tensor([expected]), atol=1e-5, rtol=0)


def test_the_network_is_a_unet_with_its_output_refined_by_hand() -> None:
    """Every layer by its weights, from the UNet's own output on."""
    prior = told_prior().for_grid(grid())
    unet, x, t = prior.unet, blocks(), 300
    seen = {}
    hook = unet.conv_out.register_forward_hook(lambda _, __, found: seen.update(found=found))
    x0, eps = prior.denoise(x, t, 2)
    hook.remove()
    w = unet.refine.state_dict()
    convolved = lambda h, name: functional.conv2d(  # noqa: E731
        h, w[f"{name}.weight"], w[f"{name}.bias"], padding=1
    )
    full = functional.pixel_shuffle(seen["found"], 2)
    assert full.shape == (2, 3 + N_FEATURES, 16, 16)
    times, codes = torch.full((2,), t), torch.tensor([[2.0, 2.0, 1.5]] * 2)
    embedding = unet.time_embedding(unet.time_proj(times)) + unet.class_embedding(codes)
    h = convolved(torch.cat([x, full], 1), "conv_in")
    for i in (0, 1):
        changed = functional.linear(
            functional.silu(embedding), w[f"blocks.{i}.emb.weight"], w[f"blocks.{i}.emb.bias"]
        )
        scale, shift = changed[:, :6, None, None], changed[:, 6:, None, None]
        inner = convolved(functional.silu(h), f"blocks.{i}.conv1") * (1 + scale) + shift
        h = h + convolved(functional.silu(inner), f"blocks.{i}.conv2")
    v = full[:, :3] + convolved(functional.silu(h), "conv_out")
    expected = prior.schedule.x0_and_eps_from_v(x, v, times)
    torch.testing.assert_close(x0, expected[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(eps, expected[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "given", [{"mm": 2.1}, {"slice_mm": 1.6}], ids=["pixel size", "slice spacing"]
)
def test_both_lengths_change_the_output(given: dict) -> None:
    prior = told_prior()
    base = prior.for_grid(grid()).denoise(blocks(), 500, 1)[0]
    assert (prior.for_grid(grid(**given)).denoise(blocks(), 500, 1)[0] - base).abs().max() > 1e-4
    assert torch.equal(prior.for_grid(grid((9, 64, 32))).denoise(blocks(), 500, 1)[0], base)


def test_oblong_pixels_are_given_by_their_area() -> None:
    oblong = Grid(shape=(3, 16, 16), spacing_mm=(1.5, 1.0, 4.0))
    assert told_prior().for_grid(oblong).lengths_mm == (2.0, 1.5)


def test_a_prior_without_lengths_is_refused_in_words() -> None:
    with pytest.raises(InputError, match="neither pixel size nor slice spacing") as caught:
        told_prior().denoise(blocks(), 500, 1)
    assert "grid" in str(caught.value.expected)


def test_a_prior_for_one_size_gets_no_lengths() -> None:
    prior = random_prior()
    assert prior.for_grid(grid()) is prior
    assert {"class_embedding.size_1.weight", "refine.conv_in.weight"}.isdisjoint(
        prior.unet.state_dict()
    )


def test_slices_of_any_size_are_padded_with_air_and_cut_again() -> None:
    """The padding is beyond what is seen, so that a whole slice with air there is the same."""
    prior, t = told_prior().for_grid(grid()), 40
    assert prior.config.pixel_multiple == 4
    x = blocks(1, 14, 11)
    got = prior.denoise(x, t, 1)
    assert [part.shape for part in got] == [x.shape, x.shape]
    noise = torch.randn(16, 12, generator=torch.Generator().manual_seed(t))
    abar = float(prior.schedule.alpha_bar[t])
    whole = (-(abar**0.5) + (1 - abar) ** 0.5 * noise).expand(1, 3, 16, 12).clone()
    whole[..., :14, :11] = x
    for part, expected in zip(got, prior.denoise(whole, t, 1), strict=True):
        torch.testing.assert_close(part, expected[..., :14, :11])


def test_which_grids_it_serves() -> None:
    prior = told_prior()
    for good in (grid((3, 100, 37)), grid(mm=0.5), grid(mm=8.0)):
        check_prior_fits(prior, good)
    for bad in (grid(mm=0.49), grid(mm=8.1)):
        with pytest.raises(InputError, match=r"with pixels of 0.5 to 8 mm; the grid has"):
            check_prior_fits(prior, bad)
    prior.pixel_range_mm = None
    check_prior_fits(prior, grid(mm=100.0))


def test_it_is_its_own_coarse_partner_where_half_the_pixels_are_in_range() -> None:
    prior = told_prior()
    assert coarse_partner(prior, grid((3, 64, 64)), 64) is prior
    assert coarse_partner(prior, grid((3, 64, 62)), 64) is None
    assert coarse_partner(prior, grid((3, 63, 64)), 64) is None
    assert coarse_partner(prior, grid((3, 64, 64), mm=4.1), 64) is None


def test_a_folder_keeps_what_the_network_gets(tmp_path: Path) -> None:
    prior = told_prior()
    prior.save(tmp_path)
    facts = json.loads((tmp_path / PRIOR_FILE).read_text())
    assert facts["network"]["length_codes"] == 4 and facts["network"]["refine"] == 6
    assert facts["pixel_range_mm"] == [0.5, 8.0]
    loaded = load_prior(tmp_path)
    assert loaded.pixel_range_mm == (0.5, 8.0) and loaded.lengths_mm is None
    loaded.precision = "float32"
    for weights in prior.unet.parameters():
        weights.copy_(weights.half())
    for got, expected in zip(
        loaded.for_grid(grid()).denoise(blocks(), 40, 3),
        prior.for_grid(grid()).denoise(blocks(), 40, 3),
        strict=True,
    ):
        assert torch.equal(got, expected)
    summary = summarise_prior(tmp_path)
    assert summary.told_lengths and summary.slice_pixels is None
    assert summary.pixel_range_mm == (0.5, 8.0)


@pytest.mark.parametrize("wrong", [[2.0], [2.0, 1.0], "wide", [0, 1], 3])
def test_a_pixel_range_that_is_none_is_refused(tmp_path: Path, wrong: object) -> None:
    told_prior().save(tmp_path)
    facts = json.loads((tmp_path / PRIOR_FILE).read_text())
    (tmp_path / PRIOR_FILE).write_text(json.dumps(facts | {"pixel_range_mm": wrong}))
    with pytest.raises(InputError, match="gives pixels of"):
        load_prior(tmp_path)


def test_a_code_of_an_odd_number_is_refused() -> None:
    with pytest.raises(InputError, match="3 numbers"):
        replace(TINY, length_codes=3)
    with pytest.raises(InputError, match="whole numbers"):
        replace(TINY, refine=-1)


def test_from_the_weights_of_a_prior_for_one_size_it_begins_as_that_prior() -> None:
    """Whatever the lengths: what is new adds nothing at first."""
    initial = random_prior(3, PLAIN)
    fresh = random_prior(4, TOLD)
    take_weights(fresh.unet, initial, replace(EASY_SETTINGS, network=TOLD))
    for t, code, mm in ((10, 1, 0.7), (600, 3, 4.0)):
        got = fresh.for_grid(grid(mm=mm)).denoise(blocks(), t, code)
        for part, expected in zip(got, initial.denoise(blocks(), t, code), strict=True):
            torch.testing.assert_close(part, expected, atol=1e-5, rtol=1e-5)


def test_a_middle_slice_alone_is_refined_too() -> None:
    prior = random_prior(0, replace(TOLD, prior_type="conditional")).for_grid(grid())
    x0, eps = prior.denoise(blocks(), 40, 1)
    assert x0.shape == eps.shape == (2, 1, 16, 16)
    without_lengths = random_prior(0, replace(PLAIN, refine=6))
    assert without_lengths.denoise(blocks(), 40, 1)[0].shape == (2, 3, 16, 16)
