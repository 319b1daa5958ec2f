"""A prior saved and read back, and the damaged ones that must be refused."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffusionblend.errors import InputError, OutputWriteError
from diffusionblend.priors.network import apply_unet, build_unet
from diffusionblend.priors.prior import CONFIG_FILE, PRIOR_FILE, WEIGHTS_FILE, load_prior
from tiny_network import TINY, random_prior


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    random_prior().save(tmp_path / "prior")
    return tmp_path / "prior"


def change_facts(folder: Path, change: Callable[[dict], object]) -> None:
    facts = json.loads((folder / PRIOR_FILE).read_text())
    change(facts)
    (folder / PRIOR_FILE).write_text(json.dumps(facts))


def replace_weights(folder: Path, content: bytes) -> None:
    """Other weights, with the hash that fits them."""
    (folder / WEIGHTS_FILE).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    change_facts(folder, lambda facts: facts.update(weights_sha256=digest))


def test_a_prior_comes_back_to_float16_accuracy(saved: Path) -> None:
    original, loaded = random_prior(), load_prior(saved)
    assert loaded.config == original.config
    assert loaded.trained == {"seed": 0}
    assert loaded.block_slices == 3
    assert loaded.weights_sha256 == hashlib.sha256((saved / WEIGHTS_FILE).read_bytes()).hexdigest()
    weights = original.unet.state_dict()
    for name, value in loaded.unet.state_dict().items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, weights[name].half().float(), rtol=0, atol=0)
    loaded.precision = "float32"
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for got, expected in zip(loaded.denoise(x, 500, 3), original.denoise(x, 500, 3), strict=True):
        assert (got - expected).abs().max() < 3e-3 * expected.abs().max()


def test_a_loaded_prior_is_ready_for_inference(saved: Path) -> None:
    unet = load_prior(saved).unet
    assert not unet.training
    assert not any(p.requires_grad for p in unet.parameters())


def test_denoise_obeys_tweedie_and_depends_on_the_code() -> None:
    prior = random_prior()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for t in (0, 400, 999):
        x0, eps = prior.denoise(x, t, 1)
        abar = float(prior.schedule.alpha_bar[t])
        torch.testing.assert_close(abar**0.5 * x0 + (1 - abar) ** 0.5 * eps, x, atol=1e-5, rtol=0)
    assert (prior.denoise(x, 999, 1)[0] - prior.denoise(x, 999, 3)[0]).abs().max() > 1e-4


def test_a_prior_of_eps_and_mm_comes_back_as_one(tmp_path: Path) -> None:
    prior = random_prior()
    prior.prediction, prior.code_unit = "eps", "mm"
    prior.save(tmp_path)
    loaded = load_prior(tmp_path)
    assert (loaded.prediction, loaded.code_unit) == ("eps", "mm")
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    for t in (0, 400, 999):
        x0, eps = prior.denoise(x, t, 2.5)
        raw = apply_unet(
            prior.unet, x, torch.full((2,), t), torch.full((2,), 2.5), unshuffle=1, bf16=False
        )
        assert torch.equal(eps, raw)
        abar = float(prior.schedule.alpha_bar[t])
        torch.testing.assert_close(abar**0.5 * x0 + (1 - abar) ** 0.5 * eps, x, atol=1e-5, rtol=0)
    assert (prior.denoise(x, 999, 2.5)[1] - prior.denoise(x, 999, 2.0)[1]).abs().max() > 1e-4


@pytest.mark.parametrize("change", [{"prediction": "x0"}, {"code_unit": "cm"}])
def test_a_prior_of_another_kind_is_refused(saved: Path, change: dict) -> None:
    change_facts(saved, lambda facts: facts.update(change))
    with pytest.raises(InputError, match=next(iter(change.values()))):
        load_prior(saved)


def test_a_prior_without_a_code_unit_counts_slices(saved: Path) -> None:
    change_facts(
        saved, lambda facts: (facts.pop("code_unit"), facts["network"].pop("attention_levels"))
    )
    loaded = load_prior(saved)
    assert loaded.code_unit == "slices" and loaded.config == TINY


def test_slices_that_do_not_suit_the_network_are_refused() -> None:
    with pytest.raises(InputError, match="16 x 15"):
        random_prior().denoise(torch.zeros(1, 3, 16, 15), 1, 1)


def test_weights_come_from_safetensors_alone(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was opened")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(pickle, "load", refuse)
    load_prior(saved)


def test_a_pickle_in_place_of_the_weights_is_refused_unopened(saved: Path, tmp_path: Path) -> None:
    replace_weights(saved, pickle.dumps(_Touch(tmp_path / "opened")))
    with pytest.raises(InputError, match="describes a network of at least"):
        load_prior(saved)
    assert not (tmp_path / "opened").exists()


class _Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_corrupt_weights_are_refused(saved: Path, damage: str) -> None:
    content = bytearray((saved / WEIGHTS_FILE).read_bytes())
    content[-100] ^= 1
    damaged = {"flip": content, "cut": content[:-50], "empty": b""}[damage]
    (saved / WEIGHTS_FILE).write_bytes(damaged)
    with pytest.raises(InputError, match="corrupt"):
        load_prior(saved)


def test_weights_of_another_network_are_refused(saved: Path, tmp_path: Path) -> None:
    random_prior(config=replace(TINY, channels=(8, 32))).save(tmp_path / "other")
    replace_weights(saved, (tmp_path / "other" / WEIGHTS_FILE).read_bytes())
    with pytest.raises(InputError, match="do not fit"):
        load_prior(saved)


def test_a_configuration_that_contradicts_the_facts_is_refused(saved: Path) -> None:
    config = json.loads((saved / CONFIG_FILE).read_text())
    (saved / CONFIG_FILE).write_text(json.dumps(config | {"_diffusers_version": "9.9", "new": 1}))
    load_prior(saved)
    (saved / CONFIG_FILE).write_text(json.dumps(config | {"sample_size": 64}))
    with pytest.raises(InputError, match="sample_size"):
        load_prior(saved)
    (saved / CONFIG_FILE).write_text("{")
    with pytest.raises(InputError, match=CONFIG_FILE):
        load_prior(saved)


@pytest.mark.parametrize("name", [PRIOR_FILE, WEIGHTS_FILE])
def test_a_missing_file_is_named(saved: Path, name: str) -> None:
    (saved / name).unlink()
    with pytest.raises(InputError, match=name):
        load_prior(saved)


def test_a_folder_that_does_not_exist_is_no_prior(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no prior"):
        load_prior(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "{", "[1]", "null", '{"format": 99}', "{}", "\xff"])
def test_facts_of_another_format_are_refused(saved: Path, text: str) -> None:
    (saved / PRIOR_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=PRIOR_FILE):
        load_prior(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda facts: facts.pop("network"),
        lambda facts: facts.update(network=7),
        lambda facts: facts["network"].pop("channels"),
        lambda facts: facts["network"].update(channels=3),
        lambda facts: facts["network"].update(channels=[]),
        lambda facts: facts["network"].update(channels=["a", "b"]),
        lambda facts: facts["network"].update(colour="red"),
        lambda facts: facts["network"].update(unshuffle=0),
        lambda facts: facts["network"].update(image_size="large"),
        lambda facts: facts["network"].update(image_size=17),
    ],
)
def test_a_nonsensical_network_is_refused(saved: Path, change: Callable[[dict], object]) -> None:
    change_facts(saved, change)
    with pytest.raises(InputError):
        load_prior(saved)


@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_prior_killed_while_it_is_saved_is_the_old_one_or_no_finished_one(
    saved: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Stop before each of the three files takes its place, in a new folder and in an old one."""
    before = {p.name: p.read_bytes() for p in saved.iterdir()}
    order = []

    def replace_or_stop(source: Path, target: Path) -> None:
        if len(order) == at:
            raise KeyboardInterrupt
        order.append(Path(target).name)
        rename(source, target)

    rename = os.replace
    new = saved.with_name("new")
    monkeypatch.setattr("os.replace", replace_or_stop)
    with pytest.raises(KeyboardInterrupt):
        random_prior(seed=1).save(new)
    assert {p.name for p in new.iterdir()} == set(order)
    assert PRIOR_FILE not in order
    order.clear()
    with pytest.raises(KeyboardInterrupt):
        random_prior(seed=1).save(saved)
    assert {p.name for p in saved.iterdir()} == set(before)
    assert (saved / PRIOR_FILE).read_bytes() == before[PRIOR_FILE]
    for folder in (new,) if at == 0 else (new, saved):
        with pytest.raises(InputError, match=r"not found|corrupt"):
            load_prior(folder)
    if at == 0:
        load_prior(saved)


def test_a_full_disk_leaves_the_old_prior(
    saved: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random_prior().save(small_disk / "p")
    before = {p.name: p.read_bytes() for p in (small_disk / "p").iterdir()}
    big = replace(TINY, channels=(64, 96))
    with pytest.raises(OutputWriteError, match="disk is full"):
        random_prior(config=big).save(small_disk / "p")
    assert {p.name: p.read_bytes() for p in (small_disk / "p").iterdir()} == before


def test_the_folder_is_in_the_layout_of_diffusers(saved: Path) -> None:
    from diffusers import UNet2DModel

    theirs = UNet2DModel.from_pretrained(saved)
    ours = build_unet(TINY)
    assert {n: p.shape for n, p in theirs.named_parameters()} == {
        n: p.shape for n, p in ours.named_parameters()
    }


def test_a_prior_knows_what_it_was_loaded_by(saved: Path) -> None:
    assert random_prior().source is None
    assert load_prior(saved).source == str(saved)
    assert load_prior("chest").source == "chest"


def test_a_prior_is_moved_in_place() -> None:
    prior = random_prior()
    assert prior.to("cpu") is prior
