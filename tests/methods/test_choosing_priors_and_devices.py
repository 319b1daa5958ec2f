"""Priors and devices mean the same however they are named."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from diffusionblend import load_prior
from diffusionblend.data.projections import Projections
from diffusionblend.errors import InputError
from diffusionblend.geometry.grid import Grid
from diffusionblend.methods import Dds, Dds2d, DiffusionBlendPP, DiffusionMbir, Execution, Fbp
from diffusionblend.methods.api import make_method, reconstruct, sample, steps
from diffusionblend.methods.diffusion import init, run
from diffusionblend.methods.diffusion.init import initial_image
from diffusionblend.methods.diffusion.state import State
from diffusionblend.methods.problem import Problem
from diffusionblend.priors.prior import Prior
from diffusionblend.priors.resolve import PriorLike
from diffusionblend.priors.store import find_prior
from small_scan import scan, small_volume
from tiny_network import TINY, random_prior, ship_for_one_size

GONE = "cuda:7"
"""A device that no test machine has."""


@pytest.fixture(scope="module")
def projections() -> Projections:
    return scan(small_volume())


@pytest.mark.parametrize("way", ["name", "folder", "folder as text", "loaded", "none"])
def test_a_prior_for_every_pixel_size_is_its_own_coarse_partner_however_it_is_given(
    way: str,
) -> None:
    folder = find_prior("chest")
    given: dict[str, PriorLike] = {
        "name": "chest",
        "folder": folder,
        "folder as text": str(folder),
        "loaded": load_prior("chest"),
        "none": None,
    }
    grid = Grid(shape=(3, 256, 256), spacing_mm=(2.0, 1.5, 1.5))
    priors = DiffusionBlendPP().load_priors({"prior": given[way]}, grid=grid, device="cpu")
    assert set(priors) == {"prior", "coarse_prior"}
    assert priors["coarse_prior"] is priors["prior"]
    assert priors["prior"].weights_sha256 == load_prior("chest").weights_sha256
    without = DiffusionBlendPP(init="fbp")
    alone = without.load_priors({"prior": given[way]}, grid=grid, device="cpu")
    assert set(alone) == {"prior"}


def test_a_shipped_prior_out_of_reach_is_refused_by_its_own_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not as a coarse prior of the wrong size, which nobody asked for."""
    name, volume = ship_for_one_size(tmp_path, monkeypatch, 128), small_volume((3, 24, 24))
    with pytest.raises(InputError, match="one-size is for slices of 128 x 128") as caught:
        reconstruct(scan(volume), prior=name, device="cpu")
    assert "coarse" not in str(caught.value)


def test_a_prior_for_one_size_has_no_partner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = ship_for_one_size(tmp_path, monkeypatch)
    for prior, pixels in ((random_prior(), 16), (name, 16), (name, 32)):
        grid = Grid(shape=(3, pixels, pixels), spacing_mm=(2.0, 1.5, 1.5))
        priors = DiffusionBlendPP().load_priors({"prior": prior}, grid=grid, device="cpu")
        assert set(priors) == {"prior"}


@pytest.mark.skipif(torch.cuda.device_count() > 7, reason="this machine has that device")
@pytest.mark.parametrize("call", [reconstruct, sample], ids=["reconstruct", "sample"])
def test_a_device_that_is_not_there_is_refused_with_a_loaded_prior_too(
    call, projections: Projections
) -> None:
    with pytest.raises(InputError, match=f"no device '{GONE}'"):
        call(projections, prior=random_prior(), device=GONE)
    with pytest.raises(InputError, match=f"no device '{GONE}'"):
        list(steps(projections, prior=random_prior(), device=GONE))
    if call is reconstruct:
        with pytest.raises(InputError, match=f"no device '{GONE}'"):
            call(projections, "fbp", device=GONE)
    with pytest.raises(InputError, match="auto, cpu, cuda or cuda:N"):
        call(projections, prior=random_prior(), device="gpu")
    with pytest.raises(InputError, match="no float64 on Apple's GPUs"):
        call(projections, prior=random_prior(), device="mps")


