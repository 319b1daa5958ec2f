"""Prior types: what a network sees and returns, and the partitions that go with it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.priors.card import summarise_prior
from diffusionblend.priors.config import NetworkConfig
from diffusionblend.priors.network import apply_unet, build_unet
from diffusionblend.priors.partition import (
    make_partition,
    neighbour_partition,
    slice_partition,
)
from diffusionblend.priors.prior import PRIOR_FILE, Prior, load_prior
from diffusionblend.priors.prior_types.registry import PRIOR_TYPES, prior_type_of
from diffusionblend.priors.restorer import Restorer
from diffusionblend.priors.schedule import NoiseSchedule
from tiny_network import TINY, random_prior

SLICES = {"joint": (3, 3), "slices": (1, 1), "conditional": (3, 1), "coronal": (1, 1)} | {
    "neighbours": (3, 1),
    "fbp-unet": (1, 1),
}
"""Slices that go in, and that come out, by prior type."""


def blocks(k: int, height: int = 16, width: int = 16, n: int = 3) -> torch.Tensor:
    return torch.randn(n, k, height, width, generator=torch.Generator().manual_seed(1))


def prior_of(prior_type: str) -> Prior | Restorer:
    return random_prior(config=replace(TINY, prior_type=prior_type))


@pytest.mark.parametrize("prior_type", PRIOR_TYPES.names())
def test_the_network_has_the_channels_of_its_type(prior_type: str) -> None:
    seen, given = SLICES[prior_type]
    unet = build_unet(replace(TINY, prior_type=prior_type, unshuffle=2))
    assert (unet.config.in_channels, unet.config.out_channels) == (4 * seen, 4 * given)
    assert prior_of(prior_type).block_slices == seen


def test_the_joint_network_is_what_it_was() -> None:
    torch.manual_seed(0)
    explicit = build_unet(replace(TINY, prior_type="joint")).state_dict()
    torch.manual_seed(0)
    for name, value in build_unet(TINY).state_dict().items():
        assert torch.equal(value, explicit[name])


def test_the_conditional_prior_gives_the_middle_slice_of_what_it_sees() -> None:
    prior, x = prior_of("conditional"), blocks(3)
    x0, eps = prior.denoise(x, 500, 1)
    assert x0.shape == eps.shape == (3, 1, 16, 16)
    times, codes = torch.full((3,), 500), torch.full((3,), 1)
    v = apply_unet(prior.unet, x, times, codes, unshuffle=1, bf16=False)
    abar = float(prior.schedule.alpha_bar[500])
    expected = abar**0.5 * x[:, 1:2] - (1 - abar) ** 0.5 * v
    torch.testing.assert_close(x0, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(abar**0.5 * x0 + (1 - abar) ** 0.5 * eps, x[:, 1:2])


def test_the_neighbours_of_a_noisy_slice_are_clean_in_training_and_so_is_their_padding() -> None:
    kind, schedule = prior_type_of("neighbours"), NoiseSchedule()
    x, t = blocks(3), torch.tensor([10, 500, 900])
    seen, times = kind.network_input(SimpleNamespace(x0=x, eps=torch.ones_like(x), t=t), schedule)
    assert torch.equal(times, t)
    assert torch.equal(seen[:, ::2], x[:, ::2])
    abar = schedule.alpha_bar[t][:, None, None].float()
    torch.testing.assert_close(seen[:, 1], abar**0.5 * x[:, 1] + (1 - abar) ** 0.5)
    prior = random_prior(config=replace(TINY, prior_type="neighbours", length_codes=4))
    prior = prior.for_grid(Grid(shape=(3, 16, 15), spacing_mm=(3.0, 2.0, 2.0)))
    given: list[torch.Tensor] = []
    handle = prior.unet.register_forward_pre_hook(lambda module, inputs: given.append(inputs[0]))
    prior.denoise(x[..., :15], 900, 1)
    handle.remove()
    air = given[0][:, :3, :, 15]
    assert (air[:, ::2] == -1).all() and (air[:, 1] != -1).all()


def test_coronal_slices_are_padded_with_noised_air_and_cut_again() -> None:
    prior, x, t = prior_of("coronal"), blocks(1, height=11, width=16), 300
    seen = []
    handle = prior.unet.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x0, eps = prior.denoise(x, t, 1)
    handle.remove()
    assert x0.shape == eps.shape == x.shape
    (padded,) = seen
    assert padded.shape == (3, 1, 12, 16)
    assert torch.equal(padded[..., :11, :], x)
    noise = (padded[..., 11:, :] - prior.schedule.alpha_bar[t] ** 0.5 * -1.0) / (
        1 - prior.schedule.alpha_bar[t]
    ) ** 0.5
    assert 0.5 < float(noise.std()) < 1.6 and abs(float(noise.mean())) < 1
    alone, _ = prior.denoise(x[1:2], t, 1)
    torch.testing.assert_close(alone, x0[1:2], atol=1e-5, rtol=1e-5)
    before = torch.get_rng_state()
    torch.testing.assert_close(prior.denoise(x, t, 1)[0], x0)
    assert torch.equal(torch.get_rng_state(), before)


def test_coronal_slices_that_fit_are_taken_as_they_are() -> None:
    x = blocks(1, height=12)
    coronal, plain = prior_of("coronal"), prior_of("slices")
    for a, b in zip(coronal.denoise(x, 40, 1), plain.denoise(x, 40, 1), strict=True):
        assert torch.equal(a, b)
    with pytest.raises(InputError, match="multiples of"):
        plain.denoise(blocks(1, height=11), 40, 1)


def test_a_restorer_says_where_its_views_are_missing() -> None:
    restorer = prior_of("fbp-unet")
    assert isinstance(restorer, Restorer)
    with pytest.raises(InputError, match="views that it was trained for"):
        _ = restorer.views


def test_restoring_adds_to_the_image() -> None:
    prior, image = prior_of("fbp-unet"), blocks(1)
    zeros = torch.zeros(3, dtype=torch.long)
    added = apply_unet(prior.unet, image, zeros, zeros, unshuffle=1, bf16=False)
    torch.testing.assert_close(prior.restore(image), image + added)


@pytest.mark.parametrize("prior_type", PRIOR_TYPES.names())
def test_a_saved_prior_keeps_its_type(prior_type: str, tmp_path: Path) -> None:
    prior = prior_of(prior_type)
    if prior_type == "fbp-unet":
        prior.trained["settings"] = {"views": 6, "arc_degrees": 90}
    prior.save(tmp_path)
    loaded = load_prior(tmp_path)
    assert loaded.config == prior.config
    assert loaded.prediction == prior.prediction
    assert isinstance(loaded, Restorer if prior_type == "fbp-unet" else Prior)
    if prior_type == "fbp-unet":
        assert loaded.views == (6, 90.0)


@pytest.mark.parametrize("prior_type", PRIOR_TYPES.names())
def test_a_file_of_before_prior_types_were_called_so_is_read(
    prior_type: str, tmp_path: Path
) -> None:
    prior = prior_of(prior_type)
    prior.save(tmp_path)
    facts = json.loads((tmp_path / PRIOR_FILE).read_text())
    facts["network"]["layout"] = facts["network"].pop("prior_type")
    (tmp_path / PRIOR_FILE).write_text(json.dumps(facts))
    assert load_prior(tmp_path).config == prior.config
    assert summarise_prior(tmp_path).prior_type == prior_type
    assert summarise_prior(tmp_path).block_slices == SLICES[prior_type][0]


@pytest.mark.parametrize(("prior_type", "wrong"), [("joint", "residual"), ("fbp-unet", "v")])
def test_a_prediction_that_the_type_does_not_have_is_refused(
    prior_type: str, wrong: str, tmp_path: Path
) -> None:
    prior_of(prior_type).save(tmp_path)
    facts = json.loads((tmp_path / PRIOR_FILE).read_text())
    (tmp_path / PRIOR_FILE).write_text(json.dumps(facts | {"prediction": wrong}))
    with pytest.raises(InputError, match=f"predicts '{wrong}'"):
        load_prior(tmp_path)


@pytest.mark.parametrize("prior_type", PRIOR_TYPES.names())
def test_the_partition_of_a_type_covers_every_slice_of_a_volume(prior_type: str) -> None:
    """What the network returns of every block, put together, is the volume."""
    kind, volume = prior_type_of(prior_type), torch.randn(7, 16, 16)
    partition = kind.partition(tuple(volume.shape), 3)
    assert partition.blocks.shape[1] == kind.slices_seen(3)
    returned = partition.gather(volume)[:, kind.output_slices(3)]
    n_slices = volume.shape[partition.axis]
    torch.testing.assert_close(partition.scatter(returned, n_slices), volume)


def test_joint_blocks_are_counted_as_partitions_have_them() -> None:
    n, k = 20, 3
    counts = [len(make_partition(n, k, 1, offset).blocks) for offset in range(k)]
    assert prior_type_of("joint").mean_blocks(n, k) == pytest.approx(sum(counts) / k)
    assert prior_type_of("slices").mean_blocks(n, 1) == n


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"prior_type": "sagittal"}, "joint, slices, conditional, neighbours, coronal, fbp-unet"),
        ({"prior_type": "conditional", "block_slices": 4}, "odd number"),
        ({"prior_type": "conditional", "block_slices": 1}, "odd number"),
    ],
)
def test_impossible_types_are_refused(bad: dict, word: str) -> None:
    with pytest.raises(InputError, match=word):
        NetworkConfig(**bad)


@pytest.mark.parametrize(("n_slices", "k"), [(2, 3), (3, 3), (9, 3), (7, 5)])
def test_every_slice_is_given_once_among_its_neighbours(n_slices: int, k: int) -> None:
    partition = neighbour_partition(n_slices, k)
    padded = np.pad(np.arange(n_slices), k // 2, mode="reflect")
    expected = [padded[i : i + k].tolist() for i in range(n_slices)]
    assert partition.blocks.tolist() == expected
    assert partition.blocks[:, partition.output_slices].flatten().tolist() == list(range(n_slices))
    x = torch.arange(n_slices * 6.0).reshape(n_slices, 2, 3)
    given = partition.gather(x)[:, partition.output_slices]
    torch.testing.assert_close(partition.scatter(given, n_slices), x)
    (slab,) = partition.slabs(1)
    assert (slab.slices.start, slab.slices.stop) == (0, n_slices)
    assert slab.partition.output_slices == partition.output_slices


@pytest.mark.parametrize(("n_slices", "k"), [(5, 4), (1, 3), (2, 5)])
def test_too_few_neighbours_are_refused(n_slices: int, k: int) -> None:
    with pytest.raises(InputError):
        neighbour_partition(n_slices, k)


def test_single_slices_can_be_parted_anywhere() -> None:
    partition = slice_partition(7)
    assert partition.blocks.tolist() == [[i] for i in range(7)]
    slabs = partition.slabs(3)
    assert [(s.slices.start, s.slices.stop) for s in slabs] == [(0, 3), (3, 6), (6, 7)]
    assert partition.code == 1


def test_coronal_slices_lie_along_the_second_axis() -> None:
    x = torch.arange(2.0 * 3 * 4).reshape(2, 3, 4)
    partition = slice_partition(3, axis=1, depth=2)
    gathered = partition.gather(x)
    assert gathered.shape == (3, 1, 2, 4)
    for row in range(3):
        np.testing.assert_array_equal(gathered[row, 0].numpy(), x.numpy()[:, row])
    torch.testing.assert_close(partition.scatter(gathered, 3), x)
    (slab,) = partition.slabs(1)
    assert (slab.slices.start, slab.slices.stop) == (0, 2)
    assert slab.partition.axis == 1
