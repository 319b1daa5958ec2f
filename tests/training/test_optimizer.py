"""Muon: its orthogonalisation by the scalar iteration of singular values, its step by torch's."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
import torch

from diffusionblend.priors.network import build_unet
from diffusionblend.training.optimizer import (
    MuonWithAdamW,
    make_optimizer,
    orthogonalised,
    set_learning_rate,
)
from easy_training import EASY_SETTINGS
from tiny_network import TINY

NETWORK = replace(TINY, channels=(24, 32))
SETTINGS = replace(EASY_SETTINGS, network=NETWORK, optimizer="muon", muon_learning_rate=6e-3)


def matrix(m: int, n: int) -> torch.Tensor:
    return torch.randn(m, n, dtype=torch.float64, generator=torch.Generator().manual_seed(m))


@pytest.mark.parametrize(("m", "n"), [(6, 20), (20, 6), (8, 8)])
def test_every_singular_value_goes_through_the_quintic_by_itself(m: int, n: int) -> None:
    x = matrix(m, n)
    u, s, v = torch.linalg.svd(x, full_matrices=False)
    s = s / x.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    torch.testing.assert_close(orthogonalised(x), u @ s.diag() @ v, atol=1e-6, rtol=1e-6)
    assert s.max() < 1.25 and (m == n or s.min() > 0.6)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return build_unet(NETWORK)


def give_gradients(unet: torch.nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in unet.parameters():
        weight.grad = torch.randn(weight.shape, generator=generator)


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")
def test_two_steps_are_those_of_torch_on_the_flattened_weights() -> None:
    unet = network()
    ours = MuonWithAdamW(unet, SETTINGS)
    wide = ours.both[1].param_groups[0]["params"]
    theirs = [torch.nn.Parameter(w.detach().clone().flatten(1)) for w in wide]
    before = [w.detach().clone() for w in theirs]
    reference = torch.optim.Muon(
        theirs, lr=6e-3, weight_decay=0.01, momentum=0.95, adjust_lr_fn="match_rms_adamw"
    )
    for seed in (1, 2):
        give_gradients(unet, seed)
        for one, other in zip(theirs, wide, strict=True):
            one.grad = other.grad.flatten(1).clone()
        ours.step()
        reference.step()
    for got, expected, first in zip(wide, theirs, before, strict=True):
        moved = (expected - first).detach()
        error = (got.detach().flatten(1) - expected.detach()).norm() / moved.norm()
        assert error < 0.03  # torch iterates in bfloat16


def test_each_weight_has_one_optimiser_and_its_own_rate() -> None:
    unet = network()
    both = make_optimizer(unet, SETTINGS)
    groups = both.param_groups
    adamw, muon = (g["params"] for g in groups)
    assert sorted(map(id, [*adamw, *muon])) == sorted(map(id, unet.parameters()))
    assert all(w.ndim == 4 for w in muon) and len(muon) > 5
    assert id(unet.conv_in.weight) in set(map(id, adamw))  # of three channels
    set_learning_rate(both, 1e-3)
    assert [g["lr"] for g in groups] == pytest.approx([1e-3, 2e-3])
    plain = make_optimizer(unet, replace(SETTINGS, optimizer="adamw"))
    set_learning_rate(plain, 1e-3)
    assert type(plain) is torch.optim.AdamW and plain.param_groups[0]["lr"] == 1e-3


def test_its_state_is_kept() -> None:
    one, other = network(), network()
    first, second = MuonWithAdamW(one, SETTINGS), MuonWithAdamW(other, SETTINGS)
    give_gradients(one, 1)
    first.step()
    other.load_state_dict(one.state_dict())
    second.load_state_dict(deepcopy(first.state_dict()))
    for unet, optimiser in ((one, first), (other, second)):
        give_gradients(unet, 2)
        optimiser.step()
        optimiser.zero_grad()
    for got, expected in zip(other.parameters(), one.parameters(), strict=True):
        assert torch.equal(got, expected) and got.grad is None