def test_a_loaded_prior_goes_to_the_device_that_is_asked_for(projections: Projections) -> None:
    prior, asked = random_prior(), []
    move = prior.to
    prior.to = lambda device: asked.append(device) or move(device)  # type: ignore[method-assign]
    reconstruct(projections, prior=prior, steps=1, device="cpu")
    assert asked == ["cpu"]


def test_diffusion_mbir_has_neither_dual_variable_nor_tail_averaging() -> None:
    """Its data-consistency step is taken on the noisy state: there is no estimate for them."""
    assert not {"dual_damping", "tail_average_below"} & {f.name for f in fields(DiffusionMbir)}
    for name, value in (("dual_damping", 0.85), ("tail_average_below", 300)):
        with pytest.raises(InputError, match=f"diffusion-mbir.*no setting '{name}'"):
            make_method("diffusion-mbir", **{name: value})


def test_steps_of_a_consistency_step_are_refused_by_another() -> None:
    for name, value in (("cg_iterations", 50), ("dps_step", 9.0), ("hard_weight", 0.5)):
        with pytest.raises(InputError, match=f"'prox' has no setting '{name}'"):
            make_method("dds", consistency="prox", **{name: value})


def slices() -> Prior:
    return random_prior(config=replace(TINY, prior_type="slices"))


@pytest.mark.parametrize("elsewhere", [False, True], ids=["cpu", "elsewhere"])
def test_noise_is_drawn_on_the_cpu_wherever_the_volume_lies(
    elsewhere: bool, projections: Projections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume that lies elsewhere is simulated by one of double precision."""
    drawn: list[torch.Tensor] = []
    draw = torch.randn

    def noted(*shape: object, generator: torch.Generator) -> torch.Tensor:
        assert generator.device.type == "cpu"
        noise = draw(*shape, generator=generator)
        drawn.append(noise.clone())
        return noise

    prior = slices()
    denoise, seen = prior.denoise, []
    prior.denoise = lambda x, *rest: seen.append(x) or denoise(x.float(), *rest)
    monkeypatch.setattr(run.torch, "randn", noted)
    if elsewhere:
        monkeypatch.setattr(State, "move", lambda s, device: setattr(s, "x", s.x.double()))
    reconstruct(projections, Dds2d(steps=3, seed=3), prior=prior, device="cpu")
    assert {x.dtype for x in seen} == {torch.float64 if elsewhere else torch.float32}
    by_hand = torch.Generator().manual_seed(3)
    assert len(drawn) == 3
    for noise in drawn:
        assert torch.equal(noise, draw(projections.grid.shape, generator=by_hand))


def test_the_first_state_is_the_generators_first_draw(projections: Projections) -> None:
    """Without data and with one step from noise alone, by hand: the seed is all that counts."""
    found: list[torch.Tensor] = []
    kept = Execution(on_state=lambda state: found.append(state.generator.clone()))
    reconstruct(projections, Dds(steps=3, seed=5), prior=slices(), execution=kept, device="cpu")
    by_hand = torch.Generator().manual_seed(5)
    torch.randn(projections.grid.shape, generator=by_hand)  # the first state
    for state in found[:2]:
        torch.randn(projections.grid.shape, generator=by_hand)  # one draw a step but the last
        assert torch.equal(state, by_hand.get_state())
    assert torch.equal(found[2], found[1])


def test_only_a_geometry_without_fbp_begins_with_cg(
    projections: Projections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another error of an FBP is an error, not a silent other initialisation."""

    def broken(*arguments: object) -> None:
        raise InputError("The window is unknown.", "another")

    monkeypatch.setattr(Fbp, "run", broken)
    with pytest.raises(InputError, match="The window is unknown"):
        initial_image("fbp", Problem.of(projections))
    monkeypatch.setattr(init, "has_filtered_back_projection", lambda geometry: False)
    problem = Problem.of(projections)
    torch.testing.assert_close(initial_image("fbp", problem), initial_image("cg", problem))
